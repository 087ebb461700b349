//! What a log makes of its witnesses' answers, and how its tiles are served.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use bridge_event::{LogIndex, UnixMicros};
use bridge_ledger::{
    AskError, Cosigners, Disk, Disposition, TileReader, WatchedLog, Witness, tile_router, witness_router,
};
use bridge_suite::{Role, SigningKey};
use bridge_tlog::{Checkpoint, NoteSigner, Policy, SignedCheckpoint, tree_root};

mod neighbours;
use neighbours::sample::{epoch, origin};
use neighbours::*;

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
