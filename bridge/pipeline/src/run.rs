//! The connector: lives one after the other until it is stopped, superseded or halted.

use crate::ConnectorError;
use crate::append::Appending;
use crate::capture::{Assembler, CaptureError, Outlet, SnapshotAssembler};
use crate::checkpoint;
use crate::identity;
use crate::keys::KeyRing;
use crate::life::{Begin, End, Life, Plan, held};
use crate::metrics::Metrics;
use crate::outside::{Clock, Point, Probe, Random};
use crate::retained;
use crate::seal::{Courier, Sealing, ToSeal};
use crate::serve;
use crate::settings::{BatchLimits, Intervals, TopicSettings};
use crate::shutdown::Shutdown;
use crate::start::{Started, StartedStream, Starting};
use crate::streams::{Sending, Streams};
use crate::topics;
use bridge_chain::outgoing::Outgoing;
use bridge_chain::{SnapshotPlace, State};
use bridge_envelope::{ContractRecord, Entry, Signed};
use bridge_event::{Generation, IncarnationNumber, Origin};
use bridge_kafka::Properties;
use bridge_ledger::Log;
use bridge_suite::SigningKey;
use bridge_tlog::NoteSigner;
use bridge_trust::Trust;
use connectors_source::{Disposition, Gauge, Polled, Recognised, Source, SourceError};
use schemas::{Contract, ContractFiles, Encoder};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// Claims the source. Called until it succeeds, as long as the source is only busy or away; a life that ends in a delivery
/// error goes back to the source's kept place.
pub type Claim = Box<dyn FnMut() -> Result<Box<dyn Source>, SourceError> + Send>;

/// A contract with the exact files that it was read from.
#[derive(Debug)]
pub struct Promise {
    /// The contract.
    pub contract: Arc<Contract>,
    /// Its files.
    pub files: ContractFiles,
}

