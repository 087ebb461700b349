//! Ctrl-C and SIGTERM end a run as an error does: everything that was started is stopped.

use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Begins to listen for signals, on a thread of its own.
pub(crate) fn listen() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        ASKED.store(true, Ordering::SeqCst);
    });
    Ok(())
}

/// An error once the run was asked to end.
pub(crate) fn check() -> Result<()> {
    if ASKED.load(Ordering::SeqCst) {
        bail!("the run was interrupted");
    }
    Ok(())
}
