//! Sheets of texts: checkpoints, proofs, keys.

use super::sheet::{Field, Sheet};
use crate::exit::Refusal;
use bridge_suite::KeyLine;
use bridge_tlog::{
    Checkpoint, NOTE_BYTES_MAX, Note, SignatureKind, TLOG_PROOF_BYTES_MAX, TlogProof, VerifierKey,
};
use bridge_trust::is_signed;

const PROOF_START: &[u8] = b"c2sp.org/tlog-proof@";
const PRIVATE_KEY_START: &[u8] = b"govbridge-private-key-";
const TRUST_START: &[u8] = b"govbridge_trust";

/// Whether the bytes are a trust file or a draft of one, good or bad.
pub(super) fn is_trust_file(bytes: &[u8]) -> bool {
    bytes.len() <= NOTE_BYTES_MAX && bytes.starts_with(TRUST_START)
}

/// The sheet of a text, `None` when the bytes begin as none of those that are known.
pub(super) fn text(bytes: &[u8]) -> Option<Result<Sheet, Refusal>> {
    if bytes.starts_with(PROOF_START) && bytes.len() <= TLOG_PROOF_BYTES_MAX {
        return Some(proof(bytes));
    }
    if bytes.starts_with(PRIVATE_KEY_START) {
        return Some(private_key(bytes));
    }
    if is_signed(bytes) {
        return Some(checkpoint(bytes));
    }
    let line = std::str::from_utf8(bytes).ok()?.trim_end_matches('\n');
    if let Ok(key) = line.parse::<KeyLine>() {
        return Some(Ok(key_line(&key)));
    }
    line.parse::<VerifierKey>().ok().map(|key| Ok(vkey(&key)))
}

fn checkpoint(bytes: &[u8]) -> Result<Sheet, Refusal> {
    let note = Note::parse(bytes).map_err(Refusal::negative)?;
    match Checkpoint::parse(note.text()) {
        Ok(checkpoint) => Ok(Sheet::of("checkpoint").and(checkpoint_fields(&checkpoint, &note))),
        Err(_) => {
            Ok(Sheet::of("signed note").with("text", note.text()).with("signatures", signatures(&note)))
        }
    }
}

fn checkpoint_fields(checkpoint: &Checkpoint, note: &Note) -> Sheet {
    Sheet::default()
        .with("origin", checkpoint.origin.as_str())
        .with("size", checkpoint.size)
        .with("root", Field::text(checkpoint.root))
        .with("signatures", signatures(note))
}

fn signatures(note: &Note) -> Field {
    Field::list(note.signatures(), |signature| {
        let sheet =
            Sheet::default().with("name", signature.name()).with("key_id", Field::text(signature.id()));
        sheet.with("verified", false).into()
    })
}

fn proof(bytes: &[u8]) -> Result<Sheet, Refusal> {
    let proof = TlogProof::parse(bytes).map_err(Refusal::negative)?;
    Ok(Sheet::of("tlog-proof")
        .with("index", proof.index())
        .with("path", Field::list(proof.hashes(), Field::text))
        .with("checkpoint", checkpoint_fields(proof.checkpoint(), proof.note())))
}

/// The public line of a private key's file. The lines below it are not looked at, so nothing secret can be shown.
fn private_key(bytes: &[u8]) -> Result<Sheet, Refusal> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find_map(|line| line.strip_prefix("public: ")).unwrap_or_default();
    let key: KeyLine = line.parse().map_err(|error| Refusal::negative(error).code("KEY004"))?;
    let locked = bridge_suite::KeyFile::is_locked(&text);
    Ok(Sheet::of("private key").with("under_a_passphrase", locked).and(key_fields(&key)))
}

fn key_line(key: &KeyLine) -> Sheet {
    Sheet::of("public key").and(key_fields(key))
}

fn key_fields(key: &KeyLine) -> Sheet {
    Sheet::default()
        .with("name", key.name())
        .with("role", key.role().name())
        .with("algorithm", key.key().algorithm_name())
        .with("key_id", Field::text(key.id()))
        .with("public", Field::text(key))
}

fn vkey(key: &VerifierKey) -> Sheet {
    let kind = match key.kind() {
        SignatureKind::Ed25519 => "Ed25519 over a note (log or root)",
        SignatureKind::CosignatureV1 => "cosignature/v1 (witness)",
    };
    Sheet::of("C2SP verifier key")
        .with("name", key.name())
        .with("signs", kind)
        .with("key_id", Field::text(key.id()))
        .with("public", Field::hex(&key.public_bytes()))
}
