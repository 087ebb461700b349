//! The binary `govbridge`.
fn main() {}
