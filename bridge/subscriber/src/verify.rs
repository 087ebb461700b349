//! Verify: untrusted bytes -> a batch that follows its chain, or what a fence or beacon says.

use std::sync::Arc;

use bridge_chain::{Input, Step};
use bridge_envelope::{
    Attested, Beacon, Fence, Finding, FrameKind, Verified, verify_batch, verify_beacon, verify_fence,
};
use bridge_event::LogIndex;
use bridge_kafka::Fetched;
use bridge_suite::Digest;

use crate::assurance::{Proven, same_batch};
use crate::checkpoints::Conflict;
use crate::finding::{of_step, of_verdict};
use crate::flow::{Flow, Trouble};
use crate::freshness::Seen;
use crate::lane::{Accepted, Lane};
use crate::merge::Resolved;
use crate::promise::Promise;
use crate::records::{OriginSigners, Records};
use crate::{Found, Level, Point};

/// A frame whose signatures are right and that belongs to this stream.
enum Signed {
    Batch(Box<Verified>),
    Fence(Box<Attested<Fence>>),
    Beacon(Box<Attested<Beacon>>),
}

impl Flow {
    /// Takes a lane's next record.
    ///
    /// # Errors
    /// [`Trouble`]: a finding of any consequence, or the end.
    pub(crate) fn verify(&mut self, index: usize, record: &Fetched) -> Result<(), Trouble> {
        let Some(lane) = self.lanes.get(index) else { return Ok(()) };
        let signed = match self.signed(lane, &record.bytes) {
            Ok(signed) => signed,
            Err(findings) => return self.refused(lane.expected.stream.clone(), record, &findings),
        };
        if let Some(found) = self.outlived(lane, &signed) {
            return Err(found.into());
        }
        match signed {
            Signed::Batch(batch) => self.batch(index, record, *batch),
            Signed::Fence(fence) => {
                let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
                let epoch = fence.content().epoch;
                of_step(lane.machine.step(&Input::Fence { epoch })).map_or(Ok(()), |found| Err(found.into()))
            }
            Signed::Beacon(beacon) => self.beacon(index, &beacon),
        }
    }

    fn signed(&self, lane: &Lane, bytes: &[u8]) -> Result<Signed, Vec<Finding>> {
        let signers = OriginSigners { trust: &self.trust, origin: &lane.expected.origin };
        let expected = &lane.expected;
        match FrameKind::of(bytes) {
            Some(FrameKind::Batch) => verify_batch(bytes, &signers, expected)
                .into_verified()
                .map(|batch| Signed::Batch(Box::new(batch))),
            Some(FrameKind::Fence) => {
                let fence = verify_fence(bytes, &signers, expected).into_verified()?;
                Ok(Signed::Fence(Box::new(fence)))
            }
            Some(FrameKind::Beacon) => {
                let beacon = verify_beacon(bytes, &signers, expected).into_verified()?;
                Ok(Signed::Beacon(Box::new(beacon)))
            }
            _ => Err(vec![Finding::Shape(bridge_envelope::ParseError::Magic {
                expected: "a batch, a fence or a beacon",
            })]),
        }
    }

    /// A frame of a key whose part of the log was over before the frame was written: only a thief of an old key still
    /// signs with it, so it is dropped, and cannot end an epoch, resolve a position or halt anybody.
    fn outlived(&self, lane: &Lane, signed: &Signed) -> Option<Found> {
        let (keys, opened) = match signed {
            Signed::Batch(batch) => (batch.signers(), None),
            Signed::Fence(fence) => (fence.signers(), Some(fence.content().log_index)),
            Signed::Beacon(beacon) => (beacon.signers(), None),
        };
        let (department, origin) = (&lane.expected.stream.department, &lane.expected.origin);
        keys.iter().find_map(|key| {
            // An operator's key has no range of its own.
            let valid = self.trust.signing_key(department, origin, key)?.valid;
            let outside = opened.is_some_and(|index| !valid.covers(index));
            (outside || lane.is_over(valid)).then(|| {
                Found::drop(
                    "VER076",
                    format!(
                        "the frame is signed by key {key}, whose part of the log was over before it came"
                    ),
                )
            })
        })
    }

