//! The acts, one at a time, each on a copy of its own.
//!
//! Where an act needs a key, the tamperer has stolen it: what is left to notice is then never a mere bad signature, but
//! what the key's owner could not have done without anybody noticing.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};

use super::avro;
use super::frame::{Frame, Sort};
use super::pen::{Checkpoint, Pen};
use crate::copies::Topics;

/// What the tamperer aims at, and the keys that were stolen for it.
pub(crate) struct Stolen {
    /// The topic of the stream that is tampered with; its connector was started twice.
    pub(crate) topic: String,
    /// Another topic of the same department.
    pub(crate) neighbour_topic: String,
    /// The stream's dataset.
    pub(crate) dataset: String,
    /// The signing key of the stream's department.
    pub(crate) signing: Pen,
    /// The signing key of another department.
    pub(crate) neighbour: Pen,
    /// The key of the department's log.
    pub(crate) log: Pen,
}

/// What an act changed.
pub(crate) struct Done {
    /// In words.
    pub(crate) what: String,
    /// The log's checkpoint that is served from now on, when the act changed it.
    pub(crate) checkpoint: Option<String>,
}

impl Done {
    fn of(what: String) -> anyhow::Result<Done> {
        Ok(Done { what, checkpoint: None })
    }
}

/// One act of tampering.
pub(crate) struct Act {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// What a reader is expected to say: one of these codes, among others. Any finding counts as noticed.
    pub(crate) expected: &'static str,
    /// The level at which the readers read.
    pub(crate) level: &'static str,
    pub(crate) run: fn(&mut Topics, &Stolen) -> anyhow::Result<Done>,
}

/// All acts, in the order of the table.
pub(crate) const ACTS: &[Act] = &[
    act("a bit in a ciphertext", "ciphertext digest, then a hole", ciphertext_bit),
    act("a bit in a header", "signature, then a hole", header_bit),
    act("a batch dropped", "ahead, then loss", dropped),
    act("two batches swapped", "ahead, then loss", swapped),
    act("a batch replayed", "duplicate or old", replayed),
    act("a batch from another topic", "stream", spliced),
    act("the tail cut off", "the log knows more", tail_cut),
    act("a forged checkpoint in a beacon", "inclusion proof", forged_in_beacon),
    act("a forged checkpoint in the log", "two roots for one size", forged_in_log),
    act("signed by another department", "unknown key, then a hole", others_key),
    Act { level: "signed", ..act("a key wrapped for an outsider", "outsider", outsider) },
    act("an old epoch's late write", "late", late_write),
];

/// An act whose copy is read at production's level.
const fn act(
    name: &'static str,
    expected: &'static str,
    run: fn(&mut Topics, &Stolen) -> anyhow::Result<Done>,
) -> Act {
    Act { name, expected, level: "witnessed", run }
}

/// The batches of a topic, each with its place among the frames.
fn batches(frames: &[Vec<u8>]) -> anyhow::Result<Vec<(usize, Frame)>> {
    let mut found = Vec::new();
    for (place, bytes) in frames.iter().enumerate() {
        let frame = Frame::cut(bytes)?;
        if frame.sort() == Sort::Batch {
            found.push((place, frame));
        }
    }
    Ok(found)
}

/// A batch with rows from the middle of the stream's life, with a batch of the same epoch on both sides.
fn middle(frames: &[Vec<u8>]) -> anyhow::Result<(usize, Frame)> {
    let all = batches(frames)?;
    let mut fitting = Vec::new();
    for three in all.windows(3) {
        let [before, (place, frame), after] = three else { continue };
        let epoch = frame.number("epoch")?;
        let inside = before.1.number("epoch")? == epoch && after.1.number("epoch")? == epoch;
        if inside
            && frame.number("row_events")? > 0
            && frame.number("kind")? == 0
            && !frame.ciphertexts()?.is_empty()
        {
            fitting.push((*place, frame.clone()));
        }
    }
    let at = fitting.len() / 2;
    fitting
        .into_iter()
        .nth(at)
        .context("the stream has too few batches to tamper with: let the demo run longer")
}

fn sequence(frame: &Frame) -> anyhow::Result<i64> {
    frame.number("sequence")
}

