//! The log on disk: what it holds after appends, restarts, lost writes and kill -9.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bridge_envelope::Entry;
use bridge_event::{At, Epoch, IncarnationNumber, LogIndex, UnixMicros};
use bridge_ledger::{
    Acknowledged, Act, AppendError, Chains, Disk, Disposition, Fault, Holder, Log, OpenError, TileReader,
};
use bridge_suite::{Role, SigningKey};
use bridge_tlog::{
    Frontier, NoteSigner, SignedCheckpoint, consistency_proof, inclusion_proof, leaf_hash,
    verify_consistency, verify_inclusion,
};

#[path = "../src/sample.rs"]
mod sample;
use sample::{batch, epoch, origin, stream};

fn signer() -> NoteSigner {
    NoteSigner::log(origin().as_str(), SigningKey::from_seed(Role::Log, [7; 32])).unwrap()
}

fn holder() -> Holder {
    Holder::here(UnixMicros(1_000_000))
}

fn new_log() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    Log::init(&dir, &origin()).unwrap();
    (folder, dir)
}

fn open(dir: &Path) -> Log {
    Log::open(dir, &holder(), Disk::real()).unwrap()
}

/// The entries of a log: an epoch, then batches of two streams.
struct Writer {
    chains: Chains,
    epoch: u64,
}

impl Writer {
    fn new() -> Writer {
        Writer { chains: Chains::new(origin()), epoch: 0 }
    }

    /// One that goes on where a log stands.
    fn after(log: &Log) -> Writer {
        let mut chains = Chains::new(origin());
        for index in 0..log.size() {
            chains.take(&log.entry(LogIndex(index)).unwrap()).unwrap();
        }
        let epoch = chains.epoch().map_or(0, |(epoch, _)| epoch.0);
        Writer { chains, epoch }
    }

    fn begin(&mut self) -> Vec<u8> {
        self.epoch += 1;
        let entry = epoch(self.epoch);
        self.chains.take(&entry).unwrap();
        entry
    }

    fn next(&mut self) -> Vec<u8> {
        let name = if self.chains.size().is_multiple_of(3) { "refunds" } else { "payments" };
        let entry = batch(&self.chains, &stream(name), self.epoch).encode().unwrap();
        self.chains.take(&entry).unwrap();
        entry
    }

    fn group(&mut self, entries: usize) -> Vec<Vec<u8>> {
        (0..entries).map(|_| self.next()).collect()
    }
}

/// Reads everything that is published, from the files alone, and compares it with the signed root.
fn fsck(dir: &Path) -> u64 {
    let tiles = TileReader::directory(dir);
    let key = signer();
    let signed = SignedCheckpoint::verify(tiles.checkpoint().unwrap(), [key.verifier()]).unwrap();
    let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
    let mut frontier = Frontier::new();
    for entry in tiles.entries(LogIndex(0)..LogIndex(size), size).unwrap() {
        frontier.append(leaf_hash(&entry)).unwrap();
    }
    assert_eq!(frontier.root(), root);
    assert_eq!(bridge_tlog::tree_root(size, &tiles.hashes(size)).unwrap(), root);
    size
}

#[test]
fn entries_and_heads_are_there_after_a_restart() {
    let (_folder, dir) = new_log();
    let mut writer = Writer::new();
    let mut log = open(&dir);
    assert_eq!(log.append(&[writer.begin()]).unwrap(), LogIndex(0)..LogIndex(1));
    let mut all = vec![log.entry(LogIndex(0)).unwrap()];
    for entries in [1, 5, 200, 255, 1, 256, 600, 3] {
        let group = writer.group(entries);
        let start = log.size();
        assert_eq!(log.append(&group).unwrap(), LogIndex(start)..LogIndex(start + entries as u64));
        all.extend(group);
    }
    log.keep_place(&stream("payments"), b"place".to_vec());
    let signed = log.sign_checkpoint(&signer()).unwrap();
    log.publish(&signed).unwrap();
    let late = writer.group(10);
    log.append(&late).unwrap();
    all.extend(late);
    let (size, root) = (log.size(), log.root());
    drop(log);

    assert_eq!(fsck(&dir), size - 10);
    for heads in [true, false] {
        if !heads {
            fs::remove_file(dir.join("heads")).unwrap();
        }
        let log = open(&dir);
        assert_eq!((log.size(), log.root()), (size, root));
        assert_eq!(log.head(&stream("payments")), writer.chains.head(&stream("payments")));
        assert_eq!(log.newest_epoch(), Some((Epoch(1), LogIndex(0))));
        assert_eq!(log.own_epoch(), None);
        assert_eq!(log.place(&stream("payments")), heads.then_some(b"place".as_slice()));
        for (index, entry) in (0..).zip(&all) {
            assert_eq!(&log.entry(LogIndex(index)).unwrap(), entry);
        }
        assert!(log.entry(LogIndex(size)).is_err());
    }
}

