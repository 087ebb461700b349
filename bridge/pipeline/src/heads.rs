//! Places as the log's `heads` file keeps them, so that a start knows where to read each stream from.
//!
//! The file may be lost or old: a beacon's place does as well, and an old place only costs reading.

use bridge_chain::{Last, Mark, Open, Place, SnapshotPlace, State};
use bridge_envelope::RowPosition;
use bridge_event::{Epoch, Generation, IncarnationNumber, Offset, Sequence, Token};
use bridge_suite::Digest;
use serde::{Deserialize, Serialize};

/// A stream's place, with what the connector needs beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StreamHead {
    pub(crate) place: Place,
    /// Where the place's head ends, with the engine's token.
    pub(crate) last: RowPosition,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    offset: i64,
    fenced: u64,
    head: Option<(u64, String)>,
    incarnation: u32,
    last: (u64, u64, u32),
    open: Option<u64>,
    /// The engine's token of `last`, as bytes.
    token: Vec<u8>,
    snapshot: Option<(u64, u64, bool)>,
}

impl StreamHead {
    /// The bytes to keep.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let State { fenced, head, last, open, snapshot } = self.place.state;
        let stored = Stored {
            offset: self.place.offset.0,
            fenced: fenced.0,
            head: head.map(|(sequence, digest)| (sequence.0, digest.to_string())),
            incarnation: last.incarnation.0,
            last: (last.mark.commit, last.mark.ordinal, last.mark.fragment),
            open: open.map(|open| open.commit),
            token: self.last.token.as_bytes().to_vec(),
            snapshot: snapshot.map(|s| (s.generation.0, s.chunk, s.last)),
        };
        // Numbers, texts and lists only: nothing that JSON cannot hold.
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// What was kept; `None` when it cannot be read, as if it was lost.
    pub(crate) fn decode(bytes: &[u8]) -> Option<StreamHead> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let head = match stored.head {
            None => None,
            Some((sequence, digest)) => Some((Sequence(sequence), digest.parse::<Digest>().ok()?)),
        };
        let (commit, ordinal, fragment) = stored.last;
        let state = State {
            fenced: Epoch(stored.fenced),
            head,
            last: Last {
                incarnation: IncarnationNumber(stored.incarnation),
                mark: Mark { commit, ordinal, fragment },
            },
            open: stored.open.map(|commit| Open { commit }),
            snapshot: stored.snapshot.map(|(generation, chunk, last)| SnapshotPlace {
                generation: Generation(generation),
                chunk,
                last,
            }),
        };
        Some(StreamHead {
            place: Place { offset: Offset(stored.offset), state },
            last: RowPosition {
                mark: Mark { commit, ordinal, fragment },
                token: Token::new(stored.token).ok()?,
            },
        })
    }

    /// What a verified beacon says of its stream's place.
    pub(crate) fn of_beacon(beacon: &bridge_envelope::Beacon) -> StreamHead {
        let place = &beacon.place;
        StreamHead {
            place: Place::of(place),
            last: RowPosition { mark: place.last, token: Token::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_as_it_was_kept() {
        let mark = Mark { commit: u64::MAX, ordinal: 3, fragment: 1 };
        let head = StreamHead {
            place: Place {
                offset: Offset(7),
                state: State {
                    fenced: Epoch(2),
                    head: Some((Sequence(9), Digest([7; 32]))),
                    last: Last { incarnation: IncarnationNumber(1), mark },
                    open: Some(Open { commit: 5 }),
                    snapshot: Some(SnapshotPlace { generation: Generation(1), chunk: 4, last: true }),
                },
            },
            last: RowPosition { mark, token: Token::new(vec![0, 255, 3]).unwrap() },
        };
        assert_eq!(StreamHead::decode(&head.encode()), Some(head));
    }

    #[test]
    fn rubbish_is_no_place() {
        for bytes in [&b""[..], b"{}", b"[]", b"\xff\xff", b"{\"offset\":1}"] {
            assert_eq!(StreamHead::decode(bytes), None);
        }
    }
}
