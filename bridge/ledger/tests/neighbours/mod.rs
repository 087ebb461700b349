//! A log, a witness beside it and the wires between them, for the tests of both.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

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
pub(crate) use bridge_ledger::Chains;
use bridge_ledger::{
    Act, AskError, Cosigners, Disk, Disposition, Fault, Holder, Log, RefuseError, TileReader, WatchedLog,
    Witness, WitnessClient, WitnessError, tile_router, witness_router,
};
use bridge_suite::{Digest, Role, SigningKey, sha256};
use bridge_tlog::{
    AddCheckpoint, Bundle, Checkpoint, Frontier, HashReader, NoteSigner, Policy, SignedCheckpoint, Tile,
    VerifierKey, append_entry, consistency_proof, leaf_hash, parse_cosignatures, tree_root,
};

#[path = "../../src/sample.rs"]
pub(crate) mod sample;
use sample::{batch, epoch, origin, stream};

pub(crate) const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn log_signer() -> NoteSigner {
    NoteSigner::log(origin().as_str(), SigningKey::from_seed(Role::Log, [7; 32])).unwrap()
}

pub(crate) fn log_keys() -> Vec<VerifierKey> {
    vec![log_signer().verifier().clone()]
}

pub(crate) fn witness_signer(number: u8) -> NoteSigner {
    let name = format!("witness.gov.example/{number}");
    NoteSigner::witness(&name, SigningKey::from_seed(Role::Witness, [number; 32])).unwrap()
}

pub(crate) fn holder() -> Holder {
    Holder::here(NOW)
}

/// A log in memory and on the disk, whose entries may be anything: also what `Log` would refuse to write.
pub(crate) struct Sketch {
    pub(crate) dir: PathBuf,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Sketch {
    pub(crate) fn new(dir: &Path) -> Sketch {
        Sketch { dir: dir.to_owned(), entries: Vec::new() }
    }

    /// Adds entries that keep the rule: an epoch, then batches.
    pub(crate) fn good(mut self, entries: usize) -> Sketch {
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

    pub(crate) fn with(mut self, entry: Vec<u8>) -> Sketch {
        self.entries.push(entry);
        self
    }

    pub(crate) fn root(&self, size: u64) -> Digest {
        let mut frontier = Frontier::new();
        for entry in &self.entries[..size as usize] {
            frontier.append(leaf_hash(entry)).unwrap();
        }
        frontier.root()
    }

    pub(crate) fn hashes(&self) -> impl HashReader<Error = std::convert::Infallible> + '_ {
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
    pub(crate) fn sign(&self, size: u64) -> SignedCheckpoint {
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

    pub(crate) fn request(&self, old: u64, new: u64) -> String {
        let proof = consistency_proof(old, new, &self.hashes()).unwrap();
        AddCheckpoint::new(old, proof, self.sign(new).into_note()).unwrap().format()
    }
}

pub(crate) fn put(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(content).unwrap();
}

/// A folder with a witness that watches the log in `log/`.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
}

impl House {
    pub(crate) fn new() -> House {
        let house = House { folder: tempfile::tempdir().unwrap() };
        Witness::init(&house.witness_dir(), witness_signer(1).verifier(), &[origin()]).unwrap();
        house
    }

    pub(crate) fn witness_dir(&self) -> PathBuf {
        self.folder.path().join("witness")
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn sketch(&self) -> Sketch {
        Sketch::new(&self.log_dir())
    }

    pub(crate) fn try_open(&self, checking: bool, disk: Disk) -> Result<Witness, WitnessError> {
        let tiles = checking.then(|| TileReader::directory(&self.log_dir()));
        let log = WatchedLog { origin: origin(), keys: log_keys(), tiles };
        Witness::open(&self.witness_dir(), &holder(), witness_signer(1), vec![log], disk)
    }

    pub(crate) fn checking(&self) -> Witness {
        self.try_open(true, Disk::real()).unwrap()
    }

    pub(crate) fn plain(&self) -> Witness {
        self.try_open(false, Disk::real()).unwrap()
    }
}

pub(crate) fn status(outcome: Result<String, RefuseError>) -> u16 {
    outcome.map_or_else(|error| error.status(), |_| 200)
}

/// Serves a router on a free port until the test's process ends.
pub(crate) fn serve(router: Router) -> SocketAddr {
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

pub(crate) fn serve_witness(witness: Witness) -> String {
    format!("http://{}", serve(witness_router(Arc::new(witness), Arc::new(|| NOW))))
}

/// The raw answer to one request.
pub(crate) fn http(address: &str, request: &str) -> String {
    let mut connection = std::net::TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A server that refuses a request before it has read all of it may reset the connection after its answer.
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn client(number: u8, url: &str) -> WitnessClient {
    WitnessClient::new(
        &format!("w{number}"),
        witness_signer(number).verifier().clone(),
        url,
        Duration::from_secs(5),
    )
    .unwrap()
}

/// A log written by `Log`, with its newest checkpoint.
pub(crate) fn real_log(dir: &Path, batches: usize) -> (Log, SignedCheckpoint) {
    Log::init(dir, &origin()).unwrap();
    let mut log = Log::open(dir, &holder(), Disk::real()).unwrap();
    let sketch = Sketch::new(dir).good(1 + batches);
    log.append(&sketch.entries).unwrap();
    let signed = log.sign_checkpoint(&log_signer()).unwrap();
    (log, signed)
}
