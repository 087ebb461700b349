//! Sections that are not what the header, the block or the row root says.

use super::Vector;
use super::scene::*;
use bridge_envelope::*;
use bridge_event::*;
use bridge_suite::*;
use forge::{Bend, Forged};

fn vector(name: &str, stage: &str, expect: &[&str], about: &str, sections: &[Forged]) -> Vector {
    let frame = forge::assemble(&header(3), sections, &[&signing()]);
    Vector::new("sealed-batch", name, stage, expect, about, frame)
}

/// A batch whose section `index` is bent, the other one honest.
fn bent(name: &str, stage: &str, expect: &[&str], about: &str, index: usize, bend: &Bend<'_>) -> Vector {
    let header = header(3);
    let mut sections = forge::sections(&header, &rows());
    sections[index] = forge::section(&header, index, &rows()[index], bend);
    vector(name, stage, expect, about, &sections)
}

/// A batch whose section `index` has another plaintext.
fn packed(name: &str, expect: &[&str], about: &str, index: usize, make: &dyn Fn(&[u8]) -> Vec<u8>) -> Vector {
    bent(name, "open", expect, about, index, &Bend { plaintext: Some(make), ..Default::default() })
}

pub(crate) fn failures() -> Vec<Vector> {
    let parts = [blocks(), keys(), plaintexts(), compressed(), contents()];
    parts.into_iter().flatten().collect()
}

fn blocks() -> Vec<Vector> {
    let header = header(3);
    let honest = || forge::sections(&header, &rows());
    let frame_of = |sections: &[Forged], order: [usize; 2], texts: [usize; 2]| {
        let blocks: Vec<Vec<u8>> = sections.iter().map(|section| section.block.encode()).collect();
        let digests = blocks.iter().map(|block| SectionBlock::digest_of(block)).collect();
        let body = Header { sections: digests, ..header.clone() }.encode();
        let texts: Vec<&[u8]> = texts.iter().map(|i| &*sections[*i].ciphertext).collect();
        forge::batch(&body, &order.map(|i| blocks[i].clone()), &texts, &[&signing()])
    };
    let verify = |name: &str, expect: &[&str], about: &str, frame| {
        Vector::new("sealed-batch", name, "verify", expect, about, frame)
    };
    let missing = {
        let sections = honest();
        let blocks: Vec<Vec<u8>> = sections.iter().map(|section| section.block.encode()).collect();
        let digests = vec![SectionBlock::digest_of(&blocks[0])];
        let body = Header { sections: digests, ..header.clone() }.encode();
        let texts: Vec<&[u8]> = sections.iter().map(|section| &*section.ciphertext).collect();
        forge::batch(&body, &blocks, &texts, &[&signing()])
    };
    let twice = {
        let first = || forge::section(&header, 0, &rows()[0], &Bend::default());
        forge::assemble(&header, &[first(), first()], &[&signing()])
    };
    let bytes_trailing = {
        let sections = honest();
        let mut blocks: Vec<Vec<u8>> = sections.iter().map(|section| section.block.encode()).collect();
        blocks[0].push(0);
        let digests = blocks.iter().map(|block| SectionBlock::digest_of(block)).collect();
        let body = Header { sections: digests, ..header.clone() }.encode();
        let texts: Vec<&[u8]> = sections.iter().map(|section| &*section.ciphertext).collect();
        forge::batch(&body, &blocks, &texts, &[&signing()])
    };
    let groups = |count: usize| {
        let names: Vec<GroupName> = (0..count).map(|i| format!("g{i}").parse().unwrap()).collect();
        move |block: &mut SectionBlock| block.groups = names.clone()
    };
    let rows_differ: &dyn Fn(&mut SectionBlock) = &|block| block.rows = 2;
    let longer: &dyn Fn(&mut SectionBlock) = &|block| block.ciphertext_bytes += 1;
    let shorter: &dyn Fn(&mut SectionBlock) = &|block| block.ciphertext_bytes -= 1;
    let negative: &dyn Fn(&mut SectionBlock) = &|block| block.ciphertext_bytes = u64::MAX;
    let many: &dyn Fn(&mut SectionBlock) = &groups(17);
    let of = |change| Bend { block: Some(change), ..Default::default() };
    vec![
        verify(
            "swapped-sections",
            &["VER040"],
            "blocks and ciphertexts in the other order",
            frame_of(&honest(), [1, 0], [1, 0]),
        ),
        verify(
            "swapped-ciphertexts",
            &["VER041"],
            "ciphertexts in the other order",
            frame_of(&honest(), [0, 1], [1, 0]),
        ),
        verify("block-left-out-of-header", &["VER004"], "the header names one of two sections", missing),
        verify("section-twice", &["VER042"], "one section twice", twice),
        verify("block-trailing-byte", &["VER004"], "a byte after the block's last field", bytes_trailing),
        bent(
            "block-rows-differ",
            "verify",
            &["VER033"],
            "a block of two rows in a batch of three",
            0,
            &of(rows_differ),
        ),
        bent(
            "block-ciphertext-one-longer",
            "verify",
            &["VER002"],
            "the last block announces a byte too many",
            1,
            &of(longer),
        ),
        bent(
            "block-ciphertext-one-shorter",
            "verify",
            &["VER004"],
            "the last block announces a byte too few",
            1,
            &of(shorter),
        ),
        bent(
            "block-ciphertext-length-negative",
            "verify",
            &["VER002"],
            "the last block announces -1 bytes",
            1,
            &of(negative),
        ),
        bent("block-groups-too-many", "verify", &["VER003"], "seventeen groups", 0, &of(many)),
        bent(
            "block-ciphertext-digest-wrong",
            "verify",
            &["VER041"],
            "a signed block names another ciphertext",
            0,
            &of(&|block| {
                block.ciphertext = sha256(&[b"another ciphertext"]);
            }),
        ),
    ]
}

