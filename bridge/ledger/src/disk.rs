//! Durable writes, and the seam where a test makes one of them fail.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// A durable write, by what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Entries behind those in the journal.
    JournalAppend,
    /// A new journal in the place of the old one.
    JournalReplace,
    /// A bundle of entries.
    Bundle,
    /// A tile of hashes.
    Tile,
    /// The log's own newest signed checkpoint.
    OwnCheckpoint,
    /// The published checkpoint.
    Checkpoint,
    /// The heads file.
    Heads,
    /// Up to where the source may forget.
    Acknowledged,
    /// A witness's state of one log.
    WitnessState,
}

/// How a durable write fails in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was written, and the caller is told so.
    Lost,
    /// Nothing was written, because there is no room left.
    Full,
    /// Everything was written, and the caller is told that it was not.
    AppliedButFailed,
}

type Hook = Arc<dyn Fn(Act) -> Option<Fault> + Send + Sync>;

/// The disk. Each write is on it when the call returns, or the call failed.
#[derive(Clone, Default)]
pub struct Disk {
    hook: Option<Hook>,
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

    /// Puts a whole file in the place of `path`: a temporary file, fsync, rename, fsync of the folder. A reader sees
    /// the old content or the new, never a part.
    pub(crate) fn replace(&self, act: Act, path: &Path, content: &[u8]) -> io::Result<()> {
        self.fail_or(act, || replace(path, content))
    }

    /// Writes behind the end of a file that was opened for appending, and waits until it is on the disk.
    pub(crate) fn append(&self, act: Act, mut file: &File, content: &[u8]) -> io::Result<()> {
        self.fail_or(act, || {
            file.write_all(content)?;
            file.sync_data()
        })
    }

    fn fail_or(&self, act: Act, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.hook.as_ref().and_then(|hook| hook(act)) {
            None => write(),
            Some(Fault::Lost) => Err(io::Error::other("a test lost this write")),
            Some(Fault::Full) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            Some(Fault::AppliedButFailed) => {
                write()?;
                Err(io::Error::other("a test reports this write as failed"))
            }
        }
    }
}

/// Makes a folder and those above it that are missing, each durable in the one above.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    make_folder(parent)?;
    match fs::create_dir(path) {
        Ok(()) => sync_folder(parent),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether a write failed because there is no room left.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Reads a file whole, but not more than `bytes_max` of it.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;

    let mut content = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {bytes_max} bytes"),
        ));
    }
    Ok(content)
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = parent_of(path);
    make_folder(parent)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_folder(parent)
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_its_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        let disk = Disk::real();
        disk.replace(Act::Tile, &path, b"one").unwrap();
        disk.replace(Act::Tile, &path, b"two").unwrap();
        assert_eq!(read_bounded(&path, 3).unwrap(), b"two");
        assert!(read_bounded(&path, 2).is_err());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_fault_loses_the_write_or_reports_a_done_one_as_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let lost = Disk::with_faults(|act| (act == Act::Heads).then_some(Fault::Lost));
        assert!(lost.replace(Act::Heads, &path, b"x").is_err());
        assert!(!path.exists());
        let failed = Disk::with_faults(|_| Some(Fault::AppliedButFailed));
        assert!(failed.replace(Act::Heads, &path, b"x").is_err());
        assert!(path.exists());
    }
}