fn ciphertext_bit(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, mut frame) = middle(frames)?;
    let range = frame.ciphertexts()?;
    let at = range.start + range.len() / 2;
    *frame.trailer.get_mut(at).context("a batch without ciphertext")? ^= 1;
    put(frames, place, &frame)?;
    Done::of(format!("one bit of the ciphertext of batch {}", sequence(&frame)?))
}

fn header_bit(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, mut frame) = middle(frames)?;
    let at = frame.fields()?.range("nonce")?.start;
    frame.flip(at)?;
    put(frames, place, &frame)?;
    Done::of(format!("one bit of the nonce in the header of batch {}", sequence(&frame)?))
}

fn dropped(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, frame) = middle(frames)?;
    frames.remove(place);
    Done::of(format!("batch {} is not there", sequence(&frame)?))
}

fn swapped(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, frame) = middle(frames)?;
    let (next, other) =
        batches(frames)?.into_iter().find(|(next, _)| *next > place).context("there is no next batch")?;
    frames.swap(place, next);
    Done::of(format!("batches {} and {} in each other's place", sequence(&frame)?, sequence(&other)?))
}

fn replayed(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, frame) = middle(frames)?;
    let (last, _) = batches(frames)?.pop().context("there is no batch")?;
    frames.insert((place + 3).min(last), frame.join());
    Done::of(format!("batch {} a second time, a few frames later", sequence(&frame)?))
}

fn spliced(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let (_, foreign) = middle(topics.frames(&stolen.neighbour_topic)?)?;
    let frames = topics.frames(&stolen.topic)?;
    let (place, _) = middle(frames)?;
    frames.insert(place, foreign.join());
    Done::of(format!("batch {} of {} between two batches", sequence(&foreign)?, stolen.neighbour_topic))
}

fn tail_cut(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let all = batches(frames)?;
    let (cut, frame) = all.iter().rev().nth(2).context("the stream has too few batches")?;
    let gone = frames.len() - cut;
    frames.truncate(*cut);
    Done::of(format!("the last {gone} frames, from batch {} on, are not there", sequence(frame)?))
}

/// The last beacon that says what the log holds.
fn last_beacon(frames: &[Vec<u8>]) -> anyhow::Result<(usize, Frame)> {
    for (place, bytes) in frames.iter().enumerate().rev() {
        let frame = Frame::cut(bytes)?;
        if frame.sort() == Sort::Beacon && frame.fields()?.has("appended.checkpoint") {
            return Ok((place, frame));
        }
    }
    bail!("no beacon holds a checkpoint: let the demo run longer")
}

fn forged_in_beacon(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, mut frame) = last_beacon(frames)?;
    let mut checkpoint = Checkpoint::read(frame.text("appended.checkpoint")?)?;
    checkpoint.forge_root();
    let note = checkpoint.signed_by(&stolen.log)?;
    frame.replace("appended.checkpoint", &avro::bytes(note.as_bytes()))?;
    frame.sign(&stolen.signing)?;
    put(frames, place, &frame)?;
    Done::of(
        "another root in the last beacon's checkpoint, signed with the log's and the department's own keys"
            .to_owned(),
    )
}

fn forged_in_log(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let (_, frame) = last_beacon(topics.frames(&stolen.topic)?)?;
    let mut checkpoint = Checkpoint::read(frame.text("appended.checkpoint")?)?;
    checkpoint.forge_root();
    let note = checkpoint.signed_by(&stolen.log)?;
    let what =
        "the log serves another root than the last beacon holds, signed with the log's own key".to_owned();
    Ok(Done { what, checkpoint: Some(note) })
}

fn others_key(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (place, mut frame) = middle(frames)?;
    frame.sign(&stolen.neighbour)?;
    put(frames, place, &frame)?;
    Done::of(format!("batch {}, otherwise as it was, signed by another department", sequence(&frame)?))
}

/// A secret that nobody looks at: whether the outsider could open it does not matter, that it is wrapped does.
const UNSEEN: u8 = 0x5e;

