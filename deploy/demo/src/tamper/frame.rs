//! A frame cut into its parts: `magic | u32be body length | body | signature block | trailer`.

use std::ops::Range;

use anyhow::{Context as _, bail, ensure};

use super::avro::{self, Field, Fields};
use super::pen::{Pen, sha256};
use super::shapes;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Batch,
    Fence,
    Beacon,
    KeyRecord,
    Other,
}

/// A frame's parts. Nothing about them is known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    magic: [u8; 4],
    pub(super) body: Vec<u8>,
    /// The signature block, its count included.
    signatures: Vec<u8>,
    pub(super) trailer: Vec<u8>,
}

/// Reads from the front of a slice.
struct Front<'a>(&'a [u8]);

impl<'a> Front<'a> {
    fn take(&mut self, length: usize) -> anyhow::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).context("the frame ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> anyhow::Result<usize> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}

impl Frame {
    /// Cuts a frame.
    pub(crate) fn cut(bytes: &[u8]) -> anyhow::Result<Frame> {
        let mut front = Front(bytes);
        let magic = front.take(4)?.try_into()?;
        let length = front.number(4)?;
        let body = front.take(length)?.to_vec();
        let block = front.0;
        for _ in 0..front.number(1)? {
            front.take(34)?;
            let length = front.number(2)?;
            front.take(length)?;
        }
        let signatures = block.get(..block.len() - front.0.len()).unwrap_or_default().to_vec();
        Ok(Frame { magic, body, signatures, trailer: front.0.to_vec() })
    }

    /// The frame's bytes.
    pub(crate) fn join(&self) -> Vec<u8> {
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        [&self.magic, length.to_be_bytes().as_slice(), &self.body, &self.signatures, &self.trailer].concat()
    }

    /// What the frame is, by its magic.
    pub(crate) fn sort(&self) -> Sort {
        match &self.magic {
            b"GBB1" => Sort::Batch,
            b"GBF1" => Sort::Fence,
            b"GBN1" => Sort::Beacon,
            b"GBK1" => Sort::KeyRecord,
            _ => Sort::Other,
        }
    }

    fn label(&self) -> anyhow::Result<&'static [u8]> {
        Ok(match self.sort() {
            Sort::Batch => b"govbridge/v1/batch\0",
            Sort::Fence => b"govbridge/v1/fence\0",
            Sort::Beacon => b"govbridge/v1/beacon\0",
            Sort::KeyRecord => b"govbridge/v1/key-record\0",
            Sort::Other => bail!("a frame that the tamperer does not know"),
        })
    }

    fn shape(&self) -> anyhow::Result<&'static [Field]> {
        Ok(match self.sort() {
            Sort::Batch => shapes::HEADER,
            Sort::Beacon => shapes::BEACON,
            Sort::KeyRecord => shapes::KEY_RECORD,
            Sort::Fence | Sort::Other => bail!("a frame whose fields the tamperer does not know"),
        })
    }

    /// The digest of the body, which signatures, chain and log use.
    pub(super) fn digest(&self) -> anyhow::Result<[u8; 32]> {
        Ok(sha256(&[self.label()?, &self.body]))
    }

    /// Throws all signatures away and signs anew.
    pub(super) fn sign(&mut self, pen: &Pen) -> anyhow::Result<()> {
        let entry = pen.entry(self.label()?, &self.digest()?);
        self.signatures = [&[1], entry.as_slice()].concat();
        Ok(())
    }

    /// Where the body's fields lie.
    pub(super) fn fields(&self) -> anyhow::Result<Fields> {
        Fields::of(self.shape()?, &self.body)
    }

    /// The bytes of a field.
    pub(super) fn field(&self, name: &str) -> anyhow::Result<&[u8]> {
        self.body.get(self.fields()?.range(name)?).context("a field beyond the body")
    }

    /// A field that is a number.
    pub(crate) fn number(&self, name: &str) -> anyhow::Result<i64> {
        Ok(avro::read_long(self.field(name)?)?.0)
    }

    /// A field that is a string.
    pub(super) fn text(&self, name: &str) -> anyhow::Result<&str> {
        let field = self.field(name)?;
        let (_, length) = avro::read_long(field)?;
        Ok(std::str::from_utf8(field.get(length..).unwrap_or_default())?)
    }

    /// Puts another encoding in a field's place.
    pub(super) fn replace(&mut self, name: &str, encoding: &[u8]) -> anyhow::Result<()> {
        let range = self.fields()?.range(name)?;
        self.body.splice(range, encoding.iter().copied());
        Ok(())
    }

    /// Flips one bit of the body.
    pub(super) fn flip(&mut self, at: usize) -> anyhow::Result<()> {
        *self.body.get_mut(at).context("beyond the body")? ^= 0x10;
        Ok(())
    }

    /// Where a batch's section blocks lie in its trailer, as many as the header has sections.
    fn blocks(&self) -> anyhow::Result<Vec<Range<usize>>> {
        let fields = self.fields()?;
        let sections = (0..).take_while(|index| fields.has(&format!("sections[{index}]"))).count();
        let mut front = Front(&self.trailer);
        let mut blocks = Vec::with_capacity(sections);
        for _ in 0..sections {
            let length = front.number(4)?;
            let start = self.trailer.len() - front.0.len();
            front.take(length)?;
            blocks.push(start..start + length);
        }
        Ok(blocks)
    }

    /// Where a batch's ciphertexts lie in its trailer: after the blocks.
    pub(super) fn ciphertexts(&self) -> anyhow::Result<Range<usize>> {
        let blocks = self.blocks()?;
        let mut bytes = 0_usize;
        for range in &blocks {
            let block = self.trailer.get(range.clone()).unwrap_or_default();
            let range = Fields::of(shapes::SECTION_BLOCK, block)?.range("ciphertext_bytes")?;
            let (length, _) = avro::read_long(block.get(range).unwrap_or_default())?;
            bytes = bytes.saturating_add(usize::try_from(length)?);
        }
        let start = blocks.last().map_or(0, |last| last.end);
        ensure!(self.trailer.len() - start == bytes, "the ciphertexts are not as long as the blocks say");
        Ok(start..self.trailer.len())
    }

    /// Lets a batch's blocks name another key record, and its header the changed blocks.
    pub(super) fn point_to_key(&mut self, from: &[u8; 32], to: &[u8; 32]) -> anyhow::Result<()> {
        for (index, block) in self.blocks()?.into_iter().enumerate() {
            let bytes = self.trailer.get_mut(block).context("a block beyond the trailer")?;
            let range = Fields::of(shapes::SECTION_BLOCK, bytes)?.range("key_record")?;
            let named = bytes.get_mut(range).context("a digest beyond the block")?;
            if named != from {
                continue;
            }
            named.copy_from_slice(to);
            let digest = sha256(&[b"govbridge/v1/section-block\0", bytes]);
            self.replace(&format!("sections[{index}]"), &digest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A batch with one section of four ciphertext bytes, by the published field order.
    pub(crate) fn batch(sequence: i64, epoch: i64, previous: [u8; 32], pen: &Pen) -> Frame {
        let position = [avro::long(7), avro::long(0), avro::long(0), avro::bytes(b"t")].concat();
        let mut block = avro::bytes(b"identity");
        block.extend([1; 32]);
        block.extend(avro::long(2));
        block.extend([2; 32]);
        block.extend([0, 2]);
        block.extend(avro::long(4));
        block.extend([[3; 32], [4; 32], [5; 32]].concat());
        let section = sha256(&[b"govbridge/v1/section-block\0", &block]);
        let body = [
            avro::long(1),
            avro::bytes(b"education"),
            avro::bytes(b"students"),
            avro::bytes(b"gov.example/education/main"),
            avro::long(0),
            avro::long(epoch),
            avro::long(sequence),
            previous.to_vec(),
            avro::long(0),
            vec![8; 32],
            vec![9; 32],
            avro::long(1),
            position.clone(),
            position,
            vec![0, 0],
            avro::long(0),
            avro::long(7),
            avro::long(-1),
            avro::long(1),
            avro::long(1),
            avro::long(1),
            avro::long(2),
            avro::long(2),
            avro::long(0),
            vec![0, 0, 0],
            avro::long(1),
            section.to_vec(),
            vec![0],
            vec![0],
        ]
        .concat();
        let trailer =
            [u32::try_from(block.len()).unwrap().to_be_bytes().as_slice(), &block, &[0xc1, 0xc2, 0xc3, 0xc4]]
                .concat();
        let mut frame = Frame { magic: *b"GBB1", body, signatures: vec![0], trailer };
        frame.sign(pen).unwrap();
        frame
    }

    /// A beacon that says something about the log.
    pub(crate) fn beacon(checkpoint: &str, pen: &Pen) -> Frame {
        let position = [avro::long(7), avro::long(0), avro::long(0), avro::bytes(b"t")].concat();
        let body = [
            avro::bytes(b"gov.example/education/main"),
            avro::bytes(b"education"),
            avro::bytes(b"students"),
            avro::long(0),
            avro::long(1),
            avro::long(1),
            [avro::long(1), avro::long(3), vec![6; 32], position].concat(),
            [avro::long(9), avro::long(1), avro::long(0), avro::long(1), vec![0, 0, 0], vec![0], vec![0]]
                .concat(),
            [avro::long(7), avro::long(-1)].concat(),
            [
                avro::long(1),
                avro::bytes(b"entry"),
                avro::long(4),
                vec![0],
                avro::bytes(checkpoint.as_bytes()),
            ]
            .concat(),
            avro::long(11),
            avro::long(12),
        ]
        .concat();
        let mut frame = Frame { magic: *b"GBN1", body, signatures: vec![0], trailer: Vec::new() };
        frame.sign(pen).unwrap();
        frame
    }

    /// A key record for one recipient.
    pub(crate) fn key_record(pen: &Pen) -> Frame {
        let wrap = [avro::bytes(b"tax"), vec![1; 32], vec![2; 32], vec![3; 48]].concat();
        let body = [
            avro::long(1),
            avro::bytes(b"education"),
            avro::bytes(b"students"),
            avro::bytes(b"identity"),
            vec![8; 32],
            vec![7; 32],
            avro::long(1),
            avro::long(2),
            avro::long(1),
            wrap,
            vec![0],
        ]
        .concat();
        let mut frame = Frame { magic: *b"GBK1", body, signatures: vec![0], trailer: Vec::new() };
        frame.sign(pen).unwrap();
        frame
    }

    #[test]
    fn a_frame_is_cut_and_joined_without_a_change() {
        let pen = Pen::own("education", [1; 32]);
        for frame in [batch(3, 1, [0; 32], &pen), beacon("c", &pen), key_record(&pen)] {
            let bytes = frame.join();
            let cut = Frame::cut(&bytes).unwrap();
            assert_eq!(cut, frame);
            assert_eq!(cut.join(), bytes);
            assert!(Frame::cut(&bytes[..bytes.len() / 2]).is_err());
        }
    }

    #[test]
    fn a_field_is_read_and_replaced_and_the_rest_stays() {
        let pen = Pen::own("education", [1; 32]);
        let mut frame = batch(3, 1, [6; 32], &pen);
        assert_eq!((frame.number("sequence").unwrap(), frame.text("dataset").unwrap()), (3, "students"));
        let before = frame.digest().unwrap();
        frame.replace("sequence", &avro::long(100_000)).unwrap();
        assert_eq!((frame.number("sequence").unwrap(), frame.number("row_events").unwrap()), (100_000, 2));
        assert_eq!(frame.field("previous").unwrap(), [6; 32]);
        assert_ne!(frame.digest().unwrap(), before);
    }

    #[test]
    fn the_ciphertexts_are_what_the_blocks_leave_over() {
        let frame = batch(3, 1, [0; 32], &Pen::own("education", [1; 32]));
        assert_eq!(frame.trailer[frame.ciphertexts().unwrap()], [0xc1, 0xc2, 0xc3, 0xc4]);
        let mut short = frame;
        short.trailer.pop();
        assert!(short.ciphertexts().is_err());
    }

    /// The vectors that other rooms wrote, read by the published field order alone.
    #[test]
    fn the_published_vectors_are_cut_to_the_last_byte() {
        let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/govbridge");
        for (folder, sort) in
            [("sealed-batch", Sort::Batch), ("beacon", Sort::Beacon), ("key-record", Sort::KeyRecord)]
        {
            let mut seen = 0;
            for entry in std::fs::read_dir(vectors.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().to_string();
                if !name.starts_with("good") || !name.ends_with(".bin") {
                    continue;
                }
                let bytes = std::fs::read(&path).unwrap();
                let frame = Frame::cut(&bytes).unwrap();
                assert_eq!((frame.sort(), frame.join() == bytes), (sort, true), "{name}");
                frame.fields().unwrap_or_else(|error| panic!("{name}: {error:#}"));
                if sort == Sort::Batch {
                    frame.ciphertexts().unwrap_or_else(|error| panic!("{name}: {error:#}"));
                }
                seen += 1;
            }
            assert!(seen > 0, "{folder} has no good vector");
        }
    }

    /// The vectors' signing key is the seed of ones (`keys.json`).
    #[test]
    fn a_stolen_key_signs_the_very_bytes_that_its_owner_signed() {
        let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/govbridge");
        for file in
            ["sealed-batch/good.bin", "beacon/good.bin", "fence/good.bin", "key-record/good-amount.bin"]
        {
            let bytes = std::fs::read(vectors.join(file)).unwrap();
            let mut frame = Frame::cut(&bytes).unwrap();
            frame.sign(&Pen::own("tax", [1; 32])).unwrap();
            assert!(frame.join() == bytes, "{file}");
            frame.sign(&Pen::own("tax", [2; 32])).unwrap();
            assert!(frame.join() != bytes, "{file}");
        }
    }
}
