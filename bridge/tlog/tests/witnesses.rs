//! What a log asks a witness: forms, the order of the checks, statuses.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod mutation;

use bridge_suite::{Digest, Role, SigningKey};
use bridge_tlog::{
    AddCheckpoint, AddCheckpointError, Checkpoint, EMPTY_ROOT, Frontier, Note, NoteSigner, ProofError,
    Refusal, SignedCheckpoint, VerifyError, consistency_proof, format_cosignatures, format_latest_size,
    leaf_hash, parse_cosignatures, parse_latest_size,
};
use mutation::{damaged, vector};
use proptest::prelude::*;

const ORIGIN: &str = "gov.example/tax/main";

fn log() -> NoteSigner {
    NoteSigner::log(ORIGIN, SigningKey::from_seed(Role::Log, [1; 32])).unwrap()
}

fn root(size: u64) -> Digest {
    let mut tree = Frontier::new();
    for i in 0..size {
        tree.append(leaf_hash(&i.to_be_bytes())).unwrap();
    }
    tree.root()
}

fn proof(old: u64, new: u64) -> Vec<Digest> {
    let subtree = |level: u8, index: u64| {
        let mut tree = Frontier::new();
        for i in index << level..(index + 1) << level {
            tree.append(leaf_hash(&i.to_be_bytes())).unwrap();
        }
        Ok::<_, ()>(tree.root())
    };
    consistency_proof(old, new, &subtree).unwrap()
}

fn head(size: u64, root: Digest) -> Checkpoint {
    Checkpoint { origin: ORIGIN.to_owned(), size, root }
}

fn request(old: u64, proof: Vec<Digest>, checkpoint: Checkpoint) -> AddCheckpoint {
    let signed = SignedCheckpoint::sign(checkpoint, &log()).unwrap();
    AddCheckpoint::new(old, proof, signed.into_note()).unwrap()
}

fn judge(request: &AddCheckpoint, latest: Option<&Checkpoint>) -> Result<(), (u16, Refusal)> {
    let read = AddCheckpoint::parse(request.format().as_bytes()).unwrap();
    assert_eq!(&read, request);
    let signed = read.judge([log().verifier()], latest).map_err(|refusal| (refusal.status(), refusal))?;
    assert_eq!(signed.checkpoint(), request.checkpoint());
    Ok(())
}

#[test]
fn a_log_that_grows_is_cosigned() {
    assert_eq!(judge(&request(0, vec![], head(0, EMPTY_ROOT)), None), Ok(()));
    assert_eq!(judge(&request(0, vec![], head(5, root(5))), None), Ok(()));
    assert_eq!(judge(&request(0, vec![], head(5, root(5))), Some(&head(0, EMPTY_ROOT))), Ok(()));
    assert_eq!(judge(&request(5, proof(5, 13), head(13, root(13))), Some(&head(5, root(5)))), Ok(()));
    assert_eq!(judge(&request(13, vec![], head(13, root(13))), Some(&head(13, root(13)))), Ok(()));
}

#[test]
fn each_refusal_has_the_status_of_the_specification() {
    let latest = head(5, root(5));
    let good = || request(5, proof(5, 13), head(13, root(13)));
    let refused = |request: &AddCheckpoint| judge(request, Some(&latest)).unwrap_err();

    let unknown = good().judge([], Some(&latest)).unwrap_err();
    assert_eq!((unknown.status(), &unknown), (404, &Refusal::UnknownOrigin(ORIGIN.to_owned())));
    let stranger = NoteSigner::log(ORIGIN, SigningKey::from_seed(Role::Log, [2; 32])).unwrap();
    let unsigned = good().judge([stranger.verifier()], Some(&latest)).unwrap_err();
    assert_eq!((unsigned.status(), unsigned), (403, Refusal::NotSigned(VerifyError::NoneKnown)));

    let above = refused(&request(14, vec![], head(13, root(13))));
    assert_eq!(above, (400, Refusal::OldAboveNew { old: 14, new: 13 }));
    for old in [0, 4, 6] {
        assert_eq!(refused(&request(old, vec![], head(13, root(13)))), (409, Refusal::OtherOldSize(5)));
    }
    let fork = refused(&request(5, proof(5, 13), head(13, root(12))));
    assert_eq!(fork, (422, Refusal::Inconsistent(ProofError::WrongRoot)));
    let same_size = refused(&request(5, vec![], head(5, root(4))));
    assert_eq!(same_size, (422, Refusal::Inconsistent(ProofError::WrongRoot)));
    let needless = refused(&request(5, vec![EMPTY_ROOT], head(5, root(5))));
    assert_eq!(needless, (422, Refusal::Inconsistent(ProofError::Length(1))));
    let first = judge(&request(0, vec![EMPTY_ROOT], head(13, root(13))), None).unwrap_err();
    assert_eq!(first, (422, Refusal::ProofFromNothing(1)));
    let empty = judge(&request(0, vec![], head(0, root(1))), None).unwrap_err();
    assert_eq!(empty, (422, Refusal::EmptyRoot));
    let unreadable: Refusal = AddCheckpoint::parse(b"").unwrap_err().into();
    assert_eq!(unreadable.status(), 400);
}

