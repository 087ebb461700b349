//! The wish that a process ends. Every wait outside of a life gives way to it at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
struct Wish {
    asked: AtomicBool,
    /// Held to change anything that a waiting thread looks at, so that no change falls between its look and its sleep.
    turn: Mutex<()>,
    changed: Condvar,
}

impl Wish {
    // The lock guards no value of its own: a panic under it has left nothing half changed.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asked for once, by a signal or a test; never taken back. Clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Wish>);

impl Shutdown {
    /// Asks the process to end, and wakes everybody who waits here.
    pub fn ask(&self) {
        let turn = self.0.turn();
        self.0.asked.store(true, Ordering::SeqCst);
        drop(turn);
        self.0.changed.notify_all();
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Waits until it is asked for, but not longer than this; says whether it was.
    pub fn wait(&self, longest: Duration) -> bool {
        let until = Instant::now() + longest;
        let mut turn = self.0.turn();
        while !self.is_asked() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(turn, left).unwrap_or_else(PoisonError::into_inner);
            turn = waited.0;
        }
        true
    }

    /// Waits until it is asked for, however long.
    pub fn wait_for_ever(&self) {
        let mut turn = self.0.turn();
        while !self.is_asked() {
            turn = self.0.changed.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asks a question that blocks, in a thread of its own; `None` when the wish to end comes before the answer. Nobody
    /// waits for the thread then: it ends with its question, or with the process.
    pub(crate) fn unless_asked<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<Option<T>> {
        let answer = Arc::new(Mutex::new(None));
        let (given, wish) = (Arc::clone(&answer), Arc::clone(&self.0));
        let thread = std::thread::Builder::new().name("question".to_owned()).spawn(move || {
            let found = question();
            let turn = wish.turn();
            *given.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            drop(turn);
            wish.changed.notify_all();
        })?;
        let take = || answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut turn = self.0.turn();
        loop {
            if self.is_asked() {
                return Ok(None);
            }
            if let Some(found) = take() {
                return Ok(Some(found));
            }
            if thread.is_finished() {
                return Err(std::io::Error::other("the thread of a question ended without an answer"));
            }
            // The time-out is only for a question that panics, which wakes nobody.
            let waited = self.0.changed.wait_timeout(turn, Duration::from_secs(1));
            turn = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_wait_ends_when_the_shutdown_is_asked_for() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.wait(Duration::ZERO));
        let asker = shutdown.clone();
        let thread = std::thread::spawn(move || asker.ask());
        assert!(shutdown.wait(HOUR));
        shutdown.wait_for_ever();
        thread.join().unwrap();
    }

    #[test]
    fn a_question_is_answered_or_given_up() {
        let shutdown = Shutdown::default();
        assert_eq!(shutdown.unless_asked(|| 7).unwrap(), Some(7));
        let (release, never) = mpsc::channel::<()>();
        let asker = shutdown.clone();
        let begun = Instant::now();
        let asked = shutdown.unless_asked(move || {
            asker.ask();
            let _ = never.recv();
        });
        assert_eq!(asked.unwrap(), None);
        assert!(begun.elapsed() < HOUR);
        drop(release);
    }

    #[test]
    fn a_question_that_panics_is_no_answer() {
        let shutdown = Shutdown::default();
        assert!(shutdown.unless_asked(|| assert!(Duration::ZERO > HOUR)).is_err());
    }
}
