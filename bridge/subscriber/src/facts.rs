//! The signed header in the words of the chain machine.

use bridge_chain::{Facts, Last, Mark, Open, Place, State};
use bridge_envelope::{Header, Notice};
use bridge_suite::Digest;

fn mark(mark: bridge_envelope::Mark) -> Mark {
    Mark { commit: mark.commit, ordinal: mark.ordinal, fragment: mark.fragment }
}

/// What the machine needs of a verified batch. `head` is the digest of the reader's own head, or the genesis: a GAP does
/// not carry what stood before the first batch that it names as lost, so the reader's own head stands in for it.
pub(crate) fn of_header(header: &Header, digest: Digest, head: Digest) -> Facts {
    let (lost, voids) = match &header.notice {
        Some(Notice::Gap(gap)) => {
            (gap.lost.iter().map(|lost| (lost.sequence, lost.digest)).collect(), gap.voids.clone())
        }
        Some(Notice::Retract(retract)) => (Vec::new(), retract.voids.clone()),
        None => (Vec::new(), Vec::new()),
    };
    Facts {
        epoch: header.epoch,
        sequence: header.sequence,
        digest,
        previous: header.previous,
        kind: header.kind,
        incarnation: header.incarnation,
        first: mark(header.first.mark),
        last: mark(header.last.mark),
        rows: header.rows(),
        continues: header.continues,
        leaves_open: header.leaves_open,
        begun: header.transactions_begun,
        ended: header.transactions_ended,
        lost_previous: if lost.is_empty() { Digest::ZERO } else { head },
        lost,
        voids,
    }
}

/// The place that a beacon carries.
pub(crate) fn place(place: &bridge_envelope::Place) -> Place {
    let last = Last { incarnation: place.incarnation, mark: mark(place.last) };
    let head = place.head.map(|head| (head.sequence, head.digest));
    let open = place.open.map(|commit| Open { commit });
    Place { offset: place.offset, state: State { fenced: place.epoch, head, last, open } }
}
