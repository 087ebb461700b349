//! CPU time, stage by stage.

use rustix::time::{ClockId, clock_gettime};
use std::ops::AddAssign;
use std::time::Duration;

/// The CPU time of this thread since some beginning.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    seconds + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// A stopwatch of the calling thread's CPU time. One reading takes about 0.3 us, so stages are timed by the batch.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(Duration);

impl CpuClock {
    /// Starts now.
    pub fn start() -> CpuClock {
        CpuClock(now())
    }

    /// The CPU time since the start.
    pub fn spent(&self) -> Duration {
        now().saturating_sub(self.0)
    }
}

/// What each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Changes into the sections' bytes.
    pub encode: Duration,
    /// The sections' bytes into a signed frame.
    pub seal: Duration,
    /// A frame into a verified batch.
    pub verify: Duration,
    /// A verified batch into the sections' bytes, their rows found.
    pub open: Duration,
    /// The rows' bytes into values.
    pub read: Duration,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.encode += other.encode;
        self.seal += other.seal;
        self.verify += other.verify;
        self.open += other.open;
        self.read += other.read;
    }
}