fn keys() -> Vec<Vector> {
    let flip: &dyn Fn(&mut Vec<u8>) = &|text| text[100] ^= 1;
    let other_digest: &dyn Fn(&mut SectionBlock) = &|block| block.schema = sha256(&[b"another schema"]);
    let commitment: &dyn Fn(&mut SectionBlock) = &|block| block.commitment = sha256(&[b"another commitment"]);
    let record: &dyn Fn(&mut SectionBlock) = &|block| block.key_record = sha256(&[b"another key record"]);
    let root: &dyn Fn(&mut SectionBlock) = &|block| block.row_root = sha256(&[b"another root"]);
    let of = |change| Bend { block: Some(change), ..Default::default() };
    let moved = {
        let other = Header { sequence: Sequence(2), ..header(3) };
        let mut sections = forge::sections(&header(3), &rows());
        sections[1] = forge::section(&other, 1, &rows()[1], &Bend::default());
        vector(
            "section-of-another-batch",
            "open",
            &["OPE002"],
            "block and ciphertext of sequence 2 in sequence 1",
            &sections,
        )
    };
    vec![
        moved,
        bent(
            "wrong-commitment",
            "open",
            &["OPE002"],
            "a signed block commits to another key",
            1,
            &of(commitment),
        ),
        bent(
            "wrong-schema-digest",
            "open",
            &["OPE002"],
            "the keys are bound to another schema",
            1,
            &of(other_digest),
        ),
        bent(
            "wrong-key-record",
            "open",
            &["OPE002"],
            "the keys are bound to another key record",
            1,
            &of(record),
        ),
        bent(
            "row-root-changed-after-sealing",
            "open",
            &["OPE002"],
            "the keys are bound to another row root",
            1,
            &of(root),
        ),
        bent(
            "wrong-row-root",
            "open",
            &["OPE008"],
            "sealed, committed and signed with a root that is not the rows'",
            1,
            &Bend { row_root: Some(sha256(&[b"another root"])), ..Default::default() },
        ),
        bent(
            "ciphertext-not-authentic",
            "open",
            &["OPE003"],
            "a signed and digested ciphertext with a flipped bit",
            1,
            &Bend { ciphertext: Some(flip), ..Default::default() },
        ),
        bent(
            "ciphertext-shorter-than-a-tag",
            "open",
            &["OPE003"],
            "a ciphertext of 15 bytes",
            1,
            &Bend { ciphertext: Some(&|text: &mut Vec<u8>| text.truncate(15)), ..Default::default() },
        ),
        vector(
            "wrong-secret",
            "open",
            &["OPE002"],
            "the batch is good, the reader's secret is another",
            &forge::sections(&header(3), &rows()),
        )
        .with("secret", hex::encode([0x99; 32])),
    ]
}

fn plaintexts() -> Vec<Vector> {
    let prefix =
        |text: &mut [u8], n: usize| text[..4].copy_from_slice(&u32::try_from(n).unwrap().to_be_bytes());
    vec![
        packed("padding-not-zero", &["OPE004"], "the last byte of the padding is 1", 0, &|content| {
            let mut text = forge::pack(content);
            *text.last_mut().unwrap() = 1;
            text
        }),
        packed("padding-missing", &["OPE004"], "no padding at all", 0, &|content| {
            let mut text = forge::pack(content);
            text.truncate(4 + content.len());
            text
        }),
        packed("padding-too-long", &["OPE004"], "64 zeros too many", 0, &|content| {
            let mut text = forge::pack(content);
            text.resize(text.len() + 64, 0);
            text
        }),
        packed(
            "content-length-too-long",
            &["OPE004"],
            "the content is said to reach past the plaintext",
            0,
            &|content| {
                let mut text = forge::pack(content);
                let length = text.len();
                prefix(&mut text, length - 3);
                text
            },
        ),
        packed("content-length-huge", &["OPE004"], "a content of 4 GiB", 0, &|content| {
            let mut text = forge::pack(content);
            text[..4].copy_from_slice(&[0xff; 4]);
            text
        }),
        packed("plaintext-of-three-bytes", &["OPE004"], "too short for its length", 0, &|_| vec![0; 3]),
    ]
}

