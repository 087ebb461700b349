//! A fence: the signed frame that opens an epoch in a stream.

use bridge_event::{Epoch, IncarnationNumber, LogIndex, Origin, Partition, StreamId};
use bridge_suite::SigningKey;

use crate::signed::{Attested, FENCE, Signed, Signers, Verdict};
use crate::verify::Expected;
use crate::wire::{Reader, Writer};
use crate::{Finding, ParseError, SealError};

/// What a fence says: from here on only this epoch writes. Avro record `govbridge.Fence` (docs/spec/fence.avsc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The connector's log.
    pub origin: Origin,
    /// The stream.
    pub stream: StreamId,
    /// The epoch that begins.
    pub epoch: Epoch,
    /// The index of its epoch entry in the log.
    pub log_index: LogIndex,
    /// The source's incarnation.
    pub incarnation: IncarnationNumber,
}

impl Fence {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.text(self.origin.as_str());
        w.text(self.stream.department.as_str());
        w.text(self.stream.dataset.as_str());
        w.small(self.stream.partition.0);
        w.unsigned(self.epoch.0);
        w.unsigned(self.log_index.0);
        w.small(self.incarnation.0);
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Fence, ParseError> {
        let r = &mut Reader::new(bytes);
        let fence = Fence {
            origin: r.name("origin")?,
            stream: StreamId {
                department: r.name("department")?,
                dataset: r.name("dataset")?,
                partition: Partition(r.small("partition")?),
            },
            epoch: Epoch(r.unsigned("epoch")?),
            log_index: LogIndex(r.unsigned("log_index")?),
            incarnation: r.incarnation("incarnation")?,
        };
        r.finish()?;
        Ok(fence)
    }

    fn contradictions(&self) -> Option<&'static str> {
        (self.epoch.0 == 0).then_some("the epoch is 0, and epochs begin at 1")
    }
}

/// Signs a fence.
///
/// # Errors
/// [`SealError`].
pub fn sign_fence(fence: Fence, signers: &[&SigningKey]) -> Result<Signed<Fence>, SealError> {
    if let Some(contradiction) = fence.contradictions() {
        return Err(SealError::Contradiction(contradiction));
    }
    let body = fence.encode();
    Signed::new(&FENCE, fence, &body, signers)
}

/// Verifies a fence. The suite of `expected` plays no part: a fence has none.
pub fn verify_fence(bytes: &[u8], signers: &dyn Signers, expected: &Expected) -> Verdict<Attested<Fence>> {
    FENCE.verify(bytes, signers, &expected.stream.department, Fence::decode, |fence| {
        let mut findings = expected.check(&fence.stream, &fence.origin);
        findings.extend(fence.contradictions().map(Finding::Contradiction));
        findings
    })
}