#[test]
fn proofs_from_the_tiles_hold_and_old_partial_tiles_are_replaced_by_full_ones() {
    let (_folder, dir) = new_log();
    let mut writer = Writer::new();
    let mut log = open(&dir);
    log.append(&[writer.begin()]).unwrap();
    let mut signed = Vec::new();
    for entries in [9, 100, 150, 400, 7] {
        log.append(&writer.group(entries)).unwrap();
        let checkpoint = log.sign_checkpoint(&signer()).unwrap();
        log.publish(&checkpoint).unwrap();
        signed.push(checkpoint.checkpoint().clone());
    }
    let tiles = TileReader::directory(&dir);
    for new in &signed {
        for old in signed.iter().filter(|old| old.size <= new.size) {
            let proof = consistency_proof(old.size, new.size, &tiles.hashes(new.size)).unwrap();
            verify_consistency(old.size, &old.root, new.size, &new.root, &proof).unwrap();
            let index = old.size - 1;
            let entry = tiles.entries(LogIndex(index)..LogIndex(old.size), new.size).unwrap().remove(0);
            let path = inclusion_proof(index, new.size, &tiles.hashes(new.size)).unwrap();
            verify_inclusion(&leaf_hash(&entry), index, new.size, &new.root, &path).unwrap();
        }
    }
    assert!(!dir.join("tile/entries/000.p").exists());
    assert!(dir.join("tile/entries/002.p").exists());
    assert_eq!(tiles.entries(LogIndex(660)..LogIndex(670), 667).unwrap_err().code(), "APP021");
}

#[test]
fn a_journal_torn_at_any_byte_keeps_what_was_whole_and_takes_more() {
    let (_folder, dir) = new_log();
    let mut writer = Writer::new();
    let mut log = open(&dir);
    log.append(&[writer.begin()]).unwrap();
    log.append(&writer.group(2)).unwrap();
    let whole = fs::read(dir.join("journal")).unwrap();
    let before = log.size();
    log.append(&writer.group(2)).unwrap();
    drop(log);
    let content = fs::read(dir.join("journal")).unwrap();
    for cut in whole.len()..content.len() {
        fs::File::create(dir.join("journal"))
            .and_then(|mut file| std::io::Write::write_all(&mut file, &content[..cut]))
            .unwrap();
        let mut log = open(&dir);
        assert!((before..before + 2).contains(&log.size()), "cut at {cut}");
        let mut writer = Writer::after(&log);
        log.append(&[writer.begin()]).unwrap();
        log.append(&writer.group(1)).unwrap();
        let size = log.size();
        drop(log);
        assert_eq!(open(&dir).size(), size);
    }
}

/// Appends, signs and publishes until a write fails; gives what was reported as done.
fn work(log: &mut Log, writer: &mut Writer) -> (u64, u64, Option<AppendError>) {
    let (mut appended, mut signed) = (log.size(), log.own_checkpoint().map_or(0, |(size, _)| size));
    let mut step = |log: &mut Log| -> Result<(), AppendError> {
        appended = log.append(&[writer.begin()])?.end.0;
        for entries in [100, 200, 300] {
            appended = log.append(&writer.group(entries))?.end.0;
            let checkpoint = log.sign_checkpoint(&signer())?;
            signed = checkpoint.checkpoint().size;
            log.publish(&checkpoint)?;
            log.keep_acknowledged(Acknowledged {
                incarnation: IncarnationNumber(1),
                through: At::end_of(entries as u64),
            })?;
        }
        Ok(())
    };
    let outcome = step(log).err();
    (appended, signed, outcome)
}

