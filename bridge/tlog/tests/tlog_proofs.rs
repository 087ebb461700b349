//! Proof files: one that other tools made, and what is wrong with its neighbours.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod mutation;

use bridge_suite::Digest;
use bridge_tlog::{
    Cosigned, EMPTY_ROOT, Note, Policy, ProofError, TLOG_PROOF_BYTES_MAX, TlogProof, TlogProofError,
    leaf_hash, verify_inclusion,
};
use mutation::{damaged, vector};
use proptest::prelude::*;

const FILE: &str = "leaf-4242.tlog-proof";

fn file() -> TlogProof {
    TlogProof::parse(&vector(FILE)).unwrap()
}

fn policy() -> Policy {
    Policy::parse(&vector("policy.txt")).unwrap()
}

fn leaf() -> Digest {
    leaf_hash(&vector("leaf-4242.bin"))
}

#[test]
fn the_proof_of_another_tool_holds() {
    let proof = file();
    assert_eq!((proof.index(), proof.hashes().len(), proof.extra()), (4242, 17, None));
    assert_eq!(proof.format().into_bytes(), vector(FILE));
    let standing = proof.verify(&leaf(), &policy()).unwrap();
    assert_eq!((standing.checkpoint.size, standing.signed_by_log, standing.quorum), (70_000, true, true));
    assert_eq!(standing.cosigned, [Cosigned { witness: "w1".to_owned(), time: 0x6b00_ea6e }]);
}

#[test]
fn another_leaf_or_index_is_refused() {
    let wrong = Err(TlogProofError::Inclusion(ProofError::WrongRoot));
    let mut entry = vector("leaf-4242.bin");
    entry[0] ^= 1;
    assert_eq!(file().verify(&leaf_hash(&entry), &policy()), wrong);
    let at = |index| TlogProof::new(index, file().hashes().to_vec(), file().note().clone()).unwrap();
    for index in [0, 4241, 4243, 69_999] {
        assert!(matches!(at(index).verify(&leaf(), &policy()), Err(TlogProofError::Inclusion(_))));
    }
    let outside = ProofError::OutsideTree { index: 70_000, size: 70_000 };
    assert_eq!(at(70_000).verify(&leaf(), &policy()), Err(outside.into()));
    assert!(at(4242).verify(&leaf(), &policy()).is_ok());
}

#[test]
fn each_flipped_bit_of_the_path_is_refused() {
    let (leaf, file) = (leaf(), file());
    for hash in 0..17 {
        for bit in 0..256 {
            let mut hashes = file.hashes().to_vec();
            hashes[hash].0[bit / 8] ^= 1 << (bit % 8);
            let checkpoint = file.checkpoint();
            let verdict = verify_inclusion(&leaf, 4242, checkpoint.size, &checkpoint.root, &hashes);
            assert_eq!(verdict, Err(ProofError::WrongRoot));
        }
    }
}

#[test]
fn a_proof_without_its_quorum_is_logged_and_not_witnessed() {
    let whole = file();
    let log_only = Note::new(whole.note().text(), whole.note().signatures()[..1].to_vec()).unwrap();
    let proof = TlogProof::new(4242, whole.hashes().to_vec(), log_only).unwrap();
    assert!(matches!(proof.verify(&leaf(), &policy()), Err(TlogProofError::NoQuorum(_))));
    let standing = proof.verify_logged(&leaf(), &policy()).unwrap();
    assert!(standing.signed_by_log && !standing.quorum);
    let witness_only = Note::new(whole.note().text(), whole.note().signatures()[1..].to_vec()).unwrap();
    let proof = TlogProof::new(4242, whole.hashes().to_vec(), witness_only).unwrap();
    assert!(matches!(proof.verify_logged(&leaf(), &policy()), Err(TlogProofError::Evaluate(_))));
    let no_log = Policy::parse(&vector("witness-policy.txt")).unwrap();
    assert_eq!(whole.verify(&leaf(), &no_log), Err(TlogProofError::NoLog));
}

#[test]
fn extra_bytes_are_carried_and_prove_nothing() {
    for extra in [vec![], b"row 7".to_vec()] {
        let proof = file().with_extra(extra.clone()).unwrap();
        let again = TlogProof::parse(proof.format().as_bytes()).unwrap();
        assert_eq!(again.extra(), Some(extra.as_slice()));
        assert!(again.verify(&leaf(), &policy()).is_ok());
    }
    assert!(file().with_extra(vec![0; 65_537]).is_err());
    let most = file().with_extra(vec![0; 65_536]).unwrap().format();
    assert!(TlogProof::parse(most.as_bytes()).is_ok());
}

#[test]
fn a_file_without_its_form_is_refused() {
    let good = String::from_utf8(vector(FILE)).unwrap();
    for bad in [
        String::new(),
        good.replace("@v1", "@v2"),
        good.replace("c2sp.org/tlog-proof@v1\n", ""),
        good.replace("index 4242\n", ""),
        good.replace("index 4242", "index 04242"),
        good.replace("index 4242", "index -1"),
        good.replace("index 4242\n", "index 4242\nextra AAAA\n"),
        good.replace("index 4242\n", "extra AAA\nindex 4242\n"),
        good.replace("index 4242\n", "extra AAAA\nextra AAAA\nindex 4242\n"),
        good.replace("index 4242\n", "index 4242\n\n"),
        good.replace("index 4242\n", "index 4242\nAAAA\n"),
        good.replace('\n', "\r\n"),
        good.trim_end().to_owned(),
        good.clone() + "more\n",
    ] {
        assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let long = vec![b'a'; TLOG_PROOF_BYTES_MAX + 1];
    assert_eq!(TlogProof::parse(&long), Err(TlogProofError::TooLong(TLOG_PROOF_BYTES_MAX + 1)));
    let hashes = TlogProof::new(0, vec![EMPTY_ROOT; 64], file().note().clone());
    assert_eq!(hashes, Err(TlogProofError::Form("it has more than 63 hashes")));
}

proptest! {
    #[test]
    fn a_damaged_file_is_refused_or_written_back_as_it_was(bytes in damaged(vector(FILE))) {
        if let Ok(proof) = TlogProof::parse(&bytes) {
            let written = proof.format().into_bytes();
            prop_assert_eq!(&written, &bytes);
            if let Ok(standing) = proof.verify(&leaf(), &policy()) {
                // What still holds has its meaning unchanged: damage was in lines of nobody's key.
                prop_assert_eq!((proof.index(), standing.checkpoint.size), (4242, 70_000));
            }
        }
    }
}
