//! Policies: files of other tools, rules of form with their lines, and who is enough.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod mutation;

use std::fmt::Write;

use bridge_suite::{Role, SigningKey};
use bridge_tlog::{
    Checkpoint, CheckpointError, Cosigned, EMPTY_ROOT, EvaluateError, Note, NoteSignature, NoteSigner,
    POLICY_BYTES_MAX, Policy, PolicyError, PolicyFault, VerifyError,
};
use mutation::{damaged, vector};
use proptest::prelude::*;

const ORIGIN: &str = "gov.example/tax/main";

fn log(name: &str, seed: u8) -> NoteSigner {
    NoteSigner::log(name, SigningKey::from_seed(Role::Log, [seed; 32])).unwrap()
}

fn witness(number: u8) -> NoteSigner {
    let key = SigningKey::from_seed(Role::Witness, [100 + number; 32]);
    NoteSigner::witness(&format!("gov.example/w{number}"), key).unwrap()
}

fn text() -> String {
    Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: EMPTY_ROOT }.format()
}

/// A checkpoint under its log's signature and these witnesses', each at the time 1000 + its number.
fn cosigned_by(witnesses: &[u8]) -> Note {
    let mut lines = vec![log(ORIGIN, 1).sign(&text()).unwrap()];
    lines.extend(witnesses.iter().map(|number| cosignature(*number)));
    Note::new(&text(), lines).unwrap()
}

fn cosignature(number: u8) -> NoteSignature {
    witness(number).cosign(&text(), 1_000 + u64::from(number)).unwrap()
}

/// A policy of one log and four witnesses, ending with these lines; the first of them is line 6.
fn policy_text(rest: &str) -> String {
    let mut text = format!("log {}\n", log(ORIGIN, 1).verifier());
    for number in 1..=4 {
        writeln!(text, "witness w{number} {}", witness(number).verifier()).unwrap();
    }
    text + rest
}

fn policy(rest: &str) -> Policy {
    Policy::parse(policy_text(rest).as_bytes()).unwrap()
}

fn fault(rest: &str) -> (usize, PolicyFault) {
    match Policy::parse(policy_text(rest).as_bytes()) {
        Err(PolicyError::Line { line, fault }) => (line, fault),
        other => panic!("{rest:?}: {other:?}"),
    }
}

#[test]
fn the_policy_of_other_tools_is_reached_by_their_checkpoints() {
    let policy = Policy::parse(&vector("policy.txt")).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len(), policy.groups().len()), (1, 1, 0));
    assert_eq!(policy.quorum(), Some("w1"));
    for (file, size, time) in
        [("checkpoint-600.txt", 600, 0x6b00_eb76), ("checkpoint-70000-log-signed.txt", 70_000, 0x6b00_ea6e)]
    {
        let standing = policy.evaluate(&Note::parse(&vector(file)).unwrap()).unwrap();
        assert_eq!(standing.checkpoint.size, size);
        assert_eq!(standing.cosigned, [Cosigned { witness: "w1".to_owned(), time }]);
        assert!(standing.signed_by_log && standing.quorum);
    }
}

#[test]
fn a_checkpoint_without_its_witness_is_signed_and_no_more() {
    let policy = Policy::parse(&vector("policy.txt")).unwrap();
    let whole = Note::parse(&vector("checkpoint-600.txt")).unwrap();
    let (log_only, witness_only) = (whole.signatures()[..1].to_vec(), whole.signatures()[1..].to_vec());
    let standing = policy.evaluate(&Note::new(whole.text(), log_only).unwrap()).unwrap();
    assert!(standing.signed_by_log && !standing.quorum && standing.cosigned.is_empty());
    let origin = "ledger.gov.example/prov/2026".to_owned();
    let unsigned = policy.evaluate(&Note::new(whole.text(), witness_only.clone()).unwrap());
    assert_eq!(unsigned, Err(EvaluateError::NotSignedByLog { origin }));
    // A policy without logs is for callers who know the log; it looks at witnesses alone, and says so.
    let witnesses = Policy::parse(&vector("witness-policy.txt")).unwrap();
    assert_eq!(witnesses.witnesses()[0].url.as_deref(), Some("http://127.0.0.1:17383/"));
    let standing = witnesses.evaluate(&Note::new(whole.text(), witness_only).unwrap()).unwrap();
    assert!(!standing.signed_by_log && standing.quorum);
}

