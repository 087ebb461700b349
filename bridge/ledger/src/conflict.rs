//! Two checkpoints under our own log key that do not fit each other: the log was forked, or went back.

use std::io;
use std::path::{Path, PathBuf};

use bridge_event::UnixMicros;
use bridge_tlog::SignedCheckpoint;

use crate::disk::{Act, Disk};

/// What a witness showed, and what we have. Both carry the log key's valid signature, so nobody else made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The witness that showed the other one.
    pub witness: String,
    /// The log's own checkpoint.
    pub ours: SignedCheckpoint,
    /// The other one.
    pub theirs: SignedCheckpoint,
}

impl Conflict {
    /// Saves both below `conflicts/` of a log's directory, as evidence, and gives the path without its last part
    /// (`.ours`, `.theirs`). Nothing there is ever removed by this program.
    ///
    /// # Errors
    /// The disk fails.
    pub fn save(&self, dir: &Path, now: UnixMicros) -> io::Result<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' };
        let name: String = self.witness.chars().take(100).map(plain).collect();
        let base = dir.join("conflicts").join(format!("{}-{name}", now.0));
        for (end, checkpoint) in [("ours", &self.ours), ("theirs", &self.theirs)] {
            let path = base.with_file_name(format!("{}-{name}.{end}", now.0));
            Disk::real().replace(Act::Checkpoint, &path, checkpoint.note().format().as_bytes())?;
        }
        Ok(base)
    }
}
