//! The fault switch of debug builds (docs/decisions/0005-fault-switch.md): `GOVBRIDGE_FAULT=<point>:<n>`.
//!
//! At the n-th passing of a point of the path the process kills itself, as kill -9 would. At the n-th durable write of a
//! kind, `disk-<act>-lost`, `-full` or `-reported` makes the write fail; `-killed` ends the process instead of it. With
//! `-paused` behind a point or a write the process stops itself there, as SIGSTOP would, and goes on with SIGCONT.

use crate::exit::Refusal;
use bridge_ledger::{Act, Disk, Fault};
use bridge_pipeline::Point;
use rustix::process::{Signal, getpid, kill_process};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const VARIABLE: &str = "GOVBRIDGE_FAULT";

/// Behind the name of a point.
const PAUSED: &str = "-paused";

/// What is to happen, and how often its point was passed.
#[derive(Debug)]
struct Chosen {
    name: String,
    at: u64,
    passed: AtomicU64,
}

/// The faults of this process: none, or one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Option<Arc<Chosen>>);

impl Faults {
    /// What the environment asks for. A name that this build does not know is refused: a fault that never fires would
    /// look like a test that passes.
    pub(crate) fn of_environment() -> anyhow::Result<Faults> {
        match std::env::var(VARIABLE) {
            Ok(text) => Faults::parse(&text),
            Err(_) => Ok(Faults(None)),
        }
    }

    fn parse(text: &str) -> anyhow::Result<Faults> {
        let unknown = || {
            Refusal::usage(format!("{VARIABLE}={text} names no fault; write <point>:<n>, n from 1"))
                .remedy(format!("the points are {}", names().join(", ")))
        };
        let (name, at) = text.split_once(':').ok_or_else(unknown)?;
        let at: u64 = at.parse().ok().filter(|at| *at > 0).ok_or_else(unknown)?;
        if !names().iter().any(|known| known == name) {
            return Err(unknown().into());
        }
        Ok(Faults(Some(Arc::new(Chosen { name: name.to_owned(), at, passed: AtomicU64::new(0) }))))
    }

    /// The disk, with its fault.
    pub(crate) fn disk(&self) -> Disk {
        let Some(chosen) = self.0.clone() else { return Disk::real() };
        Disk::with_faults(move |act| {
            chosen.spoils(act_name(act)).map(|fate| match fate {
                Fate::Lost => Fault::Lost,
                Fate::Full => Fault::Full,
                Fate::Reported => Fault::AppliedButFailed,
            })
        })
    }

    /// The disk of a subscriber's sink and progress, with its fault.
    pub(crate) fn receiving_disk(&self) -> bridge_subscriber::Disk {
        use bridge_subscriber::{Disk, Fault};
        let Some(chosen) = self.0.clone() else { return Disk::real() };
        Disk::with_faults(move |act| {
            chosen.spoils(act.name()).map(|fate| match fate {
                Fate::Lost => Fault::Lost,
                Fate::Full => Fault::Full,
                Fate::Reported => Fault::AppliedButFailed,
            })
        })
    }

    /// A durable write of the process itself, with its fault.
    pub(crate) fn write(&self, act: &str, write: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self.0.as_ref().and_then(|chosen| chosen.spoils(act)) {
            None => write(),
            Some(Fate::Lost) => Err(Refusal::unavailable("a test lost this write").into()),
            Some(Fate::Full) => Err(Refusal::unavailable(io::Error::from(io::ErrorKind::StorageFull)).into()),
            Some(Fate::Reported) => {
                write()?;
                Err(Refusal::unavailable("a test reports this write as failed").into())
            }
        }
    }

    /// The process stands at a point.
    fn at(&self, point: &str) {
        let Some(chosen) = &self.0 else { return };
        let paused = chosen.name.strip_suffix(PAUSED) == Some(point);
        if (paused || chosen.name == point) && chosen.passes() {
            tracing::error!(fault = chosen.name, passing = chosen.at, "the fault switch stops this process");
            if paused { pause() } else { end() }
        }
    }
}

/// What becomes of a durable write.
enum Fate {
    Lost,
    Full,
    Reported,
}

