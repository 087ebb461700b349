//! One writer in a directory, for as long as its process lives.
//!
//! Two files. `lock` is held with flock by the one writer and names it. `append.lock` is held for the moment of each
//! write, and while an operator replaces `lock`: so nobody is inside a write when the writer changes, and a writer that
//! was stopped finds at its next write that `lock` is another file than the one it holds.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_event::UnixMicros;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::disk::sync_folder;

const LOCK: &str = "lock";
const APPEND_LOCK: &str = "append.lock";

/// Longest content of a lock file that is read, in bytes.
const HOLDER_BYTES_MAX: u64 = 1024;

/// Who writes in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process number on its machine.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// Since when it holds the lock, by its own clock.
    pub since: UnixMicros,
}

impl Holder {
    /// This process, on this machine, from now on.
    pub fn here(now: UnixMicros) -> Holder {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Holder { pid: std::process::id(), host: host.trim().to_owned(), since: now }
    }

    fn parse(text: &str) -> Option<Holder> {
        let mut lines = text.lines();
        let pid = lines.next()?.strip_prefix("pid: ")?.parse().ok()?;
        let host = lines.next()?.strip_prefix("host: ")?.to_owned();
        let since = lines.next()?.strip_prefix("since: ")?.parse().ok()?;
        Some(Holder { pid, host, since: UnixMicros(since) })
    }

    fn text(&self) -> String {
        format!("pid: {}\nhost: {}\nsince: {}\n", self.pid, self.host.replace('\n', " "), self.since)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {} since {} s", self.pid, self.host, self.since.0 / 1_000_000)
    }
}

/// The lock was not had.
#[derive(Debug)]
pub(crate) enum LockError {
    /// Somebody else has it; who, when the file says so.
    Held(Option<Holder>),
    /// Somebody is inside a write and does not come out of it.
    Writing(Option<Holder>),
    /// The files cannot be used.
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> LockError {
        LockError::Io(error)
    }
}

/// The lock of a directory, held. It goes when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    held: File,
    path: PathBuf,
    append: Arc<File>,
}

/// The short lock around one write.
pub(crate) struct Writing(Arc<File>);

impl Drop for Writing {
    fn drop(&mut self) {
        // Closing the file would release it as well; there is nothing to do about a failure.
        let _ = flock(&*self.0, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Makes the two files in a new directory.
    pub(crate) fn make(dir: &Path) -> io::Result<()> {
        for name in [LOCK, APPEND_LOCK] {
            OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(name))?.sync_all()?;
        }
        sync_folder(dir)
    }

    /// Takes the lock of a directory that has one.
    pub(crate) fn take(dir: &Path, holder: &Holder) -> Result<Lock, LockError> {
        let path = dir.join(LOCK);
        let append = Arc::new(OpenOptions::new().read(true).write(true).open(dir.join(APPEND_LOCK))?);
        let mut held = OpenOptions::new().read(true).write(true).open(&path)?;
        match flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(LockError::Held(read_holder(&path))),
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // An operator may have put another file in its place between the two calls.
        if !is_same(&held, &path)? {
            return Err(LockError::Held(read_holder(&path)));
        }
        write_holder(&mut held, holder)?;
        Ok(Lock { held, path, append })
    }

    /// Takes the lock away from whoever has it: an operator's act, for a process that hangs or is stopped.
    ///
    /// Waits at most `patience` for a write that is under way. A process stopped inside a write has to be ended first;
    /// nothing else makes sure that the rest of its write does not come later.
    pub(crate) fn take_over(dir: &Path, holder: &Holder, patience: Duration) -> Result<Lock, LockError> {
        let path = dir.join(LOCK);
        let append = Arc::new(OpenOptions::new().read(true).write(true).open(dir.join(APPEND_LOCK))?);
        let end = Instant::now() + patience;
        loop {
            match flock(&*append, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(10))
                }
                Err(Errno::WOULDBLOCK) => return Err(LockError::Writing(read_holder(&path))),
                Err(error) => return Err(LockError::Io(error.into())),
            }
        }
        let writing = Writing(Arc::clone(&append));
        let new = dir.join("lock.new");
        let mut held = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from)?;
        write_holder(&mut held, holder)?;
        fs::rename(&new, &path)?;
        sync_folder(dir)?;
        drop(writing);
        Ok(Lock { held, path, append })
    }

    /// Waits for the right to write once.
    pub(crate) fn writing(&self) -> io::Result<Writing> {
        loop {
            match flock(&*self.append, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Writing(Arc::clone(&self.append))),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the directory's lock is still the file that this process holds.
    pub(crate) fn is_own(&self) -> io::Result<bool> {
        is_same(&self.held, &self.path)
    }

    /// Who the lock file names now.
    pub(crate) fn holder(&self) -> Option<Holder> {
        read_holder(&self.path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough while a child process, forked and not yet at its exec, has it open as well.
        let _ = flock(&self.held, FlockOperation::Unlock);
    }
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((held.dev(), held.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    Holder::parse(&text)
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(holder.text().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32) -> Holder {
        Holder { pid, host: "kunming".to_owned(), since: UnixMicros(5_000_000) }
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        Lock::make(folder.path()).unwrap();
        folder
    }

    #[test]
    fn a_second_one_is_told_who_holds_the_lock() {
        let folder = folder();
        let first = Lock::take(folder.path(), &holder(1)).unwrap();
        let refused = Lock::take(folder.path(), &holder(2)).unwrap_err();
        assert!(matches!(refused, LockError::Held(Some(found)) if found == holder(1)));
        drop(first);
        assert_eq!(Lock::take(folder.path(), &holder(2)).unwrap().holder(), Some(holder(2)));
    }

    #[test]
    fn the_old_holder_finds_out_that_it_was_replaced() {
        let folder = folder();
        let old = Lock::take(folder.path(), &holder(1)).unwrap();
        assert!(old.is_own().unwrap());
        let new = Lock::take_over(folder.path(), &holder(2), Duration::ZERO).unwrap();
        assert!(!old.is_own().unwrap());
        assert!(new.is_own().unwrap());
        drop(old);
        assert!(
            matches!(Lock::take(folder.path(), &holder(3)), Err(LockError::Held(Some(found))) if found == holder(2))
        );
    }

    #[test]
    fn nobody_is_replaced_inside_a_write() {
        let folder = folder();
        let old = Lock::take(folder.path(), &holder(1)).unwrap();
        let writing = old.writing().unwrap();
        let refused = Lock::take_over(folder.path(), &holder(2), Duration::ZERO).unwrap_err();
        assert!(matches!(refused, LockError::Writing(Some(found)) if found == holder(1)));
        drop(writing);
        Lock::take_over(folder.path(), &holder(2), Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_is_never_made_by_taking_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Lock::take(folder.path(), &holder(1)), Err(LockError::Io(_))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
