//! A stolen private key, and what one can sign with it.

use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};

/// Ed25519's number in signature blocks.
const ED25519: u16 = 1;

/// The role number of signing keys in key ids.
const ROLE_SIGNING: u8 = 1;

/// A stolen key. It has no `Debug`: it is a private key even in a demo.
#[derive(Clone)]
pub(crate) struct Pen {
    name: String,
    key: SigningKey,
}

impl Pen {
    /// Takes the key out of a private key file that is under no passphrase.
    pub(crate) fn steal(file: &Path) -> anyhow::Result<Pen> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Pen::read(&text).with_context(|| format!("{}", file.display()))
    }

    fn read(text: &str) -> anyhow::Result<Pen> {
        let field = |name: &str| {
            let prefix = format!("{name}: ");
            text.lines()
                .find_map(|line| line.strip_prefix(&prefix))
                .with_context(|| format!("no line {name}"))
        };
        let seed = STANDARD.decode(field("secret")?).context("the secret is not base64")?;
        let seed: [u8; 32] = seed.try_into().ok().context("the secret has not 32 bytes")?;
        Ok(Pen { name: field("name")?.to_owned(), key: SigningKey::from_bytes(&seed) })
    }

    /// A key that nobody knows.
    #[cfg(test)]
    pub(crate) fn own(name: &str, seed: [u8; 32]) -> Pen {
        Pen { name: name.to_owned(), key: SigningKey::from_bytes(&seed) }
    }

    fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The id of a signing key, as signature blocks name it.
    pub(super) fn key_id(&self) -> [u8; 32] {
        sha256(&[b"govbridge/v1/key-id\0", &[ROLE_SIGNING], &ED25519.to_be_bytes(), &self.public()])
    }

    /// One entry of a signature block over `label || digest`.
    pub(super) fn entry(&self, label: &[u8], digest: &[u8; 32]) -> Vec<u8> {
        let signature = self.key.sign(&[label, digest].concat()).to_bytes();
        let mut entry = Vec::with_capacity(100);
        entry.extend_from_slice(&ED25519.to_be_bytes());
        entry.extend_from_slice(&self.key_id());
        entry.extend_from_slice(&64_u16.to_be_bytes());
        entry.extend_from_slice(&signature);
        entry
    }

    /// A C2SP note's signature line over its text, in this key's name.
    pub(super) fn note_line(&self, text: &str) -> anyhow::Result<String> {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[1], &self.public()]);
        let short = hash.get(..4).context("a digest has 32 bytes")?;
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        Ok(format!("\u{2014} {} {}\n", self.name, STANDARD.encode([short, signature.as_slice()].concat())))
    }
}

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// A checkpoint note taken apart: origin, size, root and the signature lines.
pub(super) struct Checkpoint {
    origin: String,
    size: u64,
    root: Vec<u8>,
    lines: Vec<String>,
}

impl Checkpoint {
    pub(super) fn read(note: &str) -> anyhow::Result<Checkpoint> {
        let (text, lines) = note.split_once("\n\n").context("a note without an empty line")?;
        let mut words = text.lines();
        let origin = words.next().context("no origin")?.to_owned();
        let size = words.next().context("no size")?.parse().context("the size is no number")?;
        let root = STANDARD.decode(words.next().context("no root")?).context("the root is not base64")?;
        ensure!(words.next().is_none() && root.len() == 32, "not a checkpoint");
        Ok(Checkpoint { origin, size, root, lines: lines.lines().map(ToOwned::to_owned).collect() })
    }

    /// Flips a bit of the root.
    pub(super) fn forge_root(&mut self) {
        if let Some(first) = self.root.first_mut() {
            *first ^= 1;
        }
    }

    /// The note with the signature lines of others as they were, and the log's line by `pen`.
    pub(super) fn signed_by(&self, pen: &Pen) -> anyhow::Result<String> {
        let text = format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(&self.root));
        let own = format!("\u{2014} {} ", pen.name);
        let mut note = format!("{text}\n{}", pen.note_line(&text)?);
        for line in self.lines.iter().filter(|line| !line.starts_with(&own)) {
            note.push_str(line);
            note.push('\n');
        }
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signature, Verifier as _};

    const FILE: &str = "govbridge-private-key-v1\nrole: signing\nname: tax\nalgorithm: ed25519\n\
                        public: tax/signing+00000000+AAAA\nsecret: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

    #[test]
    fn a_key_file_gives_up_its_key() {
        let pen = Pen::read(FILE).unwrap();
        assert_eq!(pen.name, "tax");
        assert_eq!(pen.public(), SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
        assert!(Pen::read("govbridge-private-key-v1\nname: tax\n").is_err());
        assert!(Pen::read(&FILE.replace("BwcH", "Bw")).is_err());
    }

    #[test]
    fn an_entry_holds_algorithm_key_id_length_and_a_signature_that_verifies() {
        let pen = Pen::own("tax", [9; 32]);
        let entry = pen.entry(b"label\0", &[3; 32]);
        assert_eq!(
            (&entry[..2], &entry[2..34], &entry[34..36]),
            (&[0, 1][..], &pen.key_id()[..], &[0, 64][..])
        );
        let signature = Signature::from_slice(&entry[36..]).unwrap();
        let message = [b"label\0".as_slice(), &[3; 32]].concat();
        assert!(pen.key.verifying_key().verify(&message, &signature).is_ok());
    }

    #[test]
    fn a_forged_checkpoint_keeps_the_witnesses_lines_and_replaces_the_logs() {
        let pen = Pen::own("gov.example/tax/main", [9; 32]);
        let text = format!("gov.example/tax/main\n17\n{}\n", STANDARD.encode([5; 32]));
        let note = format!("{text}\n{}\u{2014} audit.example/w1 AAAA\n", pen.note_line(&text).unwrap());
        let mut checkpoint = Checkpoint::read(&note).unwrap();
        assert_eq!(checkpoint.signed_by(&pen).unwrap(), note);
        checkpoint.forge_root();
        let forged = checkpoint.signed_by(&pen).unwrap();
        assert_ne!(forged, note);
        assert!(forged.ends_with("\u{2014} audit.example/w1 AAAA\n"));
        assert_eq!(forged.lines().count(), note.lines().count());
        assert!(Checkpoint::read("origin\n17\n").is_err());
    }
}