#[test]
fn the_signature_is_judged_before_the_sizes() {
    let stranger = NoteSigner::log(ORIGIN, SigningKey::from_seed(Role::Log, [2; 32])).unwrap();
    let wrong_in_all = request(14, vec![], head(13, root(12)));
    assert_eq!(wrong_in_all.judge([stranger.verifier()], None).unwrap_err().status(), 403);
}

#[test]
fn a_request_without_its_form_is_refused() {
    let good = request(5, proof(5, 13), head(13, root(13))).format();
    let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    for bad in [
        String::new(),
        "old 5\n".to_owned(),
        good.replace("old 5", "old 05"),
        good.replace("old 5", "old"),
        good.replace("old 5", "Old 5"),
        good.replace("old 5\n", "old 5\n\n"),
        good.replace("old 5\n", "old 5\nAAAA\n"),
        good.replace("old 5\n", &format!("old 5\n{}", hash.repeat(63))),
        good.trim_end().to_owned(),
        good.clone() + "\n",
        good.clone() + "more\n",
    ] {
        assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let most = good.replace("old 5\n", &format!("old 5\n{}", hash.repeat(63 - proof(5, 13).len())));
    assert!(AddCheckpoint::parse(most.as_bytes()).is_ok());
    let note = Note::parse(&vector("checkpoint-600.txt")).unwrap();
    let long = AddCheckpoint::new(0, vec![EMPTY_ROOT; 64], note);
    assert_eq!(long, Err(AddCheckpointError::Form("its proof has more than 63 hashes")));
    assert_eq!(AddCheckpoint::parse(&vec![b'a'; 100_000]), Err(AddCheckpointError::TooLong(100_000)));
}

#[test]
fn a_cosignature_travels_in_an_answer() {
    let auditor = NoteSigner::witness("audit", SigningKey::from_seed(Role::Witness, [2; 32])).unwrap();
    let mut signed = SignedCheckpoint::sign(head(13, root(13)), &log()).unwrap();
    let line = auditor.cosign(signed.note().text(), 99).unwrap();
    let body = format_cosignatures(&[line]);
    let answer = parse_cosignatures(body.as_bytes()).unwrap();
    assert_eq!(signed.add_cosignature(&answer, auditor.verifier()), Ok(99));
    assert!(signed.note().format().ends_with(&body));
    for bad in ["", "\n", "— audit AAAA", "ok\n"] {
        assert!(parse_cosignatures(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn the_size_of_a_conflict_has_one_spelling() {
    assert_eq!(parse_latest_size(format_latest_size(300).as_bytes()), Some(300));
    for bad in ["", "300", "300\n\n", "+300\n", "0300\n", "conflict\n", "300\r\n"] {
        assert_eq!(parse_latest_size(bad.as_bytes()), None, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn a_damaged_request_is_refused_or_written_back_as_it_was(
        bytes in damaged(request(5, proof(5, 13), head(13, root(13))).format().into_bytes())
    ) {
        if let Ok(request) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(request.format().into_bytes(), bytes);
            // Whatever was damaged, only the tree that the log signed is cosigned.
            if let Ok(signed) = request.judge([log().verifier()], Some(&head(5, root(5)))) {
                prop_assert_eq!(signed.checkpoint(), &head(13, root(13)));
            }
        }
    }

    #[test]
    fn a_damaged_answer_never_panics(bytes in damaged(vector("checkpoint-600.txt")[81..].to_vec())) {
        let _ = parse_cosignatures(&bytes);
        let _ = parse_latest_size(&bytes);
    }
}
