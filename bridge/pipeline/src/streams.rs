//! What the sealing, appending and checkpointing threads share of a life: the streams' sending halves and the cuts.

use crate::heads::StreamHead;
use bridge_chain::cuts::Cuts;
use bridge_chain::outgoing::{Outgoing, OutgoingError};
use bridge_chain::{Facts, Shipped};
use bridge_envelope::{Header, RowPosition};
use bridge_event::{At, Offset, Sequence};
use bridge_suite::Digest;
use std::collections::VecDeque;

/// A batch between seal and append.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) header: Header,
    pub(crate) digest: Digest,
    pub(crate) bytes: usize,
    acknowledged: bool,
}

/// A batch that Kafka acknowledged with every one before it: what append takes. Only [`Streams`] makes it.
#[derive(Debug)]
pub(crate) struct Published {
    stream: usize,
    header: Header,
    digest: Digest,
    bytes: usize,
}

impl Published {
    pub(crate) fn stream(&self) -> usize {
        self.stream
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// One stream's sending half with what the rules do not need to know.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) outgoing: Outgoing<Shipped>,
    pending: VecDeque<Pending>,
    /// Where the acknowledged head ends, with the engine's token.
    pub(crate) head_last: RowPosition,
    /// Where the place's head ends.
    placed_last: RowPosition,
}

/// The streams of one life.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) sending: Vec<Sending>,
    pub(crate) cuts: Cuts<Shipped>,
    /// Every transaction that ends at or before it is in the batches sealed so far.
    captured: At,
    /// The capturing thread has ended and everything that it sent is sealed.
    pub(crate) capture_ended: bool,
}

impl Sending {
    pub(crate) fn new(outgoing: Outgoing<Shipped>, head_last: RowPosition) -> Sending {
        Sending { outgoing, pending: VecDeque::new(), placed_last: head_last.clone(), head_last }
    }

    /// The stream's place with what the next start needs beside it.
    pub(crate) fn kept(&self) -> StreamHead {
        StreamHead { place: self.outgoing.place(), last: self.placed_last.clone() }
    }
}

impl Streams {
    pub(crate) fn new(sending: Vec<Sending>, from: At) -> Streams {
        let heads: Vec<Option<Sequence>> =
            sending.iter().map(|s| s.outgoing.head().map(|(sequence, _)| sequence)).collect();
        Streams { sending, cuts: Cuts::new(&heads, from), captured: At::START, capture_ended: false }
    }

    /// A batch is sealed and about to be published.
    pub(crate) fn sealed(
        &mut self,
        stream: usize,
        header: Header,
        digest: Digest,
        bytes: usize,
    ) -> Result<(), OutgoingError> {
        if let Some(sending) = self.sending.get_mut(stream) {
            sending.outgoing.seal(Facts::of(&header, digest), header.resolved)?;
            sending.pending.push_back(Pending { header, digest, bytes, acknowledged: false });
        }
        Ok(())
    }

    /// Every transaction that ends at or before `end` is in the batches sealed so far.
    pub(crate) fn captured(&mut self, end: At) {
        let needs: Vec<Option<Sequence>> = self
            .sending
            .iter()
            .map(|s| {
                let outstanding = s.outgoing.outstanding() > 0;
                s.outgoing.sealed_state().head.filter(|_| outstanding).map(|(sequence, _)| sequence)
            })
            .collect();
        self.cuts.transaction(end, &needs);
        self.captured = self.captured.max(end);
    }

    /// How far the source was captured, for what a beacon says.
    pub(crate) fn captured_to(&self) -> Option<At> {
        (self.captured > At::START).then_some(self.captured)
    }

    /// Kafka acknowledged a batch.
    pub(crate) fn acknowledged(
        &mut self,
        stream: usize,
        sequence: Sequence,
        offset: Offset,
    ) -> Result<(), OutgoingError> {
        let Some(sending) = self.sending.get_mut(stream) else { return Ok(()) };
        sending.outgoing.acknowledged(sequence, offset)?;
        for pending in &mut sending.pending {
            if pending.header.sequence == sequence {
                pending.acknowledged = true;
                self.cuts.resolved(stream, pending.header.resolved);
                sending.head_last = pending.header.last.clone();
            }
        }
        self.cuts.published(stream, sequence);
        Ok(())
    }

    /// Takes every batch that may be appended now, stream by stream in order.
    pub(crate) fn take_published(&mut self) -> Vec<Published> {
        let mut published = Vec::new();
        for (stream, sending) in self.sending.iter_mut().enumerate() {
            while let Some(pending) = sending.pending.pop_front_if(|p| p.acknowledged) {
                let Pending { header, digest, bytes, .. } = pending;
                published.push(Published { stream, header, digest, bytes });
            }
        }
        published
    }

    /// A batch stands in the log, fsynced.
    pub(crate) fn appended(&mut self, batch: &Published) -> Result<(), OutgoingError> {
        let Some(sending) = self.sending.get_mut(batch.stream) else { return Ok(()) };
        let sequence = batch.header.sequence;
        sending.outgoing.appended(sequence)?;
        sending.placed_last = batch.header.last.clone();
        self.cuts.appended(batch.stream, sequence);
        Ok(())
    }

    /// Batches sealed and not yet in the log.
    pub(crate) fn outstanding(&self) -> usize {
        self.sending.iter().map(|s| s.outgoing.outstanding()).sum()
    }
}
