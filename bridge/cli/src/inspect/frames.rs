//! Sheets of frames: the clear part of what Kafka carries.

use super::sheet::{Field, Sheet};
use bridge_envelope::{
    BatchFrame, BatchRef, Beacon, Clear, ClosedBy, Compression, ContractRecord, Fence, FragmentPart, Frame,
    Gap, Header, IncarnationRecord, KeyRecord, Mark, Notice, Retract, Rewrap, RowPosition, SectionBlock,
    Signature, SnapshotPart, SnapshotPlace, Wrap,
};
use bridge_event::{At, StreamId};
use bridge_suite::sha256;

/// The sheet of any frame.
pub(super) fn frame(frame: &Frame<'_>) -> Sheet {
    match frame {
        Frame::Batch(batch) => batch_frame(batch),
        Frame::Fence(clear) => signed("fence", clear, fence),
        Frame::Beacon(clear) => signed("beacon", clear, beacon),
        Frame::KeyRecord(clear) => signed("key record", clear, key_record),
        Frame::Rewrap(clear) => signed("rewrap", clear, rewrap),
        Frame::Contract(clear) => signed("contract record", clear, contract),
        Frame::Incarnation(clear) => signed("incarnation record", clear, incarnation),
    }
}

fn signed<T>(what: &'static str, clear: &Clear<T>, content: impl Fn(&T) -> Sheet) -> Sheet {
    Sheet::of(what)
        .with("digest", Field::text(clear.digest))
        .with("signatures", signatures(&clear.signatures))
        .and(content(&clear.content))
}

fn batch_frame(batch: &BatchFrame<'_>) -> Sheet {
    Sheet::of("batch")
        .with("digest", Field::text(batch.digest()))
        .with("signatures", signatures(batch.signatures()))
        .with("header", header(batch.header()))
        .with("section_blocks", Field::list(batch.blocks(), |b| block(b).into()))
}

/// Signatures are named, and nobody has verified them here.
fn signatures(signatures: &[Signature]) -> Field {
    Field::list(signatures, |signature| {
        let sheet = Sheet::default().with("algorithm", signature.algorithm.name());
        sheet.with("key_id", Field::text(signature.key)).with("verified", false).into()
    })
}

pub(super) fn stream(stream: &StreamId) -> Sheet {
    Sheet::default()
        .with("department", stream.department.as_str())
        .with("dataset", stream.dataset.as_str())
        .with("partition", stream.partition.0)
}

fn header(header: &Header) -> Sheet {
    let closed_by = match header.closed_by {
        ClosedBy::Commit => "commit",
        ClosedBy::Limit => "limit",
        ClosedBy::Schema => "schema",
    };
    Sheet::default()
        .with("suite", header.suite.name())
        .and(stream(&header.stream))
        .with("origin", header.origin.as_str())
        .with("epoch", header.epoch.0)
        .with("sequence", header.sequence.0)
        .with("previous", Field::text(header.previous))
        .with("kind", header.kind.as_str())
        .with("contract", Field::text(header.contract))
        .with("nonce", Field::hex(&header.nonce))
        .with("incarnation", header.incarnation.0)
        .with("first", position(&header.first))
        .with("last", position(&header.last))
        .with("continues", header.continues)
        .with("leaves_open", header.leaves_open)
        .with("closed_by", closed_by)
        .with("resolved", at(header.resolved))
        .with("transactions_begun", header.transactions_begun)
        .with("transactions_ended", header.transactions_ended)
        .with("first_commit_time", Field::instant(header.first_commit_time))
        .with("last_commit_time", Field::instant(header.last_commit_time))
        .with("row_events", header.row_events)
        .with("truncates", header.truncates)
        .with("snapshot", Field::option(header.snapshot.as_ref(), |s| snapshot(s).into()))
        .with("fragment", Field::option(header.fragment.as_ref(), |f| fragment(f).into()))
        .with("notice", Field::option(header.notice.as_ref(), |n| notice(n).into()))
        .with("sections", Field::list(&header.sections, Field::text))
        .with(
            "extensions",
            Field::list(&header.extensions, |extension| {
                Sheet::default()
                    .with("id", extension.id)
                    .with("critical", extension.critical)
                    .with("content", Field::hex(&extension.content))
                    .into()
            }),
        )
}

