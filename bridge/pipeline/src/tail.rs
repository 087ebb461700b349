//! The newest verified beacon of a stream, found by reading backwards in growing windows.
//!
//! Only a beacon is looked for: a batch, a fence or a copy found by search says nothing about where to begin.

use crate::life::{End, Plan};
use crate::shutdown::Shutdown;
use crate::{Connector, ConnectorError};
use bridge_envelope::{Beacon, Expected, FrameKind, verify_beacon};
use bridge_event::Offset;
use bridge_kafka::{Bounds, FetchError, Fetcher, Reading};
use std::time::{Duration, Instant};

/// The first window, in records; each next one is twice as long. A connector leaves a beacon at least every 256 batches.
const FIRST_WINDOW: i64 = 512;
const TIMEOUT: Duration = Duration::from_secs(10);
/// A question that blocks waits for its answer this long at first and at most before the wish to end is looked at.
const SLICE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// Between two questions of which the first was refused at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Which records of the stream the broker holds. Asked in slices: a shutdown waits for one of them at most.
///
/// A topic whose batches the log names (`held`) and which is not there, also after some time, was deleted.
pub(crate) fn bounds(fetcher: &Fetcher, plan: &Plan, held: bool, shutdown: &Shutdown) -> Result<Bounds, End> {
    let (topic, partition) = (plan.stream.topic(), plan.stream.partition);
    let deadline = Instant::now() + TIMEOUT;
    let mut slice = SLICE.0;
    loop {
        match fetcher.bounds(&topic, partition, slice) {
            Ok(bounds) => return Ok(bounds),
            Err(FetchError::Unreachable { .. }) if Instant::now() < deadline => {}
            Err(FetchError::UnknownTopic { .. }) if held && Instant::now() < deadline => {}
            Err(FetchError::UnknownTopic { .. }) if held => {
                return Err(End::Halt(ConnectorError::TopicGone { topic }));
            }
            Err(error) => return Err(End::unread(error)),
        }
        if shutdown.wait(PAUSE) {
            return Err(End::Stopped);
        }
        slice = slice.saturating_mul(2).min(SLICE.1);
    }
}

/// The newest beacon in the stream under this connector's own key, `None` when there is none. After a change of the key
/// the first start finds none and relies on the log's `heads` file, or reads the stream from its beginning. `records` is
/// raised by what was read.
pub(crate) fn newest_beacon(
    fetcher: &mut Fetcher,
    plan: &Plan,
    expected: &Expected,
    connector: &Connector,
    held: bool,
    records: &mut u64,
    shutdown: &Shutdown,
) -> Result<Option<Beacon>, End> {
    let (topic, partition) = (plan.stream.topic(), plan.stream.partition);
    let Bounds { low, high } = bounds(fetcher, plan, held, shutdown)?;
    let mut to = high;
    let mut window = FIRST_WINDOW;
    while to > low {
        let from = Offset(to.0.saturating_sub(window).max(low.0));
        let reading = Reading { topic: topic.clone().into(), partition, offset: from };
        fetcher.assign(vec![reading]).map_err(End::retry)?;
        let mut newest = None;
        while let Some(record) = next_before(fetcher, plan, to, shutdown)? {
            *records += 1;
            if FrameKind::of(&record) == Some(FrameKind::Beacon)
                && let Ok(beacon) = verify_beacon(&record, &connector.trust, expected).into_verified()
                && beacon.signers().iter().all(|key| *key == connector.signing.id())
            {
                newest = Some(beacon.into_content());
            }
        }
        if newest.is_some() {
            return Ok(newest);
        }
        to = from;
        window = window.saturating_mul(2);
    }
    Ok(None)
}

/// The next record below `to`, `None` at `to` or at the stream's end.
fn next_before(
    fetcher: &mut Fetcher,
    plan: &Plan,
    to: Offset,
    shutdown: &Shutdown,
) -> Result<Option<Vec<u8>>, End> {
    loop {
        if shutdown.is_asked() {
            return Err(End::Stopped);
        }
        let next = fetcher.readings().first().map_or(to, |reading| reading.offset);
        if next >= to {
            return Ok(None);
        }
        match fetcher.next(Duration::from_millis(100)).map_err(End::unread)? {
            Some(record) if record.offset >= to => return Ok(None),
            Some(record) => return Ok(Some(record.bytes)),
            None if next >= bounds(fetcher, plan, false, shutdown)?.high => return Ok(None),
            None => {}
        }
    }
}

/// The size that a checkpoint's text names; the text is not verified, and a forged one can only make a start halt.
pub(crate) fn checkpoint_size(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}
