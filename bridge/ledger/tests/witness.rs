//! Witnesses: what they cosign, what they refuse, what they remember; and what a log makes of their answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use bridge_envelope::Entry;
use bridge_event::{LogIndex, Sequence, UnixMicros};
use bridge_ledger::{
    Act, AskError, Chains, Cosigners, Disk, Disposition, Fault, Holder, Log, RefuseError, TileReader,
    WatchedLog, Witness, WitnessClient, WitnessError, tile_router, witness_router,
};
use bridge_suite::{Digest, Role, SigningKey, sha256};
use bridge_tlog::{
    AddCheckpoint, Bundle, Checkpoint, Frontier, HashReader, NoteSigner, Policy, SignedCheckpoint, Tile,
    VerifierKey, append_entry, consistency_proof, leaf_hash, parse_cosignatures, tree_root,
};

#[path = "../src/sample.rs"]
mod sample;
use sample::{batch, epoch, origin, stream};

const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);
const LIMIT: Duration = Duration::from_secs(20);

fn log_signer() -> NoteSigner {
    NoteSigner::log(origin().as_str(), SigningKey::from_seed(Role::Log, [7; 32])).unwrap()
}

fn log_keys() -> Vec<VerifierKey> {
    vec![log_signer().verifier().clone()]
}

fn witness_signer(number: u8) -> NoteSigner {
    let name = format!("witness.gov.example/{number}");
    NoteSigner::witness(&name, SigningKey::from_seed(Role::Witness, [number; 32])).unwrap()
}

fn holder() -> Holder {
    Holder::here(NOW)
}

/// A log in memory and on the disk, whose entries may be anything: also what `Log` would refuse to write.
struct Sketch {
    dir: PathBuf,
    entries: Vec<Vec<u8>>,
}

impl Sketch {
    fn new(dir: &Path) -> Sketch {
        Sketch { dir: dir.to_owned(), entries: Vec::new() }
    }

    /// Adds entries that keep the rule: an epoch, then batches.
    fn good(mut self, entries: usize) -> Sketch {
        let mut chains = Chains::new(origin());
        for entry in &self.entries {
            chains.take(entry).unwrap();
        }
        for _ in 0..entries {
            let entry = match chains.epoch() {
                None => epoch(1),
                Some(_) => batch(&chains, &stream("payments"), 1).encode().unwrap(),
            };
            chains.take(&entry).unwrap();
            self.entries.push(entry);
        }
        self
    }

    fn with(mut self, entry: Vec<u8>) -> Sketch {
        self.entries.push(entry);
        self
    }

    fn root(&self, size: u64) -> Digest {
        let mut frontier = Frontier::new();
        for entry in &self.entries[..size as usize] {
            frontier.append(leaf_hash(entry)).unwrap();
        }
        frontier.root()
    }

    fn hashes(&self) -> impl HashReader<Error = std::convert::Infallible> + '_ {
        |level: u8, index: u64| {
            let start = (index << level) as usize;
            let mut frontier = Frontier::new();
            for entry in &self.entries[start..start + (1 << level)] {
                frontier.append(leaf_hash(entry)).unwrap();
            }
            Ok(frontier.root())
        }
    }

    /// Writes the tiles of this size and signs its checkpoint. At most 256 entries.
    fn sign(&self, size: u64) -> SignedCheckpoint {
        let (mut bundle, mut tile) = (Vec::new(), Vec::new());
        for entry in &self.entries[..size as usize] {
            append_entry(&mut bundle, entry).unwrap();
            tile.extend_from_slice(leaf_hash(entry).as_bytes());
        }
        if size > 0 {
            put(&self.dir.join(Bundle::new(0, size as u16).unwrap().path()), &bundle);
            put(&self.dir.join(Tile::new(0, 0, size as u16).unwrap().path()), &tile);
        }
        let checkpoint = Checkpoint { origin: origin().to_string(), size, root: self.root(size) };
        SignedCheckpoint::sign(checkpoint, &log_signer()).unwrap()
    }

    fn request(&self, old: u64, new: u64) -> String {
        let proof = consistency_proof(old, new, &self.hashes()).unwrap();
        AddCheckpoint::new(old, proof, self.sign(new).into_note()).unwrap().format()
    }
}

fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(content).unwrap();
}

