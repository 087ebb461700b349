//! The log on disk, checkpoints and witnesses.