#[test]
fn every_durable_write_may_fail_and_nothing_reported_is_lost() {
    let acts = [
        Act::JournalAppend,
        Act::JournalReplace,
        Act::Bundle,
        Act::Tile,
        Act::OwnCheckpoint,
        Act::Checkpoint,
        Act::Heads,
        Act::Acknowledged,
    ];
    for act in acts {
        for fault in [Fault::Lost, Fault::Full, Fault::AppliedButFailed] {
            for nth in 0..2 {
                let (_folder, dir) = new_log();
                let seen = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&seen);
                let disk = Disk::with_faults(move |found| {
                    (found == act && count.fetch_add(1, Ordering::SeqCst) == nth).then_some(fault)
                });
                let mut log = Log::open(&dir, &holder(), disk).unwrap();
                let (appended, signed, error) = work(&mut log, &mut Writer::new());
                let error = error.expect("the fault did not fire");
                let code = if fault == Fault::Full { "APP007" } else { "APP006" };
                assert_eq!(
                    (error.code(), error.disposition()),
                    (code, Disposition::Halt),
                    "{act:?} {fault:?} {nth}"
                );
                // It stays so: nothing more is written by this process.
                assert_eq!(log.append(&[epoch(99)]).unwrap_err().code(), "APP008");
                assert_eq!(log.sign_checkpoint(&signer()).unwrap_err().code(), "APP008");
                drop(log);

                let mut log = open(&dir);
                assert!(log.size() >= appended, "{act:?} {fault:?} {nth}");
                assert!(log.own_checkpoint().map_or(0, |(size, _)| size) >= signed);
                let mut writer = Writer::after(&log);
                assert!(work(&mut log, &mut writer).2.is_none());
                let size = log.size();
                drop(log);
                assert_eq!(fsck(&dir), size, "{act:?} {fault:?} {nth}");
            }
        }
    }
}

/// The child of the next test: writes for ever, and prints what is on the disk.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("GOVBRIDGE_TEST_LOG").map(PathBuf::from) else { return };
    let mut log = open(&dir);
    let mut writer = Writer::after(&log);
    log.append(&[writer.begin()]).unwrap();
    for round in 1.. {
        log.append(&writer.group(1 + round % 40)).unwrap();
        if round % 3 == 0 {
            let signed = log.sign_checkpoint(&signer()).unwrap();
            log.publish(&signed).unwrap();
        }
        let signed = log.own_checkpoint().map_or(0, |(size, _)| size);
        println!("\ndone {} {signed}", log.size());
    }
}

#[test]
fn a_killed_writer_leaves_a_log_that_opens_with_everything_it_reported() {
    let (_folder, dir) = new_log();
    for lines in [1, 2, 7, 30, 45, 90] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
            .env("GOVBRIDGE_TEST_LOG", &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut reported = (0, 0);
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        for line in output.filter(|line| line.starts_with("done ")).take(lines) {
            let mut words = line.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap());
            reported = (words.next().unwrap(), words.next().unwrap());
        }
        assert_ne!(reported.0, 0);
        child.kill().unwrap();
        child.wait().unwrap();
        let log = open(&dir);
        assert!(log.size() >= reported.0);
        assert!(log.own_checkpoint().map_or(0, |(size, _)| size) >= reported.1);
        // Every entry is one, and keeps the rule.
        Writer::after(&log);
    }
    let mut log = open(&dir);
    let signed = log.sign_checkpoint(&signer()).unwrap();
    log.publish(&signed).unwrap();
    assert_eq!(fsck(&dir), log.size());
}

