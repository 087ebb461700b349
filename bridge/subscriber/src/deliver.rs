//! Open and deliver: what has its level becomes rows, rows become lines, lines are synced, then the progress.

use std::sync::Arc;
use std::time::Instant;

use bridge_envelope::{Header, Notice, Pieces, SectionAccess, SectionBlock, Verified};
use bridge_event::{IncarnationNumber, Kind, Sequence, StreamId};
use schemas::SectionReader;

use crate::event_rows::{Section, each_row};
use crate::flow::{Flow, Trouble};
use crate::json::{self, BatchWords, Commit};
use crate::keys::SectionKey;
use crate::lane::{Accepted, Lane, Released, Use};
use crate::merge::{Merge, Out, Resolved, Turn};
use crate::on_record::Record;
use crate::postgres::Plan;
use crate::progress::{Progress, SinkProgress, SourceProgress, Unfinished};
use crate::promise::Promise;
use crate::records::Kept;
use crate::settings::Mode;
use crate::sink::{Item, Sink};
use crate::{Found, Level, Point};

/// A row on its way through the merge.
#[derive(Debug)]
pub(crate) struct Line {
    item: Item,
    transaction: u64,
    commit_time: i64,
}

impl Flow {
    /// Delivers what the lane has that reached the level.
    ///
    /// # Errors
    /// [`Trouble`]; the lane's progress stays before the batch that it is about.
    pub(crate) fn drive(&mut self, index: usize) -> Result<(), Trouble> {
        loop {
            let Some(lane) = self.lanes.get_mut(index) else { return Ok(()) };
            match lane.release(self.least) {
                None => return Ok(()),
                Some(Released::Resolved(resolved)) => self.resolve(index, resolved)?,
                Some(Released::Batch(accepted, level)) => {
                    let place = (lane.expected.stream.clone(), accepted.offset);
                    self.release(index, &accepted, level).map_err(|trouble| at(trouble, &place))?;
                    // Between two batches nothing is half written: a long backlog does not pile up in memory.
                    if self.sink.buffered() >= self.settings.limits.group_bytes_max {
                        self.commit()?;
                    }
                }
            }
        }
    }

    fn release(&mut self, index: usize, accepted: &Accepted, level: Level) -> Result<(), Trouble> {
        let header = accepted.batch.header();
        let (sections, entries) = match header.fragment {
            None => {
                // A snapshot that is begun again, or a notice, leaves the row that it was broken off in.
                self.lanes.get_mut(index).into_iter().for_each(|lane| lane.pieces = None);
                self.open(accepted)?
            }
            Some(_) => self.open_fragment(index, accepted)?,
        };
        self.reach(Point::AfterOpen)?;
        let records = self.level_of_records(index, header.sequence, level, entries);
        let Some(lane) = self.lanes.get(index) else { return Ok(()) };
        let sequence = i64::try_from(header.sequence.0).unwrap_or(i64::MAX);
        self.metrics.sequence.with_label_values(&[&header.stream.to_string()]).set(sequence);
        let words = words(lane, &accepted.batch, (level, lane.held_with(records)), &sections);
        let readers: Vec<&SectionReader> = sections.iter().map(|section| &*section.reader).collect();
        let plan = self.sink.plan(&accepted.batch, &readers)?;
        let opening = plan.as_ref().and_then(Plan::opening);
        opening.into_iter().for_each(|change| self.beside(index, Item::Change(Box::new(change))));
        if header.fragment.is_some_and(|part| !part.is_last()) {
            self.lanes.get_mut(index).into_iter().for_each(|lane| lane.hold(records));
            return Ok(());
        }
        if self.settings.mode == Mode::Stream {
            self.emit(index, &accepted.batch, &sections, (&words, plan.as_ref()))?;
            if let Some(lane) = self.lanes.get_mut(index) {
                (0..lane.unhold()).for_each(|_| lane.delivered());
            }
            return Ok(());
        }
        self.queue(index, &accepted.batch, &sections, (&words, plan.as_ref()))?;
        let resolved = Resolved { incarnation: header.incarnation, at: header.resolved };
        self.resolve(index, resolved)
    }

