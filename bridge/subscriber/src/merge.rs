//! The rule of mode `source`: rows of several streams of one source, back in the order of its transactions.
//!
//! ```text
//! stream 0   [5 5] done [7] done          resolved 9.end
//! stream 1   [5] [6] done                 resolved 6.end      -> 5, 6 are whole; 7 waits for stream 1
//! ```
//!
//! A transaction is whole when every stream is resolved up to its end. Within a stream nothing overtakes: a snapshot's
//! rows come out when all rows before them have.

use std::collections::VecDeque;

use bridge_event::{At, IncarnationNumber};

/// One source transaction: its incarnation and its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Turn {
    pub(crate) incarnation: IncarnationNumber,
    pub(crate) commit: u64,
}

/// How far a stream is complete. Positions of two incarnations do not compare; a stream that reached a later one is
/// complete in those before, or its GAP or RETRACT said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resolved {
    pub(crate) incarnation: IncarnationNumber,
    pub(crate) at: At,
}

impl Resolved {
    fn holds(&self, turn: Turn) -> bool {
        *self >= Resolved { incarnation: turn.incarnation, at: At::end_of(turn.commit) }
    }
}

#[derive(Debug)]
enum Item<R> {
    Row { turn: Turn, index: u64, row: R, bytes: usize },
    Whole { row: R, bytes: usize },
    Done,
}

#[derive(Debug)]
struct Queue<R> {
    items: VecDeque<Item<R>>,
    resolved: Option<Resolved>,
    bytes: usize,
}

/// What comes out next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Out<R> {
    /// Something that belongs to no transaction: a snapshot's row, a notice.
    Whole { stream: usize, row: R },
    /// A whole transaction, its rows in their order; `done` names a stream once for each of its batches that is now out.
    Transaction { turn: Turn, rows: Vec<R>, done: Vec<usize> },
    /// Everything of one more batch of the stream is out.
    Done { stream: usize },
}

/// The streams of one source.
#[derive(Debug)]
pub(crate) struct Merge<R> {
    streams: Vec<Queue<R>>,
    delivered: Option<Turn>,
}

impl<R> Merge<R> {
    /// So many streams; nothing at or before `delivered` comes out again.
    pub(crate) fn new(streams: usize, delivered: Option<Turn>) -> Merge<R> {
        let queue = || Queue { items: VecDeque::new(), resolved: None, bytes: 0 };
        Merge { streams: std::iter::repeat_with(queue).take(streams).collect(), delivered }
    }

    /// The last transaction that came out.
    pub(crate) fn delivered(&self) -> Option<Turn> {
        self.delivered
    }

    /// A row of a stream, `index` its place in the whole transaction.
    pub(crate) fn row(&mut self, stream: usize, turn: Turn, index: u64, row: R, bytes: usize) {
        if self.delivered.is_some_and(|delivered| turn <= delivered) {
            return;
        }
        if let Some(queue) = self.streams.get_mut(stream) {
            queue.bytes = queue.bytes.saturating_add(bytes);
            queue.items.push_back(Item::Row { turn, index, row, bytes });
        }
    }

    /// Something of a stream that belongs to no transaction.
    pub(crate) fn whole(&mut self, stream: usize, row: R, bytes: usize) {
        if let Some(queue) = self.streams.get_mut(stream) {
            queue.bytes = queue.bytes.saturating_add(bytes);
            queue.items.push_back(Item::Whole { row, bytes });
        }
    }

    /// A batch of a stream ends here.
    pub(crate) fn done(&mut self, stream: usize) {
        if let Some(queue) = self.streams.get_mut(stream) {
            queue.items.push_back(Item::Done);
        }
    }

    /// The stream is complete up to here. It never falls back.
    pub(crate) fn resolve(&mut self, stream: usize, resolved: Resolved) {
        if let Some(queue) = self.streams.get_mut(stream) {
            queue.resolved = queue.resolved.max(Some(resolved));
        }
    }