#[test]
fn enough_witnesses_reach_the_quorum() {
    type Signed<'a> = &'a [&'a [u8]];
    let cases: [(&str, Signed, Signed); 6] = [
        ("quorum none\n", &[&[], &[1]], &[]),
        ("quorum w2\n", &[&[2], &[1, 2]], &[&[], &[1, 3, 4]]),
        ("group g any w1 w2\nquorum g\n", &[&[1], &[2], &[1, 2]], &[&[], &[3, 4]]),
        ("group g all w1 w2\nquorum g\n", &[&[1, 2], &[1, 2, 3]], &[&[], &[1], &[2], &[1, 3]]),
        ("group g 3 w1 w2 w3 w4\nquorum g\n", &[&[1, 2, 3], &[2, 3, 4], &[1, 2, 3, 4]], &[&[1, 2], &[4]]),
        (
            "group a any w1 w2\ngroup b 1 w3\ngroup g all a b\nquorum g\n",
            &[&[1, 3], &[2, 3], &[1, 2, 3, 4]],
            &[&[1, 2], &[3], &[3, 4]],
        ),
    ];
    for (rest, enough, too_few) in cases {
        let policy = policy(rest);
        for (signed, wanted) in
            enough.iter().map(|signed| (signed, true)).chain(too_few.iter().map(|s| (s, false)))
        {
            let standing = policy.evaluate(&cosigned_by(signed)).unwrap();
            assert_eq!(standing.quorum, wanted, "{rest:?} {signed:?}");
            let names: Vec<Cosigned> = signed
                .iter()
                .map(|number| Cosigned { witness: format!("w{number}"), time: 1_000 + u64::from(*number) })
                .collect();
            assert_eq!(standing.cosigned, names);
        }
    }
}

#[test]
fn a_caller_can_leave_a_witness_out_of_the_count() {
    let policy = policy("group g 2 w1 w2 w3\nquorum g\n");
    let standing = policy.evaluate(&cosigned_by(&[1, 2])).unwrap();
    assert!(standing.quorum);
    let counted = |name: &str| standing.cosigned.iter().any(|signed| signed.witness == name);
    assert!(policy.reaches_quorum(|witness| counted(&witness.name)));
    assert!(!policy.reaches_quorum(|witness| counted(&witness.name) && witness.name != "w1"));
}

#[test]
fn a_stranger_does_not_count_and_a_liar_rejects_the_checkpoint() {
    let policy = policy("group g any w1 w2\nquorum g\n");
    let mut note = cosigned_by(&[9]);
    let standing = policy.evaluate(&note).unwrap();
    assert!(!standing.quorum && standing.cosigned.is_empty());
    note.add(cosignature(1)).unwrap();
    assert!(policy.evaluate(&note).unwrap().quorum);
    note.add(witness(2).cosign("another text\n", 5).unwrap()).unwrap();
    let invalid = VerifyError::Invalid { name: "gov.example/w2".to_owned(), id: witness(2).verifier().id() };
    assert_eq!(policy.evaluate(&note), Err(EvaluateError::Verify(invalid)));
}

#[test]
fn a_checkpoint_of_another_origin_is_refused() {
    let policy = policy("quorum none\n");
    let other = Checkpoint { origin: "gov.example/tax/other".to_owned(), size: 7, root: EMPTY_ROOT };
    let lines = vec![log(ORIGIN, 1).sign(&other.format()).unwrap()];
    let refused = CheckpointError::OtherOrigin { origin: other.origin.clone() };
    let evaluated = policy.evaluate(&Note::new(&other.format(), lines).unwrap());
    assert_eq!(evaluated, Err(EvaluateError::Checkpoint(refused)));
    let no_checkpoint = Note::new("text\n", vec![log(ORIGIN, 1).sign("text\n").unwrap()]).unwrap();
    assert!(matches!(policy.evaluate(&no_checkpoint), Err(EvaluateError::Checkpoint(_))));
    // Another log of the same policy cannot sign for this one.
    let two = policy_text("quorum none\n") + &format!("log {}\n", log("gov.example/tax/other", 2).verifier());
    let two = Policy::parse(two.as_bytes()).unwrap();
    let swapped = Note::new(&text(), vec![log("gov.example/tax/other", 2).sign(&text()).unwrap()]).unwrap();
    assert_eq!(two.evaluate(&swapped), Err(EvaluateError::NotSignedByLog { origin: ORIGIN.to_owned() }));
}

#[test]
fn comments_tabs_and_empty_lines_mean_nothing() {
    let mut text = b"\n# comment in another encoding: \xff\xfe\n \t# indented\n\t\n".to_vec();
    text.extend_from_slice(policy_text("\tgroup  g\tany w1   w2\t\n  quorum\t g \n").as_bytes());
    let read = Policy::parse(&text).unwrap();
    assert_eq!(read, policy("group g any w1 w2\nquorum g\n"));
}

#[test]
fn forty_logs_witnesses_and_groups_are_read_and_evaluated() {
    let mut text = String::new();
    for number in 1..=40u8 {
        let name = if number == 40 { ORIGIN.to_owned() } else { format!("gov.example/tax/{number}") };
        let seed = if number == 40 { 1 } else { 50 + number };
        writeln!(text, "log {} https://log{number}.example/", log(&name, seed).verifier()).unwrap();
        writeln!(text, "witness w{number} {}", witness(number).verifier()).unwrap();
        let below = if number > 1 { format!("g{}", number - 1) } else { String::new() };
        writeln!(text, "group g{number} all w{number} {below}").unwrap();
    }
    text += "quorum g40\n";
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len(), policy.groups().len()), (40, 40, 40));
    let all: Vec<u8> = (1..=40).collect();
    assert!(policy.evaluate(&cosigned_by(&all)).unwrap().quorum);
    assert!(!policy.evaluate(&cosigned_by(&all[1..])).unwrap().quorum);
}

