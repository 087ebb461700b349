//! What other rooms rely on: whose key may have signed what, which witnesses count, and how versions come about.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

mod province;

use bridge_envelope::Signers;
use bridge_event::LogIndex;
use bridge_suite::{Algorithm, Role, sha256};
use bridge_trust::{Anchor, Ballot, PolicyError, Problem, SignError, Trust, TrustError, Warning, is_signed};
use province::*;

fn trust() -> Trust {
    let text = first().text().unwrap();
    Trust::verify(sign(&text, &["a", "b"]).as_bytes(), Anchor::Pinned(sha256(&[text.as_bytes()]))).unwrap()
}

#[test]
fn a_signing_key_is_valid_for_its_range_of_its_log_only() {
    let first = trust();
    let tax = department("tax");
    let mut draft = bridge_trust::Draft::after(&first).unwrap();
    draft.end_signing(&tax, &signing("tax").to_string(), LogIndex(10)).unwrap();
    let new = line(Role::Signing, "signing/tax/2", "tax");
    draft.add_signing(&tax, &new.to_string(), &origin("tax"), LogIndex(10)).unwrap();
    let note = sign(&draft.text().unwrap(), &["b", "c"]);
    let trust = Trust::verify(note.as_bytes(), Anchor::Previous(&first)).unwrap();

    let old = signing("tax").id();
    let valid = |id, origin_of: &str, index| {
        trust.signing_key_valid_at(&tax, &id, &origin(origin_of), LogIndex(index))
    };
    assert!(valid(old, "tax", 0) && valid(old, "tax", 9));
    assert!(!valid(old, "tax", 10) && !valid(new.id(), "tax", 9));
    assert!(valid(new.id(), "tax", 10) && valid(new.id(), "tax", u64::MAX));
    assert!(!valid(new.id(), "education", 10), "another department's log");
    assert!(!trust.signing_key_valid_at(&department("education"), &new.id(), &origin("tax"), LogIndex(10)));
    assert!(!valid(signing("education").id(), "tax", 0));
    assert_eq!(trust.signers(), [root_name("b"), root_name("c")]);
    assert_eq!(trust.remembered().version, 2);
}

#[test]
fn signers_are_a_departments_own_signing_and_operator_keys() {
    let trust = trust();
    let signers: &dyn Signers = &trust;
    let tax = department("tax");
    let operator = line(Role::Operator, "operator/tax", "tax").id();
    assert_eq!(signers.signing_key(&tax, &signing("tax").id()).unwrap().role(), Role::Signing);
    assert_eq!(signers.signing_key(&tax, &operator).unwrap().role(), Role::Operator);
    assert!(signers.signing_key(&tax, &signing("education").id()).is_none());
    assert!(signers.signing_key(&department("audit"), &signing("tax").id()).is_none());
    assert!(signers.signing_key(&department("nobody"), &signing("tax").id()).is_none());
    assert_eq!(signers.required(), [Algorithm::Ed25519]);
    assert_eq!(trust.operator(&tax, &operator).unwrap().id(), operator);
}

#[test]
fn the_newest_recipient_key_is_the_last_one() {
    let first = trust();
    let tax = department("tax");
    let mut draft = bridge_trust::Draft::after(&first).unwrap();
    let new = line(Role::Recipient, "recipient/tax/2", "tax");
    draft.add_recipient(&tax, &new.to_string()).unwrap();
    let note = sign(&draft.text().unwrap(), &["a", "b"]);
    let trust = Trust::verify(note.as_bytes(), Anchor::Previous(&first)).unwrap();
    assert_eq!(trust.recipient_key(&tax).unwrap().id(), new.id());
    assert_eq!(trust.recipient_keys(&tax).len(), 2);
    assert!(trust.recipient_key(&department("audit")).is_none());
}

#[test]
fn a_log_owners_own_witness_counts_for_none_of_its_logs() {
    let policy = trust().policy_for(&origin("tax")).unwrap();
    let names: Vec<String> = policy.witnesses().iter().map(|w| w.key.name().to_owned()).collect();
    assert_eq!(names, ["social-security", "education", "audit"].map(witness_name));
    assert!(policy.reaches_quorum(|_| true));
    assert!(!policy.reaches_quorum(|witness| witness.key.name() != witness_name("audit")), "two of three");
    assert_eq!(policy.logs().len(), 1);
}

#[test]
fn a_witness_that_does_not_check_does_not_count() {
    let checking = "vkey = \"".to_owned()
        + &witness_vkey("audit")
        + "\"\nurl = \"https://witness.audit.gov.example/\"\nchecking = ";
    let text = first().text().unwrap();
    let silent = text.replacen(&(checking.clone() + "true"), &(checking + "false"), 1);
    assert_ne!(text, silent);
    let problems = bridge_trust::Terms::parse(&silent).unwrap_err();
    assert_eq!(problems.len(), 3, "for each log only two others count: {problems:?}");
    assert!(problems.iter().all(|problem| problem.code() == "TRU018"));
}

#[test]
fn a_log_without_entry_or_policy_has_no_policy() {
    let unknown = "gov.example/tax/second".parse().unwrap();
    assert_eq!(trust().policy_for(&unknown).unwrap_err(), PolicyError::UnknownLog(unknown));
    let text = first().text().unwrap().replacen("[policy]\nquorum = 3\nliars = 1\n", "", 1);
    let note = sign(&text, &["a", "b"]);
    let trust = Trust::verify(note.as_bytes(), Anchor::Pinned(sha256(&[text.as_bytes()]))).unwrap();
    assert_eq!(trust.policy_for(&origin("tax")).unwrap_err().code(), "TRU022");
    assert!(trust.terms().warnings().contains(&Warning::NoPolicy));
}

