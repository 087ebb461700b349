//! Checkpoints: signed when there is something new, cosigned by the witnesses, told to every stream in a beacon.
//!
//! ```text
//!   Log::sign_checkpoint -> publish -> Cosigners::offer -> answers -> publish with cosignatures -> beacons
//! ```
//!
//! A witness that is away delays nothing: when a quorum has answered, or the time is over, the checkpoint is told with
//! what there is, and its level says so.

use crate::beacon::Published;
use crate::life::{End, Life};
use crate::outside::Point;
use crate::shutdown::Shutdown;
use crate::{Connector, ConnectorError};
use bridge_ledger::{Answered, AskError, Cosigners, WitnessClient};
use bridge_tlog::{Policy, SignedCheckpoint, VerifierKey};
use std::time::{Duration, Instant};

/// How long the thread sleeps at most; it is woken when the log grows, an answer comes, or the life ends.
const REST_MAX: Duration = Duration::from_secs(1);

/// How long a clean stop waits for the last checkpoint's cosignatures.
const LAST_WAIT: Duration = Duration::from_millis(1_500);

/// A checkpoint that waits for cosignatures.
struct Open {
    signed: SignedCheckpoint,
    until: Instant,
    cosignatures: usize,
    answers: usize,
    told: bool,
}

/// The checkpointing thread's own state.
struct Checkpointing<'a> {
    life: &'a Life<'a>,
    cosigners: Cosigners,
    witnesses: Vec<(String, VerifierKey)>,
    policy: Option<Policy>,
    open: Option<Open>,
}

/// The witnesses of the trust file, as this connector asks them.
fn clients(connector: &Connector) -> Result<Vec<WitnessClient>, End> {
    let timeout = Duration::from_millis(connector.intervals.witness_timeout_ms);
    let client = |witness: &bridge_trust::Witness| {
        WitnessClient::new(&witness.name, witness.key.clone(), &witness.url, timeout)
            .map_err(|error| End::Halt(error.into()))
    };
    connector.trust.terms().witnesses().iter().map(client).collect()
}

/// The largest size of this log that any witness reports; what does not answer reports nothing. A shutdown does not wait
/// for their answers.
pub(crate) fn largest_witnessed(connector: &Connector, shutdown: &Shutdown) -> Result<u64, End> {
    let clients = clients(connector)?;
    let (origin, key) = (connector.origin.to_string(), connector.log_signer.verifier().clone());
    let asked = shutdown.unless_asked(move || largest(&clients, &origin, &key));
    asked.map_err(End::retry)?.ok_or(End::Stopped)
}

fn largest(clients: &[WitnessClient], origin: &str, key: &VerifierKey) -> u64 {
    let ask = |client: &WitnessClient| match client.newest(origin, std::slice::from_ref(key)) {
        Ok(Some(signed)) => signed.checkpoint().size,
        Ok(None) => 0,
        Err(error) => {
            tracing::warn!(witness = client.name(), %error, "the witness does not say how much it has seen");
            0
        }
    };
    let sizes = std::thread::scope(|scope| {
        let asked: Vec<_> = clients.iter().map(|client| scope.spawn(move || ask(client))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap_or(0)).max()
    });
    sizes.unwrap_or(0)
}

/// Runs until the life is over; before a clean stop makes the last checkpoint when it is asked for it.
pub(crate) fn run(life: &Life<'_>) {
    let ended = Checkpointing::new(life).and_then(|mut checkpointing| checkpointing.run());
    life.checkpointing_ended();
    if let Err(end) = ended {
        life.end(end);
    }
}