pub(super) fn snapshot_place(part: SnapshotPlace) -> Field {
    let sheet = Sheet::default().with("generation", part.generation.0);
    sheet.with("chunk", part.chunk).with("last", part.last).into()
}

fn snapshot(part: &SnapshotPart) -> Sheet {
    Sheet::default()
        .with("generation", part.generation.0)
        .with("as_of", position(&part.as_of))
        .with("chunk", part.chunk)
        .with("last", part.last)
}

fn fragment(part: &FragmentPart) -> Sheet {
    Sheet::default().with("index", part.index).with("of", part.of).with("total_bytes", part.total_bytes)
}

fn notice(notice: &Notice) -> Sheet {
    match notice {
        Notice::Gap(gap) => self::gap(gap),
        Notice::Retract(retract) => self::retract(retract),
    }
}

fn gap(gap: &Gap) -> Sheet {
    Sheet::of("gap")
        .with("reason", gap.reason.as_str())
        .with("from_exclusive", position(&gap.from))
        .with("to_inclusive", Field::option(gap.to.as_ref(), |to| position(to).into()))
        .with("lost", Field::list(&gap.lost, |lost| batch_ref(lost).into()))
        .with("lost_previous", Field::text(gap.lost_previous))
        .with("before", Field::text(gap.before))
        .with("after", Field::text(gap.after))
        .with("voids", Field::list(gap.voids.iter().copied(), Field::from))
}

fn retract(retract: &Retract) -> Sheet {
    Sheet::of("retract")
        .with("reason", retract.reason.as_str())
        .with(
            "vanished",
            Field::list(&retract.vanished, |vanished| {
                batch_ref(&vanished.batch)
                    .with("first_leaf", vanished.first_leaf)
                    .with("last_leaf", vanished.last_leaf)
                    .into()
            }),
        )
        .with("before", Field::text(retract.before))
        .with("after", Field::text(retract.after))
        .with("voids", Field::list(retract.voids.iter().copied(), Field::from))
}

/// The sheet of a section block.
pub(super) fn block(block: &SectionBlock) -> Sheet {
    let compression = match block.compression {
        Compression::None => "none",
        Compression::Zstd => "zstd",
    };
    Sheet::default()
        .with("name", block.name.as_str())
        .with("schema", Field::text(block.schema))
        .with("rows", block.rows)
        .with("row_root", Field::text(block.row_root))
        .with("groups", Field::list(&block.groups, Field::text))
        .with("compression", compression)
        .with("ciphertext_bytes", block.ciphertext_bytes)
        .with("ciphertext", Field::text(block.ciphertext))
        .with("key_record", Field::text(block.key_record))
        .with("commitment", Field::text(block.commitment))
}

fn fence(fence: &Fence) -> Sheet {
    Sheet::default()
        .with("origin", fence.origin.as_str())
        .and(stream(&fence.stream))
        .with("epoch", fence.epoch.0)
        .with("log_index", fence.log_index.0)
        .with("incarnation", fence.incarnation.0)
}