#[test]
fn a_group_that_contains_itself_is_refused() {
    let fault_of = fault;
    assert_eq!(fault_of("group g any w1 g\nquorum g\n"), (6, PolicyFault::Cycle("g".to_owned())));
    let later = PolicyFault::Later { name: "b".to_owned(), line: 7 };
    assert_eq!(fault_of("group a any w1 b\ngroup b any w2 a\nquorum a\n"), (6, later));
    let later = PolicyFault::Later { name: "g".to_owned(), line: 7 };
    assert_eq!(fault_of("quorum g\ngroup g any w1\n"), (6, later));
}

#[test]
fn a_name_that_nothing_defines_is_refused() {
    assert_eq!(fault("group g any w1 w5\nquorum g\n"), (6, PolicyFault::Unknown("w5".to_owned())));
    assert_eq!(fault("\n# x\nquorum w5\n"), (8, PolicyFault::Unknown("w5".to_owned())));
    assert_eq!(fault("group g any none\nquorum g\n"), (6, PolicyFault::Reserved));
    assert_eq!(fault("group none any w1\nquorum none\n"), (6, PolicyFault::Reserved));
    // Names are bytes: the Kelvin sign is not a K.
    let kelvin = policy_text("").replace("witness w1 ", "witness \u{212a} ") + "quorum K\n";
    let unknown = PolicyFault::Unknown("K".to_owned());
    assert_eq!(Policy::parse(kelvin.as_bytes()), Err(PolicyError::Line { line: 6, fault: unknown }));
}

#[test]
fn a_member_of_two_groups_is_refused() {
    let second = |name: &str, first| PolicyFault::SecondGroup { name: name.to_owned(), first };
    assert_eq!(fault("group a any w1\ngroup b any w2 w1\nquorum b\n"), (7, second("w1", 6)));
    assert_eq!(fault("group a 2 w1 w1\nquorum a\n"), (6, second("w1", 6)));
    assert_eq!(fault("group a any w1\ngroup b any a\ngroup c any a\nquorum c\n"), (8, second("a", 7)));
}

#[test]
fn one_quorum_line_is_needed_and_no_more() {
    assert_eq!(fault("quorum w1\nquorum w1\n"), (7, PolicyFault::SecondQuorum(6)));
    assert_eq!(fault("quorum none\n\nquorum w1\n"), (8, PolicyFault::SecondQuorum(6)));
    assert_eq!(Policy::parse(policy_text("").as_bytes()), Err(PolicyError::NoQuorum));
    assert_eq!(Policy::parse(b""), Err(PolicyError::NoQuorum));
    assert!(Policy::parse(b"quorum none\n").is_ok());
}

#[test]
fn a_threshold_is_between_one_and_all() {
    for bad in ["0", "3", "-1", "+1", "01", "some", "18446744073709551616"] {
        let threshold = PolicyFault::Threshold { threshold: bad.to_owned(), members: 2 };
        assert_eq!(fault(&format!("group g {bad} w1 w2\nquorum g\n")), (6, threshold));
    }
    assert_eq!(policy("group g all w1 w2\nquorum g\n").groups()[0].threshold, 2);
}

