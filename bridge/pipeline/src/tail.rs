//! The newest verified beacon of a stream, found by reading backwards in growing windows.
//!
//! Only a beacon is looked for: a batch, a fence or a copy found by search says nothing about where to begin.

use crate::Connector;
use crate::life::{End, Plan};
use bridge_envelope::{Beacon, Expected, FrameKind, verify_beacon};
use bridge_event::Offset;
use bridge_kafka::{Bounds, FetchError, Fetcher, Reading};
use std::time::Duration;

/// The first window, in records; each next one is twice as long. A connector leaves a beacon at least every 256 batches.
const FIRST_WINDOW: i64 = 512;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The newest beacon in the stream under this connector's own key, `None` when there is none. After a change of the key
/// the first start finds none and relies on the log's `heads` file, or reads the stream from its beginning.
pub(crate) fn newest_beacon(
    fetcher: &mut Fetcher,
    plan: &Plan,
    expected: &Expected,
    connector: &Connector,
) -> Result<Option<Beacon>, End> {
    let (topic, partition) = (plan.stream.topic(), plan.stream.partition);
    let Bounds { low, high } = fetcher.bounds(&topic, partition, TIMEOUT).map_err(End::retry)?;
    let mut to = high;
    let mut window = FIRST_WINDOW;
    while to > low {
        let from = Offset(to.0.saturating_sub(window).max(low.0));
        let reading = Reading { topic: topic.clone().into(), partition, offset: from };
        fetcher.assign(vec![reading]).map_err(End::retry)?;
        let mut newest = None;
        while let Some(record) = next_before(fetcher, &topic, plan, to)? {
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
fn next_before(fetcher: &mut Fetcher, topic: &str, plan: &Plan, to: Offset) -> Result<Option<Vec<u8>>, End> {
    loop {
        let next = fetcher.readings().first().map_or(to, |reading| reading.offset);
        if next >= to {
            return Ok(None);
        }
        match fetcher.next(Duration::from_millis(100)) {
            Ok(Some(record)) if record.offset >= to => return Ok(None),
            Ok(Some(record)) => return Ok(Some(record.bytes)),
            Ok(None) if fetcher.at_end(topic, plan.stream.partition, TIMEOUT).map_err(End::retry)? => {
                return Ok(None);
            }
            Ok(None) => {}
            Err(error @ FetchError::OutOfRange { .. }) => return Err(End::retry(error)),
            Err(error) => return Err(End::retry(error)),
        }
    }
}

/// The size that a checkpoint's text names; the text is not verified, and a forged one can only make a start halt.
pub(crate) fn checkpoint_size(note: &str) -> Option<u64> {
    note.lines().nth(1)?.parse().ok()
}
