//! Rows in fragments.

use super::*;
use bridge_envelope::{Fragments, Sealer};

/// Where the sender cuts.
const CUT_BYTES: usize = 1000;

fn cut(rows: &[Rows]) -> Fragments {
    Fragments::new(rows, CUT_BYTES).unwrap()
}

/// A batch of whole rows, or the fragment that its header names.
pub(super) fn sealed(
    header: Header,
    drafts: &[SectionDraft<'_>],
    rows: &[Rows],
    signers: &[&SigningKey],
) -> Sealed {
    let mut sealer = Sealer::new().unwrap();
    let sealed = match header.fragment {
        Some(_) => sealer.seal_fragment(header, drafts, &cut(rows), signers),
        None => sealer.seal(header, drafts, signers),
    };
    sealed.unwrap()
}

/// A note of so many bytes that compresses badly.
pub fn long_note(bytes: usize) -> Cell<'static> {
    let mut text = String::new();
    for line in 0_u64.. {
        text.push_str(&sha256(&[&line.to_be_bytes()]).to_string());
        if text.len() >= bytes {
            break;
        }
    }
    text.truncate(bytes);
    Cell::Value(Value::Text(Box::leak(text.into_boxed_str())))
}

impl Sender {
    /// The frames of the fragments of a row, the only one of its transaction in this stream.
    pub fn seal_large(&mut self, stream: usize, part: &Part) -> Vec<Vec<u8>> {
        let of = self.cut_of(stream, part).count();
        (0..of).map(|index| self.seal_large_at(stream, part, index)).collect()
    }

    /// The frame of one fragment of such a row.
    pub fn seal_large_at(&mut self, stream: usize, part: &Part, index: u32) -> Vec<u8> {
        let cut = self.cut_of(stream, part);
        let of = cut.count();
        let shape = Shape { continues: index > 0, leaves_open: index + 1 < of, snapshot: false };
        self.seal_with(stream, std::slice::from_ref(part), shape, |header| {
            header.fragment = Some(cut.part(index));
            header.first.mark = Mark::fragment(header.first.mark.at(), index, of);
            header.last.mark = header.first.mark;
        })
    }

    fn cut_of(&mut self, stream: usize, part: &Part) -> Fragments {
        let s = &mut self.streams[stream];
        let mut rows = s.encoder.rows();
        encode(&mut s.encoder, std::slice::from_ref(part), &mut rows);
        cut(&rows)
    }

    /// What a reader of the stream expects.
    pub fn expected(&self, stream: usize) -> bridge_envelope::Expected {
        let origin = ORIGIN.parse().unwrap();
        let stream = self.streams[stream].id.clone();
        bridge_envelope::Expected { stream, origin, suite: Suite::International }
    }
}
