//! Notes, keys, checkpoints and cosignatures, against notes that other tools signed and against damaged ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod mutation;

use bridge_suite::{Digest, Role, SigningKey};
use bridge_tlog::{
    COSIGNATURE_TIME_MAX, Checkpoint, CheckpointError, CosignatureError, EMPTY_ROOT, KeyError,
    NOTE_BYTES_MAX, Note, NoteError, NoteSignature, NoteSigner, SIGNATURES_MAX, SignError, SignatureKind,
    SignedCheckpoint, TREE_SIZE_MAX, VerifierKey, VerifyError,
};
use mutation::{damaged, vector};
use proptest::prelude::*;

const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ON\
                         ncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const WITNESS_KEY: &str = "audit.gov.example/w1+7bcf34ef+BDz84j8irg5TBKdNVsoTry0FB6d/1T0LhvbtX71zelv1";

fn log_key() -> VerifierKey {
    String::from_utf8(vector("log.vkey")).unwrap().trim_end().parse().unwrap()
}

fn witness_key() -> VerifierKey {
    WITNESS_KEY.parse().unwrap()
}

fn log(name: &str, seed: u8) -> NoteSigner {
    NoteSigner::log(name, SigningKey::from_seed(Role::Log, [seed; 32])).unwrap()
}

fn witness(name: &str, seed: u8) -> NoteSigner {
    NoteSigner::witness(name, SigningKey::from_seed(Role::Witness, [seed; 32])).unwrap()
}

fn head(size: u64) -> Checkpoint {
    Checkpoint { origin: "gov.example/tax/main".to_owned(), size, root: EMPTY_ROOT }
}