/// A zstd frame that declares its size and holds one block of a repeated byte (RFC 8878, 3.1.1): a bomb in 18 bytes.
fn bomb(size: u64) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
    frame.extend_from_slice(&size.to_le_bytes());
    // Blocks of at most 128 KiB, each three bytes of head and the byte to repeat.
    let mut left = size;
    while left > 0 {
        let block = left.min(128 * 1024);
        left -= block;
        let head = (block << 3) | (1 << 1) | u64::from(left == 0);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

fn compressed() -> Vec<Vector> {
    let limit = u64::try_from(EXPANDED_BYTES_MAX).unwrap();
    vec![
        packed("expansion-bomb", &["OPE006"], "64 MiB and 64 KiB and a byte of zeros in 2 KiB", 1, &|_| {
            forge::pack(&bomb(limit + 1))
        }),
        packed("expansion-size-huge", &["OPE006"], "a declared size of 2^62 bytes", 1, &|_| {
            let mut frame = bomb(1);
            frame[5..13].copy_from_slice(&(1_u64 << 62).to_le_bytes());
            forge::pack(&frame)
        }),
        packed(
            "expansion-larger-than-declared",
            &["OPE005"],
            "a frame that expands beyond its declared size",
            1,
            &|_| {
                let mut frame = bomb(4096);
                frame[5..13].copy_from_slice(&100_u64.to_le_bytes());
                forge::pack(&frame)
            },
        ),
        packed("zstd-size-undeclared", &["OPE005"], "a frame without a content size", 1, &|_| {
            forge::pack(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x09, 0x00, 0x00, 0x61])
        }),
        packed("zstd-two-frames", &["OPE005"], "the content in two frames", 1, &|content| {
            let (one, two) = content.split_at(10);
            forge::pack(&[forge::zstd(one), forge::zstd(two)].concat())
        }),
        packed("zstd-trailing-byte", &["OPE005"], "a byte after the frame", 1, &|content| {
            forge::pack(&[&*forge::zstd(content), &[0]].concat())
        }),
        packed(
            "zstd-skippable-frame",
            &["OPE005"],
            "a skippable frame before the content's",
            1,
            &|content| {
                forge::pack(&[&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 9][..], &forge::zstd(content)].concat())
            },
        ),
        packed("zstd-cut", &["OPE005"], "the frame's last byte is missing", 1, &|content| {
            let frame = forge::zstd(content);
            forge::pack(&frame[..frame.len() - 1])
        }),
        packed("zstd-missing", &["OPE005"], "raw content where the block says zstd", 1, &|content| {
            forge::pack(content)
        }),
        packed("zstd-unannounced", &["OPE007"], "a zstd frame where the block says none", 0, &|content| {
            forge::pack(&forge::zstd(content))
        }),
    ]
}

fn contents() -> Vec<Vector> {
    let two = rows_of(42, &[Operation::Insert, Operation::Update]);
    let four = rows_of(42, &[Operation::Insert, Operation::Update, Operation::Delete, Operation::Insert]);
    let others = rows_of(42, &[Operation::Insert, Operation::Delete, Operation::Update]);
    let content = |rows: &Rows| forge::pack(rows.bytes());
    vec![
        packed("row-count-too-few", &["OPE007"], "two rows where three are announced", 0, &|_| {
            content(&two[0])
        }),
        packed("row-count-too-many", &["OPE007"], "four rows where three are announced", 0, &|_| {
            content(&four[0])
        }),
        packed("content-trailing-byte", &["OPE007"], "a byte after the last row", 0, &|bytes| {
            forge::pack(&[bytes, &[0]].concat())
        }),
        packed("content-cut", &["OPE007"], "the last row's last byte is missing", 0, &|bytes| {
            forge::pack(&bytes[..bytes.len() - 1])
        }),
        packed("content-empty", &["OPE007"], "no rows at all", 0, &|_| forge::pack(&[])),
        packed("rows-of-another-batch", &["OPE008"], "rows that are not those of the root", 0, &|_| {
            content(&others[0])
        }),
        packed(
            "key-changed-in-one-section",
            &["OPE008"],
            "another key value than the one that was signed",
            0,
            &|bytes| {
                let mut bytes = bytes.to_vec();
                let at = bytes.windows(7).position(|window| window == b"P000042").unwrap();
                bytes[at + 6] = b'3';
                forge::pack(&bytes)
            },
        ),
    ]
}
