//! Tests of the SQLite connector on real files.

mod bench;
mod conformance;