    /// Tells all findings of a refused record; the last one comes back with the consequence of all.
    fn refused(
        &mut self,
        stream: bridge_event::StreamId,
        record: &Fetched,
        findings: &[Finding],
    ) -> Result<(), Trouble> {
        let mut found: Vec<Found> =
            of_verdict(findings).into_iter().map(|found| found.at(&stream, record.offset)).collect();
        let Some(last) = found.pop() else { return Ok(()) };
        for mut one in found {
            // One halt is enough, and the last one is it.
            one.consequence = one.consequence.min(crate::Consequence::Drop);
            self.report(one)?;
        }
        Err(last.into())
    }

    fn batch(&mut self, index: usize, record: &Fetched, batch: Verified) -> Result<(), Trouble> {
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        let input = Input::Batch(bridge_chain::Facts::of(batch.header(), batch.digest()));
        if let Some(found) = of_step(lane.machine.step(&input)) {
            return Err(found.into());
        }
        let after = lane.place();
        let promise = self.promise(&batch)?;
        promise.check(&batch)?;
        self.metrics.verified.inc();
        self.reach(Point::AfterVerify)?;
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        let clock = lane.clock(batch.header().epoch);
        Ok(lane.accept(Accepted { batch, promise, offset: record.offset, after, clock })?)
    }

    /// The contract that a batch names; the topic is read on when it is not known yet.
    fn promise(&mut self, batch: &Verified) -> Result<Arc<Promise>, Trouble> {
        let header = batch.header();
        let digest = header.contract;
        let mut promise = self.records.contract(&digest);
        if promise.is_none() {
            self.refresh_records(digest, |records| records.contract(&digest).is_some())?;
            promise = self.records.contract(&digest);
        }
        let unknown = || {
            Found::halt(
                "VER060",
                format!(
                    "no contract with the digest {digest} that the department signed is in govbridge.contracts"
                ),
            )
        };
        let promise = promise.ok_or_else(unknown)?;
        let contract = &promise.contract;
        let own = (contract.department(), contract.dataset())
            == (&header.stream.department, &header.stream.dataset)
            && *contract.origin() == header.origin
            && contract.suite() == header.suite;
        if own {
            Ok(promise)
        } else {
            Err(Found::halt(
                "VER060",
                format!("the batch names the contract {digest}, which is another dataset's"),
            )
            .into())
        }
    }

    /// Reads the topics of the records on, and where that does not bring what is wanted, from their beginnings.
    pub(crate) fn refresh_records(
        &mut self,
        wanted: Digest,
        is_there: impl Fn(&Records) -> bool,
    ) -> Result<(), Trouble> {
        let mut found = self.records.refresh()?;
        if !is_there(&self.records) {
            found.extend(self.records.read_again(wanted)?);
        }
        found.into_iter().try_for_each(|found| self.report(found))
    }

    fn beacon(&mut self, index: usize, attested: &Attested<Beacon>) -> Result<(), Trouble> {
        let beacon = attested.content();
        let received = self.clock.now();
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        let head = beacon.head.as_ref().map(|head| (head.sequence, head.digest));
        let step = lane.machine.step(&Input::Beacon { epoch: beacon.epoch, head });
        match step {
            Step::BeaconSeen | Step::Old => lane.clock_is(beacon.epoch, beacon.clock),
            other => return of_step(other).map_or(Ok(()), |found| Err(found.into())),
        }
        let mut seen = Seen {
            received,
            epoch: beacon.epoch,
            clock: beacon.clock,
            next_due: beacon.next_due,
            cosigned: None,
        };
        let mut told = Vec::new();
        if let Some(appended) = &beacon.appended {
            let source = lane.source;
            let proven = self.sources.get(source).map(|source| source.judge.prove(appended));
            match proven {
                Some(Ok(proven)) => {
                    seen.cosigned = proven.under.cosigned;
                    lane.log_reaches(proven.under.checkpoint.size);
                    told = self.proven(index, source, &proven)?;
                }
                Some(Err(found)) if found.halts() => return Err(found.into()),
                Some(Err(found)) => told.push(found),
                None => {}
            }
        }
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        // A beacon whose head is from before the digests at hand says nothing that could be checked.
        if step == Step::BeaconSeen {
            lane.resolve(Resolved { incarnation: beacon.incarnation, at: beacon.resolved });
        }
        let stream = lane.expected.stream.clone();
        if lane.seen.is_none_or(|last| seen.is_newer(&last)) {
            lane.seen = Some(seen);
            self.health.stream(&stream, Some(seen));
        }
        told.into_iter().try_for_each(|found| self.report(found.of_stream(&stream)))
    }