/// A folder with a witness that watches the log in `log/`.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        let house = House { folder: tempfile::tempdir().unwrap() };
        Witness::init(&house.witness_dir(), witness_signer(1).verifier(), &[origin()]).unwrap();
        house
    }

    fn witness_dir(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    fn log_dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn sketch(&self) -> Sketch {
        Sketch::new(&self.log_dir())
    }

    fn try_open(&self, checking: bool, disk: Disk) -> Result<Witness, WitnessError> {
        let tiles = checking.then(|| TileReader::directory(&self.log_dir()));
        let log = WatchedLog { origin: origin(), keys: log_keys(), tiles };
        Witness::open(&self.witness_dir(), &holder(), witness_signer(1), vec![log], disk)
    }

    fn checking(&self) -> Witness {
        self.try_open(true, Disk::real()).unwrap()
    }

    fn plain(&self) -> Witness {
        self.try_open(false, Disk::real()).unwrap()
    }
}

fn status(outcome: Result<String, RefuseError>) -> u16 {
    outcome.map_or_else(|error| error.status(), |_| 200)
}

/// Serves a router on a free port until the test's process ends.
fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    address
}

fn serve_witness(witness: Witness) -> String {
    format!("http://{}", serve(witness_router(Arc::new(witness), Arc::new(|| NOW))))
}

/// The raw answer to one request.
fn http(address: &str, request: &str) -> String {
    let mut connection = std::net::TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server that refuses a request before it has read all of it may reset the connection after its answer.
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn client(number: u8, url: &str) -> WitnessClient {
    WitnessClient::new(
        &format!("w{number}"),
        witness_signer(number).verifier().clone(),
        url,
        Duration::from_secs(5),
    )
    .unwrap()
}

/// A log written by `Log`, with its newest checkpoint.
fn real_log(dir: &Path, batches: usize) -> (Log, SignedCheckpoint) {
    Log::init(dir, &origin()).unwrap();
    let mut log = Log::open(dir, &holder(), Disk::real()).unwrap();
    let sketch = Sketch::new(dir).good(1 + batches);
    log.append(&sketch.entries).unwrap();
    let signed = log.sign_checkpoint(&log_signer()).unwrap();
    (log, signed)
}

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

#[test]
fn a_log_gathers_cosignatures_over_http_until_its_policy_is_content() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let (mut log, first) = real_log(&dir, 300);
    let tiles_url = format!("http://{}", serve(tile_router(dir.clone())));
    let mut clients = Vec::new();
    let mut policy = format!("log {}\n", log_keys()[0]);
    for number in 1..=4 {
        let signer = witness_signer(number);
        policy.push_str(&format!("witness w{number} {}\n", signer.verifier()));
        let url = if number == 4 {
            "http://127.0.0.1:1".to_owned()
        } else {
            let state = folder.path().join(format!("w{number}"));
            Witness::init(&state, signer.verifier(), &[origin()]).unwrap();
            let tiles = TileReader::http(&tiles_url, LIMIT).unwrap();
            let log = WatchedLog { origin: origin(), keys: log_keys(), tiles: Some(tiles) };
            serve_witness(Witness::open(&state, &holder(), signer, vec![log], Disk::real()).unwrap())
        };
        clients.push(client(number, &url));
    }
    policy.push_str("group all 3 w1 w2 w3 w4\nquorum all\n");
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let cosigners = Cosigners::start(clients, &dir, &log_keys()).unwrap();

    let mut signed = first;
    for round in 0..3 {
        assert!(!policy.evaluate(signed.note()).unwrap().quorum);
        cosigners.offer(&signed);
        for _ in 0..4 {
            let answered = cosigners.take(LIMIT).unwrap();
            assert_eq!(answered.size, signed.checkpoint().size);
            match answered.outcome {
                Ok(cosignature) => {
                    assert_eq!(cosignature.time, 1_700_000_000);
                    let key =
                        policy.witnesses().iter().find(|witness| witness.name == answered.witness).unwrap();
                    signed.add_cosignature(&[cosignature.line], &key.key).unwrap();
                }
                Err(error) => {
                    assert_eq!((answered.witness.as_str(), error.code()), ("w4", "WIT001"), "{error}");
                }
            }
        }
        let standing = policy.evaluate(signed.note()).unwrap();
        assert!(standing.quorum);
        assert_eq!(standing.cosigned.len(), 3);
        log.publish(&signed).unwrap();
        let shown = TileReader::http(&tiles_url, LIMIT).unwrap().checkpoint().unwrap();
        assert_eq!(&shown, signed.note());
        let entries: Vec<Vec<u8>> =
            (0..log.size()).map(|index| log.entry(LogIndex(index)).unwrap()).collect();
        let more = Sketch { dir: dir.clone(), entries }.good(1 + 100 * round);
        log.append(&more.entries[log.size() as usize..]).unwrap();
        signed = log.sign_checkpoint(&log_signer()).unwrap();
    }
}