    /// Whether the stream has said that it is complete up to this transaction's end: none of its rows may come after that.
    pub(crate) fn is_past(&self, stream: usize, turn: Turn) -> bool {
        let queue = self.streams.get(stream);
        queue.and_then(|queue| queue.resolved).is_some_and(|resolved| resolved.holds(turn))
    }

    /// The stream's rows of a transaction that will never end are taken back.
    pub(crate) fn void(&mut self, stream: usize, void: Turn) {
        let Some(queue) = self.streams.get_mut(stream) else { return };
        let mut freed: usize = 0;
        queue.items.retain(|item| match item {
            Item::Row { turn, bytes, .. } if *turn == void => {
                freed = freed.saturating_add(*bytes);
                false
            }
            _ => true,
        });
        queue.bytes = queue.bytes.saturating_sub(freed);
    }

    /// Bytes that wait, over all streams.
    pub(crate) fn bytes(&self) -> usize {
        self.streams.iter().map(|queue| queue.bytes).sum()
    }

    /// Whether the stream is further than the least resolved one: reading on in it cannot let anything out.
    pub(crate) fn is_ahead(&self, stream: usize) -> bool {
        let least = self.least();
        self.streams.get(stream).is_some_and(|queue| queue.resolved > least)
    }

    fn least(&self) -> Option<Resolved> {
        self.streams.iter().map(|queue| queue.resolved).min().flatten()
    }

    /// What may come out now.
    pub(crate) fn next(&mut self) -> Option<Out<R>> {
        for (stream, queue) in self.streams.iter_mut().enumerate() {
            if matches!(queue.items.front(), Some(Item::Row { .. }) | None) {
                continue;
            }
            match queue.items.pop_front() {
                Some(Item::Done) => return Some(Out::Done { stream }),
                Some(Item::Whole { row, bytes }) => {
                    queue.bytes = queue.bytes.saturating_sub(bytes);
                    return Some(Out::Whole { stream, row });
                }
                _ => {}
            }
        }
        let front = |queue: &Queue<R>| match queue.items.front() {
            Some(Item::Row { turn, .. }) => Some(*turn),
            _ => None,
        };
        let turn = self.streams.iter().filter_map(front).min()?;
        self.least()?.holds(turn).then(|| self.take(turn))
    }

    fn take(&mut self, turn: Turn) -> Out<R> {
        let mut rows = Vec::new();
        let mut done = Vec::new();
        for (stream, queue) in self.streams.iter_mut().enumerate() {
            // Batches that end before the transaction's last row of the stream are out with it.
            let mut batches = 0_usize;
            while let Some(item) = queue.items.front() {
                match item {
                    Item::Row { turn: other, .. } if *other == turn => {}
                    Item::Done if queue.items.iter().find_map(turn_of) == Some(turn) => {}
                    _ => break,
                }
                match queue.items.pop_front() {
                    Some(Item::Row { index, row, bytes, .. }) => {
                        queue.bytes = queue.bytes.saturating_sub(bytes);
                        rows.push((index, stream, row));
                    }
                    _ => batches = batches.saturating_add(1),
                }
            }
            done.extend(std::iter::repeat_n(stream, batches));
        }
        rows.sort_by_key(|(index, stream, _)| (*index, *stream));
        self.delivered = Some(turn);
        Out::Transaction { turn, rows: rows.into_iter().map(|(_, _, row)| row).collect(), done }
    }
}

