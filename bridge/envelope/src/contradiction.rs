//! What a header may not say at once. Sealing refuses to sign it, verification refuses to believe it.

use bridge_event::{At, Kind, Sequence};

use crate::{ClosedBy, Header, Notice};

/// Longest row, in bytes; a longer one halts its connector.
pub const ROW_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Header {
    /// Everything in the header that contradicts the rest of it.
    pub fn contradictions(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let mut say = |wrong: bool, what: &'static str| {
            if wrong {
                found.push(what);
            }
        };
        let rows = self.rows();
        let (is_gap, is_retract) = (self.kind == Kind::Gap, self.kind == Kind::Retract);
        let has_gap = matches!(self.notice, Some(Notice::Gap(_)));
        let has_retract = matches!(self.notice, Some(Notice::Retract(_)));
        say(self.epoch.0 == 0, "the epoch is 0, and epochs begin at 1");
        say(is_gap != has_gap || is_retract != has_retract, "the kind and the notice do not match");
        say((is_gap || is_retract) && rows > 0, "a notice has no rows");
        say(
            (self.kind == Kind::Snapshot) != self.snapshot.is_some(),
            "the kind and the snapshot do not match",
        );
        say(self.first.mark > self.last.mark, "the first position is after the last");
        say(rows == 0 && self.first.mark != self.last.mark, "a batch without rows has one position");
        let opened = u128::from(self.transactions_begun) + u128::from(self.continues);
        let closed = u128::from(self.transactions_ended) + u128::from(self.leaves_open);
        say(opened != closed, "transactions begun and continued are not those ended and left open");
        say(self.continues && self.sequence == Sequence(0), "the stream's first batch continues nothing");
        say(
            self.leaves_open && self.closed_by == ClosedBy::Commit,
            "a batch that was closed at a commit leaves nothing open",
        );
        say(
            self.leaves_open
                && self.kind == Kind::Stream
                && self.resolved >= At::end_of(self.last.mark.commit),
            "the resolved position is past a transaction that is left open",
        );
        if let Some(fragment) = self.fragment {
            say(fragment.index >= fragment.of, "the fragment's index is not below their number");
            say(fragment.total_bytes > ROW_BYTES_MAX, "the fragments' row is over 64 MiB");
            say(rows != 1, "a fragment is one row");
        }
        say(!ascending(self.extensions.iter().map(|e| u64::from(e.id))), "the extensions do not ascend");
        match &self.notice {
            Some(Notice::Gap(gap)) => {
                let consecutive = gap.lost.windows(2).all(|pair| match pair {
                    [one, two] => one.sequence.next() == Some(two.sequence),
                    _ => true,
                });
                say(!consecutive, "the lost batches are not consecutive");
            }
            Some(Notice::Retract(retract)) => {
                say(retract.vanished.iter().any(|v| v.first_leaf > v.last_leaf), "a vanished range is empty");
            }
            None => {}
        }
        found
    }
}

fn ascending(numbers: impl Iterator<Item = u64>) -> bool {
    let mut last = None;
    for number in numbers {
        if last.is_some_and(|last| number <= last) {
            return false;
        }
        last = Some(number);
    }
    true
}
