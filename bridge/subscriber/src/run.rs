//! The process: one thread that does the work, and a server that says how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bridge_kafka::Properties;
use bridge_suite::RecipientKey;
use bridge_trust::Trust;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::flow::{Delivery, Flow, Parts};
use crate::freshness::Health;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::postgres::{PostgresSink, Rights};
use crate::progress::ProgressFile;
use crate::records::Records;
use crate::serve::serve;
use crate::settings::{self, Mode, Settings};
use crate::sink::{Lines, Sink};
use crate::{Clock, DeliverError, Disposition, Level, Probe, RunError};

/// How long the work may take to end after a shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// How long one wait for a record lasts; a shutdown is noticed after it.
const WAIT: Duration = Duration::from_millis(100);

/// Before a second try to start, while Kafka, a contract or the sink is not there yet; then twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(8);

/// Everything that a subscriber is given.
pub struct Subscriber {
    /// The configuration.
    pub settings: Settings,
    /// Kafka's settings.
    pub properties: Properties,
    /// The verified trust file.
    pub trust: Arc<Trust>,
    /// The department's recipient keys, the oldest first.
    pub keys: Vec<RecipientKey>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Watches the flow; [`crate::Unwatched`] outside of tests.
    pub probe: Arc<dyn Probe>,
    /// The disk of sink and progress; [`Disk::real`] outside of tests.
    pub disk: Disk,
}

/// What the flow is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Deliver,
    Check,
}

/// What the server and the flow share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) metrics: Metrics,
    pub(crate) health: Arc<Health>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// What a flow is made of; it is kept, because a start may need more than one try.
pub(crate) struct Makings {
    pub(crate) settings: Settings,
    pub(crate) properties: Properties,
    pub(crate) trust: Arc<Trust>,
    keys: Arc<[RecipientKey]>,
    probe: Arc<dyn Probe>,
    disk: Disk,
    pub(crate) shared: Shared,
    least: Level,
    /// What a server shows of this process's sessions; no two processes have one.
    session_name: String,
}

/// Delivers until `shutdown` is ready or something ends it. Rows not yet stored in the progress are cut off at the next
/// start, so a kill at any moment is as good as a shutdown.
///
/// # Errors
/// [`RunError`]: why delivery ended.
pub async fn run(
    subscriber: Subscriber,
    listener: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let makings = Makings::new(subscriber)?;
    let shared = makings.shared.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let (ended, mut outcome) = oneshot::channel();
    let (close, closed) = oneshot::channel::<()>();
    let server = listener.map(|listener| tokio::spawn(serve(listener, shared.clone(), closed)));
    let told = Arc::clone(&stop);
    let work = move || work(makings, &told, ended);
    std::thread::Builder::new()
        .name("subscriber".to_owned())
        .spawn(work)
        .map_err(|error| RunError::Process(format!("the flow's thread could not be started: {error}")))?;
    let vanished = || RunError::Process("the flow's thread ended by itself".to_owned());
    let result = tokio::select! {
        result = &mut outcome => result.unwrap_or_else(|_| Err(vanished())),
        () = shutdown => {
            stop.store(true, Ordering::Release);
            match tokio::time::timeout(DRAIN, outcome).await {
                Ok(result) => result.unwrap_or_else(|_| Err(vanished())),
                Err(_) => Err(RunError::Process(format!("the flow did not end within {} s", DRAIN.as_secs()))),
            }
        }
    };
    // The server outlives the work by nothing: a health that nobody keeps up to date says nothing.
    let _ = close.send(());
    if let Some(server) = server {
        let _ = server.await;
    }
    result
}

fn work(mut makings: Makings, stop: &AtomicBool, ended: oneshot::Sender<Result<(), RunError>>) {
    let mut again = AGAIN;
    let (result, fetchers) = loop {
        match makings.start(Purpose::Deliver) {
            Err(error) if error.disposition() == Disposition::Retry && !stop.load(Ordering::Acquire) => {
                tracing::warn!(%error, "not started yet");
                if let RunError::Deliver(_) = error {
                    makings.shared.health.halted(error.to_string());
                }
                rest(&mut again, stop);
            }
            Err(error) => {
                makings.shared.health.halted(error.to_string());
                break (Err(error), None);
            }
            Ok(mut flow) => {
                let begun = Instant::now();
                let result = follow(&mut flow, stop);
                // The locks first: who waits for the end may start the next one.
                let Flow { sink, delivery, fetcher, records, .. } = flow;
                drop((sink, delivery));
                match result {
                    Err(error)
                        if error.disposition() == Disposition::Retry && !stop.load(Ordering::Acquire) =>
                    {
                        tracing::warn!(%error, "the flow begins again from its progress");
                        if begun.elapsed() > AGAIN_MAX {
                            again = AGAIN;
                        }
                        rest(&mut again, stop);
                    }
                    result => break (result, Some((fetcher, records))),
                }
            }
        }
    };
    // Nobody may wait any more after a time-out; that is fine.
    let _ = ended.send(result);
    drop(fetchers);
}