#[test]
fn all_problems_of_a_file_are_found_at_once() {
    let text = first().text().unwrap().replacen("threshold = 2", "threshold = 9", 1).replacen(
        "from_index = 0",
        "from_index = 1\nuntil_index = 1",
        1,
    );
    let problems = bridge_trust::Terms::parse(&text).unwrap_err();
    let codes: Vec<&str> = problems.iter().map(Problem::code).collect();
    assert_eq!(codes, ["TRU016", "TRU015"]);
}

#[test]
fn what_is_allowed_and_unwise_is_warned_of() {
    assert_eq!(first().terms().unwrap().warnings(), []);
    let mut draft = first();
    draft.set_policy(2, 0);
    draft.set_threshold(1);
    draft.add_department(&department("health"), "卫生健康委员会").unwrap();
    draft
        .add_signing(&department("health"), &signing("health").to_string(), &origin("health"), LogIndex(0))
        .unwrap();
    let warnings = draft.terms().unwrap().warnings();
    let health = department("health");
    let expected = [
        Warning::NoLiars,
        Warning::OneRootEnough,
        Warning::NoLog { department: health.clone(), origin: origin("health") },
        Warning::NoRecipient(health.clone()),
        Warning::NoOperator(health),
    ];
    assert_eq!(warnings, expected);
    draft.set_threshold(3);
    assert!(draft.terms().unwrap().warnings().contains(&Warning::EveryRootNeeded(3)));
}

#[test]
fn a_ballot_takes_root_signatures_until_there_are_enough() {
    let text = first().text().unwrap();
    assert!(!is_signed(text.as_bytes()));
    let mut ballot = Ballot::open(text.as_bytes(), None).unwrap();
    let once = ballot.sign(&root("c")).unwrap();
    assert!(is_signed(once.as_bytes()) && !ballot.is_complete());
    let refused = Trust::verify(once.as_bytes(), Anchor::Pinned(sha256(&[text.as_bytes()]))).unwrap_err();
    assert_eq!(refused, TrustError::TooFewSignatures { found: 1, needed: 2 });

    let mut ballot = Ballot::open(once.as_bytes(), None).unwrap();
    assert_eq!(ballot.sign(&root("c")).unwrap_err(), SignError::SignedAlready(root_name("c")));
    assert_eq!(ballot.sign(&root("x")).unwrap_err().code(), "TRU023");
    let twice = ballot.sign(&root("a")).unwrap();
    assert!(ballot.is_complete());
    let trust = Trust::verify(twice.as_bytes(), Anchor::Pinned(sha256(&[text.as_bytes()]))).unwrap();
    assert_eq!(trust.signers(), [root_name("a"), root_name("c")]);
}

#[test]
fn a_later_version_is_signed_by_the_roots_before_it() {
    let first = trust();
    let mut draft = bridge_trust::Draft::after(&first).unwrap();
    draft.add_root(&root_vkey("new")).unwrap();
    let text = draft.text().unwrap();
    assert!(Ballot::open(text.as_bytes(), None).is_err(), "version 2 needs version 1");
    let mut ballot = Ballot::open(text.as_bytes(), Some(&first)).unwrap();
    assert_eq!(ballot.sign(&root("new")).unwrap_err().code(), "TRU023");
    ballot.sign(&root("a")).unwrap();
    let note = ballot.sign(&root("b")).unwrap();
    let second = Trust::verify(note.as_bytes(), Anchor::Previous(&first)).unwrap();
    assert_eq!(second.terms().roots().len(), 4);
    assert_eq!(second.terms().previous(), Some(first.digest()));
    let again = Trust::verify(note.as_bytes(), Anchor::Previous(&second)).unwrap();
    assert_eq!(again.digest(), second.digest());
}

#[test]
fn edits_that_do_not_fit_change_nothing() {
    let mut draft = first();
    let before = draft.clone();
    let tax = department("tax");
    assert!(draft.add_department(&tax, "again").is_err());
    assert!(draft.add_root(&root_vkey("a")).is_err());
    assert!(draft.add_signing(&tax, &signing("tax").to_string(), &origin("tax"), LogIndex(5)).is_err());
    assert!(draft.add_recipient(&department("nobody"), &recipient("tax").to_string()).is_err());
    assert!(draft.end_signing(&tax, "no such key", LogIndex(5)).is_err());
    assert!(draft.remove("no such key").is_err());
    assert!(draft.remove(&signing("tax").to_string()).is_err(), "signing keys are ended, not removed");
    assert_eq!(draft, before);
    draft.remove(&witness_vkey("audit")).unwrap();
    assert_eq!(draft.terms().unwrap_err().first().unwrap().code(), "TRU018");
}

#[test]
fn a_draft_is_read_back_as_it_was_written() {
    let text = first().text().unwrap();
    let back = bridge_trust::Draft::parse(&text).unwrap();
    assert_eq!(back, first());
    assert_eq!(back.text().unwrap(), text);
}

#[test]
fn rubbish_is_refused_and_nothing_panics() {
    let good = sign(&first().text().unwrap(), &["a", "b"]).into_bytes();
    let pin = trust().digest();
    for step in 0..good.len() {
        let mut bad = good.clone();
        bad[step] ^= 1;
        assert!(Trust::verify(&bad, Anchor::Pinned(pin)).is_err(), "byte {step}");
        assert!(Trust::verify(&good[..step], Anchor::Pinned(pin)).is_err(), "cut at {step}");
    }
    assert!(Trust::verify(&vec![b'['; 200_000], Anchor::Pinned(pin)).is_err());
    let deep = format!("govbridge_trust = 1\nx = {}\n", "[".repeat(20_000));
    assert!(bridge_trust::Terms::parse(&deep).is_err());
}
