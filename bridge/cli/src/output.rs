//! Writing: data to stdout, words to stderr, files so that a crash leaves the old one or the new one.

use crate::exit::Refusal;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Mode of a file that only its owner may read and write.
pub(crate) const PRIVATE: u32 = 0o600;

/// Mode of a file that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Writes data to stdout. A reader that went away (`govbridge ... | head`) is no error.
pub(crate) fn data(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Refusal::unavailable(format!("stdout could not be written: {error}")).into()),
        Ok(()) => Ok(()),
    }
}

/// Writes lines for people to stdout.
pub(crate) fn lines(text: &str) -> anyhow::Result<()> {
    data(&printable(text))
}

/// Writes data to stdout as JSON with two spaces of indentation.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    data(&text)
}

/// Says words to the person at the terminal. When stderr cannot be written there is nobody to tell.
pub(crate) fn say(words: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(words));
}

/// The text without control characters other than line ends: files of strangers are shown, and must not steer the
/// terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Opens a file to read, or says which one and why not.
pub(crate) fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).map_err(|error| {
        let what = format!("{} could not be opened: {error}", path.display());
        match error.kind() {
            ErrorKind::NotFound => Refusal::usage(what).remedy("check the path").into(),
            _ => Refusal::unavailable(what).into(),
        }
    })
}

/// Reads at most `bytes_max` bytes; `-` is stdin.
pub(crate) fn read(path: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_from(io::stdin().lock(), path, bytes_max);
    }
    read_from(open(path)?, path, bytes_max)
}

/// Reads a file's first bytes, at most `bytes_max`.
pub(crate) fn read_beginning(path: &Path, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let bytes_max = u64::try_from(bytes_max)?;
    let mut bytes = Vec::new();
    match open(path)?.take(bytes_max).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            Err(Refusal::unavailable(format!("{} could not be read: {error}", path.display())).into())
        }
    }
}

/// Reads at most `bytes_max` bytes of an open file.
pub(crate) fn read_from(from: impl Read, path: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a longer file is noticed and never read to its end.
    if let Err(error) = from.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes) {
        return Err(Refusal::unavailable(format!("{} could not be read: {error}", path.display())).into());
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        let what = format!("{} has more than {bytes_max} bytes: it is some other file", path.display());
        return Err(Refusal::usage(what).remedy("check the path").into());
    }
    Ok(bytes)
}

/// Writes a file that must not be there yet, durably.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|error| {
        let path = path.display();
        match error.kind() {
            ErrorKind::AlreadyExists => Refusal::usage(format!("{path} exists, and is not overwritten"))
                .remedy("name another file, or move the old one away yourself"),
            ErrorKind::NotFound => {
                Refusal::usage(format!("{path}: its folder is not there")).remedy("make the folder first")
            }
            _ => Refusal::unavailable(format!("{path} could not be made: {error}")),
        }
    })?;
    if let Err(error) = fill(&file, bytes).and_then(|()| sync_folder(path)) {
        // Half a file under the right name would stand in the way of the next attempt.
        let _ = std::fs::remove_file(path);
        return Err(Refusal::unavailable(format!("{} could not be written: {error}", path.display())).into());
    }
    Ok(())
}

/// Puts new content into a file, durably: a crash leaves the old content or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside: PathBuf = path.with_file_name(name);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        let what = format!("{}: the folder {} is not there", path.display(), folder.display());
        return Err(Refusal::usage(what).remedy("make the folder first").into());
    }
    // A process of the same number that was killed here left it.
    let _ = std::fs::remove_file(&beside);
    write_new(&beside, bytes, mode)?;
    std::fs::rename(&beside, path).and_then(|()| sync_folder(path)).map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        Refusal::unavailable(format!("{} could not be replaced: {error}", path.display())).into()
    })
}

fn fill(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{9b}d"), "a\u{fffd}[2Jb\nc\u{fffd}d");
    }

    #[test]
    fn a_new_file_is_never_written_over_an_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_new(&path, b"one", PUBLIC).unwrap();
        assert!(write_new(&path, b"two", PUBLIC).is_err());
        assert_eq!(read(&path, 10).unwrap(), b"one");
        replace(&path, b"three", PUBLIC).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"three");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_over_its_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_new(&path, &[7; 11], PUBLIC).unwrap();
        assert!(read(&path, 10).is_err());
        assert_eq!(read(&path, 11).unwrap().len(), 11);
    }
}