/// Waits, twice as long as the last time.
fn rest(again: &mut Duration, stop: &AtomicBool) {
    let until = Instant::now() + *again;
    while Instant::now() < until && !stop.load(Ordering::Acquire) {
        std::thread::sleep(WAIT.min(*again));
    }
    *again = again.saturating_mul(2).min(AGAIN_MAX);
}

fn follow(flow: &mut Flow, stop: &AtomicBool) -> Result<(), RunError> {
    while !stop.load(Ordering::Acquire) {
        flow.turn(WAIT)?;
    }
    Ok(flow.commit()?)
}

impl Makings {
    pub(crate) fn new(subscriber: Subscriber) -> Result<Makings, RunError> {
        let Subscriber { settings, properties, trust, keys, clock, probe, disk } = subscriber;
        let least = settings.check()?;
        let health = Arc::new(Health::new(settings.freshness(), least));
        let shared = Shared { metrics: Metrics::new()?, health, clock };
        let mut word = [0; 8];
        getrandom::fill(&mut word).map_err(|error| RunError::Process(format!("no randomness: {error}")))?;
        let session_name = format!("govbridge {} {:016x}", std::process::id(), u64::from_be_bytes(word));
        Ok(Makings {
            settings,
            properties,
            trust,
            keys: keys.into(),
            probe,
            disk,
            shared,
            least,
            session_name,
        })
    }

    /// A flow that stands where it begins.
    fn start(&mut self, purpose: Purpose) -> Result<Flow, RunError> {
        let settings = &self.settings;
        let (mut progress, mut delivery) = (None, None);
        let mut sink = Sink::Nowhere;
        if purpose == Purpose::Deliver {
            let subscription = subscription(settings);
            let file = ProgressFile::open(&settings.progress, self.disk.clone())?;
            let stored = file.read(&subscription)?;
            (sink, progress) = match &settings.sink {
                settings::Sink::JsonLines(path) => {
                    let mark = stored.as_ref().map(|(_, mark)| *mark);
                    let lines = Lines::open(path, mark, self.disk.clone())?;
                    (Sink::Lines(lines), stored.map(|(progress, _)| progress))
                }
                settings::Sink::Postgres(_) if stored.is_some() => return Err(file.is_anothers().into()),
                settings::Sink::Postgres(postgres) => {
                    let opened =
                        PostgresSink::open(postgres, &settings.datasets, &subscription, &self.session_name);
                    let (tables, progress) = opened
                        .map_err(|error| DeliverError::Postgres(Rights::of(postgres).explain(error)))?;
                    (Sink::Postgres(Box::new(tables)), progress)
                }
            };
            delivery = Some(Delivery { file, subscription });
        }
        let first = progress.is_none();
        let department = settings.department.clone();
        let (metrics, verified) = (&self.shared.metrics, settings.limits.verified_bytes_max);
        let mut flow = Flow::new(Parts {
            settings: settings.clone(),
            properties: self.properties.clone(),
            least: if purpose == Purpose::Check { Level::Signed } else { self.least },
            trust: Arc::clone(&self.trust),
            clock: Arc::clone(&self.shared.clock),
            probe: Arc::clone(&self.probe),
            metrics: self.shared.metrics.clone(),
            health: Arc::clone(&self.shared.health),
            records: Records::new(&self.properties, Arc::clone(&self.trust), settings, metrics)?,
            keys: Keys::new(department, Arc::clone(&self.keys), Arc::clone(&self.trust), verified, metrics),
            sink,
            delivery,
        })?;
        let found = flow.begin(progress.as_ref())?;
        for found in found {
            flow.report(found)?;
        }
        if first {
            // Rows in a sink without a progress could not be told from someone else's.
            flow.commit()?;
        }
        Ok(flow)
    }
}

/// Who may go on from a progress: the same department in the same mode. In mode `source` also with the same datasets: what
/// the merge delivered up to a commit says nothing of a dataset that was not in it.
fn subscription(settings: &Settings) -> String {
    let mut words = format!("{} {}", settings.department, settings.mode.as_str());
    if settings.mode == Mode::Source {
        let mut datasets: Vec<String> =
            settings.datasets.iter().map(|one| format!(" {}/{}", one.department, one.dataset)).collect();
        datasets.sort();
        words.extend(datasets);
    }
    words
}

/// A flow for check mode.
pub(crate) fn checking(subscriber: Subscriber) -> Result<Flow, RunError> {
    Makings::new(subscriber)?.start(Purpose::Check)
}
