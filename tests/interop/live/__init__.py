"""Reads what Rust wrote in the same run. Not part of the reader's own tests: see README.md."""
