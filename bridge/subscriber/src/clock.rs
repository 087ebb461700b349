//! The wall clock, as an argument.

use bridge_event::UnixMicros;

/// Who knows the time. The one that reads the machine's clock is the binary's.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> UnixMicros;
}

impl<F: Fn() -> UnixMicros + Send + Sync> Clock for F {
    fn now(&self) -> UnixMicros {
        self()
    }
}
