//! The source: a fixed list of committed transactions over two streams.

use bridge_chain::Mark;
use bridge_event::Epoch;

/// Streams of the modelled source.
pub(crate) const STREAMS: usize = 2;

/// What the source sends next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A row of `stream`.
    Row { stream: usize, mark: Mark },
    /// The end of the transaction.
    End { commit: u64 },
}

/// All that the source ever commits.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) events: Vec<Event>,
    /// The rows of each stream, in order.
    pub(crate) rows: [Vec<Mark>; STREAMS],
    /// The last commit.
    pub(crate) last: u64,
    /// Rows that a batch holds at most. A transaction with more rows in a stream is larger than a batch.
    pub(crate) batch_rows_max: usize,
    /// Chunks of each stream's table; 0 for a stream that begins without a snapshot.
    pub(crate) chunks: [u64; STREAMS],
}

impl Script {
    /// Each transaction is the streams of its rows in order: `"AAB"` has two rows in stream 0 and one in stream 1. A row in
    /// a small letter is larger than a record, and goes in two fragments.
    pub(crate) fn new(transactions: &[&str], batch_rows_max: usize, chunks: [u64; STREAMS]) -> Script {
        let (events, rows) = (Vec::new(), Default::default());
        let mut script = Script { events, rows, last: 0, batch_rows_max, chunks };
        for transaction in transactions {
            script.last += 1;
            let mut ordinals = [0u64; STREAMS];
            for letter in transaction.bytes() {
                let stream = usize::from(letter.to_ascii_uppercase() - b'A');
                ordinals[stream] += 1;
                let fragments =
                    if letter.is_ascii_uppercase() { &[0][..] } else { &[1, Mark::LAST_FRAGMENT] };
                for &fragment in fragments {
                    let mark = Mark { commit: script.last, ordinal: ordinals[stream], fragment };
                    script.events.push(Event::Row { stream, mark });
                    script.rows[stream].push(mark);
                }
            }
            script.events.push(Event::End { commit: script.last });
        }
        script
    }

    /// The commit that a snapshot of this epoch is as of: the source moves on between the first life and the others.
    pub(crate) fn as_of(&self, epoch: Epoch) -> u64 {
        if epoch > Epoch(1) { self.last.min(1) } else { 0 }
    }

    /// Rows of a stream up to the end of a commit.
    pub(crate) fn rows_until(&self, stream: usize, commit: u64) -> usize {
        self.rows[stream].iter().filter(|row| row.commit <= commit).count()
    }

    /// What a snapshot's chunk holds: one row, other ones as of another commit.
    pub(crate) fn chunk(as_of: u64, chunk: u64) -> Mark {
        Mark { commit: as_of, ordinal: chunk + 1, fragment: 0 }
    }

    /// The first event after what the source was acknowledged.
    pub(crate) fn resume(&self, acknowledged: u64) -> usize {
        self.events.iter().position(|event| event.commit() > acknowledged).unwrap_or(self.events.len())
    }
}

impl Event {
    pub(crate) fn commit(&self) -> u64 {
        match self {
            Event::Row { mark, .. } => mark.commit,
            Event::End { commit } => *commit,
        }
    }
}
