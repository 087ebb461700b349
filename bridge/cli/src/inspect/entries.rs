//! Sheets of what a log holds: entries and bundles of them.

use super::frames;
use super::sheet::{Field, Sheet};
use bridge_envelope::{BatchEntry, Entry, Frame, MarkEntry};
use bridge_tlog::leaf_hash;

/// Entries of a bundle (C2SP tlog-tiles): at most 256, each with its length before it, and nothing after the last.
pub(super) fn split_bundle(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        entries.push(entry);
        rest = after;
    }
    (rest.is_empty() && (1..=256).contains(&entries.len())).then_some(entries)
}

/// The sheet of an entry bundle.
pub(super) fn bundle(entries: &[&[u8]]) -> Sheet {
    Sheet::of("entry bundle").with("entries", Field::list(entries, |entry| bytes(entry)))
}

/// An entry's bytes as a sheet, or as hex when they are none.
pub(super) fn bytes(bytes: &[u8]) -> Field {
    match Entry::decode(bytes) {
        Ok(found) => entry(bytes, &found).into(),
        Err(_) => Field::hex(bytes),
    }
}

/// The sheet of an entry.
pub(super) fn entry(bytes: &[u8], entry: &Entry) -> Sheet {
    let (what, content) = match entry {
        Entry::Epoch(epoch) => {
            let sheet =
                Sheet::default().with("epoch", epoch.epoch.0).with("incarnation", epoch.incarnation.0);
            ("epoch entry", sheet.with("started", Field::instant(epoch.started)))
        }
        Entry::Batch(entry) => ("batch entry", batch(entry)),
        Entry::KeyRecord(frame) => ("key record entry", record(frame)),
        Entry::Rewrap(frame) => ("rewrap entry", record(frame)),
        Entry::Contract(frame) => ("contract entry", record(frame)),
        Entry::Incarnation(frame) => ("incarnation entry", record(frame)),
        Entry::Mark(entry) => ("mark entry", mark(entry)),
        Entry::Trust(entry) => (
            "trust entry",
            Sheet::default().with("version", entry.version).with("digest", Field::text(entry.digest)),
        ),
    };
    Sheet::of(what).with("leaf_hash", Field::text(leaf_hash(bytes))).and(content)
}

fn record(bytes: &[u8]) -> Sheet {
    let field = match Frame::parse(bytes) {
        Ok(found) => frames::frame(&found).into(),
        Err(_) => Field::hex(bytes),
    };
    Sheet::default().with("record", field)
}

fn batch(entry: &BatchEntry) -> Sheet {
    Sheet::default()
        .with("suite", entry.suite.name())
        .and(frames::stream(&entry.stream))
        .with("epoch", entry.epoch.0)
        .with("sequence", entry.sequence.0)
        .with("digest", Field::text(entry.digest))
        .with("previous", Field::text(entry.previous))
        .with("previous_index", Field::option(entry.previous_index, |index| index.0.into()))
        .with("contract", Field::text(entry.contract))
        .with("kind", entry.kind.as_str())
        .with("rows", entry.rows)
        .with("transactions_ended", entry.transactions_ended)
        .with("leaves_open", entry.leaves_open)
        .with("incarnation", entry.incarnation.0)
        .with("first", frames::mark(&entry.first))
        .with("last", frames::mark(&entry.last))
        .with("snapshot", Field::option(entry.snapshot, frames::snapshot_place))
}

fn mark(entry: &MarkEntry) -> Sheet {
    let streams = Field::list(&entry.streams, |stream| {
        Sheet::default()
            .with("dataset", stream.dataset.as_str())
            .with("partition", stream.partition.0)
            .with("head", Field::option(stream.head.as_ref(), |head| frames::batch_ref(head).into()))
            .with("resolved", frames::at(stream.resolved))
            .into()
    });
    Sheet::default().with("time", Field::instant(entry.time)).with("streams", streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_whole_entries_and_nothing_else() {
        assert_eq!(split_bundle(b"\0\x01a\0\0\0\x02bc"), Some(vec![&b"a"[..], b"", b"bc"]));
        assert_eq!(split_bundle(b""), None);
        assert_eq!(split_bundle(b"\0\x02a"), None);
        assert_eq!(split_bundle(b"\0\x01ab"), None);
        assert_eq!(split_bundle(&[0; 514]), None, "257 entries");
    }
}