fn beacon(beacon: &Beacon) -> Sheet {
    let place = &beacon.place;
    let place = Sheet::default()
        .with("offset", place.offset.0)
        .with("epoch", place.epoch.0)
        .with("head", Field::option(place.head.as_ref(), |head| batch_ref(head).into()))
        .with("incarnation", place.incarnation.0)
        .with("last", Field::text(place.last))
        .with("open_commit", Field::option(place.open, Field::from))
        .with("snapshot", Field::option(place.snapshot, snapshot_place));
    Sheet::default()
        .with("origin", beacon.origin.as_str())
        .and(stream(&beacon.stream))
        .with("epoch", beacon.epoch.0)
        .with("incarnation", beacon.incarnation.0)
        .with(
            "head",
            Field::option(beacon.head.as_ref(), |head| {
                let sheet = Sheet::default().with("sequence", head.sequence.0);
                sheet.with("digest", Field::text(head.digest)).with("last", position(&head.last)).into()
            }),
        )
        .with("place", place)
        .with("resolved", at(beacon.resolved))
        .with(
            "appended",
            Field::option(beacon.appended.as_ref(), |appended| {
                Sheet::default()
                    .with("entry", super::entries::bytes(&appended.entry))
                    .with("index", appended.index.0)
                    .with("path", Field::list(&appended.path, Field::text))
                    .with("checkpoint", appended.checkpoint.as_str())
                    .into()
            }),
        )
        .with("clock", Field::instant(beacon.clock))
        .with("next_due", Field::instant(beacon.next_due))
}

fn key_record(record: &KeyRecord) -> Sheet {
    let terms = &record.terms;
    Sheet::default()
        .with("suite", terms.suite.name())
        .with("department", terms.department.as_str())
        .with("dataset", terms.dataset.as_str())
        .with("section", terms.section.as_str())
        .with("contract", Field::text(terms.contract))
        .with("commitment", Field::text(record.commitment))
        .with("valid_from", Field::instant(terms.valid_from))
        .with("not_after", Field::instant(terms.not_after))
        .with("wrapped_for", wraps(&record.wraps))
}

fn rewrap(rewrap: &Rewrap) -> Sheet {
    Sheet::default()
        .with("key_record", Field::text(rewrap.key_record))
        .with("contract", Field::text(rewrap.contract))
        .with("made", Field::instant(rewrap.made))
        .with("wrapped_for", wraps(&rewrap.wraps))
        .with("reason", rewrap.reason.as_str())
}

fn wraps(wraps: &[Wrap]) -> Field {
    Field::list(wraps, |wrap| {
        Sheet::default()
            .with("recipient", wrap.recipient.as_str())
            .with("key_id", Field::text(wrap.key))
            .into()
    })
}

fn contract(record: &ContractRecord) -> Sheet {
    Sheet::default()
        .with("contract", Field::text(record.contract_digest()))
        .with("contract_toml", Field::text(String::from_utf8_lossy(&record.contract)))
        .with(
            "schemas",
            Field::list(&record.schemas, |schema| {
                Sheet::default()
                    .with("section", schema.section.as_str())
                    .with("schema", Field::text(sha256(&[&schema.content])))
                    .with("avsc", Field::text(String::from_utf8_lossy(&schema.content)))
                    .into()
            }),
        )
}

fn incarnation(record: &IncarnationRecord) -> Sheet {
    let identity = &record.identity;
    Sheet::default()
        .with("origin", record.origin.as_str())
        .with("number", record.number.0)
        .with("engine", identity.engine.as_str())
        .with("system", identity.system.as_str())
        .with("timeline", identity.timeline)
        .with("database", identity.database.as_str())
        .with("slot", identity.slot.as_str())
        .with("consistent_point", Field::hex(identity.consistent_point.as_bytes()))
        .with("previous", Field::text(record.previous))
}

fn position(position: &RowPosition) -> Sheet {
    mark(&position.mark).with("token", Field::hex(position.token.as_bytes()))
}

pub(super) fn mark(mark: &Mark) -> Sheet {
    Sheet::default().with("commit", mark.commit).with("ordinal", mark.ordinal).with("fragment", mark.fragment)
}

pub(super) fn at(at: At) -> Sheet {
    Sheet::default().with("commit", at.commit).with("ordinal", at.ordinal)
}

pub(super) fn batch_ref(batch: &BatchRef) -> Sheet {
    Sheet::default().with("sequence", batch.sequence.0).with("digest", Field::text(batch.digest))
}