#[test]
fn a_name_or_a_key_is_defined_once() {
    let duplicate = |name: &str, first| PolicyFault::DuplicateName { name: name.to_owned(), first };
    let fresh = witness(5).verifier().to_string();
    assert_eq!(fault(&format!("witness w1 {fresh}\n")), (6, duplicate("w1", 2)));
    assert_eq!(fault("group w1 any w2\n"), (6, duplicate("w1", 2)));
    assert_eq!(fault("group g any w1\ngroup g any w2\n"), (7, duplicate("g", 6)));
    let same_key = |name: &str, first| PolicyFault::DuplicateKey { name: name.to_owned(), first };
    let again = witness(1).verifier().to_string();
    assert_eq!(fault(&format!("witness w5 {again}\n")), (6, same_key("gov.example/w1", 2)));
    assert_eq!(fault(&format!("log {}\n", log("other", 1).verifier())), (6, same_key("other", 1)));
    // The log's key as a witness under another name.
    let as_witness = NoteSigner::witness("w", SigningKey::from_seed(Role::Witness, [1; 32])).unwrap();
    assert_eq!(fault(&format!("witness w5 {}\n", as_witness.verifier())), (6, same_key("w", 1)));
}

#[test]
fn a_line_of_another_form_is_refused() {
    let log_key = log("other", 9).verifier().to_string();
    let witness_key = witness(9).verifier().to_string();
    for (line, form) in [
        ("log", "log <vkey> [<url>]"),
        (&format!("log {log_key} url more"), "log <vkey> [<url>]"),
        ("witness w9", "witness <name> <vkey> [<url>]"),
        (&format!("witness w9 {witness_key} url more"), "witness <name> <vkey> [<url>]"),
        ("group g", "group <name> all|any|<k> <member>..."),
        ("group g any", "group <name> all|any|<k> <member>..."),
        ("quorum", "quorum <witness or group>|none"),
        ("quorum w1 w2", "quorum <witness or group>|none"),
    ] {
        assert_eq!(fault(&format!("{line}\n")), (6, PolicyFault::Form(form)), "{line}");
    }
    assert_eq!(fault("Log x\n"), (6, PolicyFault::Word("Log".to_owned())));
    assert_eq!(fault("quorum none # why\n"), (6, PolicyFault::Form("quorum <witness or group>|none")));
    assert!(matches!(fault("log x\n"), (6, PolicyFault::Key(_))));
    let kind = fault(&format!("log {witness_key}\n"));
    assert!(matches!(kind, (6, PolicyFault::KeyKind { wanted: "log", kind: 1, .. })));
    let kind = fault(&format!("witness w9 {log_key}\n"));
    assert!(matches!(kind, (6, PolicyFault::KeyKind { wanted: "witness", kind: 4, .. })));
    assert_eq!(fault("quorum none"), (6, PolicyFault::Unended));
    assert_eq!(fault("quorum none\r\n"), (6, PolicyFault::NotText));
    assert_eq!(fault("quorum w\x7f\n"), (6, PolicyFault::NotText));
    let no_break_space = fault("quorum\u{a0}none\n");
    assert_eq!(no_break_space, (6, PolicyFault::Word("quorum\u{a0}none".to_owned())));
    let long = vec![b'#'; POLICY_BYTES_MAX + 1];
    assert_eq!(Policy::parse(&long), Err(PolicyError::TooLong(POLICY_BYTES_MAX + 1)));
}

#[test]
fn an_error_says_the_line_and_what_to_do() {
    let error = Policy::parse(policy_text("quorum w5\n").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "policy, line 6: \"w5\" is not defined; define it on a line above");
}

proptest! {
    #[test]
    fn a_damaged_policy_never_panics_and_never_needs_less(
        bytes in damaged(policy_text("group a all w1 w2\ngroup b any w3 w4\ngroup g all a b\nquorum g\n").into_bytes())
    ) {
        if let Ok(policy) = Policy::parse(&bytes) {
            let nobody = policy.reaches_quorum(|_| false);
            prop_assert_eq!(nobody, policy.quorum().is_none());
            prop_assert!(policy.reaches_quorum(|_| true));
            let _ = policy.evaluate(&cosigned_by(&[1, 3]));
        }
    }

    #[test]
    fn one_more_witness_never_loses_the_quorum(
        first in 1..=3usize, second in 1..=2usize, top in 1..=2usize, signed in 0..32u8, more in 0..5u8
    ) {
        let mut text = policy_text(&format!("witness w5 {}\n", witness(5).verifier()));
        write!(text, "group a {first} w1 w2 w3\ngroup b {second} w4 w5\ngroup g {top} a b\nquorum g\n").unwrap();
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let reaches = |signed: u8| {
            policy.reaches_quorum(|witness| {
                let number: u8 = witness.name[1..].parse().unwrap();
                signed & 1 << (number - 1) != 0
            })
        };
        prop_assert!(!reaches(signed) || reaches(signed | 1 << more));
        let in_a = (signed & 0b00111).count_ones() as usize >= first;
        let in_b = (signed & 0b11000).count_ones() as usize >= second;
        prop_assert_eq!(reaches(signed), usize::from(in_a) + usize::from(in_b) >= top);
    }
}
