//! Open and deliver: what has its level becomes rows, rows become lines, lines are synced, then the progress.

use std::sync::Arc;
use std::time::Instant;

use bridge_envelope::{Header, Notice, Pieces, SectionAccess, SectionBlock, Verified};
use bridge_event::{IncarnationNumber, Kind, Operation, Rows, Sequence, StreamId};
use schemas::{ReadRow, SectionReader};

use crate::flow::{Flow, Trouble};
use crate::json::{self, BatchWords, Commit};
use crate::keys::SectionKey;
use crate::lane::{Accepted, Lane, Released, Use};
use crate::merge::{Merge, Out, Resolved, Turn};
use crate::on_record::Record;
use crate::progress::{Progress, SinkProgress, SourceProgress, Unfinished};
use crate::promise::Promise;
use crate::records::Kept;
use crate::settings::Mode;
use crate::{Found, Level, Point};

/// A row on its way through the merge.
#[derive(Debug)]
pub(crate) struct Line {
    json: Vec<u8>,
    transaction: u64,
    commit_time: i64,
}

/// A section that this department opened.
struct Section {
    reader: Arc<SectionReader>,
    rows: Rows,
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
        if header.fragment.is_some_and(|part| !part.is_last()) {
            self.lanes.get_mut(index).into_iter().for_each(|lane| lane.hold(records));
            return Ok(());
        }
        if self.settings.mode == Mode::Stream {
            self.emit(index, &accepted.batch, &sections, &words)?;
            if let Some(lane) = self.lanes.get_mut(index) {
                (0..lane.unhold()).for_each(|_| lane.delivered());
            }
            return Ok(());
        }
        self.queue(index, &accepted.batch, &sections, &words)?;
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