impl<'a> Checkpointing<'a> {
    fn new(life: &'a Life<'a>) -> Result<Checkpointing<'a>, End> {
        let connector = life.connector;
        let clients = clients(connector)?;
        let witnesses =
            clients.iter().map(|client| (client.name().to_owned(), client.key().clone())).collect();
        let dir = life.log(|log| log.dir().to_path_buf());
        let cosigners =
            Cosigners::start(clients, &dir, std::slice::from_ref(connector.log_signer.verifier()))
                .map_err(|error| End::Retry(format!("no thread for the witnesses: {error}")))?;
        life.checkpoint_wakes_by(cosigners.bell());
        // Without a policy in the trust file no checkpoint is ever witnessed, and readers' levels say so.
        let policy = connector.trust.policy_for(&connector.origin).ok();
        Ok(Checkpointing { life, cosigners, witnesses, policy, open: None })
    }

    fn run(&mut self) -> Result<(), End> {
        let mut last: Option<(u64, Instant)> = None;
        loop {
            if self.life.is_over() {
                return Ok(());
            }
            if self.life.last_checkpoint_wanted() {
                return self.last();
            }
            let mut size = self.life.log(|log| log.size());
            if last.is_some_and(|(told, _)| told == size) {
                // What is appended from here on rings the bell; what came just before is seen by the second look.
                self.life.checkpoint_idles();
                size = self.life.log(|log| log.size());
            }
            let interval = match last {
                Some((told, _)) if told == size => self.life.intervals().idle_ms,
                _ => self.life.intervals().checkpoint_ms,
            };
            let interval = Duration::from_millis(interval);
            let left = last.map_or(Duration::ZERO, |(_, at)| interval.saturating_sub(at.elapsed()));
            if left.is_zero() {
                last = Some((size, Instant::now()));
                self.sign()?;
            } else {
                self.gather(left)?;
            }
        }
    }

    /// The last checkpoint of a clean stop, over the mark that was just appended.
    fn last(&mut self) -> Result<(), End> {
        self.sign()?;
        let until = Instant::now() + LAST_WAIT;
        while self.open.as_ref().is_some_and(|open| !open.told) && Instant::now() < until {
            self.gather(until.saturating_duration_since(Instant::now()))?;
        }
        self.tell()
    }

    /// Signs a checkpoint over all entries and asks the witnesses.
    fn sign(&mut self) -> Result<(), End> {
        // One that still waits is told with what it has: its successor covers it.
        self.tell()?;
        let signer = &self.life.connector.log_signer;
        let signed = self.life.log(|log| log.sign_checkpoint(signer)).map_err(End::from_log)?;
        self.life.at(Point::AfterCheckpoint);
        self.life.log(|log| log.publish(&signed)).map_err(End::from_log)?;
        self.cosigners.offer(&signed);
        let until = Instant::now() + Duration::from_millis(self.life.intervals().witness_timeout_ms);
        self.open = Some(Open { signed, until, cosignatures: 0, answers: 0, told: false });
        if self.witnesses.is_empty() { self.tell() } else { Ok(()) }
    }

    /// Takes an answer, waiting for it at most `wait`, and tells the checkpoint when enough have come or the time is over.
    fn gather(&mut self, wait: Duration) -> Result<(), End> {
        let waiting = self.open.as_ref().filter(|open| !open.told).map(|open| open.until);
        let patience = waiting.map_or(REST_MAX, |until| until.saturating_duration_since(Instant::now()));
        if let Some(answered) = self.cosigners.take(wait.min(patience).min(REST_MAX)) {
            self.answer(answered)?;
        }
        let Some(open) = &self.open else { return Ok(()) };
        if !open.told
            && (open.answers >= self.witnesses.len() || self.quorum(open) || Instant::now() >= open.until)
        {
            self.tell()?;
        }
        Ok(())
    }

    fn quorum(&self, open: &Open) -> bool {
        let standing = self.policy.as_ref().map(|policy| policy.evaluate(open.signed.note()));
        standing.is_some_and(|standing| standing.is_ok_and(|standing| standing.quorum))
    }

    fn answer(&mut self, answered: Answered) -> Result<(), End> {
        let Answered { witness, size, outcome } = answered;
        match outcome {
            Ok(cosignature) => {
                let key = self.witnesses.iter().find(|(name, _)| *name == witness).map(|(_, key)| key);
                let Some(open) = self.open.as_mut().filter(|open| open.signed.checkpoint().size == size)
                else {
                    return Ok(());
                };
                open.answers = open.answers.saturating_add(1);
                if let Some(key) = key
                    && open.signed.add_cosignature(&[cosignature.line], key).is_ok()
                {
                    open.cosignatures = open.cosignatures.saturating_add(1);
                    if open.told {
                        // A late cosignature still belongs under the published checkpoint, and into the next beacons.
                        self.republish()?;
                    }
                }
                Ok(())
            }
            Err(AskError::Conflict(conflict)) => {
                let dir = self.life.log(|log| log.dir().to_path_buf());
                let saved = conflict.save(&dir, self.life.now());
                tracing::error!(%witness, ?saved, "two checkpoints of our own key do not fit each other");
                Err(End::Halt(ConnectorError::Conflict(AskError::Conflict(conflict).to_string())))
            }
            Err(error) => {
                self.life.metrics().witness_fault(&witness);
                tracing::warn!(%witness, %error, "no cosignature");
                if let Some(open) = self.open.as_mut().filter(|open| open.signed.checkpoint().size == size) {
                    open.answers = open.answers.saturating_add(1);
                }
                Ok(())
            }
        }
    }

    /// Publishes the open checkpoint with the cosignatures that it has, once.
    fn tell(&mut self) -> Result<(), End> {
        match &mut self.open {
            Some(open) if !open.told => open.told = true,
            _ => return Ok(()),
        }
        self.republish()
    }

    fn republish(&self) -> Result<(), End> {
        let Some(open) = &self.open else { return Ok(()) };
        self.life.log(|log| log.publish(&open.signed)).map_err(End::from_log)?;
        let size = open.signed.checkpoint().size;
        self.life.metrics().checkpoint(size, open.cosignatures, self.quorum(open));
        let note = open.signed.note().format();
        self.life.publish_checkpoint(Published { size, cosignatures: open.cosignatures, note });
        Ok(())
    }
}
