//! Durable files: locks, whole-file replacement, folders.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::DeliverError;

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

/// Replaces a file as a whole: after a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), DeliverError> {
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