    /// Opens every section that the department may open, after the key record of each was checked.
    /// Gives the entries of the batch's contract and key records as well.
    fn open(&mut self, accepted: &Accepted) -> Result<(Vec<Section>, Vec<Record>), Trouble> {
        let Accepted { batch, promise, .. } = accepted;
        let mut sections = Vec::new();
        let mut bytes: usize = 0;
        let mut entries = vec![promise.entry.clone()];
        for (number, block) in batch.blocks().enumerate() {
            let key = self.section_key(batch, block, promise)?;
            key.lasts(accepted.clock)?;
            entries.push(key.entry().clone());
            let (Some(version), Some(reader)) = (key.version(), promise.reader(&block.name)) else {
                continue;
            };
            let opened = self.opener.open(batch, number, &version.secret, &**reader);
            let opened = opened
                .map_err(|error| Found::halt(error.code(), format!("section {}: {error}", block.name)))?;
            self.metrics.sections.inc();
            let rows = opened.into_rows();
            bytes = bytes.saturating_add(rows.bytes().len());
            self.check_opened(bytes)?;
            sections.push(Section { reader: Arc::clone(reader), rows });
        }
        Ok((sections, entries))
    }

    /// How well the contract and the key records of a batch are known: as the log's own, or by their signatures alone.
    fn level_of_records(
        &mut self,
        index: usize,
        sequence: Sequence,
        level: Level,
        entries: Vec<Record>,
    ) -> Level {
        let Some(lane) = self.lanes.get_mut(index) else { return Level::Signed };
        if self.delivery.is_none() {
            // A check reads on before anything is proven; the log is asked at its end.
            for record in entries {
                lane.uses.entry(record.leaf).or_insert(Use { record, sequence, before: None });
            }
            return Level::Signed;
        }
        let (Some(before), Some(source)) = (lane.proven_at(sequence), self.sources.get_mut(lane.source))
        else {
            return Level::Signed;
        };
        let log = source.log.as_ref();
        let levels = entries.iter().map(|record| source.on_record.level(record, before, level, log));
        levels.min().unwrap_or(level)
    }

    fn check_opened(&self, bytes: usize) -> Result<(), Found> {
        let limit = self.settings.limits.opened_bytes_max;
        if bytes <= limit {
            return Ok(());
        }
        let what = format!(
            "the batch's sections have {bytes} bytes or more, and the limit is {limit}; raise `opened_bytes_max` when that much is wanted"
        );
        Err(Found::halt("OPE009", what))
    }

    /// Opens one fragment: with the row's last one the row, in each section that the department may open in all of them.
    fn open_fragment(
        &mut self,
        index: usize,
        accepted: &Accepted,
    ) -> Result<(Vec<Section>, Vec<Record>), Trouble> {
        let Accepted { batch, promise, .. } = accepted;
        let mut known = Vec::new();
        let mut entries = vec![promise.entry.clone()];
        for (number, block) in batch.blocks().enumerate() {
            let key = self.section_key(batch, block, promise)?;
            key.lasts(accepted.clock)?;
            entries.push(key.entry().clone());
            if let Some(reader) = promise.reader(&block.name) {
                known.push((number, key, Arc::clone(reader)));
            }
        }
        let accesses: Vec<SectionAccess<'_>> = known
            .iter()
            .filter_map(|(index, key, reader)| {
                let secret = &key.version()?.secret;
                Some(SectionAccess { index: *index, secret, splitter: &**reader })
            })
            .collect();
        let Some(lane) = self.lanes.get_mut(index) else { return Ok((Vec::new(), entries)) };
        let opened = self.opener.open_fragment(batch, &accesses, &mut lane.pieces);
        let opened = opened.map_err(|error| Found::halt(error.code(), error.to_string()))?;
        let waiting = lane.pieces.as_ref().map_or(0, Pieces::bytes);
        self.metrics.sections.inc_by(count(accesses.len()));
        let section = |(number, opened): (usize, bridge_envelope::Opened)| {
            let (_, _, reader) = known.iter().find(|(known, _, _)| *known == number)?;
            Some(Section { reader: Arc::clone(reader), rows: opened.into_rows() })
        };
        let sections: Vec<Section> = opened.into_iter().filter_map(section).collect();
        let bytes: usize = sections.iter().map(|section| section.rows.bytes().len()).sum();
        self.check_opened(waiting.max(bytes))?;
        Ok((sections, entries))
    }

