//! The outside of a process: the clock, randomness, signals, words for operators. Nothing else in this house reads them.

use crate::exit::Refusal;
use bridge_event::UnixMicros;
use bridge_pipeline::{RandomError, Shutdown};
use std::io::IsTerminal as _;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The wall clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock;

impl WallClock {
    /// Now.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub(crate) fn now(self) -> UnixMicros {
        // A clock before 1970 or after the year 294,000 is not one that anything here could be right under.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl bridge_pipeline::Clock for WallClock {
    fn now(&self) -> UnixMicros {
        WallClock::now(*self)
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemRandom;

impl bridge_pipeline::Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(bytes).map_err(|error| RandomError(error.to_string()))
    }
}

/// A new random UUID (version 4, RFC 9562), in lower case.
pub(crate) fn uuid() -> anyhow::Result<String> {
    let random = u128::from_be_bytes(crate::key_store::random()?);
    let version_and_variant = 0xf << 76 | 0x3 << 62;
    let uuid = (random & !version_and_variant) | (0x4 << 76 | 0x2 << 62);
    let hex = format!("{uuid:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

/// The signals that ask a process to stop: SIGTERM and SIGINT.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on. Must be called inside a runtime.
    pub(crate) fn listen() -> anyhow::Result<StopSignals> {
        let failed =
            |error: std::io::Error| Refusal::unavailable(format!("signals cannot be listened to: {error}"));
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(StopSignals { terminate, interrupt })
    }

    /// Waits for the first of them.
    pub(crate) async fn come(mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping; what is in flight is finished first");
    }
}

/// A runtime of one thread.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Refusal::unavailable(format!("the runtime could not be started: {error}")).into())
}

/// A wish to end that SIGTERM or SIGINT asks for, for a process that has no runtime of its own.
pub(crate) fn shutdown() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let asked = shutdown.clone();
    let runtime = runtime()?;
    let entered = runtime.enter();
    let signals = StopSignals::listen()?;
    drop(entered);
    let wait = move || {
        runtime.block_on(signals.come());
        asked.ask();
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map_err(|error| Refusal::unavailable(format!("no thread for signals could be started: {error}")))?;
    Ok(shutdown)
}

/// How much a process says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Words {
    /// What is logged on stderr: a level (error, warn, info, debug, trace), or more exactly `bridge_kafka=debug,info`
    /// [default: info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl Words {
    /// Begins to log: lines for people on a terminal, JSON lines elsewhere. Rows' values are never in them.
    pub(crate) fn begin(&self) -> anyhow::Result<()> {
        let words = self.log.as_deref().unwrap_or("info");
        let filter = EnvFilter::try_new(words).map_err(|error| {
            Refusal::usage(format!("--log {words}: {error}")).remedy("write a level, or target=level,level")
        })?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let begun = if std::io::stderr().is_terminal() {
            lines.with_target(false).try_init()
        } else {
            lines.json().flatten_event(true).try_init()
        };
        begun.map_err(|error| Refusal::unavailable(format!("logging could not be started: {error}")).into())
    }
}

impl Words {
    /// The same, and only if a filter was given.
    pub(crate) fn begin_if_asked(&self) -> anyhow::Result<()> {
        if self.log.is_some() { self.begin() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let one = uuid().unwrap();
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(matches!(one.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{one}");
        assert_ne!(one, uuid().unwrap());
    }
}
