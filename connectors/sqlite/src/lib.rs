//! Changes of a SQLite file, from a changelog that triggers write.