    fn section_key(
        &mut self,
        batch: &Verified,
        block: &SectionBlock,
        promise: &Promise,
    ) -> Result<SectionKey, Trouble> {
        let header = batch.header();
        if let Some(key) = self.keys.cached(header, block, self.records.rewraps())? {
            return Ok(key);
        }
        let digest = block.key_record;
        if self.records.key(&digest).is_none() {
            self.refresh_records(digest, |records| records.key(&digest).is_some())?;
        }
        let missing = || {
            Found::halt(
                "VER064",
                format!(
                    "no key record with the digest {digest} that the department signed is in govbridge.keys"
                ),
            )
        };
        let mut kept = self.records.key(&digest).ok_or_else(missing)?;
        let admitted =
            |flow: &Flow, kept: &Kept| flow.keys.admit(kept, &flow.records, promise, header, block);
        match admitted(self, &kept) {
            Err(found) if found.code == "OPE010" || found.code == "VER060" => {
                // A rewrap, or the contract that one names, may have come since, or have been let go.
                self.refresh_records(digest, |_| true)?;
                kept = self.records.key(&digest).unwrap_or(kept);
                let named = kept.rewraps.iter().map(|rewrap| rewrap.contract);
                if let Some(named) = named.into_iter().find(|named| self.records.contract(named).is_none()) {
                    self.refresh_records(named, |records| records.contract(&named).is_some())?;
                }
                Ok(admitted(self, &kept)?)
            }
            other => Ok(other?),
        }
    }

