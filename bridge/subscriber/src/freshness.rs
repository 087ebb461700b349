//! Whether delivery follows: judged by this machine's clock, never by the connector's alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_event::{Epoch, StreamId, UnixMicros};

use crate::Level;

/// The newest beacon of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When it was read, by this machine's clock.
    pub(crate) received: UnixMicros,
    /// The epoch of its connector.
    pub(crate) epoch: Epoch,
    /// The connector's clock in it.
    pub(crate) clock: UnixMicros,
    /// When the next is due, by the connector's clock.
    pub(crate) next_due: UnixMicros,
    /// Since when a quorum has cosigned its checkpoint, in seconds since 1970.
    pub(crate) cosigned: Option<u64>,
}

/// What is wrong with a stream's newest beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stale {
    /// None has come yet.
    NoBeacon,
    /// The next one is overdue by so many seconds.
    Overdue(i64),
    /// The cosignatures are older than the bound, in seconds.
    Cosignatures(i64),
}

impl Seen {
    /// The age of the beacon's proof, in microseconds: of its cosignatures, or of the beacon itself where the level needs
    /// none.
    pub(crate) fn age(&self, now: UnixMicros) -> i64 {
        let since = self.cosigned.map_or(self.clock.0, seconds_to_micros);
        now.0.saturating_sub(since)
    }

    /// Whether this beacon is newer than another one: an old one that was put into the topic again changes nothing.
    pub(crate) fn is_newer(&self, other: &Seen) -> bool {
        (self.epoch, self.clock) >= (other.epoch, other.clock)
    }

    /// What is stale at `now`.
    ///
    /// A beacon is overdue when the next one has not come an interval and the bound after this one, whether counted from
    /// when it was read or from when it says that it was sent: an old topic read late is overdue as well.
    pub(crate) fn stale(&self, now: UnixMicros, bound: Duration, least: Level) -> Option<Stale> {
        let bound = i64::try_from(bound.as_micros()).unwrap_or(i64::MAX);
        let interval = self.next_due.0.saturating_sub(self.clock.0);
        let due = self.next_due.0.min(self.received.0.saturating_add(interval));
        let late = now.0.saturating_sub(due.saturating_add(bound));
        if late > 0 {
            return Some(Stale::Overdue(late / 1_000_000));
        }
        let age = self.age(now);
        match self.cosigned {
            _ if least < Level::Witnessed => None,
            Some(_) if age <= bound => None,
            _ => Some(Stale::Cosignatures(age / 1_000_000)),
        }
    }
}

fn seconds_to_micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

/// What `/health` answers from; the flow writes it, the server reads it.
#[derive(Debug)]
pub(crate) struct Health {
    bound: Duration,
    least: Level,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    halted: Option<String>,
    /// No broker is connected.
    away: bool,
    streams: BTreeMap<String, Option<Seen>>,
}

impl Health {
    pub(crate) fn new(bound: Duration, least: Level) -> Health {
        Health { bound, least, inner: Mutex::default() }
    }

    pub(crate) fn stream(&self, stream: &StreamId, seen: Option<Seen>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.streams.insert(stream.to_string(), seen);
    }

    /// A start succeeded: what ended an earlier one no longer counts.
    pub(crate) fn started(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).halted = None;
    }

    /// Whether Kafka is away.
    pub(crate) fn away(&self, away: bool) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).away = away;
    }

    pub(crate) fn halted(&self, why: String) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).halted = Some(why);
    }

    /// Whether delivery follows, and in words what does not.
    pub(crate) fn answer(&self, now: UnixMicros) -> (bool, String) {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wrong: Vec<String> = inner.halted.iter().cloned().collect();
        if inner.away {
            wrong.push("Kafka is away: the reader is connected to no broker".to_owned());
        }
        if inner.streams.is_empty() {
            wrong.push("not started yet".to_owned());
        }
        for (stream, seen) in &inner.streams {
            let stale = seen.map_or(Some(Stale::NoBeacon), |seen| seen.stale(now, self.bound, self.least));
            if let Some(stale) = stale {
                wrong.push(format!("{stream}: {}", words(stale)));
            }
        }
        let good = wrong.is_empty();
        (good, if good { "delivery follows".to_owned() } else { wrong.join("\n") })
    }
}

/// In words.
pub(crate) fn words(stale: Stale) -> String {
    match stale {
        Stale::NoBeacon => "no beacon has come".to_owned(),
        Stale::Overdue(seconds) => format!("the next beacon is overdue by {seconds} s more than is allowed"),
        Stale::Cosignatures(seconds) => format!("the newest cosignatures are {seconds} s old"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> UnixMicros {
        UnixMicros(seconds * 1_000_000)
    }

    fn seen(cosigned: Option<u64>) -> Seen {
        Seen { received: at(1000), epoch: Epoch(1), clock: at(1000), next_due: at(1010), cosigned }
    }

    #[test]
    fn a_beacon_is_fresh_until_its_interval_and_the_bound_have_passed() {
        assert_eq!(seen(Some(1060)).stale(at(1070), BOUND, Level::Witnessed), None);
        assert_eq!(seen(Some(1060)).stale(at(1075), BOUND, Level::Witnessed), Some(Stale::Overdue(5)));
    }

    #[test]
    fn a_connectors_clock_cannot_make_an_old_proof_fresh() {
        let ahead = Seen { clock: at(90_000), next_due: at(90_010), ..seen(Some(900)) };
        assert_eq!(ahead.stale(at(1000), BOUND, Level::Witnessed), Some(Stale::Cosignatures(100)));
        assert_eq!(ahead.stale(at(1075), BOUND, Level::Signed), Some(Stale::Overdue(5)));
    }

    #[test]
    fn an_old_topic_read_now_is_overdue() {
        let old = Seen { received: at(9000), ..seen(Some(1000)) };
        assert!(matches!(old.stale(at(9000), BOUND, Level::Signed), Some(Stale::Overdue(_))));
    }

    #[test]
    fn health_is_false_until_every_stream_has_a_fresh_beacon_and_after_a_halt() {
        let health = Health::new(BOUND, Level::Witnessed);
        let stream = StreamId {
            department: "tax".parse().unwrap(),
            dataset: "payments".parse().unwrap(),
            partition: bridge_event::Partition(0),
        };
        assert!(!health.answer(at(1000)).0);
        health.stream(&stream, None);
        assert!(!health.answer(at(1000)).0);
        health.stream(&stream, Some(seen(Some(1000))));
        assert!(health.answer(at(1000)).0);
        health.away(true);
        let (good, words) = health.answer(at(1000));
        assert!(!good && words.contains("Kafka is away"), "{words}");
        health.away(false);
        assert!(health.answer(at(1000)).0);
        health.halted("CHA002".to_owned());
        assert!(!health.answer(at(1000)).0);
    }
}
