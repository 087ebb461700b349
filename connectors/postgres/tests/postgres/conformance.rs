use crate::bench::SuiteBench;

connectors_source::conformance!(SuiteBench::new());
