//! How far the source may forget (design section 5, "Acknowledge").
//!
//! A cut is the end of a source transaction, with the batches that still have to be appended before the source may
//! forget it. Batches of a stream are appended in order, so a cut names for each stream the sequence that has to be
//! reached. The longest satisfied prefix of the queue is acknowledged, never past the least resolved position that
//! Kafka has acknowledged over all streams: one unreachable topic so holds the source's log back.

use std::collections::VecDeque;
use std::marker::PhantomData;

use bridge_event::{At, Sequence};

use crate::{Rules, Shipped};

/// One end in the source's log and what has to be appended before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cut {
    end: At,
    /// For each stream, the batch that must be appended; `None` when the transaction left nothing outstanding in it.
    needs: Box<[Option<Sequence>]>,
}

/// What one stream has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reached {
    /// The last batch acknowledged by Kafka, without a hole before it.
    published: Option<Sequence>,
    /// The last batch in the log.
    appended: Option<Sequence>,
    /// The resolved position that Kafka has acknowledged.
    resolved: At,
}

/// The queue of cuts of one connector's life, in one incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cuts<R: Rules = Shipped> {
    queue: VecDeque<Cut>,
    streams: Vec<Reached>,
    acknowledged: At,
    rules: PhantomData<R>,
}

impl Cuts {
    /// An empty queue after a start: `heads` are the adopted (and so appended) heads, one for each stream, and
    /// `acknowledged` is where the source begins again.
    pub fn new(heads: &[Option<Sequence>], acknowledged: At) -> Cuts {
        Cuts::ruled(heads, acknowledged)
    }
}

impl<R: Rules> Cuts<R> {
    /// The same under given rules; everything shipped uses [`Cuts::new`].
    pub fn ruled(heads: &[Option<Sequence>], acknowledged: At) -> Cuts<R> {
        let streams = heads
            .iter()
            .map(|head| Reached { published: *head, appended: *head, resolved: At::START })
            .collect();
        Cuts { queue: VecDeque::new(), streams, acknowledged, rules: PhantomData }
    }

    /// A source transaction has ended at `end`. `needs` gives for each stream the sequence of the batch that holds, or
    /// will hold, its last part; `None` where it has no rows or the stream had them all before.
    ///
    /// Cuts that need nothing new share the one before, so the queue is no longer than the batches outstanding and the
    /// transactions that they end.
    pub fn transaction(&mut self, end: At, needs: &[Option<Sequence>]) {
        let nothing_new =
            |before: &Cut| needs.iter().zip(&before.needs).all(|(new, old)| new.is_none() || new <= old);
        match self.queue.back_mut() {
            Some(before) if nothing_new(before) => before.end = before.end.max(end),
            _ => self.queue.push_back(Cut { end, needs: needs.into() }),
        }
    }

    /// The source says that it has nothing up to `end` (a keepalive). It is an empty cut only when no transaction is
    /// open: neither one being captured nor one taken over that the source has not sent again. Says whether it counts.
    pub fn keepalive(&mut self, end: At, transaction_open: bool) -> bool {
        if transaction_open && R::KEEPALIVE_NEEDS_CLOSED {
            return false;
        }
        let needs = vec![None; self.streams.len()];
        self.transaction(end, &needs);
        true
    }

    /// Kafka acknowledged a batch of `stream`, and every one before it.
    pub fn published(&mut self, stream: usize, sequence: Sequence) {
        if let Some(reached) = self.streams.get_mut(stream) {
            reached.published = reached.published.max(Some(sequence));
        }
    }

    /// A batch of `stream` stands in the log, fsynced.
    pub fn appended(&mut self, stream: usize, sequence: Sequence) {
        if let Some(reached) = self.streams.get_mut(stream) {
            reached.appended = reached.appended.max(Some(sequence));
        }
    }

    /// Kafka acknowledged a batch or beacon of `stream` that carries the resolved position `at`.
    pub fn resolved(&mut self, stream: usize, at: At) {
        if let Some(reached) = self.streams.get_mut(stream) {
            reached.resolved = reached.resolved.max(at);
        }
    }

    /// The position that may now be acknowledged to the source; `None` when it has not moved.
    pub fn acknowledge(&mut self) -> Option<At> {
        let before = self.acknowledged;
        let bound = match self.least_resolved() {
            Some((_, least)) if R::RESOLVED_BOUNDS_ACKNOWLEDGE => least,
            _ => At { commit: u64::MAX, ordinal: u64::MAX },
        };
        while let Some(cut) = self.queue.front() {
            if !self.satisfied(cut) {
                break;
            }
            // Ends that share a cut need the same batches, so a resolved position between them is an end as well.
            self.acknowledged = self.acknowledged.max(cut.end.min(bound));
            if cut.end > bound {
                break;
            }
            self.queue.pop_front();
        }
        (self.acknowledged > before).then_some(self.acknowledged)
    }