#[test]
fn the_note_of_the_specification_verifies() {
    let key: VerifierKey = SPEC_KEY.parse().unwrap();
    assert_eq!(key.to_string(), SPEC_KEY);
    assert_eq!((key.name(), key.id().to_string().as_str()), ("example.com/foo", "530d903a"));
    let note = Note::parse(SPEC_NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    let verified = note.verify([&key]).unwrap();
    assert_eq!((verified.len(), verified[0].key, verified[0].time), (1, &key, None));
    assert_eq!(note.format(), SPEC_NOTE);
}

#[test]
fn checkpoints_of_other_tools_verify_under_log_and_witness() {
    for (file, size, time) in [
        ("checkpoint-600.txt", 600, 0x6b00_eb76),
        ("checkpoint-70000.txt", 70_000, 0x6b00_ea6e),
        // Whatever its name says, this file is cosigned, too: it is the same as the one above.
        ("checkpoint-70000-log-signed.txt", 70_000, 0x6b00_ea6e),
    ] {
        let note = Note::parse(&vector(file)).unwrap();
        assert_eq!(note.format().as_bytes(), vector(file), "{file}");
        let keys = [log_key(), witness_key()];
        let verified = note.verify(&keys).unwrap();
        assert_eq!(verified.iter().map(|signed| signed.key).collect::<Vec<_>>(), [&keys[0], &keys[1]]);
        assert_eq!((verified[0].time, verified[1].time), (None, Some(time)), "{file}");
        let signed = SignedCheckpoint::verify(note, &keys[..1]).unwrap();
        assert_eq!(signed.checkpoint().size, size);
        assert_eq!(signed.checkpoint().origin, "ledger.gov.example/prov/2026");
        assert_eq!(signed.checkpoint().format(), signed.note().text());
    }
}

#[test]
fn a_signature_of_an_unknown_key_is_ignored() {
    let (known, other) = (log("a", 1), log("b", 2));
    let lines = vec![other.sign("text\n").unwrap(), known.sign("text\n").unwrap()];
    let note = Note::new("text\n", lines).unwrap();
    let verified = note.verify([known.verifier()]).unwrap();
    assert_eq!(verified.len(), 1);
    // The same name with another key, and the same key under another name, are unknown, too.
    assert_eq!(note.verify([log("a", 3).verifier()]), Err(VerifyError::NoneKnown));
    assert_eq!(note.verify([log("c", 1).verifier()]), Err(VerifyError::NoneKnown));
    assert_eq!(note.verify([]), Err(VerifyError::NoneKnown));
}

#[test]
fn a_known_key_whose_signature_fails_rejects_the_note() {
    let (good, bad) = (log("good", 1), log("bad", 2));
    let wrong = bad.sign("another text\n").unwrap();
    let note = Note::new("text\n", vec![good.sign("text\n").unwrap(), wrong]).unwrap();
    assert!(note.verify([good.verifier()]).is_ok());
    let invalid = VerifyError::Invalid { name: "bad".to_owned(), id: bad.verifier().id() };
    assert_eq!(note.verify([good.verifier(), bad.verifier()]), Err(invalid));
}

#[test]
fn a_second_signature_of_a_known_key_must_hold_too() {
    let signer = log("a", 1);
    let (right, wrong) = (signer.sign("text\n").unwrap(), signer.sign("other\n").unwrap());
    for lines in [vec![right.clone(), wrong.clone()], vec![wrong, right.clone()]] {
        let note = Note::new("text\n", lines).unwrap();
        assert!(matches!(note.verify([signer.verifier()]), Err(VerifyError::Invalid { .. })));
    }
    let twice = Note::new("text\n", vec![right.clone(), right]).unwrap();
    assert_eq!(twice.verify([signer.verifier()]).unwrap().len(), 1);
}

#[test]
fn a_signature_of_another_length_fails() {
    let signer = log("a", 1);
    let line = signer.sign("text\n").unwrap();
    for payload in [&line.payload()[..63], &[line.payload(), &[0]].concat()] {
        let note = Note::parse(format!("text\n\n{}\n", resigned(&line, payload)).as_bytes()).unwrap();
        assert!(matches!(note.verify([signer.verifier()]), Err(VerifyError::Invalid { .. })));
    }
}

/// The line with another payload under the same name and id.
fn resigned(line: &NoteSignature, payload: &[u8]) -> String {
    use base64::Engine;
    let bytes = [&line.id().0, payload].concat();
    format!("— {} {}", line.name(), base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[test]
fn a_key_that_is_named_twice_does_not_count_twice() {
    let signer = log("a", 1);
    let note = Note::new("text\n", vec![signer.sign("text\n").unwrap()]).unwrap();
    let ambiguous = VerifyError::Ambiguous { name: "a".to_owned(), id: signer.verifier().id() };
    assert_eq!(note.verify([signer.verifier(), signer.verifier()]), Err(ambiguous));
}

#[test]
fn sixty_four_signatures_are_accepted_and_no_more() {
    let signers: Vec<NoteSigner> = (1..=65).map(|seed| log("a", seed)).collect();
    let mut lines: Vec<NoteSignature> = signers.iter().map(|signer| signer.sign("text\n").unwrap()).collect();
    assert_eq!(Note::new("text\n", lines.clone()), Err(NoteError::TooManySignatures(65)));
    let last = lines.pop().unwrap();
    let mut note = Note::new("text\n", lines).unwrap();
    let again = Note::parse(note.format().as_bytes()).unwrap();
    assert_eq!(again.verify(signers[..64].iter().map(NoteSigner::verifier)).unwrap().len(), SIGNATURES_MAX);
    let more = note.format() + &last.format() + "\n";
    assert_eq!(Note::parse(more.as_bytes()), Err(NoteError::TooManySignatures(65)));
    assert_eq!(note.add(last), Err(NoteError::TooManySignatures(65)));
    assert_eq!(note, again);
}

#[test]
fn an_added_signature_takes_the_place_of_the_keys_older_one() {
    let (signer, auditor) = (log("gov.example/tax/main", 1), witness("audit", 2));
    let mut signed = SignedCheckpoint::sign(head(0), &signer).unwrap();
    let text = signed.note().text().to_owned();
    for time in [7, 9] {
        let answer = [log("x", 5).sign(&text).unwrap(), auditor.cosign(&text, time).unwrap()];
        assert_eq!(signed.add_cosignature(&answer, auditor.verifier()), Ok(time));
        assert_eq!(signed.note().signatures().len(), 2);
        assert_eq!(signed.note().verify([auditor.verifier()]).unwrap()[0].time, Some(time));
    }
    let answer = [7, 12, 10].map(|time| auditor.cosign(&text, time).unwrap());
    assert_eq!(signed.add_cosignature(&answer, auditor.verifier()), Ok(12));
}

#[test]
fn a_cosignature_that_does_not_hold_is_not_added() {
    let (signer, auditor) = (log("gov.example/tax/main", 1), witness("audit", 2));
    let mut signed = SignedCheckpoint::sign(head(0), &signer).unwrap();
    let before = signed.clone();
    let other = auditor.cosign(&head(1).format(), 7).unwrap();
    let invalid = VerifyError::Invalid { name: "audit".to_owned(), id: auditor.verifier().id() };
    assert_eq!(signed.add_cosignature(&[other], auditor.verifier()), Err(invalid.into()));
    let stranger = witness("audit", 3).cosign(before.note().text(), 7).unwrap();
    assert_eq!(signed.add_cosignature(&[stranger], auditor.verifier()), Err(VerifyError::NoneKnown.into()));
    assert_eq!(signed, before);
}

#[test]
fn a_cosignature_with_another_time_or_none_fails() {
    let auditor = witness("audit", 2);
    let line = auditor.cosign("text\n", 1_000).unwrap();
    for time in [0u64, 999, 1_001, COSIGNATURE_TIME_MAX + 1] {
        let payload = [&time.to_be_bytes(), &line.payload()[8..]].concat();
        let note = Note::parse(format!("text\n\n{}\n", resigned(&line, &payload)).as_bytes()).unwrap();
        assert!(matches!(note.verify([auditor.verifier()]), Err(VerifyError::Invalid { .. })), "{time}");
    }
    for time in [0, COSIGNATURE_TIME_MAX + 1] {
        assert_eq!(auditor.cosign("text\n", time), Err(SignError::Time(CosignatureError::Time(time))));
    }
}

#[test]
fn a_key_signs_in_its_own_way_only() {
    assert_eq!(witness("w", 1).sign("text\n"), Err(SignError::Kind("w".to_owned())));
    assert_eq!(log("l", 1).cosign("text\n", 5), Err(SignError::Kind("l".to_owned())));
    let key = || SigningKey::from_seed(Role::Signing, [1; 32]);
    let role = |wanted| KeyError::Role { wanted, found: Role::Signing };
    assert_eq!(NoteSigner::log("l", key()).unwrap_err(), role(Role::Log));
    assert_eq!(NoteSigner::witness("w", key()).unwrap_err(), role(Role::Witness));
    assert_eq!(NoteSigner::root("r", key()).unwrap_err(), role(Role::Root));
    let root = NoteSigner::root("r", SigningKey::from_seed(Role::Root, [1; 32])).unwrap();
    assert_eq!(root.verifier().kind(), SignatureKind::Ed25519);
}

#[test]
fn text_that_cannot_stand_in_a_note_is_not_signed() {
    let signer = log("a", 1);
    for (text, error) in [
        ("", NoteError::Unended),
        ("no end", NoteError::Unended),
        ("tab\t\n", NoteError::NotText),
        ("zero\0\n", NoteError::NotText),
        ("return\r\n", NoteError::NotText),
    ] {
        assert_eq!(signer.sign(text), Err(SignError::Text(error.clone())));
        assert_eq!(Note::new(text, vec![signer.sign("a\n").unwrap()]), Err(error));
    }
    let long = "x".repeat(NOTE_BYTES_MAX) + "\n";
    assert_eq!(signer.sign(&long), Err(SignError::Text(NoteError::TooLong(NOTE_BYTES_MAX + 1))));
    assert_eq!(Note::new("text\n", vec![]), Err(NoteError::Unsigned));
}

#[test]
fn a_text_with_empty_lines_is_parted_at_the_last_one() {
    let signer = log("a", 1);
    for text in ["\n", "\n\n", "a\n\nb\n", "a\n\n— not a signature\n"] {
        let note = Note::new(text, vec![signer.sign(text).unwrap()]).unwrap();
        let again = Note::parse(note.format().as_bytes()).unwrap();
        assert_eq!(again, note, "{text:?}");
        assert!(again.verify([signer.verifier()]).is_ok());
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let line = log("a", 1).sign("text\n").unwrap().format();
    let refused = |note: String| Note::parse(note.as_bytes()).unwrap_err();
    assert_eq!(refused(String::new()), NoteError::Unsigned);
    assert_eq!(refused("text\n".to_owned()), NoteError::Unsigned);
    assert_eq!(refused("text\n\n".to_owned()), NoteError::Unsigned);
    assert_eq!(refused(format!("text\n{line}\n")), NoteError::Unsigned);
    assert_eq!(refused(format!("text\n\n{line}")), NoteError::Unended);
    assert_eq!(refused(format!("text\r\n\n{line}\n")), NoteError::NotText);
    assert_eq!(
        refused(format!("text\n\n{line}\r\n")),
        NoteError::SignatureLine(format!("{line}\r").chars().take(80).collect())
    );
    assert_eq!(refused(format!("text\n\n{line}\n\n")), NoteError::Unsigned);
    assert_eq!(Note::parse(b"text\xff\n\n"), Err(NoteError::NotText));
    assert_eq!(Note::parse(&vec![b'\n'; NOTE_BYTES_MAX + 1]), Err(NoteError::TooLong(NOTE_BYTES_MAX + 1)));
    for bad in [
        "- a AAAAAAA=",
        "— a",
        "— a ",
        "—  AAAAAAA=",
        "— a  AAAAAAA=",
        "— a AAAAAAA= ",
        "— a AAAAAA==", // an id and nothing behind it
        "— a AAAAAAB=", // a stray bit
        "— a AAAAAAA",
        "— a+b AAAAAAA=",
        "— a\u{a0}b AAAAAAA=",
        "— a\u{3000}b AAAAAAA=",
    ] {
        assert_eq!(NoteSignature::parse(bad), Err(NoteError::SignatureLine(bad.to_owned())), "{bad:?}");
    }
    assert!(NoteSignature::parse("— 审计/一 AAAAAAA=").is_ok());
}

#[test]
fn what_is_no_verifier_key_is_refused() {
    let parse = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    let (name, rest) = SPEC_KEY.split_once('+').unwrap();
    assert!(matches!(parse(""), KeyError::Form(_)));
    assert!(matches!(parse(name), KeyError::Form(_)));
    assert!(matches!(parse(&format!("+{rest}")), KeyError::Name(_)));
    assert!(matches!(parse(&format!("a b+{rest}")), KeyError::Name(_)));
    assert!(matches!(parse(&format!("{}+{rest}", "n".repeat(256))), KeyError::Name(_)));
    assert!(matches!(parse(&format!("example.com/bar+{rest}")), KeyError::Id { .. }));
    assert!(matches!(parse(&SPEC_KEY.replace("530d903a", "530D903A")), KeyError::Form(_)));
    assert!(matches!(parse(&SPEC_KEY.replace("530d903a", "+30d903a")), KeyError::Form(_)));
    assert!(matches!(parse(&SPEC_KEY.replace("530d903a", "530d903")), KeyError::Form(_)));
    assert!(matches!(parse(&SPEC_KEY.replace("530d903a", "530d903b")), KeyError::Id { .. }));
    assert!(matches!(parse(&format!("{SPEC_KEY}=")), KeyError::Form(_)));
    assert!(matches!(parse("a+00000000+"), KeyError::Form(_)));
    assert!(matches!(parse("a+00000000+AQ=="), KeyError::Form(_)));
    assert_eq!(parse("a+00000000+Bg=="), KeyError::Kind { name: "a".to_owned(), kind: 6 });
    // A point of small order: anybody can sign for it.
    let mut small = [0; 32];
    small[0] = 1;
    let refused = VerifierKey::new("a", SignatureKind::Ed25519, &small).unwrap_err();
    assert!(matches!(refused, KeyError::Public { .. }));
}

#[test]
fn a_witness_and_a_log_with_the_same_bytes_have_different_ids() {
    let public = log("a", 1).verifier().public_bytes();
    let cosigner = VerifierKey::new("a", SignatureKind::CosignatureV1, &public).unwrap();
    assert_ne!(cosigner.id(), log("a", 1).verifier().id());
    assert_eq!(cosigner.to_string().parse::<VerifierKey>().unwrap(), cosigner);
}

#[test]
fn a_checkpoint_has_one_spelling() {
    let text = head(600).format();
    assert_eq!(Checkpoint::parse(&text).unwrap(), head(600));
    assert_eq!(Checkpoint::parse(&(text.clone() + "extension 1\nextension 2\n")).unwrap(), head(600));
    let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    for bad in [
        String::new(),
        "\n".to_owned(),
        text.trim_end().to_owned(),
        text.replace("600", "0600"),
        text.replace("600", "+600"),
        text.replace("600", ""),
        text.replace("600", "18446744073709551616"),
        text.replace(root, ""),
        text.replace(root, "AAAA"),
        format!("\n600\n{root}\n"),
        format!("gov.example\n600\n{root}\n\n"),
        format!("gov.example\n600\n{root}\n\nextension\n"),
        format!("gov.example\n{root}\n"),
    ] {
        assert!(matches!(Checkpoint::parse(&bad), Err(CheckpointError::Form(_))), "{bad:?}");
    }
    let huge = head(TREE_SIZE_MAX + 1).format();
    assert_eq!(Checkpoint::parse(&huge), Err(CheckpointError::TooLarge(TREE_SIZE_MAX + 1)));
}

#[test]
fn a_log_signs_only_its_own_checkpoints() {
    let signer = log("gov.example/tax/main", 1);
    let signed = SignedCheckpoint::sign(head(3), &signer).unwrap();
    let note = Note::parse(signed.note().format().as_bytes()).unwrap();
    assert_eq!(SignedCheckpoint::verify(note.clone(), [signer.verifier()]).unwrap(), signed);
    let other = CheckpointError::OtherOrigin { origin: "gov.example/tax/main".to_owned() };
    assert_eq!(SignedCheckpoint::sign(head(3), &log("gov.example/tax/other", 1)), Err(other.clone()));
    assert_eq!(SignedCheckpoint::verify(note.clone(), [log("other", 1).verifier()]), Err(other));
    let forged = SignedCheckpoint::verify(note, [log("gov.example/tax/main", 2).verifier()]);
    assert_eq!(forged, Err(VerifyError::NoneKnown.into()));
    for origin in ["", "a\nb", "a\0"] {
        let broken = Checkpoint { origin: origin.to_owned(), ..head(3) };
        assert!(
            matches!(SignedCheckpoint::sign(broken, &signer), Err(CheckpointError::Form(_))),
            "{origin:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_damaged_note_is_refused_or_written_back_as_it_was(bytes in damaged(vector("checkpoint-600.txt"))) {
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.format().into_bytes(), bytes);
            let _ = note.verify([&log_key(), &witness_key()]);
            let _ = SignedCheckpoint::verify(note, [&log_key()]);
        }
    }

    #[test]
    fn a_flipped_bit_in_the_text_is_never_verified(at in 0..79usize, bit in 0..8u8) {
        let mut bytes = vector("checkpoint-600.txt");
        bytes[at] ^= 1 << bit;
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert!(note.verify([&log_key()]).is_err());
            prop_assert!(note.verify([&witness_key()]).is_err());
        }
    }

    #[test]
    fn a_damaged_key_is_refused_or_another(bytes in damaged(SPEC_KEY.as_bytes().to_vec())) {
        if let Ok(Ok(key)) = std::str::from_utf8(&bytes).map(str::parse::<VerifierKey>) {
            prop_assert_eq!(key.to_string().into_bytes(), bytes);
        }
    }

    #[test]
    fn any_text_is_signed_and_verified(text in "([^\\x00-\\x1f]{0,40}\n){1,5}", time in 1..=COSIGNATURE_TIME_MAX) {
        let (signer, auditor) = (log("a", 1), witness("b", 2));
        let lines = vec![signer.sign(&text).unwrap(), auditor.cosign(&text, time).unwrap()];
        let note = Note::new(&text, lines).unwrap();
        let again = Note::parse(note.format().as_bytes()).unwrap();
        prop_assert_eq!(&again, &note);
        let verified = again.verify([signer.verifier(), auditor.verifier()]).unwrap();
        prop_assert_eq!(verified.iter().map(|signed| signed.time).collect::<Vec<_>>(), vec![None, Some(time)]);
    }

    #[test]
    fn any_checkpoint_is_read_as_it_was_written(
        origin in "[^\\x00-\\x1f]{1,40}", size in 0..=TREE_SIZE_MAX, root in any::<[u8; 32]>()
    ) {
        let checkpoint = Checkpoint { origin, size, root: Digest(root) };
        prop_assert_eq!(Checkpoint::parse(&checkpoint.format()).unwrap(), checkpoint);
    }
}