#[test]
fn a_log_that_starts_again_learns_from_the_witness_where_it_stands() {
    let house = House::new();
    let (mut log, first) = real_log(&house.log_dir(), 5);
    let url = serve_witness(house.checking());
    let tiles = TileReader::directory(&house.log_dir());
    assert_eq!(client(1, &url).newest(origin().as_str(), &log_keys()).unwrap(), None);
    client(1, &url).ask(&first, &log_keys(), &tiles).unwrap();
    log.append(&[epoch(2)]).unwrap();
    let second = log.sign_checkpoint(&log_signer()).unwrap();
    // A new client begins with no idea of the witness's size.
    let mut again = client(1, &url);
    again.ask(&second, &log_keys(), &tiles).unwrap();
    again.ask(&second, &log_keys(), &tiles).unwrap();
    let newest = again.newest(origin().as_str(), &log_keys()).unwrap().unwrap();
    assert_eq!(newest.checkpoint(), second.checkpoint());
    // It has cosigned more than this: our own log went back, and the witness can show it.
    let AskError::Conflict(conflict) = again.ask(&first, &log_keys(), &tiles).unwrap_err() else { panic!() };
    assert_eq!(conflict.theirs.checkpoint().size, 7);
}

#[test]
fn a_fork_under_our_own_key_is_a_conflict_and_both_sides_are_saved() {
    let house = House::new();
    let url = serve_witness(house.plain());
    let (_log, signed) = real_log(&house.log_dir(), 5);
    client(1, &url).ask(&signed, &log_keys(), &TileReader::directory(&house.log_dir())).unwrap();

    let fork_dir = house.folder.path().join("fork");
    let fork = Sketch::new(&fork_dir).good(4).with(epoch(2)).with(epoch(3)).with(epoch(4));
    for size in [6, 7] {
        let ours = fork.sign(size);
        let error = client(1, &url).ask(&ours, &log_keys(), &TileReader::directory(&fork_dir)).unwrap_err();
        assert_eq!((error.code(), error.disposition()), ("WIT004", Disposition::Halt));
        let AskError::Conflict(conflict) = error else { panic!() };
        assert_eq!(conflict.ours.checkpoint(), ours.checkpoint());
        assert_eq!(conflict.theirs.checkpoint(), signed.checkpoint());
        let base = conflict.save(&house.log_dir(), NOW).unwrap();
        let theirs = fs::read_to_string(base.with_file_name(format!("{}-w1.theirs", NOW.0))).unwrap();
        assert_eq!(theirs, conflict.theirs.note().format());
        assert!(base.with_file_name(format!("{}-w1.ours", NOW.0)).exists());
    }
}

/// A server that answers every request alike.
fn liar(status: u16, content_type: &'static str, body: String) -> String {
    let answer = move || {
        let body = body.clone();
        async move { (axum::http::StatusCode::from_u16(status).unwrap(), [("content-type", content_type)], body) }
    };
    format!("http://{}", serve(Router::new().fallback(answer)))
}

#[test]
fn an_odd_answer_is_the_witness_fault_and_never_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let (_log, signed) = real_log(&dir, 5);
    let stranger = witness_signer(9).cosign(signed.note().text(), 5).unwrap().format() + "\n";
    let forged = witness_signer(1).cosign("another text\n", 5).unwrap().format() + "\n";
    let thief = NoteSigner::log(origin().as_str(), SigningKey::from_seed(Role::Log, [8; 32])).unwrap();
    let foreign =
        SignedCheckpoint::sign(Checkpoint { size: 99, ..signed.checkpoint().clone() }, &thief).unwrap();
    for (status, body, code) in [
        (200, "nonsense".to_owned(), "WIT003"),
        (200, stranger, "WIT003"),
        (200, forged, "WIT003"),
        (409, "99\n".to_owned(), "WIT001"),
        (409, "3\n".to_owned(), "WIT001"),
        (409, foreign.note().format(), "WIT001"),
        (422, foreign.note().format(), "WIT001"),
        (204, String::new(), "WIT003"),
        (403, "who are you\n".to_owned(), "WIT002"),
        (404, "what log\n".to_owned(), "WIT002"),
        (503, "later\n".to_owned(), "WIT001"),
    ] {
        let mut client = client(1, &liar(status, "text/plain", body));
        let error = client.ask(&signed, &log_keys(), &TileReader::directory(&dir)).unwrap_err();
        assert_eq!((error.code(), error.disposition()), (code, Disposition::Retry), "{status}: {error}");
    }
}

