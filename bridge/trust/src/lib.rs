//! The trust file: departments, their keys, logs, witnesses and policies, signed k-of-m.
