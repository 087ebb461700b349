//! A second writer, straight from docs/spec, that can also write what an honest one never does.

use super::*;

/// `u32be length || part` of each part.
pub(crate) fn lp(parts: &[&[u8]]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat())
        .collect()
}

/// What a reader of one section computes on its way, for the vectors and the specification.
pub(crate) struct Trace {
    pub(crate) context0: Vec<u8>,
    pub(crate) context: Vec<u8>,
    pub(crate) salt_secret: [u8; 32],
    pub(crate) base: [u8; 32],
    pub(crate) key: [u8; 32],
    pub(crate) commitment: [u8; 32],
    pub(crate) leaves: Vec<Digest>,
    pub(crate) plaintext: Vec<u8>,
}

/// A section as it is being forged.
pub(crate) struct Forged {
    pub(crate) block: SectionBlock,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) trace: Trace,
}

fn context0(header: &Header, block: &SectionBlock) -> Vec<u8> {
    lp(&[
        b"govbridge/v1/context\0",
        &header.suite.number().to_be_bytes(),
        header.stream.department.as_str().as_bytes(),
        header.stream.dataset.as_str().as_bytes(),
        &header.stream.partition.0.to_be_bytes(),
        &header.epoch.0.to_be_bytes(),
        &header.sequence.0.to_be_bytes(),
        &[header.kind.number()],
        block.name.as_str().as_bytes(),
        block.schema.as_bytes(),
        header.contract.as_bytes(),
        block.key_record.as_bytes(),
        &u32::try_from(block.rows).unwrap().to_be_bytes(),
        &[block.compression.number()],
        &header.nonce,
    ])
}

/// RFC 6962's tree head, by its recursive definition.
pub(crate) fn tree(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            let (left, right) = leaves.split_at(split);
            sha256(&[&[1], tree(left).as_bytes(), tree(right).as_bytes()])
        }
    }
}

fn leaves(salt_secret: &Secret, rows: &Rows) -> Vec<Digest> {
    let chunks = rows.groups() + 1;
    let mut salts = vec![0; rows.rows() * chunks * 32];
    Suite::International.salts(salt_secret).fill(0, &mut salts);
    let salt = |chunk: usize| &salts[chunk * 32..chunk * 32 + 32];
    rows.iter()
        .enumerate()
        .map(|(i, row)| {
            let mut text =
                [&[0], salt(i * chunks), row.head, &[u8::try_from(rows.groups()).unwrap()]].concat();
            for (group, j) in row.groups.clone().zip(1_u16..) {
                let salt = salt(i * chunks + usize::from(j));
                text.extend_from_slice(sha256(&[&[2], salt, &j.to_be_bytes(), group]).as_bytes());
            }
            text.extend_from_slice(row.rest);
            sha256(&[&text])
        })
        .collect()
}

/// Padmé as its paper writes it.
fn padded(n: usize) -> usize {
    let length = 4 + n;
    let e = length.ilog2();
    let s = e.ilog2() + 1;
    let unit = 1_usize << (e - s);
    length.div_ceil(unit) * unit
}

/// `u32be n || content || zeros`.
pub(crate) fn pack(content: &[u8]) -> Vec<u8> {
    let mut text = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    text.extend_from_slice(content);
    text.resize(padded(content.len()).max(1024), 0);
    text
}

pub(crate) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).unwrap()
}

/// Makes a plaintext of an honest content.
pub(crate) type Packing<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// Changes bytes.
pub(crate) type Damage<'a> = dyn Fn(&mut Vec<u8>) + 'a;

/// How a forged section differs from an honest one.
#[derive(Default)]
pub(crate) struct Bend<'a> {
    /// Makes another plaintext of the honest content.
    pub(crate) plaintext: Option<&'a Packing<'a>>,
    /// Changes the block before anything is derived from it.
    pub(crate) terms: Option<&'a dyn Fn(&mut SectionBlock)>,
    /// Changes the ciphertext before it is digested.
    pub(crate) ciphertext: Option<&'a Damage<'a>>,
    /// Changes the finished block.
    pub(crate) block: Option<&'a dyn Fn(&mut SectionBlock)>,
    /// Replaces the row root before the keys are derived.
    pub(crate) row_root: Option<Digest>,
    /// What of the row's record falls into this fragment.
    pub(crate) slice: Option<std::ops::Range<usize>>,
    /// The root is made as for the row's last fragment, or as for another one, whatever the header says.
    pub(crate) last: Option<bool>,
}

