//! The source: a fixed list of committed transactions over two streams.

use bridge_chain::Mark;

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
}

impl Script {
    /// Each transaction is the streams of its rows in order: `"AAB"` has two rows in stream 0 and one in stream 1. A row in
    /// a small letter is larger than a record, and goes in two fragments.
    pub(crate) fn new(transactions: &[&str], batch_rows_max: usize) -> Script {
        let mut script = Script { events: Vec::new(), rows: Default::default(), last: 0, batch_rows_max };
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
