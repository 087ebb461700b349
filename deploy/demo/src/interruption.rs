//! Ctrl-C, SIGTERM and a closed terminal: the demo ends its children first, then itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::ensure;
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody asked the demo to end.
#[derive(Clone, Debug)]
pub(crate) struct Interruption(Arc<AtomicBool>);

/// The words of an end that was asked for; `main` looks for them.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted; every process was ended")
    }
}

impl std::error::Error for Interrupted {}

impl Interruption {
    /// Listens in a thread of its own.
    pub(crate) fn listen() -> anyhow::Result<Interruption> {
        let flag = Arc::new(AtomicBool::new(false));
        let raised = Arc::clone(&flag);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let guard = runtime.enter();
        let [mut interrupt, mut terminate, mut hangup, mut quit] = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ];
        drop(guard);
        std::thread::Builder::new().name("interruption".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                    _ = quit.recv() => {}
                }
            });
            raised.store(true, Ordering::Release);
        })?;
        Ok(Interruption(flag))
    }

    #[cfg(test)]
    pub(crate) fn never() -> Interruption {
        Interruption(Arc::new(AtomicBool::new(false)))
    }

    /// # Errors
    /// [`Interrupted`] once somebody asked.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.0.load(Ordering::Acquire), Interrupted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_an_error_of_its_own() {
        let interruption = Interruption::never();
        assert!(interruption.check().is_ok());
        interruption.0.store(true, Ordering::Release);
        assert!(interruption.check().unwrap_err().is::<Interrupted>());
    }
}
