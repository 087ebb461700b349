//! Three departments at work: each changes its own database as its own application would, and the demo counts what
//! was committed.
//!
//! The offices know nothing of govbridge but the one line with which an application closes its own transactions.

mod education;
mod office;
mod social_security;
mod store;
mod tax;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

pub(crate) use office::{Done, Office, Operation, Tally};
pub(crate) use store::Store;

/// How fast the offices work. A partition of the trial cluster keeps 5 MiB, and a small batch with its beacons is about 4 KB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Source transactions a second, over all offices.
    pub(crate) transactions_per_second: f64,
    /// One of so many transactions is a large one of several hundred rows.
    pub(crate) large_every: u64,
}

/// Transactions of each office in one demo, at most: three offices' transactions touch each dataset less than once on
/// average, so a partition gets at most so many batches of 4 KB, 3.2 MB of the 5 MiB that it keeps.
const TRANSACTIONS_MAX: f64 = 800.0;

/// Faster than this the terminal shows nothing more.
const TRANSACTIONS_PER_SECOND_MAX: f64 = 45.0;

/// Large transactions of each office in one demo, about: 400 rows compress to some 40 KB.
const LARGE: f64 = 6.0;

impl Pace {
    /// The pace at which a demo of this length stays below the trial cluster's cap.
    pub(crate) fn of(length: Duration) -> Pace {
        let seconds = length.as_secs_f64().max(1.0);
        let transactions_per_second = (3.0 * TRANSACTIONS_MAX / seconds).min(TRANSACTIONS_PER_SECOND_MAX);
        let whole = Duration::from_secs_f64(transactions_per_second * seconds / (3.0 * LARGE));
        Pace { transactions_per_second, large_every: whole.as_secs().max(10) }
    }

    fn between(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.transactions_per_second)
    }
}

/// The offices at work in a thread of their own.
pub(crate) struct Work {
    stop: Arc<AtomicBool>,
    news: Receiver<Tally>,
    thread: Option<JoinHandle<anyhow::Result<Vec<Office>>>>,
    committed: Tally,
}

impl Work {
    /// Lets the offices work, one transaction after the other in turn, until [`finish`](Work::finish).
    pub(crate) fn start(offices: Vec<Office>, pace: Pace) -> anyhow::Result<Work> {
        let stop = Arc::new(AtomicBool::new(false));
        let (teller, news) = mpsc::channel();
        let flag = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("generator".to_owned())
            .spawn(move || work(offices, pace, &flag, &teller))?;
        Ok(Work { stop, news, thread: Some(thread), committed: Tally::default() })
    }

    /// What was committed so far.
    pub(crate) fn committed(&mut self) -> &Tally {
        for tally in self.news.try_iter() {
            self.committed.add(&tally);
        }
        &self.committed
    }

    /// Whether the generator has ended before it was asked to: it failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets the offices finish the transaction in hand; all that they committed, and the offices back.
    pub(crate) fn finish(mut self) -> anyhow::Result<(Tally, Vec<Office>)> {
        let offices = self.join()?;
        let committed = self.committed().clone();
        Ok((committed, offices))
    }

    fn join(&mut self) -> anyhow::Result<Vec<Office>> {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().context("the generator was stopped twice")?;
        thread.join().map_err(|_| anyhow!("the generator panicked; its message is above"))?
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Its outcome matters only to `finish`.
            let _ = self.join();
        }
    }
}

fn work(
    mut offices: Vec<Office>,
    pace: Pace,
    stop: &AtomicBool,
    teller: &Sender<Tally>,
) -> anyhow::Result<Vec<Office>> {
    let begun = Instant::now();
    let between = pace.between();
    let mut turn: u32 = 0;
    while !stop.load(Ordering::Acquire) {
        let large = u64::from(turn / 3) % pace.large_every == pace.large_every / 2;
        let count = u32::try_from(offices.len().max(1))?;
        let office = offices.get_mut(usize::try_from(turn % count)?).context("there is no office")?;
        let tally = office.transact(large)?;
        // Nobody listens any more when the demo is ending.
        let _ = teller.send(tally);
        turn = turn.wrapping_add(1);
        let due = between.saturating_mul(turn);
        std::thread::sleep(due.saturating_sub(begun.elapsed()).min(Duration::from_millis(200)));
    }
    Ok(offices)
}

/// The file of a department's own application.
pub(crate) fn database(folder: &Path, department: &str) -> PathBuf {
    folder.join(format!("{department}.db"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_demo_works_more_slowly_than_a_short_one() {
        let (short, long) = (Pace::of(Duration::from_secs(20)), Pace::of(Duration::from_secs(600)));
        assert!(short.transactions_per_second > long.transactions_per_second);
        assert!(long.transactions_per_second * 600.0 <= 3.0 * TRANSACTIONS_MAX + 1.0);
        assert!(short.large_every >= 10 && long.large_every >= 10);
    }

    #[test]
    fn every_office_gets_its_turn_and_all_that_was_committed_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut offices: Vec<Office> =
            crate::stage::DEPARTMENTS.iter().map(|d| office::tests::opened(folder.path(), d)).collect();
        let before: u64 =
            offices.iter_mut().map(|office| office.tables().unwrap().values().sum::<u64>()).sum();
        let mut work =
            Work::start(offices, Pace { transactions_per_second: 100_000.0, large_every: 10 }).unwrap();
        while work.committed().transactions() < 60 && !work.has_ended() {
            std::thread::yield_now();
        }
        let (committed, mut offices) = work.finish().unwrap();
        assert!(committed.transactions() >= 60);
        let after: u64 =
            offices.iter_mut().map(|office| office.tables().unwrap().values().sum::<u64>()).sum();
        assert_eq!(
            before + committed.of_operation(Operation::Insert) - committed.of_operation(Operation::Delete),
            after
        );
    }
}
