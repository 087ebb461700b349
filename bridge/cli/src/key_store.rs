//! Private keys on disk: mode 0600, never overwritten, never read when others could have.

use crate::exit::Refusal;
use crate::output;
use bridge_suite::{KeyFile, KeyFileError, Lock, PrivateHalf, RecipientKey, Role, SigningKey};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest key or passphrase file, in bytes; `bridge-suite` has the exact bound.
const FILE_BYTES_MAX: u64 = 4096;

/// Where a passphrase comes from. It is never an argument: arguments are seen by every user of the machine.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PassphraseFrom {
    /// Take the passphrase from the first line of this file (mode 0600)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_env")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Take the passphrase from the environment variable of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) passphrase_env: Option<String>,
}

impl PassphraseFrom {
    /// The passphrase, or none when no source is named.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let text = match (&self.passphrase_file, &self.passphrase_env) {
            (Some(file), _) => {
                let bytes = Zeroizing::new(read_private(file)?);
                let text = std::str::from_utf8(&bytes).map_err(|_| {
                    Refusal::usage(format!("{} is not UTF-8 text", file.display())).code("KEY003")
                })?;
                Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
            }
            (None, Some(name)) => Zeroizing::new(std::env::var(name).map_err(|_| {
                Refusal::usage(format!("the environment variable {name} is not set, or is not text"))
                    .remedy("set it to the passphrase, or use --passphrase-file")
                    .code("KEY003")
            })?),
            (None, None) => return Ok(None),
        };
        if text.is_empty() {
            return Err(Refusal::usage("the passphrase is empty")
                .remedy("give one, or none at all")
                .code("KEY003")
                .into());
        }
        Ok(Some(text))
    }
}

/// Writes a new private key.
pub(crate) fn write(path: &Path, key: &KeyFile, passphrase: Option<&str>) -> anyhow::Result<()> {
    let lock = match passphrase {
        Some(passphrase) => Some(Lock { passphrase, salt: random()? }),
        None => None,
    };
    let text = key.encode(lock.as_ref()).map_err(|error| Refusal::unavailable(error).code("KEY003"))?;
    if path.symlink_metadata().is_ok() {
        return Err(Refusal::usage(format!("{} exists, and a key is never overwritten", path.display()))
            .remedy("name another file; if the old key is no longer used, move it to its archive yourself")
            .code("KEY001")
            .into());
    }
    output::write_new(path, text.as_bytes(), output::PRIVATE)
}

/// Reads a private key of any role.
pub(crate) fn read(path: &Path, passphrase: &PassphraseFrom) -> anyhow::Result<KeyFile> {
    let bytes = Zeroizing::new(read_private(path)?);
    let passphrase = passphrase.read()?;
    let refuse =
        |what: &dyn std::fmt::Display, code| Refusal::usage(format!("{}: {what}", path.display())).code(code);
    let text =
        std::str::from_utf8(&bytes).map_err(|_| refuse(&"not a key file: it is not text", "KEY004"))?;
    KeyFile::decode(text, passphrase.as_deref().map(String::as_str)).map_err(|error| {
        let refusal = match error {
            KeyFileError::PassphraseMissing => {
                refuse(&error, "KEY003").remedy("add --passphrase-file or --passphrase-env")
            }
            KeyFileError::PassphraseEmpty | KeyFileError::PassphraseWrong => refuse(&error, "KEY003"),
            _ => refuse(&error, "KEY004"),
        };
        refusal.into()
    })
}

/// Reads a private key that must have this role, with its name. For every role that signs.
pub(crate) fn read_signing(
    path: &Path,
    role: Role,
    passphrase: &PassphraseFrom,
) -> anyhow::Result<(String, SigningKey)> {
    let file = read(path, passphrase)?;
    let (name, found) = (file.name().to_owned(), file.role());
    match file.into_key() {
        PrivateHalf::Signing(key) if found == role => Ok((name, key)),
        _ => Err(wrong_role(path, found, role)),
    }
}

/// Reads a recipient's private key, with its name.
pub(crate) fn read_recipient(
    path: &Path,
    passphrase: &PassphraseFrom,
) -> anyhow::Result<(String, RecipientKey)> {
    let file = read(path, passphrase)?;
    let (name, found) = (file.name().to_owned(), file.role());
    match file.into_key() {
        PrivateHalf::Recipient(key) => Ok((name, key)),
        PrivateHalf::Signing(_) => Err(wrong_role(path, found, Role::Recipient)),
    }
}

/// Refuses a key that bears another name than the one that it is to be used under.
pub(crate) fn check_owner(path: &Path, found: &str, wanted: &str) -> anyhow::Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Refusal::usage(format!("{} is a key of {found}, and one of {wanted} is needed", path.display()))
        .remedy("give the right file, or correct the name that it is used under")
        .code("KEY005")
        .into())
}

fn wrong_role(path: &Path, found: Role, wanted: Role) -> anyhow::Error {
    Refusal::usage(format!("{} is a {found} key, and a {wanted} key is needed", path.display()))
        .remedy("each role has a key of its own; give the right file")
        .code("KEY005")
        .into()
}

/// 32 random bytes of the operating system, or fewer.
pub(crate) fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Refusal::unavailable(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// Reads a file that nobody but its owner can read. The open file is asked, so that the answer is about what is read.
fn read_private(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = output::open(path)?;
    let about = file
        .metadata()
        .map_err(|error| Refusal::unavailable(format!("{} could not be read: {error}", path.display())))?;
    if !about.is_file() {
        return Err(Refusal::usage(format!("{} is not a file", path.display())).code("KEY004").into());
    }
    if about.mode() & 0o077 != 0 {
        let mode = about.mode() & 0o777;
        return Err(Refusal::usage(format!(
            "{} has mode {mode:04o}: others than its owner can use it",
            path.display()
        ))
        .remedy(format!(
            "if nobody read it, `chmod 600 {}`; else make a new key and end this one in the trust file",
            path.display()
        ))
        .code("KEY002")
        .into());
    }
    output::read_from(file, path, FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_suite::Secret;

    fn key(role: Role) -> KeyFile {
        KeyFile::new("tax", PrivateHalf::from_seed(role, &Secret::new([7; 32]))).unwrap()
    }

    #[test]
    fn a_key_comes_back_with_its_name_and_role() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write(&path, &key(Role::Signing), None).unwrap();
        let (name, back) = read_signing(&path, Role::Signing, &PassphraseFrom::default()).unwrap();
        assert_eq!((name.as_str(), back.id()), ("tax", key(Role::Signing).id()));
        assert!(read_signing(&path, Role::Root, &PassphraseFrom::default()).is_err());
        assert!(read_recipient(&path, &PassphraseFrom::default()).is_err());
    }

    #[test]
    fn only_the_first_line_of_a_passphrase_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pass");
        output::write_new(&path, "correct horse\nsecond".as_bytes(), output::PRIVATE).unwrap();
        let from = PassphraseFrom { passphrase_file: Some(path), passphrase_env: None };
        assert_eq!(from.read().unwrap().unwrap().as_str(), "correct horse");
    }
}