/// Seals section `index` of a batch with this header.
pub(crate) fn section(header: &Header, index: usize, rows: &Rows, bend: &Bend<'_>) -> Forged {
    let suite = Suite::International;
    let key_version = key_version(index);
    let mut block = SectionBlock {
        name: section_name(index),
        schema: schema(index),
        rows: header.rows(),
        row_root: Digest::ZERO,
        groups: groups(index),
        compression: compression(index),
        ciphertext_bytes: 0,
        ciphertext: Digest::ZERO,
        key_record: key_version.record,
        commitment: Digest::ZERO,
    };
    if let Some(change) = bend.terms {
        change(&mut block);
    }
    let context0 = context0(header, &block);
    let salt_secret =
        suite.derive(&key_version.secret, &[b"govbridge/v1/salts\0", sha256(&[&context0]).as_bytes()]);
    let content = &rows.bytes()[bend.slice.clone().unwrap_or(0..rows.bytes().len())];
    let ends = header.fragment.is_none_or(|part| part.index + 1 == part.of);
    let leaves = match bend.last.unwrap_or(ends) {
        true => leaves(&salt_secret, rows),
        false => {
            let mut salt = [0; 32];
            suite.salts(&salt_secret).fill(0, &mut salt);
            vec![sha256(&[&[3], &salt, content])]
        }
    };
    block.row_root = bend.row_root.unwrap_or_else(|| tree(&leaves));
    let context = [context0.clone(), lp(&[block.row_root.as_bytes()])].concat();
    let associated = sha256(&[&context]);
    let base = suite.derive(&key_version.secret, &[b"govbridge/v1/section\0", associated.as_bytes()]);
    let key = suite.expand(&base, b"key\0");
    block.commitment = Digest(*suite.expand(&base, b"commit\0").expose());
    let plaintext = match bend.plaintext {
        Some(make) => make(content),
        None if block.compression == Compression::None => pack(content),
        None => pack(&zstd(content)),
    };
    let mut ciphertext = plaintext.clone();
    suite.encrypt(&key, associated.as_bytes(), &mut ciphertext).unwrap();
    if let Some(change) = bend.ciphertext {
        change(&mut ciphertext);
    }
    block.ciphertext_bytes = ciphertext.len().try_into().unwrap();
    block.ciphertext = sha256(&[&ciphertext]);
    if let Some(change) = bend.block {
        change(&mut block);
    }
    let trace = Trace {
        context0,
        context,
        salt_secret: *salt_secret.expose(),
        base: *base.expose(),
        key: *key.expose(),
        commitment: block.commitment.0,
        leaves,
        plaintext,
    };
    Forged { block, ciphertext, trace }
}

/// Magic, length, body and a signature by each key over `label || SHA-256(label || body)`.
pub(crate) fn signed(magic: &[u8; 4], label: &[u8], body: &[u8], signers: &[&SigningKey]) -> Vec<u8> {
    let digest = sha256(&[label, body]);
    let message = [label, digest.as_bytes()].concat();
    let mut frame = [
        &magic[..],
        &u32::try_from(body.len()).unwrap().to_be_bytes(),
        body,
        &[u8::try_from(signers.len()).unwrap()],
    ]
    .concat();
    for signer in signers {
        frame.extend_from_slice(&1_u16.to_be_bytes());
        frame.extend_from_slice(signer.id().as_bytes());
        frame.extend_from_slice(&64_u16.to_be_bytes());
        frame.extend_from_slice(&signer.sign(&message));
    }
    frame
}

pub(crate) const BATCH: (&[u8; 4], &[u8]) = (b"GBB1", b"govbridge/v1/batch\0");

/// A batch frame of this header body and these blocks and ciphertexts, as they are.
pub(crate) fn batch(
    body: &[u8],
    blocks: &[Vec<u8>],
    ciphertexts: &[&[u8]],
    signers: &[&SigningKey],
) -> Vec<u8> {
    let mut frame = signed(BATCH.0, BATCH.1, body, signers);
    for block in blocks {
        frame.extend(lp(&[block]));
    }
    frame.extend(ciphertexts.concat());
    frame
}

/// A batch frame of a header, whose section digests are filled in here.
pub(crate) fn assemble(header: &Header, sections: &[Forged], signers: &[&SigningKey]) -> Vec<u8> {
    let blocks: Vec<Vec<u8>> = sections.iter().map(|section| section.block.encode()).collect();
    let digests = blocks.iter().map(|block| sha256(&[b"govbridge/v1/section-block\0", block])).collect();
    let header = Header { sections: digests, ..header.clone() };
    let ciphertexts: Vec<&[u8]> = sections.iter().map(|section| &*section.ciphertext).collect();
    batch(&header.encode(), &blocks, &ciphertexts, signers)
}

/// Both sections of a header, honestly.
pub(crate) fn sections(header: &Header, rows: &[Rows; 2]) -> Vec<Forged> {
    (0..2).map(|i| section(header, i, &rows[i], &Bend::default())).collect()
}
