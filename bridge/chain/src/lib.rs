//! The rules of a stream, one machine for both ends.