#[test]
fn a_log_has_one_writer_and_says_who_it_is() {
    let (_folder, dir) = new_log();
    let first = Holder { pid: 4711, host: "kunming".to_owned(), since: UnixMicros(3_000_000) };
    let log = Log::open(&dir, &first, Disk::real()).unwrap();
    let error = Log::open(&dir, &holder(), Disk::real()).err().unwrap();
    assert!(matches!(&error, OpenError::Held { holder: Some(found), .. } if *found == first));
    assert!(error.to_string().contains("4711") && error.to_string().contains("kunming"));
    assert_eq!((error.code(), error.disposition()), ("APP001", Disposition::Halt));
    drop(log);
    open(&dir);
}

#[test]
fn a_writer_that_was_taken_over_writes_nothing_more() {
    let (_folder, dir) = new_log();
    let mut writer = Writer::new();
    let mut old = open(&dir);
    old.append(&[writer.begin()]).unwrap();
    let signed = old.sign_checkpoint(&signer()).unwrap();
    let mut new = Log::take_over(&dir, &holder(), Duration::ZERO, Disk::real()).unwrap();
    let before = files(&dir);
    assert_eq!(old.publish(&signed).unwrap_err().code(), "APP002");
    assert_eq!(old.append(&writer.group(1)).unwrap_err().code(), "APP008");
    assert_eq!(files(&dir), before);

    let mut writer = Writer::after(&new);
    assert_eq!(new.append(&writer.group(1)).unwrap_err().code(), "APP003");
    let mut writer = Writer::after(&new);
    new.append(&[writer.begin()]).unwrap();
    new.append(&writer.group(300)).unwrap();

    let mut third = Log::take_over(&dir, &holder(), Duration::ZERO, Disk::real()).unwrap();
    let lost = new.append(&writer.group(1)).unwrap_err();
    assert!(matches!(lost, AppendError::LostLog { holder: Some(_) }));
    assert!(lost.is_final());
    assert_eq!(third.size(), 302);
    assert_eq!(third.append(&[epoch(3)]).unwrap().end, LogIndex(303));
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn what_no_checking_witness_would_cosign_is_not_written() {
    let (_folder, dir) = new_log();
    let mut log = open(&dir);
    let mut writer = Writer::new();
    let early = batch(&writer.chains, &stream("payments"), 1).encode().unwrap();
    assert!(matches!(log.append(&[&early]), Err(AppendError::NotOwnEpoch { newest: None })));
    log.append(&[writer.begin()]).unwrap();
    let first = writer.next();
    let before = files(&dir);
    let second = writer.next();
    writer.next();
    let fourth = writer.next();
    for (group, code) in [
        (vec![first.clone(), first.clone()], "APP004"),
        (vec![fourth], "APP004"),
        (vec![first.clone(), second.clone(), first.clone()], "APP004"),
        (vec![b"rubbish".to_vec()], "APP004"),
        (vec![epoch(1)], "APP004"),
        (vec![Vec::new()], "APP005"),
        (vec![vec![7; 65_536]], "APP005"),
        (vec![], "APP005"),
    ] {
        let error = log.append(&group).unwrap_err();
        assert_eq!((error.code(), error.disposition()), (code, Disposition::Reject));
    }
    assert_eq!(files(&dir), before);
    log.append(&[first, second]).unwrap();
}

#[test]
fn an_old_copy_of_a_log_is_not_gone_on_with() {
    let (_folder, dir) = new_log();
    let mut writer = Writer::new();
    let mut log = open(&dir);
    log.append(&[writer.begin()]).unwrap();
    let old = fs::read(dir.join("journal")).unwrap();
    log.append(&writer.group(5)).unwrap();
    log.sign_checkpoint(&signer()).unwrap();
    drop(log);
    fs::File::create(dir.join("journal"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, &old))
        .unwrap();
    let error = Log::open(&dir, &holder(), Disk::real()).err().unwrap();
    assert!(matches!(error, OpenError::Smaller { size: 1, signed: 6, .. }), "{error}");
}

#[test]
fn a_flipped_bit_on_the_disk_is_found_before_a_root_is_signed() {
    let places = ["journal", "tile/entries/000", "tile/0/000"];
    for place in places {
        let (_folder, dir) = new_log();
        let mut writer = Writer::new();
        let mut log = open(&dir);
        log.append(&[writer.begin()]).unwrap();
        log.append(&writer.group(300)).unwrap();
        let mut content = fs::read(dir.join(place)).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        let mut file = fs::OpenOptions::new().write(true).open(dir.join(place)).unwrap();
        std::io::Write::write_all(&mut file, &content).unwrap();
        let error = log.sign_checkpoint(&signer()).unwrap_err();
        assert_eq!(error.code(), "APP011", "{place}: {error}");
        assert_eq!(log.sign_checkpoint(&signer()).unwrap_err().code(), "APP008");
        assert!(!dir.join("checkpoint.own").exists());
    }
}

#[test]
fn checkpoints_of_others_and_smaller_ones_are_not_published() {
    let (_folder, dir) = new_log();
    let mut writer = Writer::new();
    let mut log = open(&dir);
    log.append(&[writer.begin()]).unwrap();
    let small = log.sign_checkpoint(&signer()).unwrap();
    log.append(&writer.group(3)).unwrap();
    let large = log.sign_checkpoint(&signer()).unwrap();
    assert_eq!(log.own_checkpoint(), Some((4, log.root())));
    log.publish(&large).unwrap();
    assert_eq!(log.publish(&small).unwrap_err().code(), "APP014");
    log.publish(&large).unwrap();
    let other = NoteSigner::log("gov.example/tax/other", SigningKey::from_seed(Role::Log, [8; 32])).unwrap();
    assert_eq!(log.sign_checkpoint(&other).unwrap_err().code(), "APP014");
    let mut elsewhere = large.checkpoint().clone();
    elsewhere.origin = "gov.example/tax/other".to_owned();
    assert_eq!(
        log.publish(&SignedCheckpoint::sign(elsewhere, &other).unwrap()).unwrap_err().code(),
        "APP014"
    );
    log.append(&writer.group(1)).unwrap();
}

#[test]
fn a_log_is_made_once_and_never_by_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    assert_eq!(Log::open(&dir, &holder(), Disk::real()).err().unwrap().code(), "APP009");
    assert!(!dir.exists());
    Log::init(&dir, &origin()).unwrap();
    assert_eq!(Log::init(&dir, &origin()).unwrap_err().code(), "APP010");
    assert_eq!(open(&dir).origin(), &origin());
    fs::File::create(folder.path().join("a file")).unwrap();
    assert_eq!(Log::init(folder.path(), &origin()).unwrap_err().code(), "APP010");
}

