//! The receiving flow: fetch, verify, open, deliver.
