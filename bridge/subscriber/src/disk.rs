//! Durable files: locks, whole-file replacement, folders; and the seam where a test makes a durable write fail.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::DeliverError;

/// A durable write, by what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Rows behind those in the sink.
    Sink,
    /// The sink, cut back at a start to what the progress says.
    SinkCut,
    /// The progress, with the remembered checkpoints.
    Progress,
    /// A checkpoint kept as evidence.
    Evidence,
}

impl Act {
    /// All acts.
    pub const ALL: [Act; 4] = [Act::Sink, Act::SinkCut, Act::Progress, Act::Evidence];

    /// The act's word in the fault switch.
    pub fn name(self) -> &'static str {
        match self {
            Act::Sink => "sink",
            Act::SinkCut => "sink-cut",
            Act::Progress => "progress",
            Act::Evidence => "evidence",
        }
    }
}

/// How a durable write fails in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is on the disk, and the caller is told so.
    Lost,
    /// Nothing is on the disk, because there is no room left.
    Full,
    /// Everything is on the disk, and the caller is told that it is not.
    AppliedButFailed,
}

type Hook = Arc<dyn Fn(Act) -> Option<Fault> + Send + Sync>;

/// The disk. Each write is on it when the call returns, or the call failed.
#[derive(Clone, Default)]
pub struct Disk {
    hook: Option<Hook>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("faults", &self.hook.is_some()).finish()
    }
}

impl Disk {
    /// The disk as it is.
    pub fn real() -> Disk {
        Disk::default()
    }

    /// A disk on which `hook` chooses the writes that fail. For tests.
    pub fn with_faults(hook: impl Fn(Act) -> Option<Fault> + Send + Sync + 'static) -> Disk {
        Disk { hook: Some(Arc::new(hook)) }
    }

    /// Makes a write durable with `apply`; `lose` is what a fault does in its place.
    pub(crate) fn durably(
        &self,
        act: Act,
        apply: impl FnOnce() -> io::Result<()>,
        lose: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        match self.hook.as_ref().and_then(|hook| hook(act)) {
            None => apply(),
            Some(Fault::Lost) => lose().and_then(|()| Err(io::Error::other("a test lost this write"))),
            Some(Fault::Full) => lose().and_then(|()| Err(io::Error::from(io::ErrorKind::StorageFull))),
            Some(Fault::AppliedButFailed) => {
                apply()?;
                Err(io::Error::other("a test reports this write as failed"))
            }
        }
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one.
    pub(crate) fn replace(&self, act: Act, path: &Path, parts: &[&[u8]]) -> Result<(), DeliverError> {
        let mut failed = None;
        let apply = || {
            failed = replace(path, parts).err();
            Ok(())
        };
        let done = self.durably(act, apply, || Ok(()));
        match failed {
            Some(error) => Err(error),
            None => done.map_err(|source| DeliverError::disk("cannot replace", path, source)),
        }
    }
}

/// A lock that lives as long as the process, or as this value.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock file, making it when it is not there. It stays behind, empty: removing it would race.
    pub(crate) fn take(path: PathBuf) -> Result<Lock, DeliverError> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| DeliverError::disk("cannot open", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DeliverError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(DeliverError::disk("cannot lock", &path, source)),
        }
    }
}

fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), DeliverError> {
    let temporary = path.with_extension("tmp");
    let mut file =
        File::create(&temporary).map_err(|source| DeliverError::disk("cannot make", &temporary, source))?;
    for part in parts {
        file.write_all(part).map_err(|source| DeliverError::disk("cannot write", &temporary, source))?;
    }
    file.sync_all().map_err(|source| DeliverError::disk("cannot sync", &temporary, source))?;
    std::fs::rename(&temporary, path).map_err(|source| DeliverError::disk("cannot replace", path, source))?;
    sync_folder_of(path)
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), DeliverError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| DeliverError::disk("cannot sync", folder, source))
}

/// Makes a folder, and those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), DeliverError> {
    std::fs::create_dir_all(path).map_err(|source| DeliverError::disk("cannot make", path, source))
}