/// The transaction of a row; `None` for a batch's end, and nothing is looked for behind anything else.
fn turn_of<R>(item: &Item<R>) -> Option<Turn> {
    match item {
        Item::Row { turn, .. } => Some(*turn),
        Item::Whole { .. } | Item::Done => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(commit: u64) -> Turn {
        Turn { incarnation: IncarnationNumber(1), commit }
    }

    fn resolved(commit: u64) -> Resolved {
        Resolved { incarnation: IncarnationNumber(1), at: At::end_of(commit) }
    }

    fn out(merge: &mut Merge<&'static str>) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(next) = merge.next() {
            match next {
                Out::Transaction { turn, rows, done } => {
                    all.push(format!("{}:{}", turn.commit, rows.join("")));
                    all.extend(done.iter().map(|stream| format!("done {stream}")));
                }
                Out::Whole { row, .. } => all.push(row.to_owned()),
                Out::Done { stream } => all.push(format!("done {stream}")),
            }
        }
        all
    }

    #[test]
    fn a_transaction_comes_out_whole_when_every_stream_is_resolved() {
        let mut merge = Merge::new(2, None);
        for (stream, commit, index, row) in
            [(0, 5, 0, "a"), (0, 5, 2, "c"), (0, 7, 0, "f"), (1, 5, 1, "b"), (1, 6, 0, "e")]
        {
            merge.row(stream, turn(commit), index, row, 1);
        }
        merge.resolve(0, resolved(9));
        assert!(out(&mut merge).is_empty(), "stream 1 has said nothing");
        merge.resolve(1, resolved(6));
        assert_eq!(out(&mut merge), ["5:abc", "6:e"]);
        assert_eq!(merge.bytes(), 1);
        assert!(merge.is_ahead(0) && !merge.is_ahead(1));
        merge.resolve(1, resolved(7));
        assert_eq!(out(&mut merge), ["7:f"]);
        assert_eq!(merge.delivered(), Some(turn(7)));
    }

    #[test]
    fn a_position_inside_a_transaction_does_not_let_it_out() {
        let mut merge = Merge::new(1, None);
        merge.row(0, turn(5), 0, "a", 1);
        let inside = At { commit: 5, ordinal: 3 };
        merge.resolve(0, Resolved { incarnation: IncarnationNumber(1), at: inside });
        assert!(out(&mut merge).is_empty());
        merge.resolve(0, resolved(4));
        assert!(out(&mut merge).is_empty(), "a resolved position never falls back");
        merge.resolve(0, resolved(5));
        assert_eq!(out(&mut merge), ["5:a"]);
    }

    #[test]
    fn batches_are_done_in_order_and_not_before_their_rows() {
        let mut merge = Merge::new(1, None);
        merge.row(0, turn(5), 0, "a", 1);
        merge.done(0);
        merge.row(0, turn(5), 1, "b", 1);
        merge.row(0, turn(6), 0, "c", 1);
        merge.done(0);
        merge.resolve(0, resolved(5));
        assert_eq!(out(&mut merge), ["5:ab", "done 0"]);
        merge.resolve(0, resolved(6));
        assert_eq!(out(&mut merge), ["6:c", "done 0"]);
    }

    #[test]
    fn what_was_delivered_before_does_not_come_again() {
        let mut merge = Merge::new(1, Some(turn(5)));
        merge.row(0, turn(5), 0, "a", 1);
        merge.row(0, turn(6), 0, "b", 1);
        merge.done(0);
        merge.resolve(0, resolved(6));
        assert_eq!(out(&mut merge), ["6:b", "done 0"]);
    }

    #[test]
    fn a_snapshots_rows_overtake_nothing_of_their_stream() {
        let mut merge = Merge::new(2, None);
        merge.row(0, turn(5), 0, "a", 1);
        merge.whole(0, "r", 1);
        merge.whole(1, "s", 1);
        merge.row(1, turn(6), 0, "b", 1);
        merge.resolve(1, resolved(9));
        assert_eq!(out(&mut merge), ["s"]);
        merge.resolve(0, resolved(5));
        assert_eq!(out(&mut merge), ["5:a", "r"]);
    }

    #[test]
    fn a_voided_transaction_is_taken_back_and_a_later_incarnation_goes_on() {
        let mut merge = Merge::new(1, None);
        merge.row(0, turn(5), 0, "a", 3);
        merge.void(0, turn(5));
        merge.whole(0, "gap", 1);
        let next = Turn { incarnation: IncarnationNumber(2), commit: 1 };
        merge.row(0, next, 0, "b", 1);
        merge.resolve(0, Resolved { incarnation: IncarnationNumber(2), at: At::end_of(1) });
        assert_eq!(out(&mut merge), ["gap", "1:b"]);
        assert_eq!(merge.bytes(), 0);
    }
}
