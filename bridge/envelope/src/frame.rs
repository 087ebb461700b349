//! The content of one Kafka record, told by its magic.

use crate::ParseError;
use crate::beacon::Beacon;
use crate::contract_record::ContractRecord;
use crate::fence::Fence;
use crate::incarnation_record::IncarnationRecord;
use crate::key_record::{KeyRecord, Rewrap};
use crate::signed::{BATCH, BEACON, CONTRACT, Clear, FENCE, INCARNATION, KEY_RECORD, REWRAP};
use crate::verify::BatchFrame;

/// A frame's clear parts. Nothing about them is verified: this tells frames apart and shows them to people.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a frame lives for one record; boxing would cost more than it saves"
)]
pub enum Frame<'a> {
    /// `GBB1`
    Batch(BatchFrame<'a>),
    /// `GBF1`
    Fence(Clear<Fence>),
    /// `GBN1`
    Beacon(Clear<Beacon>),
    /// `GBK1`
    KeyRecord(Clear<KeyRecord>),
    /// `GBR1`
    Rewrap(Clear<Rewrap>),
    /// `GBC1`
    Contract(Clear<ContractRecord>),
    /// `GBI1`
    Incarnation(Clear<IncarnationRecord>),
}

/// What a frame is, by its magic alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// `GBB1`
    Batch,
    /// `GBF1`
    Fence,
    /// `GBN1`
    Beacon,
    /// `GBK1`
    KeyRecord,
    /// `GBR1`
    Rewrap,
    /// `GBC1`
    Contract,
    /// `GBI1`
    Incarnation,
}

impl FrameKind {
    /// What the first four bytes say, `None` for no frame of ours.
    pub fn of(bytes: &[u8]) -> Option<FrameKind> {
        let magic = *bytes.first_chunk::<4>()?;
        let kinds = [
            (BATCH.magic, FrameKind::Batch),
            (FENCE.magic, FrameKind::Fence),
            (BEACON.magic, FrameKind::Beacon),
            (KEY_RECORD.magic, FrameKind::KeyRecord),
            (REWRAP.magic, FrameKind::Rewrap),
            (CONTRACT.magic, FrameKind::Contract),
            (INCARNATION.magic, FrameKind::Incarnation),
        ];
        kinds.into_iter().find(|(known, _)| *known == magic).map(|(_, kind)| kind)
    }
}

impl<'a> Frame<'a> {
    /// Reads a frame of any kind.
    ///
    /// # Errors
    /// [`ParseError`], also for leftover bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, ParseError> {
        Ok(match FrameKind::of(bytes) {
            None => return Err(ParseError::Magic { expected: "a frame" }),
            Some(FrameKind::Batch) => Frame::Batch(BatchFrame::parse(bytes)?),
            Some(FrameKind::Fence) => Frame::Fence(FENCE.read(bytes, Fence::decode)?),
            Some(FrameKind::Beacon) => Frame::Beacon(BEACON.read(bytes, Beacon::decode)?),
            Some(FrameKind::KeyRecord) => Frame::KeyRecord(KEY_RECORD.read(bytes, KeyRecord::decode)?),
            Some(FrameKind::Rewrap) => Frame::Rewrap(REWRAP.read(bytes, Rewrap::decode)?),
            Some(FrameKind::Contract) => Frame::Contract(CONTRACT.read(bytes, ContractRecord::decode)?),
            Some(FrameKind::Incarnation) => {
                Frame::Incarnation(INCARNATION.read(bytes, IncarnationRecord::decode)?)
            }
        })
    }
}
