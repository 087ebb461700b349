//! All witnesses of a log at once, each in a thread of its own: a slow one holds up nobody.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_tlog::{SignedCheckpoint, VerifierKey};

use crate::{AskError, Cosignature, TileReader, WitnessClient};

/// What one witness said about one checkpoint.
#[derive(Debug)]
pub struct Answered {
    /// The witness's name.
    pub witness: String,
    /// The size of the checkpoint.
    pub size: u64,
    /// Its cosignature, or why there is none.
    pub outcome: Result<Cosignature, AskError>,
}

/// What a witness's thread is to ask for next: only the newest checkpoint counts.
#[derive(Default)]
struct Next {
    offered: Option<Arc<SignedCheckpoint>>,
    end: bool,
}

#[derive(Default)]
struct Slot {
    next: Mutex<Next>,
    changed: Condvar,
}

/// What the log's thread hears of.
enum Heard {
    Answer(Answered),
    Woken,
}

/// Ends a [`Cosigners::take`] that waits.
#[derive(Debug, Clone)]
pub struct CosignersBell(Sender<Heard>);

impl CosignersBell {
    /// Makes the call that waits, or else the next one, return without an answer.
    pub fn ring(&self) {
        // Nobody waits any more when the other end is gone.
        let _ = self.0.send(Heard::Woken);
    }
}

/// The witnesses of a log. Dropping it lets the threads end by themselves, each after the request that it is in.
pub struct Cosigners {
    slots: Vec<Arc<Slot>>,
    heard: Receiver<Heard>,
    bell: CosignersBell,
}

impl Cosigners {
    /// Starts a thread for each witness. `dir` is the log's directory, `logs` the log's own keys.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        witnesses: Vec<WitnessClient>,
        dir: &Path,
        logs: &[VerifierKey],
    ) -> std::io::Result<Cosigners> {
        let (sender, heard) = mpsc::channel();
        let mut slots = Vec::new();
        for witness in witnesses {
            let slot = Arc::new(Slot::default());
            slots.push(Arc::clone(&slot));
            let (sender, logs, tiles) = (sender.clone(), logs.to_vec(), TileReader::directory(dir));
            std::thread::Builder::new()
                .name(format!("cosigner {}", witness.name()))
                .spawn(move || ask_for_ever(witness, &slot, &sender, &logs, &tiles))?;
        }
        Ok(Cosigners { slots, heard, bell: CosignersBell(sender) })
    }

    /// Asks all of them for this checkpoint. One that still waits for an older one goes on to this one after it.
    pub fn offer(&self, signed: &SignedCheckpoint) {
        let signed = Arc::new(signed.clone());
        for slot in &self.slots {
            open(slot).offered = Some(Arc::clone(&signed));
            slot.changed.notify_one();
        }
    }

    /// The next answer, of whatever witness and checkpoint; none when `timeout` passes or the bell rings.
    pub fn take(&self, timeout: Duration) -> Option<Answered> {
        match self.heard.recv_timeout(timeout) {
            Ok(Heard::Answer(answered)) => Some(answered),
            Ok(Heard::Woken) | Err(_) => None,
        }
    }

    /// The bell of the thread that takes the answers.
    pub fn bell(&self) -> CosignersBell {
        self.bell.clone()
    }
}

impl Drop for Cosigners {
    fn drop(&mut self) {
        for slot in &self.slots {
            open(slot).end = true;
            slot.changed.notify_one();
        }
    }
}

fn open(slot: &Slot) -> MutexGuard<'_, Next> {
    // What it holds is two plain values: a panic elsewhere has not left them half changed.
    slot.next.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask_for_ever(
    mut witness: WitnessClient,
    slot: &Slot,
    answers: &Sender<Heard>,
    logs: &[VerifierKey],
    tiles: &TileReader,
) {
    while let Some(signed) = wait(slot) {
        let outcome = witness.ask(&signed, logs, tiles);
        let answered =
            Answered { witness: witness.name().to_owned(), size: signed.checkpoint().size, outcome };
        if answers.send(Heard::Answer(answered)).is_err() {
            return;
        }
    }
}

/// The next checkpoint to ask for; none when the thread is to end.
fn wait(slot: &Slot) -> Option<Arc<SignedCheckpoint>> {
    let mut next = open(slot);
    loop {
        if next.end {
            return None;
        }
        if let Some(signed) = next.offered.take() {
            return Some(signed);
        }
        next = slot.changed.wait(next).unwrap_or_else(PoisonError::into_inner);
    }
}
