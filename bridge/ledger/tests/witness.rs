//! Witnesses: what they cosign, what they refuse, what they remember.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use bridge_envelope::Entry;
use bridge_event::{Sequence, UnixMicros};
use bridge_ledger::{Act, Chains, Disk, Disposition, Fault, TileReader, WatchedLog, Witness};
use bridge_suite::{Digest, Role, SigningKey, sha256};
use bridge_tlog::{AddCheckpoint, Checkpoint, NoteSigner, SignedCheckpoint, parse_cosignatures};

mod neighbours;
use neighbours::sample::{batch, epoch, origin, stream};
use neighbours::*;

#[test]
fn the_answers_have_the_status_of_the_specification_in_its_order() {
    let house = House::new();
    let witness = house.plain();
    let sketch = house.sketch().good(9);
    let ask = |body: &str| status(witness.add_checkpoint(body.as_bytes(), NOW));
    let good = sketch.request(0, 3);

    assert_eq!(ask("rubbish"), 400);
    assert_eq!(ask(""), 400);
    let other = NoteSigner::log("gov.example/tax/other", SigningKey::from_seed(Role::Log, [7; 32])).unwrap();
    let unknown = Checkpoint { origin: "gov.example/tax/other".to_owned(), size: 3, root: sketch.root(3) };
    let note = SignedCheckpoint::sign(unknown, &other).unwrap().into_note();
    assert_eq!(ask(&AddCheckpoint::new(0, vec![], note).unwrap().format()), 404);
    let thief = NoteSigner::log(origin().as_str(), SigningKey::from_seed(Role::Log, [8; 32])).unwrap();
    let stolen = Checkpoint { origin: origin().to_string(), size: 3, root: sketch.root(3) };
    let note = SignedCheckpoint::sign(stolen, &thief).unwrap().into_note();
    assert_eq!(ask(&AddCheckpoint::new(0, vec![], note).unwrap().format()), 403);
    assert_eq!(ask(&good.replace("old 0", "old 4")), 400);
    assert_eq!(ask(&good.replace("old 0", "old 2")), 409);
    let empty = Checkpoint { origin: origin().to_string(), size: 0, root: Digest([1; 32]) };
    let note = SignedCheckpoint::sign(empty, &log_signer()).unwrap().into_note();
    assert_eq!(ask(&AddCheckpoint::new(0, vec![], note).unwrap().format()), 422);
    let proved = AddCheckpoint::new(0, vec![Digest([1; 32])], sketch.sign(3).into_note()).unwrap();
    assert_eq!(ask(&proved.format()), 422);

    assert_eq!(ask(&good), 200);
    assert_eq!(ask(&good), 409);
    assert_eq!(ask(&sketch.request(3, 3)), 200);
    assert_eq!(ask(&sketch.request(0, 9)), 409);
    let bad_proof = AddCheckpoint::new(3, vec![Digest([1; 32])], sketch.sign(9).into_note()).unwrap();
    assert_eq!(ask(&bad_proof.format()), 422);
    let fork = Checkpoint { origin: origin().to_string(), size: 3, root: Digest([5; 32]) };
    let note = SignedCheckpoint::sign(fork, &log_signer()).unwrap().into_note();
    assert_eq!(ask(&AddCheckpoint::new(3, vec![], note).unwrap().format()), 422);
    assert_eq!(ask(&sketch.request(3, 9)), 200);
    assert_eq!(witness.sizes(), [(origin().to_string(), 9)]);
}

#[test]
fn a_cosignature_holds_and_its_time_never_falls() {
    let house = House::new();
    let witness = house.plain();
    let sketch = house.sketch().good(5);
    let mut times = Vec::new();
    for (old, new, now) in [(0, 2, NOW.0), (2, 4, NOW.0 - 60_000_000), (4, 5, NOW.0 + 60_000_000), (5, 5, -5)]
    {
        let lines = witness.add_checkpoint(sketch.request(old, new).as_bytes(), UnixMicros(now)).unwrap();
        let mut signed = sketch.sign(new);
        let lines = parse_cosignatures(lines.as_bytes()).unwrap();
        times.push(signed.add_cosignature(&lines, witness_signer(1).verifier()).unwrap());
    }
    assert_eq!(times, [1_700_000_000, 1_700_000_000, 1_700_000_060, 1_700_000_060]);
}

