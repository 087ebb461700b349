//! The suite that every connector passes, on a SQLite file.

connectors_source::conformance!(crate::bench::SuiteBench::new());