#[test]
fn a_witness_that_shows_somebody_elses_checkpoint_proves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let (_log, signed) = real_log(&dir, 5);
    let thief = NoteSigner::log(origin().as_str(), SigningKey::from_seed(Role::Log, [8; 32])).unwrap();
    let foreign =
        SignedCheckpoint::sign(Checkpoint { size: 99, ..signed.checkpoint().clone() }, &thief).unwrap();
    let fits = signed.note().format();
    for (shown, code) in
        [(foreign.note().format(), "WIT003"), (fits, "WIT006"), ("rubbish".to_owned(), "WIT003")]
    {
        let router = Router::new()
            .route(
                "/add-checkpoint",
                axum::routing::post(|| async { (axum::http::StatusCode::UNPROCESSABLE_ENTITY, "no\n") }),
            )
            .fallback(move || std::future::ready(shown.clone()));
        let mut client = client(1, &format!("http://{}", serve(router)));
        let error = client.ask(&signed, &log_keys(), &TileReader::directory(&dir)).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn tiles_are_served_by_their_one_spelling_and_kept_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let (mut log, signed) = real_log(&dir, 299);
    log.publish(&signed).unwrap();
    let address = serve(tile_router(dir.clone())).to_string();
    let get =
        |path: &str| http(&address, &format!("GET {path} HTTP/1.1\r\nhost: l\r\nconnection: close\r\n\r\n"));
    let tile = get("/tile/0/000");
    assert!(
        tile.starts_with("HTTP/1.1 200")
            && tile.contains("immutable")
            && tile.contains("application/octet-stream")
    );
    assert!(tile.contains("content-length: 8192"), "{tile}");
    let checkpoint = get("/checkpoint");
    assert!(
        checkpoint.contains("text/plain; charset=utf-8") && checkpoint.contains("no-cache"),
        "{checkpoint}"
    );
    for path in ["/tile/entries/000", "/tile/entries/001.p/44", "/tile/0/001.p/44", "/tile/1/000.p/1"] {
        assert!(get(path).starts_with("HTTP/1.1 200"), "{path}");
    }
    for path in [
        "/journal",
        "/lock",
        "/tile/0/../../journal",
        "/tile/0/%2e%2e/%2e%2e/journal",
        "/tile/0/0",
        "/tile/0/002",
        "/heads",
    ] {
        assert!(get(path).starts_with("HTTP/1.1 404"), "{path}");
    }

    let tiles = TileReader::http(&format!("http://{address}"), LIMIT).unwrap();
    assert_eq!(tree_root(300, &tiles.hashes(300)).unwrap(), signed.checkpoint().root);
    assert_eq!(tiles.entries(LogIndex(0)..LogIndex(300), 300).unwrap().len(), 300);
    // The partial tiles of 44 go when the full ones come; a reader with the older checkpoint takes those.
    let entries: Vec<Vec<u8>> = (0..300).map(|index| log.entry(LogIndex(index)).unwrap()).collect();
    let more = Sketch { dir: dir.clone(), entries }.good(300);
    log.append(&more.entries[300..]).unwrap();
    assert!(get("/tile/0/001.p/44").starts_with("HTTP/1.1 404"));
    assert_eq!(tree_root(300, &tiles.hashes(300)).unwrap(), signed.checkpoint().root);
    assert_eq!(tiles.entries(LogIndex(256)..LogIndex(300), 300).unwrap(), more.entries[256..300]);
    assert_eq!(TileReader::http("ftp://x", LIMIT).unwrap_err().code(), "APP023");
    assert_eq!(
        TileReader::open("http://127.0.0.1:1", LIMIT).unwrap().checkpoint().unwrap_err().code(),
        "APP020"
    );
}

#[test]
fn the_clock_is_an_argument() {
    let house = House::new();
    let sketch = house.sketch().good(2);
    let now = Arc::new(AtomicI64::new(NOW.0));
    let clock = Arc::clone(&now);
    let router =
        witness_router(Arc::new(house.plain()), Arc::new(move || UnixMicros(clock.load(Ordering::SeqCst))));
    let url = format!("http://{}", serve(router));
    let mut client = client(1, &url);
    let tiles = TileReader::directory(&house.log_dir());
    now.store(NOW.0 + 9_000_000, Ordering::SeqCst);
    let cosignature = client.ask(&sketch.sign(2), &log_keys(), &tiles).unwrap();
    assert_eq!(cosignature.time, 1_700_000_009);
}