    /// What follows from an entry that a checkpoint holds.
    fn proven(&mut self, index: usize, source: usize, proven: &Proven) -> Result<Vec<Found>, Trouble> {
        let (Some(lane), Some(source)) = (self.lanes.get_mut(index), self.sources.get_mut(source)) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let compared = source.checkpoints.observe(&proven.under).and_then(|()| match &source.log {
            Some(log) => source.checkpoints.compare(log, false),
            None => Ok(None),
        });
        match compared {
            Ok(told) => found.extend(told),
            Err(conflict) => return Err(self.conflict(*conflict)),
        }
        source.on_record.observe(&proven.under);
        let sequence = proven.entry.sequence;
        // A batch from before what is at hand was delivered or covered before.
        let Some(accepted) = lane.accepted(sequence) else { return Ok(found) };
        same_batch(proven, accepted)?;
        if let Some(batch) = lane.waiting(sequence)
            && batch.entry(proven.entry.previous_index) != proven.entry
        {
            return Err(Found::halt(
                "VER072",
                format!("the log's entry of batch {sequence} contradicts its signed header"),
            )
            .into());
        }
        self.check_signers(index, proven)?;
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(found) };
        lane.prove(sequence, proven.index.0);
        if lane.cover(sequence, proven.under.level, self.least) {
            self.metrics.refetches.inc();
            self.assign()?;
        }
        Ok(found)
    }

    /// Keeps both checkpoints as evidence, and halts.
    pub(crate) fn conflict(&self, conflict: Conflict) -> Trouble {
        if let Some(delivery) = &self.delivery {
            let texts = [("remembered", &conflict.remembered), ("other", &conflict.other)];
            for (side, text) in texts {
                let size = conflict.other.lines().nth(1).unwrap_or_default();
                if let Err(error) = delivery.file.keep(&format!("conflict-{size}-{side}.txt"), text) {
                    tracing::error!(%error, "a checkpoint could not be kept: {text}");
                }
            }
        }
        conflict.found.into()
    }

    /// Whether every key signed within the part of the log that the trust file gives it.
    fn check_signers(&mut self, index: usize, proven: &Proven) -> Result<(), Trouble> {
        let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
        let sequence = proven.entry.sequence;
        let after = lane.proven().map_or(0, |index| index.saturating_add(1));
        let runs = lane.take_signers(sequence);
        let (stream, origin) = (lane.expected.stream.clone(), lane.expected.origin.clone());
        for (keys, last) in runs {
            for key in keys {
                // An operator's key has no range of its own.
                let Some(term) = self.trust.signing_key(&stream.department, &origin, &key) else { continue };
                // The batch proven now has this very index; those before it lie between the one proven last and it.
                let (low, high) = if last == sequence {
                    (after.min(proven.index.0), proven.index.0)
                } else {
                    (after, proven.index.0.saturating_sub(1))
                };
                let (good_at_low, good_at_high) =
                    (term.valid.covers(LogIndex(low)), term.valid.covers(LogIndex(high)));
                let exact = if last == sequence { good_at_high } else { good_at_low || good_at_high };
                if !exact {
                    let what = format!(
                        "key {key} signed batch {last}, whose log index is {low} to {high}, and the trust file does not give it that part of the log"
                    );
                    return Err(Found::halt("VER076", what).into());
                }
            }
        }
        Ok(())
    }

    /// The level of the newest batch of every stream, for reports.
    pub(crate) fn reached(&self, lane: &Lane) -> Option<Level> {
        lane.head().map(|(sequence, _)| lane.level(sequence))
    }
}