    /// Mode `stream`: the batch's rows, as they are.
    fn emit(
        &mut self,
        index: usize,
        batch: &Verified,
        sections: &[Section],
        words: &BatchWords,
    ) -> Result<(), Trouble> {
        let header = batch.header();
        let (Some(lane), metrics) = (self.lanes.get_mut(index), &self.metrics) else { return Ok(()) };
        let mut discarded = Vec::new();
        let out = self.sink.buffer().unwrap_or(&mut discarded);
        let before = out.len();
        let place = stream_words(&header.stream);
        let end = |out: &mut Vec<u8>, unfinished: Option<Unfinished>| {
            let Some(unfinished) = unfinished else { return };
            metrics.transactions.inc();
            let Unfinished { incarnation, commit, transaction, commit_time, rows } = unfinished;
            json::commit(out, Commit { place: &place, incarnation, commit, transaction, rows, commit_time });
        };
        if let Some(notice) = &header.notice {
            // What was delivered of a transaction that is void now never ends; the notice names it.
            lane.unfinished = None;
            write_notice(out, notice, words);
        }
        let streams = matches!(header.kind, Kind::Stream | Kind::Schema);
        each_row(batch, sections, |leaf, rows, head| {
            if streams && lane.unfinished.is_none_or(|open| open.commit != head.commit) {
                end(out, lane.unfinished.take());
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
            json::row(out, words, leaf, rows);
        })?;
        if streams && !header.leaves_open {
            end(out, lane.unfinished.take());
        }
        if out.len() > before {
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
        words: &BatchWords,
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
            let mut json = Vec::new();
            write_notice(&mut json, notice, words);
            let bytes = json.len();
            merge.whole(member, Line { json, transaction: 0, commit_time: 0 }, bytes);
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
            let mut json = Vec::new();
            json::row(&mut json, words, leaf, rows);
            let bytes = json.len();
            let line = Line { json, transaction: head.transaction, commit_time: head.commit_time.0 };
            if whole {
                merge.whole(member, line, bytes);
            } else {
                merge.row(member, Turn { incarnation, commit: head.commit }, head.index, line, bytes);
            }
        })?;
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
        let mut discarded = Vec::new();
        while let Some(next) = merge.next() {
            let out = self.sink.buffer().unwrap_or(&mut discarded);
            let before = out.len();
            let done = match next {
                Out::Done { stream } => vec![stream],
                Out::Whole { row, .. } => {
                    self.metrics.rows.inc();
                    out.extend_from_slice(&row.json);
                    Vec::new()
                }
                Out::Transaction { turn, rows, done } => {
                    transaction(out, &place, turn, &rows);
                    self.metrics.rows.inc_by(count(rows.len()));
                    self.metrics.transactions.inc();
                    done
                }
            };
            for member in done {
                let lane = source.members.get(member).and_then(|index| self.lanes.get_mut(*index));
                lane.into_iter().for_each(Lane::delivered);
            }
            if out.len() > before {
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
        if self.sink.buffered() > 0 {
            self.sink.write()?;
            self.probe.reach(Point::BeforeFsync)?;
            self.sink.sync()?;
            self.probe.reach(Point::AfterFsync)?;
        }
        let progress = self.progress(&delivery.subscription);
        self.probe.reach(Point::BeforeProgress)?;
        delivery.file.write(&progress)?;
        self.probe.reach(Point::AfterProgress)?;
        self.metrics.syncs.inc();
        self.unsynced = None;
        self.moved = false;
        self.stored = Instant::now();
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

fn transaction(out: &mut Vec<u8>, place: &str, turn: Turn, rows: &[Line]) {
    let (mut number, mut commit_time) = (0, 0);
    for row in rows {
        (number, commit_time) = (row.transaction, row.commit_time);
        out.extend_from_slice(&row.json);
    }
    let (incarnation, commit) = (turn.incarnation.0, turn.commit);
    json::commit(
        out,
        Commit { place, incarnation, commit, transaction: number, rows: count(rows.len()), commit_time },
    );
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn write_notice(out: &mut Vec<u8>, notice: &Notice, words: &BatchWords) {
    match notice {
        Notice::Gap(gap) => json::notice(out, "gap", words, &gap.reason, &gap.voids),
        Notice::Retract(retract) => json::notice(out, "retract", words, &retract.reason, &retract.voids),
    }
}

/// Reads the rows of all opened sections side by side, and checks that they are the header's and each other's.
fn each_row(
    batch: &Verified,
    sections: &[Section],
    mut take: impl FnMut(usize, &[ReadRow<'_>], &schemas::EventHead),
) -> Result<(), Found> {
    let header = batch.header();
    let Some(first) = sections.first() else { return Ok(()) };
    let wrong = |code, what: String| Err(Found::halt(code, what));
    let mut last = None;
    // One for each section, for all rows: a row is read in the place of the one before.
    let mut rows: Vec<ReadRow<'_>> = sections.iter().map(|section| section.reader.blank()).collect();
    for leaf in 0..first.rows.rows() {
        for (section, row) in sections.iter().zip(&mut rows) {
            let Some(parts) = section.rows.row(leaf) else {
                return wrong("VER077", format!("section {} has no row {leaf}", section.reader.name()));
            };
            if let Err(error) = section.reader.read_into(&parts, row) {
                return wrong("VER079", format!("section {}, row {leaf}: {error}", section.reader.name()));
            }
        }
        let Some(row) = rows.first() else { return Ok(()) };
        let same = |other: &ReadRow<'_>| {
            (other.head(), other.operation(), other.states(), other.keys())
                == (row.head(), row.operation(), row.states(), row.keys())
        };
        if !rows.iter().all(same) {
            return wrong("VER077", format!("row {leaf} is not the same event in every section"));
        }
        let head = row.head();
        if !stands(header, leaf, first.rows.rows(), head, last, row.operation()) {
            return wrong("VER077", format!("row {leaf} does not stand where the signed header says"));
        }
        last = Some((head.commit, head.ordinal));
        take(leaf, &rows, head);
    }
    Ok(())
}

/// Whether row `leaf` of `rows`, with the row `before` it, stands where the header says (docs/spec/sealed-batch.md, 6.3).
fn stands(
    header: &Header,
    leaf: usize,
    rows: usize,
    head: &schemas::EventHead,
    before: Option<(u64, u64)>,
    operation: Operation,
) -> bool {
    let at = (head.commit, head.ordinal);
    let ascends = before.is_none_or(|before| at > before);
    let (first, last) = (header.first.mark, header.last.mark);
    match header.kind {
        Kind::Stream => {
            let begins = leaf > 0 || at == (first.commit, first.ordinal);
            let ends = leaf.saturating_add(1) < rows || at == (last.commit, last.ordinal);
            ascends && begins && ends && operation != Operation::Read
        }
        Kind::Snapshot => ascends && head.commit == last.commit && operation == Operation::Read,
        _ => true,
    }
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