impl Chosen {
    /// What becomes of this write, when it is the one; `killed` does not come back, and `paused` only when it is told to.
    fn spoils(&self, act: &str) -> Option<Fate> {
        let (kind, fate) = self.name.strip_prefix("disk-")?.rsplit_once('-')?;
        if kind != act || !self.passes() {
            return None;
        }
        tracing::error!(fault = self.name, passing = self.at, "the fault switch spoils this write");
        match fate {
            "paused" => {
                pause();
                None
            }
            "lost" => Some(Fate::Lost),
            "full" => Some(Fate::Full),
            "reported" => Some(Fate::Reported),
            _ => end(),
        }
    }

    fn passes(&self) -> bool {
        self.passed.fetch_add(1, Ordering::SeqCst) + 1 == self.at
    }
}

impl bridge_pipeline::Probe for Faults {
    fn at(&self, point: Point) {
        Faults::at(self, point.name());
    }
}

impl bridge_subscriber::Probe for Faults {
    fn reach(&self, point: bridge_subscriber::Point) -> Result<(), bridge_subscriber::Interrupted> {
        Faults::at(self, subscriber_point(point));
        Ok(())
    }
}

fn subscriber_point(point: bridge_subscriber::Point) -> &'static str {
    use bridge_subscriber::Point;
    match point {
        Point::AfterFetch => "after-fetch",
        Point::AfterVerify => "after-verify",
        Point::AfterOpen => "after-open",
        Point::BeforeFsync => "before-fsync",
        Point::AfterFsync => "after-fsync",
        Point::BeforeProgress => "before-progress",
        Point::AfterProgress => "after-progress",
    }
}

/// Stops this process where it stands, until somebody sends SIGCONT.
fn pause() {
    let _ = kill_process(getpid(), Signal::STOP);
    // The signal is the whole process's, and another thread may be the one that takes it. Until then this one stays here.
    let taken = std::time::Instant::now() + std::time::Duration::from_secs(1);
    while let Some(left) = taken.checked_duration_since(std::time::Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Ends this process as kill -9 does: nothing is written any more, no destructor runs.
fn end() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

/// What is remembered of the trust file.
pub(crate) const TRUST_STATE: &str = "trust-state";

const ACTS: [Act; 9] = [
    Act::JournalAppend,
    Act::JournalReplace,
    Act::Bundle,
    Act::Tile,
    Act::OwnCheckpoint,
    Act::Checkpoint,
    Act::Heads,
    Act::Acknowledged,
    Act::WitnessState,
];

fn act_name(act: Act) -> &'static str {
    match act {
        Act::JournalAppend => "journal-append",
        Act::JournalReplace => "journal-replace",
        Act::Bundle => "bundle",
        Act::Tile => "tile",
        Act::OwnCheckpoint => "own-checkpoint",
        Act::Checkpoint => "checkpoint",
        Act::Heads => "heads",
        Act::Acknowledged => "acknowledged",
        Act::WitnessState => "witness-state",
    }
}

/// The names of all faults.
fn names() -> Vec<String> {
    let points = Point::ALL.iter().map(|point| point.name().to_owned());
    let paused = Point::ALL.iter().map(|point| format!("{}{PAUSED}", point.name()));
    let fates = ["lost", "full", "reported", "killed", "paused"];
    let acts = ACTS.iter().map(|act| act_name(*act));
    let acts = acts.chain(bridge_subscriber::Act::ALL.map(bridge_subscriber::Act::name)).chain([TRUST_STATE]);
    let writes = acts.flat_map(|act| fates.map(|fate| format!("disk-{act}-{fate}")));
    let receiving = bridge_subscriber::Point::ALL.iter().map(|point| subscriber_point(*point).to_owned());
    points.chain(paused).chain(receiving).chain(writes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_does_not_exist_is_refused() {
        for text in [
            "",
            "after-seal",
            "after-seal:0",
            "after-seal:x",
            "after-lunch:1",
            "disk-tile:1",
            "disk-tile-bent:1",
        ] {
            assert!(Faults::parse(text).is_err(), "{text}");
        }
        for text in [
            "after-seal:1",
            "after-seal-paused:2",
            "disk-tile-lost:3",
            "disk-journal-append-reported:1",
            "disk-sink-cut-full:1",
        ] {
            assert!(Faults::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_fault_fires_once_at_its_passing() {
        let chosen = Chosen { name: "after-seal".to_owned(), at: 2, passed: AtomicU64::new(0) };
        assert_eq!([chosen.passes(), chosen.passes(), chosen.passes()], [false, true, false]);
    }
}