    /// Something of a stream that is no row: delivered at once, or behind the stream's rows in the merge.
    fn beside(&mut self, index: usize, item: Item) {
        let Some(lane) = self.lanes.get(index) else { return };
        match self.sources.get_mut(lane.source).and_then(|source| source.merge.as_mut()) {
            Some(merge) => {
                let bytes = item.bytes();
                merge.whole(lane.member, Line { item, transaction: 0, commit_time: 0 }, bytes);
            }
            None => {
                self.sink.take(item);
                self.unsynced.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Mode `stream`: the batch's rows, as they are.
    fn emit(
        &mut self,
        index: usize,
        batch: &Verified,
        sections: &[Section],
        (words, plan): (&BatchWords, Option<&Plan>),
    ) -> Result<(), Trouble> {
        let header = batch.header();
        if let Some(notice) = &header.notice {
            // What was delivered of a transaction that is void now never ends; the notice names it.
            self.lanes.get_mut(index).into_iter().for_each(|lane| lane.unfinished = None);
            self.sink.take(told(header, notice, words));
        }
        let (Some(lane), metrics, sink) = (self.lanes.get_mut(index), &self.metrics, &mut self.sink) else {
            return Ok(());
        };
        let before = sink.buffered();
        self.half_taken = true;
        let place = stream_words(&header.stream);
        let end = |sink: &mut Sink, unfinished: Option<Unfinished>| {
            let Some(unfinished) = unfinished else { return };
            metrics.transactions.inc();
            let Unfinished { incarnation, commit, transaction, commit_time, rows } = unfinished;
            sink.end(Commit { place: &place, incarnation, commit, transaction, rows, commit_time });
        };
        let streams = matches!(header.kind, Kind::Stream | Kind::Schema);
        each_row(batch, sections, |leaf, rows, head| {
            if streams && lane.unfinished.is_none_or(|open| open.commit != head.commit) {
                end(sink, lane.unfinished.take());
                lane.unfinished = Some(Unfinished {
                    incarnation: header.incarnation.0,
                    commit: head.commit,
                    transaction: head.transaction,
                    commit_time: head.commit_time.0,
                    rows: 0,
                });
            }
            if let Some(open) = &mut lane.unfinished {
                open.rows += 1;
            }
            metrics.rows.inc();
            sink.row(words, plan, leaf, rows);
        })?;
        self.half_taken = false;
        if streams && !header.leaves_open {
            end(sink, lane.unfinished.take());
        }
        for change in plan.map(Plan::closing).unwrap_or_default() {
            sink.take(Item::Change(Box::new(change)));
        }
        if sink.buffered() > before || header.notice.is_some() {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Mode `source`: the batch's rows into the merge.
    fn queue(
        &mut self,
        index: usize,
        batch: &Verified,
        sections: &[Section],
        (words, plan): (&BatchWords, Option<&Plan>),
    ) -> Result<(), Trouble> {
        let header = batch.header();
        let incarnation = header.incarnation;
        let Some(lane) = self.lanes.get(index) else { return Ok(()) };
        let member = lane.member;
        let Some(merge) = self.sources.get_mut(lane.source).and_then(|source| source.merge.as_mut()) else {
            return Ok(());
        };
        if let Some(notice) = &header.notice {
            let (Notice::Gap(bridge_envelope::Gap { voids, .. })
            | Notice::Retract(bridge_envelope::Retract { voids, .. })) = notice;
            for commit in voids {
                void(merge, member, incarnation, *commit);
            }
            let item = told(header, notice, words);
            let bytes = item.bytes();
            merge.whole(member, Line { item, transaction: 0, commit_time: 0 }, bytes);
        }
        let whole = header.kind == Kind::Snapshot;
        let first = Turn { incarnation, commit: header.first.mark.commit };
        if !whole && header.rows() > 0 && merge.is_past(member, first) {
            // The merge has let other streams' rows go past it already: its own would come too late, or never.
            let what = format!(
                "the batch has rows of commit {}, and the stream has said before that it was complete up to there",
                first.commit
            );
            return Err(Found::halt("VER086", what).into());
        }
        each_row(batch, sections, |leaf, rows, head| {
            let item = Sink::item(words, plan, leaf, rows);
            let bytes = item.bytes();
            let line = Line { item, transaction: head.transaction, commit_time: head.commit_time.0 };
            if whole {
                merge.whole(member, line, bytes);
            } else {
                merge.row(member, Turn { incarnation, commit: head.commit }, head.index, line, bytes);
            }
        })?;
        for change in plan.map(Plan::closing).unwrap_or_default() {
            let item = Item::Change(Box::new(change));
            merge.whole(member, Line { item, transaction: 0, commit_time: 0 }, 1);
        }
        let batches = self.lanes.get_mut(index).map_or(1, Lane::unhold);
        (0..batches).for_each(|_| merge.done(member));
        Ok(())
    }

    fn resolve(&mut self, index: usize, resolved: Resolved) -> Result<(), Trouble> {
        let Some(lane) = self.lanes.get(index) else { return Ok(()) };
        let Some(source) = self.sources.get_mut(lane.source) else { return Ok(()) };
        let Some(merge) = &mut source.merge else { return Ok(()) };
        merge.resolve(lane.member, resolved);
        let place = format!("\"origin\":{}", json::quote(source.origin.as_str()));
        while let Some(next) = merge.next() {
            let before = self.sink.buffered();
            let done = match next {
                Out::Done { stream } => vec![stream],
                Out::Whole { row, .. } => {
                    self.metrics.rows.inc();
                    self.sink.take(row.item);
                    Vec::new()
                }
                Out::Transaction { turn, rows, done } => {
                    self.metrics.rows.inc_by(count(rows.len()));
                    transaction(&mut self.sink, &place, turn, rows);
                    self.metrics.transactions.inc();
                    done
                }
            };
            for member in done {
                let lane = source.members.get(member).and_then(|index| self.lanes.get_mut(*index));
                lane.into_iter().for_each(Lane::delivered);
            }
            if self.sink.buffered() > before {
                self.unsynced.get_or_insert_with(Instant::now);
            }
        }
        Ok(())
    }

    /// Writes and syncs the rows, then stores the progress. Nothing counts as delivered before.
    ///
    /// # Errors
    /// The disk's, which end the subscriber: what is on disk then is not known, and the next start finds out.
    pub(crate) fn commit(&mut self) -> Result<(), Trouble> {
        let Some(delivery) = &self.delivery else {
            self.unsynced = None;
            return Ok(());
        };
        let begun = Instant::now();
        if self.sink.unsynced() > 0 {
            self.sink.write()?;
            self.probe.reach(Point::BeforeFsync)?;
            self.sink.sync()?;
            self.probe.reach(Point::AfterFsync)?;
        }
        let progress = self.progress(&delivery.subscription);
        self.probe.reach(Point::BeforeProgress)?;
        if self.sink.holds_progress() {
            self.sink.finish(&progress)?;
        } else {
            delivery.file.write(&progress)?;
        }
        self.probe.reach(Point::AfterProgress)?;
        self.metrics.syncs.inc();
        self.unsynced = None;
        self.moved = false;
        self.stored = Instant::now();
        self.took = self.stored.duration_since(begun);
        Ok(())
    }

    fn progress(&self, subscription: &str) -> Progress {
        let carried = self.carried.iter().map(|(stream, progress)| (stream.clone(), progress.clone()));
        let streams = self.lanes.iter().map(|lane| (lane.expected.stream.to_string(), lane.progress()));
        let sources = self.sources.iter().map(|source| {
            let delivered = source.merge.as_ref().and_then(Merge::delivered);
            let progress = SourceProgress {
                delivered: delivered.map(|turn| (turn.incarnation.0, turn.commit)),
                checkpoint: source.checkpoints.newest().map(|(_, note)| note.clone()),
                compared: source.checkpoints.compared().map(|(_, note)| note.clone()),
            };
            (source.origin.to_string(), progress)
        });
        Progress {
            subscription: subscription.to_owned(),
            sink: SinkProgress::of(self.sink.mark()),
            streams: carried.chain(streams).collect(),
            sources: sources.collect(),
        }
    }
}

/// Gives a finding its place, when it has none.
fn at(trouble: Trouble, place: &(StreamId, bridge_event::Offset)) -> Trouble {
    match trouble {
        Trouble::Found(found) if found.place.is_empty() => found.at(&place.0, place.1).into(),
        other => other,
    }
}

/// A voided transaction belongs to the incarnation before the notice, or to the notice's own.
fn void(merge: &mut Merge<Line>, member: usize, incarnation: IncarnationNumber, commit: u64) {
    merge.void(member, Turn { incarnation, commit });
    if let Some(before) = incarnation.0.checked_sub(1) {
        merge.void(member, Turn { incarnation: IncarnationNumber(before), commit });
    }
}

fn transaction(sink: &mut Sink, place: &str, turn: Turn, rows: Vec<Line>) {
    let (mut number, mut commit_time) = (0, 0);
    let whole = count(rows.len());
    for row in rows {
        (number, commit_time) = (row.transaction, row.commit_time);
        sink.take(row.item);
    }
    let (incarnation, commit) = (turn.incarnation.0, turn.commit);
    sink.end(Commit { place, incarnation, commit, transaction: number, rows: whole, commit_time });
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// A GAP or RETRACT as the sink takes it.
fn told(header: &Header, notice: &Notice, words: &BatchWords) -> Item {
    let mut line = Vec::new();
    match notice {
        Notice::Gap(gap) => json::notice(&mut line, "gap", words, &gap.reason, &gap.voids),
        Notice::Retract(retract) => {
            json::notice(&mut line, "retract", words, &retract.reason, &retract.voids)
        }
    }
    let (stream, sequence) = (header.stream.to_string(), header.sequence.0);
    Item::Notice { line, stream, sequence, notice: Box::new(notice.clone()) }
}

fn stream_words(stream: &StreamId) -> String {
    let quote = |words: &str| json::quote(words);
    format!(
        "\"department\":{},\"dataset\":{},\"partition\":{}",
        quote(stream.department.as_str()),
        quote(stream.dataset.as_str()),
        stream.partition
    )
}

fn words(
    lane: &Lane,
    batch: &Verified,
    (level, records): (Level, Level),
    sections: &[Section],
) -> BatchWords {
    let header = batch.header();
    let names: Vec<String> =
        sections.iter().map(|section| json::quote(section.reader.name().as_str())).collect();
    let after = lane.started.after_sequence.map_or("null".to_owned(), |sequence| sequence.to_string());
    let snapshot = header.snapshot.as_ref().map_or(String::new(), |part| {
        let (as_of, last) = (part.as_of.mark, part.last);
        format!(
            ",\"snapshot\":{{\"generation\":{},\"as_of\":{{\"commit\":{},\"ordinal\":{}}},\"chunk\":{},\"last\":{last}}}",
            part.generation, as_of.commit, as_of.ordinal, part.chunk
        )
    });
    BatchWords {
        source: format!(
            "{},\"sections\":[{}],\"incarnation\":{}",
            stream_words(&header.stream),
            names.join(","),
            header.incarnation
        ),
        provenance: format!(
            "\"origin\":{},\"stream\":{},\"epoch\":{},\"sequence\":{},\"batch\":\"{}\",\"contract\":\"{}\",\"level\":\"{level}\",\"records\":\"{records}\",\
             \"started\":{{\"at\":{},\"after_sequence\":{after}}}{snapshot}",
            json::quote(header.origin.as_str()),
            json::quote(&header.stream.to_string()),
            header.epoch,
            header.sequence,
            batch.digest(),
            header.contract,
            json::quote(&lane.started.at),
        ),
        snapshot: header.kind == Kind::Snapshot,
    }
}