#[test]
fn records_that_are_appended_once_are_found_again() {
    let (_folder, dir) = new_log();
    let mut log = open(&dir);
    let trust =
        Entry::Trust(bridge_envelope::TrustEntry { version: 3, digest: bridge_suite::Digest([1; 32]) })
            .encode()
            .unwrap();
    assert_eq!(log.index_of(&trust), None);
    log.append(&[&trust]).unwrap();
    assert_eq!(log.index_of(&trust), Some(LogIndex(0)));
    drop(log);
    assert_eq!(open(&dir).index_of(&trust), Some(LogIndex(0)));
}

#[test]
fn what_the_source_may_forget_is_kept_and_a_damaged_file_is_refused() {
    let (_folder, dir) = new_log();
    let kept = |through| Acknowledged { incarnation: IncarnationNumber(3), through };
    let mut log = open(&dir);
    assert_eq!(log.acknowledged().unwrap(), None);
    for through in [At::START, At { commit: u64::MAX, ordinal: 7 }, At::end_of(9)] {
        log.keep_acknowledged(kept(through)).unwrap();
        assert_eq!(log.acknowledged().unwrap(), Some(kept(through)));
    }
    drop(log);
    assert_eq!(open(&dir).acknowledged().unwrap(), Some(kept(At::end_of(9))));
    let content = fs::read(dir.join("acknowledged")).unwrap();
    fs::File::create(dir.join("acknowledged"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, &content[..content.len() - 1]))
        .unwrap();
    assert_eq!(open(&dir).acknowledged().unwrap_err().code(), "APP011");
}