    /// The position acknowledged so far.
    pub fn acknowledged(&self) -> At {
        self.acknowledged
    }

    /// Cuts that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// The stream whose resolved position holds the source's log back, and that position; `None` without streams.
    pub fn least_resolved(&self) -> Option<(usize, At)> {
        self.streams.iter().map(|reached| reached.resolved).enumerate().min_by_key(|(_, at)| *at)
    }

    fn satisfied(&self, cut: &Cut) -> bool {
        cut.needs.iter().zip(&self.streams).all(|(need, reached)| {
            let reached = if R::APPEND_BEFORE_ACKNOWLEDGE { reached.appended } else { reached.published };
            *need <= reached
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(commit: u64) -> At {
        At::end_of(commit)
    }

    fn two_streams() -> Cuts {
        let mut cuts = Cuts::new(&[None, Some(Sequence(4))], end(10));
        cuts.resolved(0, end(100));
        cuts.resolved(1, end(100));
        cuts
    }

    #[test]
    fn the_longest_appended_prefix_is_acknowledged() {
        let mut cuts = two_streams();
        cuts.transaction(end(11), &[Some(Sequence(0)), None]);
        cuts.transaction(end(12), &[None, Some(Sequence(5))]);
        cuts.transaction(end(13), &[Some(Sequence(1)), Some(Sequence(5))]);
        assert_eq!(cuts.acknowledge(), None);
        cuts.appended(1, Sequence(5));
        assert_eq!(cuts.acknowledge(), None, "the first cut still waits for stream 0");
        cuts.appended(0, Sequence(0));
        assert_eq!(cuts.acknowledge(), Some(end(12)));
        cuts.appended(0, Sequence(1));
        assert_eq!(cuts.acknowledge(), Some(end(13)));
        assert_eq!(cuts.acknowledge(), None);
        assert_eq!(cuts.waiting(), 0);
    }

    #[test]
    fn a_published_batch_that_is_not_in_the_log_acknowledges_nothing() {
        let mut cuts = two_streams();
        cuts.transaction(end(11), &[Some(Sequence(0)), None]);
        cuts.published(0, Sequence(0));
        assert_eq!(cuts.acknowledge(), None);
    }

    #[test]
    fn the_least_resolved_stream_holds_the_source_back() {
        let mut cuts = Cuts::new(&[None, None], At::START);
        cuts.transaction(end(1), &[Some(Sequence(0)), None]);
        cuts.appended(0, Sequence(0));
        cuts.resolved(0, end(1));
        assert_eq!(cuts.acknowledge(), None);
        assert_eq!(cuts.least_resolved(), Some((1, At::START)));
        cuts.resolved(1, end(1));
        assert_eq!(cuts.acknowledge(), Some(end(1)));
    }

    #[test]
    fn a_keepalive_counts_only_while_no_transaction_is_open() {
        let mut cuts = two_streams();
        assert!(!cuts.keepalive(end(20), true));
        assert_eq!(cuts.acknowledge(), None);
        assert!(cuts.keepalive(end(20), false));
        assert_eq!(cuts.acknowledge(), Some(end(20)));
    }

    #[test]
    fn a_keepalive_waits_behind_the_cuts_before_it() {
        let mut cuts = two_streams();
        cuts.transaction(end(11), &[Some(Sequence(0)), None]);
        assert!(cuts.keepalive(end(20), false));
        assert_eq!(cuts.acknowledge(), None);
        cuts.appended(0, Sequence(0));
        assert_eq!(cuts.acknowledge(), Some(end(20)));
    }

    #[test]
    fn transactions_of_one_batch_share_a_cut() {
        let mut cuts = two_streams();
        for commit in 11..1000 {
            cuts.transaction(end(commit), &[Some(Sequence(0)), None]);
        }
        assert_eq!(cuts.waiting(), 1);
    }

    #[test]
    fn a_source_that_never_rests_is_acknowledged_up_to_what_is_resolved() {
        let mut cuts = Cuts::new(&[None], At::START);
        for commit in 1..100 {
            assert!(cuts.keepalive(end(commit + 1), false));
            cuts.resolved(0, end(commit));
            assert_eq!(cuts.acknowledge(), Some(end(commit)));
        }
        assert_eq!(cuts.waiting(), 1);
    }

    #[test]
    fn a_position_that_went_back_is_not_acknowledged() {
        let mut cuts = two_streams();
        assert!(cuts.keepalive(end(5), false));
        assert_eq!(cuts.acknowledge(), None);
        assert_eq!(cuts.acknowledged(), end(10));
    }
}
