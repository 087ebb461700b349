//! The trust file of a process: all versions from the pinned one on, and never one older than was seen before.
//!
//! What was seen stands in a file of one line, `<version> <digest>`, written before the trust file is used.

use super::read;
use crate::configuration::{Folder, TrustSection};
use crate::exit::{Exit, Refusal};
use crate::faults::{Faults, TRUST_STATE};
use crate::output;
use bridge_suite::Digest;
use bridge_trust::{Remembered, Trust};
use std::path::{Path, PathBuf};

/// Longest memory, in bytes: 20 digits, a space, 64 characters and a line end.
const MEMORY_BYTES_MAX: u64 = 20 + 1 + 64 + 1;

/// The trust file that a configuration names.
pub(crate) fn load_section(section: &TrustSection, folder: &Folder) -> anyhow::Result<Trust> {
    let (files, memory) = (folder.paths(&section.file), folder.path(&section.state));
    let remembered = folder.of_key("trust.state", recall(&memory))?;
    let trust = folder.of_key("trust.file", walk(section.pin, &files, remembered))?;
    let faults = Faults::of_environment()?;
    folder.of_key("trust.state", remember(&memory, remembered, &trust, &faults))?;
    Ok(trust)
}

/// A process that cannot remember what it saw could be shown an older trust file at its next start, so it does not start.
fn not_kept(error: anyhow::Error) -> anyhow::Error {
    // A folder that is not there has a remedy of its own.
    if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.exit() == Exit::Usage) {
        return error;
    }
    let what = format!("what was seen of the trust file could not be kept: {error}");
    let remedy = "make room, or let the process write the file and its folder, and start again";
    Refusal::unavailable(what).remedy(remedy).code("TRU024").into()
}

/// Verifies the versions in `files` (version 1 first) under the pinned digest of version 1.
fn walk(pin: Digest, files: &[PathBuf], remembered: Option<Remembered>) -> anyhow::Result<Trust> {
    let notes = files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    Trust::walk(pin, &notes, remembered).map_err(|error| {
        Refusal::usage(format!("the trust file is refused: {error}")).code(error.code()).into()
    })
}

/// Keeps in the file `memory`, which the first start makes, which version is the newest.
fn remember(
    memory: &Path,
    remembered: Option<Remembered>,
    trust: &Trust,
    faults: &Faults,
) -> anyhow::Result<()> {
    let newest = trust.remembered();
    if remembered == Some(newest) {
        return Ok(());
    }
    let line = format!("{} {}\n", newest.version, newest.digest);
    faults.write(TRUST_STATE, || output::replace(memory, line.as_bytes(), output::PUBLIC)).map_err(not_kept)
}

fn recall(memory: &Path) -> anyhow::Result<Option<Remembered>> {
    match memory.try_exists() {
        Ok(false) => return Ok(None),
        Ok(true) => {}
        Err(error) => {
            return Err(
                Refusal::unavailable(format!("{} could not be read: {error}", memory.display())).into()
            );
        }
    }
    let bytes = output::read(memory, MEMORY_BYTES_MAX)?;
    let line = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n')?.split_once(' '));
    let read = line.and_then(|(version, digest)| {
        Some(Remembered { version: version.parse().ok()?, digest: digest.parse().ok()? })
    });
    // A damaged memory is not taken for none: that would let an old trust file in.
    let what = format!("{} does not say which trust file was seen last", memory.display());
    let remedy = "restore it from a backup, or write the newest version and its digest into it, as `<version> <digest>`";
    read.map(Some).ok_or_else(|| Refusal::usage(what).remedy(remedy).code("TRU007").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_suite::{Role, SigningKey, sha256};
    use bridge_tlog::NoteSigner;
    use bridge_trust::{Anchor, Ballot, Draft};

    fn load(pin: Digest, files: &[PathBuf], memory: &Path) -> anyhow::Result<Trust> {
        let remembered = recall(memory)?;
        let trust = walk(pin, files, remembered)?;
        remember(memory, remembered, &trust, &Faults::of_environment()?)?;
        Ok(trust)
    }

    fn root() -> NoteSigner {
        NoteSigner::root("gov.example/root/li", SigningKey::from_seed(Role::Root, [1; 32])).unwrap()
    }

    fn signed(draft: &Draft, previous: Option<&Trust>) -> String {
        let mut ballot = Ballot::open(draft.text().unwrap().as_bytes(), previous).unwrap();
        ballot.sign(&root()).unwrap()
    }

    #[test]
    fn an_older_trust_file_is_refused_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let draft = Draft::first("gov.example", 1, &[root().verifier().to_string()]);
        let pin = sha256(&[draft.text().unwrap().as_bytes()]);
        let one = signed(&draft, None);
        let first = Trust::verify(one.as_bytes(), Anchor::Pinned(pin)).unwrap();
        let two = signed(&Draft::after(&first).unwrap(), Some(&first));
        output::write_new(&path("1"), one.as_bytes(), output::PUBLIC).unwrap();
        output::write_new(&path("2"), two.as_bytes(), output::PUBLIC).unwrap();
        let memory = path("memory");

        assert_eq!(load(pin, &[path("1")], &memory).unwrap().version(), 1);
        assert_eq!(load(pin, &[path("1"), path("2")], &memory).unwrap().version(), 2);
        let refused = load(pin, &[path("1")], &memory).unwrap_err().to_string();
        assert!(refused.contains("TRU007"), "{refused}");
        assert_eq!(load(pin, &[path("1"), path("2")], &memory).unwrap().version(), 2);

        output::replace(&memory, b"rubbish\n", output::PUBLIC).unwrap();
        assert!(load(pin, &[path("1"), path("2")], &memory).is_err(), "a damaged memory is not none");
    }
}