#[test]
fn of_sixty_four_requests_at_once_one_is_cosigned() {
    let house = House::new();
    let sketch = house.sketch().good(64);
    let bodies: Vec<String> = (1..=64).map(|size| sketch.request(0, size)).collect();
    let url = serve_witness(house.checking());
    let answers: Vec<String> = std::thread::scope(|scope| {
        let ask = |body: &String| {
            let request = format!(
                "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            http(&url, &request)
        };
        let threads: Vec<_> = bodies.iter().map(|body| scope.spawn(move || ask(body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let cosigned: Vec<usize> =
        (1..=64).filter(|size| answers[size - 1].starts_with("HTTP/1.1 200")).collect();
    assert_eq!(cosigned.len(), 1);
    for answer in answers.iter().filter(|answer| !answer.starts_with("HTTP/1.1 200")) {
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
        assert!(answer.contains("content-type: text/x.tlog.size"), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{}\n", cosigned[0])), "{answer}");
    }
    let hash = sha256(&[origin().as_str().as_bytes()]);
    let shown =
        http(&url, &format!("GET /{hash}/checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n"));
    assert!(shown.starts_with("HTTP/1.1 200") && shown.contains(&format!("\n{}\n", cosigned[0])), "{shown}");
    let none = http(&url, "GET /00/checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n");
    assert!(none.starts_with("HTTP/1.1 404"), "{none}");
    let long = format!(
        "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: 90000\r\n\r\n{}",
        "x".repeat(90_000)
    );
    let long = http(&url, &long);
    assert!(long.starts_with("HTTP/1.1 400"), "{long}");
}

#[test]
fn a_log_whose_entries_take_for_ever_keeps_no_other_log_waiting() {
    let house = House::new();
    let stalled = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", stalled.local_addr().unwrap());
    let tiles = TileReader::http(&address, Duration::from_secs(60)).unwrap();
    let slow = WatchedLog { origin: origin(), keys: log_keys(), tiles: Some(tiles) };
    let other = "gov.example/health/main";
    Witness::add_log(&house.witness_dir(), &other.parse().unwrap(), &holder()).unwrap();
    let signer = NoteSigner::log(other, SigningKey::from_seed(Role::Log, [9; 32])).unwrap();
    let keys = vec![signer.verifier().clone()];
    let quick = WatchedLog { origin: other.parse().unwrap(), keys, tiles: None };
    let witness =
        Witness::open(&house.witness_dir(), &holder(), witness_signer(1), vec![slow, quick], Disk::real());
    let url = serve_witness(witness.unwrap());

    let body = house.sketch().good(1).request(0, 1);
    let ask = |body: &str| {
        format!(
            "POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let (answered, answers) = std::sync::mpsc::channel();
    for _ in 0..300 {
        let (url, request, answered) = (url.clone(), ask(&body), answered.clone());
        std::thread::spawn(move || answered.send(http(&url, &request)));
    }
    for refused in 0..300 - 64 {
        let answer = answers.recv_timeout(LIMIT);
        assert!(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 503")), "{refused} were refused");
    }
    let checkpoint = Checkpoint { origin: other.to_owned(), size: 1, root: Digest([1; 32]) };
    let note = SignedCheckpoint::sign(checkpoint, &signer).unwrap().into_note();
    let answer = http(&url, &ask(&AddCheckpoint::new(0, vec![], note).unwrap().format()));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_checking_witness_refuses_a_log_that_holds_two_chains_of_one_stream() {
    let second_chain = |sketch: &Sketch| {
        let mut chains = Chains::new(origin());
        for entry in &sketch.entries[..2] {
            chains.take(entry).unwrap();
        }
        let Entry::Batch(mut fork) = batch(&chains, &stream("payments"), 1) else { panic!() };
        fork.digest = Digest([66; 32]);
        assert_eq!(fork.sequence, Sequence(1));
        Entry::Batch(fork).encode().unwrap()
    };
    let house = House::new();
    let sketch = house.sketch().good(4);
    let fork = second_chain(&sketch);
    let sketch = sketch.with(fork);
    let witness = house.checking();
    assert_eq!(status(witness.add_checkpoint(sketch.request(0, 4).as_bytes(), NOW)), 200);
    let refused = witness.add_checkpoint(sketch.request(4, 5).as_bytes(), NOW).unwrap_err();
    assert_eq!(
        (refused.code(), refused.status(), refused.disposition()),
        ("WIT021", 422, Disposition::Reject)
    );
    assert!(refused.to_string().contains("tax/payments/0"), "{refused}");
    assert_eq!(witness.sizes()[0].1, 4);
    // A plain witness proves append-only, and nothing about chains.
    drop(witness);
    assert_eq!(status(house.plain().add_checkpoint(sketch.request(4, 5).as_bytes(), NOW)), 200);
    // One that becomes a checking witness looks at everything from the first entry on.
    let sketch = sketch.with(epoch(2));
    assert_eq!(
        house.checking().add_checkpoint(sketch.request(5, 6).as_bytes(), NOW).unwrap_err().code(),
        "WIT021"
    );
}

#[test]
fn a_checking_witness_needs_the_entries_and_their_root() {
    let house = House::new();
    let sketch = house.sketch().good(6);
    let witness = house.checking();
    let request = sketch.request(0, 6);
    fs::remove_dir_all(house.log_dir()).unwrap();
    let refused = witness.add_checkpoint(request.as_bytes(), NOW).unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("WIT023", 503));

    let other = Sketch::new(&house.folder.path().join("other")).good(5).with(epoch(9));
    other.sign(6);
    fs::rename(house.folder.path().join("other"), house.log_dir()).unwrap();
    let refused = witness.add_checkpoint(request.as_bytes(), NOW).unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("WIT022", 422));
    sketch.sign(6);
    assert_eq!(status(witness.add_checkpoint(request.as_bytes(), NOW)), 200);
}

#[test]
fn a_witness_remembers_over_restarts() {
    let house = House::new();
    let sketch = house.sketch().good(7);
    for (old, new) in [(0, 2), (2, 5), (5, 7)] {
        let witness = house.checking();
        if old > 0 {
            assert_eq!(status(witness.add_checkpoint(sketch.request(0, new).as_bytes(), NOW)), 409);
        }
        assert_eq!(status(witness.add_checkpoint(sketch.request(old, new).as_bytes(), NOW)), 200);
    }
}

#[test]
fn a_witness_starts_only_on_its_own_whole_state() {
    let house = House::new();
    let running = house.checking();
    assert_eq!(house.try_open(true, Disk::real()).err().unwrap().code(), "WIT012");
    drop(running);
    let open = |signer: NoteSigner, logs: Vec<WatchedLog>| {
        Witness::open(&house.witness_dir(), &holder(), signer, logs, Disk::real()).err().unwrap().code()
    };
    assert_eq!(open(witness_signer(2), vec![]), "WIT013");
    let other = || "gov.example/tax/other".parse().unwrap();
    assert_eq!(
        open(witness_signer(1), vec![WatchedLog { origin: other(), keys: vec![], tiles: None }]),
        "WIT014"
    );
    assert_eq!(
        Witness::init(&house.witness_dir(), witness_signer(1).verifier(), &[]).unwrap_err().code(),
        "WIT011"
    );
    Witness::add_log(&house.witness_dir(), &other(), &holder()).unwrap();
    assert_eq!(Witness::add_log(&house.witness_dir(), &origin(), &holder()).unwrap_err().code(), "WIT011");
    let nowhere = house.folder.path().join("nowhere");
    let missing = Witness::open(&nowhere, &holder(), witness_signer(1), vec![], Disk::real()).err().unwrap();
    assert_eq!(missing.code(), "WIT010");
    assert!(!nowhere.exists());

    let state = house.witness_dir().join("logs").join(sha256(&[origin().as_str().as_bytes()]).to_string());
    let mut content = fs::read(&state).unwrap();
    content[100] ^= 1;
    put(&state, &content);
    assert_eq!(house.try_open(true, Disk::real()).err().unwrap().code(), "WIT013");
}

#[test]
fn a_write_that_fails_releases_no_cosignature() {
    for fault in [Fault::Lost, Fault::Full, Fault::AppliedButFailed] {
        let house = House::new();
        let sketch = house.sketch().good(5);
        let fork = Sketch::new(&house.folder.path().join("fork")).good(2).with(epoch(3));
        let witness = house
            .try_open(true, Disk::with_faults(move |act| (act == Act::WitnessState).then_some(fault)))
            .unwrap();
        let refused = witness.add_checkpoint(sketch.request(0, 3).as_bytes(), NOW).unwrap_err();
        assert_eq!((refused.code(), refused.status()), ("WIT024", 500));
        assert!(witness.ended());
        assert_eq!(status(witness.add_checkpoint(sketch.request(0, 5).as_bytes(), NOW)), 500);
        assert_eq!(witness.checkpoint(&sha256(&[origin().as_str().as_bytes()]).to_string()), None);
        drop(witness);

        let witness = house.plain();
        let stored = witness.sizes()[0].1;
        assert_eq!(stored, if fault == Fault::AppliedButFailed { 3 } else { 0 });
        // What may have been stored counts: no other head of that size is cosigned.
        let expected = if stored == 3 { 409 } else { 200 };
        assert_eq!(status(witness.add_checkpoint(fork.request(0, 3).as_bytes(), NOW)), expected, "{fault:?}");
    }
}
