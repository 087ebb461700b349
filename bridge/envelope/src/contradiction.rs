//! What a header may not say at once. Sealing refuses to sign it, verification refuses to believe it.

use bridge_event::{At, Kind, Mark, Sequence};

use crate::{ClosedBy, FragmentPart, Header, Notice};

/// Longest row, in bytes of its records in all sections; a longer one halts its connector.
pub const ROW_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most fragments of a row: of 64 KiB, the least that is worth a batch, for a row of 64 MiB.
pub const FRAGMENTS_MAX: u32 = 1024;

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
        let (first, last) = (self.first.mark, self.last.mark);
        match &self.fragment {
            Some(part) => self.fragment_contradicts(part, &mut say),
            None if rows > 0 => {
                say(first.fragment != 0 || last.fragment != 0, "rows that are whole stand at a fragment");
            }
            None => {
                let notice = self.notice.is_some();
                say(!notice && last.is_unfinished(), "a batch without rows stands in the midst of one");
            }
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

    fn fragment_contradicts(&self, part: &FragmentPart, say: &mut impl FnMut(bool, &'static str)) {
        let FragmentPart { index, of, total_bytes } = *part;
        let (first, last) = (self.first.mark, self.last.mark);
        let is_stream = self.kind == Kind::Stream;
        say(!is_stream && self.kind != Kind::Snapshot, "only a stream's or a snapshot's row is cut");
        say(!(2..=FRAGMENTS_MAX).contains(&of), "a row has 2 to 1,024 fragments");
        say(index >= of, "the fragment's index is not below their number");
        say(total_bytes > ROW_BYTES_MAX, "the fragments' row is over 64 MiB");
        say(self.row_events != 1 || self.truncates != 0, "a fragment is one row");
        let stands = first == last && first == Mark::fragment(first.at(), index, of);
        say(!stands, "the fragment does not stand where its index says");
        say(is_stream && index > 0 && !self.continues, "a later fragment continues its transaction");
        let goes_on = index.saturating_add(1) < of;
        say(is_stream && goes_on && !self.leaves_open, "a row that goes on leaves its transaction open");
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