/// The whole connector is the tamperer here: the record is signed, its batches name it, and they chain from each other
/// and are signed anew. Only the log and the witnesses stood by the truth, so the readers look before they ask the log.
fn outsider(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let (section, before, after) = wrap_for_outsider(topics.frames(crate::copies::KEYS)?, stolen)?;
    let mut digests: BTreeMap<[u8; 32], [u8; 32]> = BTreeMap::new();
    for bytes in topics.frames(&stolen.topic)?.iter_mut() {
        let mut frame = Frame::cut(bytes)?;
        let honest = frame.digest()?;
        match frame.sort() {
            Sort::Batch => {
                follow(&mut frame, "previous", &digests)?;
                frame.point_to_key(&before, &after)?;
            }
            Sort::Beacon => {
                follow(&mut frame, "head.digest", &digests)?;
                follow(&mut frame, "place.head.digest", &digests)?;
            }
            Sort::Fence | Sort::KeyRecord | Sort::Other => continue,
        }
        frame.sign(&stolen.signing)?;
        digests.insert(honest, frame.digest()?);
        *bytes = frame.join();
    }
    Done::of(format!(
        "the key of section {section} wrapped for one more; record and batches signed with the department's own key"
    ))
}

/// Replaces a digest by what its batch became.
fn follow(frame: &mut Frame, field: &str, digests: &BTreeMap<[u8; 32], [u8; 32]>) -> anyhow::Result<()> {
    if !frame.fields()?.has(field) {
        return Ok(());
    }
    let honest: [u8; 32] = frame.field(field)?.try_into()?;
    digests.get(&honest).map_or(Ok(()), |digest| frame.replace(field, digest))
}

/// Adds a wrap to the stream's first key record: its section, and the record's digests before and after.
fn wrap_for_outsider(
    records: &mut [Vec<u8>],
    stolen: &Stolen,
) -> anyhow::Result<(String, [u8; 32], [u8; 32])> {
    for bytes in records {
        let mut frame = Frame::cut(bytes)?;
        let ours = frame.sort() == Sort::KeyRecord && frame.text("dataset")? == stolen.dataset;
        if !ours {
            continue;
        }
        let (section, before) = (frame.text("section")?.to_owned(), frame.digest()?);
        let fields = frame.fields()?;
        let wraps = (0..).take_while(|index| fields.has(&format!("wraps[{index}]"))).count();
        let mut encoding = avro::long(i64::try_from(wraps)? + 1);
        for index in 0..wraps {
            encoding.extend_from_slice(frame.field(&format!("wraps[{index}]"))?);
        }
        encoding.extend(avro::bytes(b"outsider"));
        encoding.extend([UNSEEN; 32 + 32 + 48]);
        encoding.push(0);
        frame.replace("wraps", &encoding)?;
        frame.sign(&stolen.signing)?;
        *bytes = frame.join();
        return Ok((section, before, frame.digest()?));
    }
    bail!("there is no key record of {}", stolen.dataset)
}

fn late_write(topics: &mut Topics, stolen: &Stolen) -> anyhow::Result<Done> {
    let frames = topics.frames(&stolen.topic)?;
    let (_, mut frame) = batches(frames)?.pop().context("there is no batch")?;
    let epoch = frame.number("epoch")?;
    ensure!(epoch > 1, "the connector was started once only, so that there is no old epoch");
    let (digest, next) = (frame.digest()?, sequence(&frame)? + 1);
    frame.replace("previous", &digest)?;
    frame.replace("sequence", &avro::long(next))?;
    frame.replace("epoch", &avro::long(epoch - 1))?;
    frame.sign(&stolen.signing)?;
    frames.push(frame.join());
    Done::of(format!(
        "batch {next} of epoch {} after epoch {epoch} began, signed with the department's own key",
        epoch - 1
    ))
}