/// Everything that a connector needs; the door puts it together.
pub struct Connector {
    /// The log's name.
    pub origin: Origin,
    /// The datasets, one stream each; the source was claimed for their tables in this order.
    pub promises: Vec<Promise>,
    /// The department's signing key.
    pub signing: SigningKey,
    /// The log's key.
    pub log_signer: NoteSigner,
    /// The trust file.
    pub trust: Trust,
    /// librdkafka's settings.
    pub kafka: Properties,
    /// When batches are closed.
    pub limits: BatchLimits,
    /// What topics are made with.
    pub topics: TopicSettings,
    /// How often the connector speaks.
    pub intervals: Intervals,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The test's hand at the seams.
    pub probe: Arc<dyn Probe>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// How long a source may wait for changes before the thread looks around.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// An acknowledgement may be a write in the department's own database: not more often than this.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(100);
/// Batches that may wait for the sealing thread.
const TO_SEAL_MAX: usize = 16;
/// How long to wait before the next life after a delivery error, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// After so many lives in a row that Kafka ended by a refusal, it is no matter of a moment.
const REFUSALS_MAX: u32 = 3;
/// A life that lasted longer than this did publish.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Runs a connector until `shutdown` is asked for, it is superseded, or it halts.
///
/// The log is open, and so its lock is held, before this is called. `listener` serves tiles, `/metrics` and `/health`.
///
/// # Errors
/// [`ConnectorError`], when a person has to decide.
pub fn run(
    connector: Connector,
    claim: Claim,
    log: Log,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), ConnectorError> {
    let plans: Vec<Plan> = connector.promises.iter().map(|promise| Plan::of(&promise.contract)).collect();
    let names: Vec<_> = plans.iter().map(|plan| plan.stream.clone()).collect();
    let metrics = Arc::new(Metrics::new(&names)?);
    let server = serve::start(listener, log.dir().to_path_buf(), Arc::clone(&metrics), &connector)?;
    let log = Mutex::new(log);
    let outcome = live(&connector, claim, &log, &plans, &metrics, &shutdown);
    metrics.stopped();
    server.stop();
    outcome
}

fn live(
    connector: &Connector,
    claim: Claim,
    log: &Mutex<Log>,
    plans: &[Plan],
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<(), ConnectorError> {
    let Some(mut source) = claimed(claim, metrics, shutdown)? else { return Ok(()) };
    let mut wait = BACKOFF.0;
    let mut checked = false;
    let mut refused = 0;
    // Whether the source begins again at its kept place: nothing may be captured before it does.
    let mut rewound = true;
    loop {
        let began = Instant::now();
        let ready = match (rewound, checked) {
            (false, _) => source.rewind().map_err(source_end),
            (true, again) => topics::check(connector, plans, log, again, shutdown),
        };
        let end = match ready {
            Err(end) => end,
            Ok(()) if !rewound => {
                rewound = true;
                continue;
            }
            Ok(()) => {
                checked = true;
                one_life(connector, &mut *source, log, plans, metrics, shutdown)
            }
        };
        metrics.stopped();
        match end {
            End::Stopped => return Ok(()),
            End::Superseded(why) => return Err(ConnectorError::Superseded(why)),
            End::Halt(error) => return Err(error),
            End::Refused(error) if refused >= REFUSALS_MAX => return Err(error),
            end @ (End::Retry(_) | End::Refused(_)) => {
                // A refusal after a long life is a new one.
                let before = if began.elapsed() > LONG_LIFE { 0 } else { refused };
                refused = if matches!(end, End::Refused(_)) { before + 1 } else { 0 };
                let why = match end {
                    End::Refused(error) => error.to_string(),
                    End::Retry(why) => why,
                    _ => String::new(),
                };
                metrics.restarted(&why);
                if began.elapsed() > BACKOFF.1 {
                    wait = BACKOFF.0;
                }
                tracing::warn!(%why, wait_ms = wait.as_millis(), "the path broke; a new epoch begins");
                if shutdown.wait(wait) {
                    return Ok(());
                }
                wait = wait.saturating_mul(2).min(BACKOFF.1);
                rewound = false;
            }
        }
    }
}

/// The source, once it is there and free; `None` after a stop.
fn claimed(
    mut claim: Claim,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<Option<Box<dyn Source>>, ConnectorError> {
    let mut wait = BACKOFF.0;
    while !shutdown.is_asked() {
        match claim() {
            Ok(source) => return Ok(Some(source)),
            Err(error) if error.disposition() != Disposition::Retry => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, wait_ms = wait.as_millis(), "the source cannot be claimed yet");
                metrics.waiting(&error.to_string());
                shutdown.wait(wait);
                wait = wait.saturating_mul(2).min(BACKOFF.1);
            }
        }
    }
    Ok(None)
}

/// From a start to the end of what it started.
fn one_life(
    connector: &Connector,
    source: &mut dyn Source,
    log: &Mutex<Log>,
    plans: &[Plan],
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> End {
    match prepare(connector, source, log, plans, shutdown) {
        Err(end) => end,
        Ok(prepared) => match check_source(source, log, &prepared, plans) {
            Err(end) => end,
            Ok(()) => run_life(connector, source, log, plans, metrics, shutdown, prepared),
        },
    }
}

/// What stands before a life can begin.
struct Prepared {
    incarnation: IncarnationNumber,
    started: Started,
    contracts: Vec<Signed<ContractRecord>>,
}

fn prepare(
    connector: &Connector,
    source: &mut dyn Source,
    log: &Mutex<Log>,
    plans: &[Plan],
    shutdown: &Shutdown,
) -> Result<Prepared, End> {
    let incarnation = identity::incarnation(connector, source.incarnation(), log)?;
    identity::kept_place(source.acknowledged(), incarnation, log)?;
    identity::trust(connector, log)?;
    let contracts = identity::contracts(connector, log)?;
    let started = Starting::new(connector, log, plans, incarnation, shutdown)?.run()?;
    Ok(Prepared { incarnation, started, contracts })
}

/// Which streams begin with a snapshot, and its number: those that never had one, and those whose last one was broken off.
fn generations(started: &Started) -> Vec<Option<Generation>> {
    started
        .streams
        .iter()
        .map(|stream| match stream.adopted.machine.state() {
            State { head: None, .. } => Some(Generation(1)),
            State { snapshot: Some(SnapshotPlace { generation, last: false, .. }), .. } => {
                Some(Generation(generation.0.saturating_add(1)))
            }
            _ => None,
        })
        .collect()
}

/// A stream must not hold what the source no longer has, nor may the source end before what it was told to forget.
fn check_source(
    source: &mut dyn Source,
    log: &Mutex<Log>,
    prepared: &Prepared,
    plans: &[Plan],
) -> Result<(), End> {
    let Prepared { incarnation, started, .. } = prepared;
    let newest = source.newest().map_err(source_end)?;
    let told = held(log).acknowledged().map_err(|error| End::Halt(error.into()))?;
    if let Some(told) = told.filter(|told| told.incarnation == *incarnation && told.through > newest) {
        let (stream, held) = ("what the source was told to forget".to_owned(), told.through.commit);
        return Err(End::Halt(ConnectorError::SourceWentBack { stream, held, newest: newest.commit }));
    }
    for (index, (stream, plan)) in started.streams.iter().zip(plans).enumerate() {
        let state = stream.adopted.machine.state();
        if state.head.is_none() || state.last.incarnation != *incarnation {
            continue;
        }
        let held = state.last.mark.commit;
        let name = plan.stream.to_string();
        if state.last.mark.is_unfinished() && !state.last.mark.is_end() {
            same_contract(stream, plan, index)?;
        }
        if held > newest.commit {
            let newest = newest.commit;
            return Err(End::Halt(ConnectorError::SourceWentBack { stream: name, held, newest }));
        }
        let token = &stream.head_last.token;
        if !token.as_bytes().is_empty() {
            let known = source.recognises(state.last.mark.at(), token).map_err(source_end)?;
            if known == Recognised::Different {
                return Err(End::Halt(ConnectorError::SourceReplaced { stream: name, held }));
            }
        }
    }
    Ok(())
}

/// A row that was broken off goes on under the contract that it began under: under another one its record is another.
fn same_contract(stream: &StartedStream, plan: &Plan, index: usize) -> Result<(), End> {
    let entry = stream.in_log.as_ref().and_then(|batch| Entry::decode(&batch.entry).ok());
    let began = match entry {
        Some(Entry::Batch(entry)) => entry.contract,
        _ => return Ok(()),
    };
    if began == plan.contract {
        return Ok(());
    }
    let at = stream.adopted.machine.state().last.mark.at();
    let error = CaptureError::RowChanged {
        stream: index,
        at,
        why: "the contract is another than it was begun under",
    };
    Err(End::Halt(error.into()))
}

pub(crate) fn source_end(error: SourceError) -> End {
    match error.disposition() {
        Disposition::Retry => End::retry(error),
        _ => End::Halt(error.into()),
    }
}

/// The four threads of a life, and the order in which they end: capture, then append, then seal; checkpoints whenever.
fn run_life(
    connector: &Connector,
    source: &mut dyn Source,
    log: &Mutex<Log>,
    plans: &[Plan],
    metrics: &Metrics,
    shutdown: &Shutdown,
    prepared: Prepared,
) -> End {
    let Prepared { incarnation, started, contracts } = prepared;
    let generations = generations(&started);
    let from = source.acknowledged();
    let Started { epoch, publisher, streams } = started;
    let mut lanes = Vec::new();
    let mut sending = Vec::new();
    let mut in_log = Vec::new();
    for (stream, promise) in streams.into_iter().zip(&connector.promises) {
        let columns = promise.contract.source_columns();
        let encoder = match Encoder::new(&promise.contract, &columns) {
            Ok(encoder) => encoder,
            Err(error) => return End::Halt(CaptureError::from(error).into()),
        };
        let state = *stream.adopted.machine.state();
        lanes.push((encoder, state, stream.head_last.token.clone()));
        sending.push(Sending::new(Outgoing::new(stream.adopted), stream.head_last));
        in_log.push(stream.in_log);
    }
    let (to_seal, work) = sync_channel(TO_SEAL_MAX);
    let begin = Begin { connector, metrics, log, plans, epoch, incarnation, shutdown, checkpoint: None };
    let life = Life::new(begin, Streams::new(sending, from), to_seal.clone());
    let outlet = Outlet {
        seal: to_seal,
        ended: life.ended(),
        shutdown: shutdown.clone(),
        rows: Arc::new(AtomicU64::new(0)),
        under_way: Arc::new(AtomicUsize::new(0)),
    };
    let under_way = Arc::clone(&outlet.under_way);
    let assembler = match Assembler::new(lanes, incarnation, from, connector.limits, outlet.clone()) {
        Ok(assembler) => assembler,
        Err(error) => return End::Halt(error.into()),
    };
    metrics.started(epoch.0);
    let mut appending = Appending::new(&life, in_log);
    if let Err(end) = appending.first_words() {
        return end;
    }
    std::thread::scope(|scope| {
        let life = &life;
        scope.spawn(move || {
            let courier = Courier::new(life, publisher, under_way);
            let sealed =
                Sealing::new(life, courier, KeyRing::new(plans)).and_then(|mut s| s.run(&contracts, &work));
            if let Err(end) = sealed {
                life.end(end);
            }
            // Dropping the receiver here makes every sender's next send fail.
        });
        scope.spawn(move || {
            let appended = appending.run();
            life.send_no_more();
            if let Err(end) = appended {
                life.end(end);
            }
        });
        beside(scope, life, source.gauge());
        let captured = capture(life, source, assembler, &generations, &outlet);
        if let Err(end) = captured {
            life.end(end);
        }
        // When the sealing thread has ended there is nobody left to tell.
        let _ = outlet.seal.send(ToSeal::CaptureEnded);
        drop(outlet);
    });
    // What the drain brought into the log, the source may forget; the next start repeats the rest.
    if let Some(through) = life.take_acknowledge()
        && let Err(error) = source.acknowledge(through)
    {
        life.end(source_end(error));
    }
    life.into_end()
}

/// The threads that carry no batch.
fn beside<'scope>(
    scope: &'scope Scope<'scope, '_>,
    life: &'scope Life<'_>,
    gauge: Option<Box<dyn Gauge + 'scope>>,
) {
    scope.spawn(move || checkpoint::run(life));
    scope.spawn(move || topics::watch(life));
    if let Some(gauge) = gauge {
        scope.spawn(move || retained::watch(life, gauge));
    }
}

/// The capturing thread: a snapshot for the streams that begin with one, then the source's transactions.
fn capture(
    life: &Life<'_>,
    source: &mut dyn Source,
    mut assembler: Assembler,
    generations: &[Option<Generation>],
    outlet: &Outlet,
) -> Result<(), End> {
    let tables: Vec<usize> =
        generations.iter().enumerate().filter(|(_, g)| g.is_some()).map(|(table, _)| table).collect();
    if !tables.is_empty() {
        let mut rows = SnapshotAssembler::new(&mut assembler, generations, life.now());
        let taken = source.snapshot(&tables, &mut rows);
        let finished = match taken {
            Ok(Some(_)) => rows.finish().is_ok(),
            Ok(None) => false,
            Err(error) => return Err(source_end(error)),
        };
        if !finished {
            return stopped(life, &mut assembler);
        }
    }
    let mut acknowledged = Instant::now();
    let mut counted = 0;
    while !life.is_stopping() && !life.is_over() {
        if acknowledged.elapsed() >= ACKNOWLEDGE_EVERY
            && let Some(through) = life.take_acknowledge()
        {
            acknowledged = Instant::now();
            source.acknowledge(through).map_err(source_end)?;
            life.metrics().acknowledged(through.commit);
            life.at(Point::AfterAcknowledge);
        }
        let wait = assembler.patience(POLL_WAIT);
        let closed = match source.poll(wait, &mut assembler).map_err(source_end)? {
            Polled::Idle { at } => assembler.idle(at),
            Polled::Delivered => assembler.close_due(),
            Polled::Stopped => return stopped(life, &mut assembler),
        };
        if closed.is_err() {
            return stopped(life, &mut assembler);
        }
        let rows = outlet.rows.load(Ordering::Relaxed);
        life.metrics().captured(rows.saturating_sub(counted));
        counted = rows;
    }
    Ok(())
}

/// The assembler told the source to stop: because it failed, or because the life is over.
fn stopped(life: &Life<'_>, assembler: &mut Assembler) -> Result<(), End> {
    match assembler.take_error() {
        Some(error) => Err(End::Halt(error.into())),
        None if life.is_over() || life.is_stopping() => Ok(()),
        None => Err(End::Retry("the sealing thread has ended".to_owned())),
    }
}
