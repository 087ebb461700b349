//! The `acknowledged` file: up to where the source was told that it may forget.
//!
//! It is on the disk before the source is told, so a source that begins beyond it was moved by somebody else: what lies
//! between is in nobody's hands. Nothing else says so, since a source also forgets what holds nothing of ours. A log
//! without the file has told its source nothing yet.

use std::io;

use bridge_event::{At, IncarnationNumber};
use serde::{Deserialize, Serialize};

use crate::disk::{Act, read_bounded};
use crate::log::ACKNOWLEDGED;
use crate::{AppendError, Log, OpenError, stored};

const KIND: &str = "govbridge-acknowledged-v1";
/// Longest file that is read; it has about 200 bytes.
const BYTES_MAX: u64 = 4096;

/// Up to where the source may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The incarnation that the place is of.
    pub incarnation: IncarnationNumber,
    /// The place.
    pub through: At,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    incarnation: u32,
    commit: u64,
    ordinal: u64,
}

impl Log {
    /// Up to where the source may forget, as it was kept last; `None` when it never was.
    ///
    /// # Errors
    /// APP011 when the file is damaged.
    pub fn acknowledged(&self) -> Result<Option<Acknowledged>, OpenError> {
        let content = match read_bounded(&self.dir.join(ACKNOWLEDGED), BYTES_MAX) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::of_io(&self.dir, error)),
        };
        let record: Record = stored::read(KIND, &content).map_err(|error| OpenError::Damaged {
            dir: self.dir.clone(),
            reason: format!("{ACKNOWLEDGED}: {error}"),
        })?;
        Ok(Some(Acknowledged {
            incarnation: IncarnationNumber(record.incarnation),
            through: At { commit: record.commit, ordinal: record.ordinal },
        }))
    }

    /// Keeps up to where the source may forget; it is told only after this.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn keep_acknowledged(&mut self, acknowledged: Acknowledged) -> Result<(), AppendError> {
        if self.ended {
            return Err(AppendError::Ended);
        }
        let Acknowledged { incarnation, through } = acknowledged;
        let record = Record { incarnation: incarnation.0, commit: through.commit, ordinal: through.ordinal };
        let content = stored::write(KIND, &record)
            .map_err(|error| AppendError::Disk { source: io::Error::other(error) })?;
        let writing = self.lock.writing().map_err(|source| AppendError::Disk { source })?;
        self.check_own()?;
        if let Err(source) = self.disk.replace(Act::Acknowledged, &self.dir.join(ACKNOWLEDGED), &content) {
            return Err(self.fail(source));
        }
        drop(writing);
        Ok(())
    }
}