fn put(frames: &mut [Vec<u8>], place: usize, frame: &Frame) -> anyhow::Result<()> {
    *frames.get_mut(place).context("a place beyond the topic")? = frame.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::frame::tests::{batch, beacon, key_record};
    use super::*;

    const NOTE: &str = "gov.example/education/main\n9\nBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\n\n\u{2014} gov.example/education/main AAAA\n";

    fn stolen() -> Stolen {
        Stolen {
            topic: "govbridge.education.students".to_owned(),
            neighbour_topic: "govbridge.education.enrolments".to_owned(),
            dataset: "students".to_owned(),
            signing: Pen::own("education", [1; 32]),
            neighbour: Pen::own("tax", [2; 32]),
            log: Pen::own("gov.example/education/main", [3; 32]),
        }
    }

    fn stream(pen: &Pen) -> Vec<Vec<u8>> {
        let mut previous = [0; 32];
        let mut frames = Vec::new();
        for number in 0..12 {
            let frame = batch(number, if number < 4 { 1 } else { 2 }, previous, pen);
            previous = frame.digest().unwrap();
            frames.push(frame.join());
            frames.push(beacon(NOTE, pen).join());
        }
        frames
    }

    fn topics() -> Topics {
        let stolen = stolen();
        Topics::of([
            (stolen.topic.as_str(), stream(&stolen.signing)),
            (stolen.neighbour_topic.as_str(), stream(&stolen.signing)),
            (crate::copies::KEYS, vec![key_record(&stolen.signing).join()]),
        ])
    }

    #[test]
    fn every_act_changes_its_copy_and_nothing_else() {
        for act in ACTS {
            let (honest, mut copy) = (topics(), topics());
            let done =
                (act.run)(&mut copy, &stolen()).unwrap_or_else(|error| panic!("{}: {error:#}", act.name));
            assert!(copy != honest || done.checkpoint.is_some_and(|note| note != NOTE), "{}", act.name);
            for (topic, frames) in copy.iter() {
                for bytes in frames {
                    assert_eq!(Frame::cut(bytes).unwrap().join(), *bytes, "{}: {topic}", act.name);
                }
            }
        }
    }

    #[test]
    fn a_dropped_batch_is_missing_and_its_neighbours_are_there() {
        let mut copy = topics();
        dropped(&mut copy, &stolen()).unwrap();
        let left = batches(copy.frames(&stolen().topic).unwrap()).unwrap();
        let numbers: Vec<i64> = left.iter().map(|(_, frame)| sequence(frame).unwrap()).collect();
        assert_eq!(numbers.len(), 11);
        assert!(numbers.contains(&0) && numbers.contains(&11));
    }

    #[test]
    fn a_late_write_chains_from_the_head_and_names_the_old_epoch() {
        let mut copy = topics();
        late_write(&mut copy, &stolen()).unwrap();
        let all = batches(copy.frames(&stolen().topic).unwrap()).unwrap();
        let [.., (_, head), (_, late)] = all.as_slice() else { panic!("too few") };
        assert_eq!(late.field("previous").unwrap(), head.digest().unwrap());
        assert_eq!((sequence(late).unwrap(), late.number("epoch").unwrap()), (12, 1));
    }

    #[test]
    fn an_outsiders_wrap_is_added_to_those_that_are_there() {
        let mut copy = topics();
        outsider(&mut copy, &stolen()).unwrap();
        let frame = Frame::cut(&copy.frames(crate::copies::KEYS).unwrap()[0]).unwrap();
        assert_eq!(frame.text("wraps[0].recipient").unwrap(), "tax");
        assert_eq!(frame.text("wraps[1].recipient").unwrap(), "outsider");
    }

    #[test]
    fn an_insiders_stream_is_whole_and_names_the_outsiders_record() {
        let mut copy = topics();
        let honest = Frame::cut(&copy.frames(crate::copies::KEYS).unwrap()[0]).unwrap().digest().unwrap();
        // The test's batches name no record that exists; let them name this one.
        let mut previous = [0; 32];
        for bytes in copy.frames(&stolen().topic).unwrap() {
            let mut frame = Frame::cut(bytes).unwrap();
            if frame.sort() == Sort::Batch {
                frame.replace("previous", &previous).unwrap();
                frame.point_to_key(&[4; 32], &honest).unwrap();
                previous = frame.digest().unwrap();
                *bytes = frame.join();
            }
        }
        outsider(&mut copy, &stolen()).unwrap();
        let record = Frame::cut(&copy.frames(crate::copies::KEYS).unwrap()[0]).unwrap().digest().unwrap();
        let all = batches(copy.frames(&stolen().topic).unwrap()).unwrap();
        for two in all.windows(2) {
            assert_eq!(two[1].1.field("previous").unwrap(), two[0].1.digest().unwrap());
        }
        for (_, frame) in &all {
            let mut again = frame.clone();
            again.point_to_key(&record, &record).unwrap();
            assert_eq!(
                (again.trailer == frame.trailer, again.body == frame.body),
                (true, true),
                "blocks and header agree"
            );
            assert!(frame.trailer.windows(32).any(|bytes| bytes == record), "the block names the new record");
        }
    }

    #[test]
    fn a_stream_that_is_too_short_is_said_to_be_so() {
        let stolen = stolen();
        let mut short = Topics::of([(stolen.topic.as_str(), stream(&stolen.signing)[..3].to_vec())]);
        assert!(dropped(&mut short, &stolen).is_err());
    }
}
