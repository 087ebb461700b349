//! The tree over a section's rows.
//!
//! ```text
//! leaf i = H(0x00 || salt_i || head and keys || u8 g || c_1 .. c_g || ungrouped bytes)
//! c_j    = H(0x02 || salt_ij || u16be j || group bytes)                 j from 1
//! node   = H(0x01 || left || right)                                    RFC 6962, 2.1
//! salt_i = chunk i * (g + 1) of the salt stream, salt_ij = chunk i * (g + 1) + j
//! ```
//!
//! A fragment that is not its row's last one has one leaf, `H(0x03 || salt_0 || slice)`; the last one has the whole row's.

use bridge_event::{RowParts, Rows};
use bridge_suite::{Digest, Secret, Suite};

/// Length of a salt, in bytes.
pub(crate) const SALT_BYTES: usize = 32;

/// Reused buffers of the tree; nothing is allocated for a row.
#[derive(Default)]
pub(crate) struct RowTree {
    salts: Vec<u8>,
    hashes: Vec<Digest>,
}

impl RowTree {
    /// The root over the rows, with salts from `secret`.
    pub(crate) fn root(&mut self, suite: Suite, secret: &Secret, rows: &Rows) -> Digest {
        let chunks = rows.groups() + 1;
        self.salts.clear();
        self.salts.resize(rows.rows() * chunks * SALT_BYTES, 0);
        suite.salts(secret).fill(0, &mut self.salts);
        self.hashes.clear();
        let salts = self.salts.chunks_exact(chunks * SALT_BYTES);
        self.hashes.extend(rows.iter().zip(salts).map(|(row, salts)| leaf(suite, &row, salts)));
        root_of(suite, &mut self.hashes)
    }

    /// The root over a fragment that is not its row's last one: the leaf of its slice.
    pub(crate) fn fragment(&mut self, suite: Suite, secret: &Secret, slice: &[u8]) -> Digest {
        self.salts.clear();
        self.salts.resize(SALT_BYTES, 0);
        suite.salts(secret).fill(0, &mut self.salts);
        let mut hash = suite.hasher();
        hash.update(&[0x03]);
        hash.update(&self.salts);
        hash.update(slice);
        hash.finish()
    }

    /// The salts of the rows last hashed.
    pub(crate) fn salts(&self) -> &[u8] {
        &self.salts
    }
}

/// The leaf of a row; `salts` are its own and its groups' salts, one after the other.
pub(crate) fn leaf(suite: Suite, row: &RowParts<'_>, salts: &[u8]) -> Digest {
    let mut salts = salts.chunks_exact(SALT_BYTES);
    let groups = row.groups.clone();
    let mut hash = suite.hasher();
    hash.update(&[0x00]);
    hash.update(salts.next().unwrap_or_default());
    hash.update(row.head);
    // At most 16 groups: both sealing and opening check it.
    hash.update(&[u8::try_from(groups.len()).unwrap_or(u8::MAX)]);
    for ((group, salt), number) in groups.zip(salts).zip(1_u16..) {
        let mut inner = suite.hasher();
        inner.update(&[0x02]);
        inner.update(salt);
        inner.update(&number.to_be_bytes());
        inner.update(group);
        hash.update(inner.finish().as_bytes());
    }
    hash.update(row.rest);
    hash.finish()
}

/// The root over `hashes`, computed in their place, level by level. An odd last node goes up as it is, which is RFC
/// 6962's split at the largest power of two.
fn root_of(suite: Suite, hashes: &mut Vec<Digest>) -> Digest {
    while hashes.len() > 1 {
        let parents = hashes.len().div_ceil(2);
        for i in 0..parents {
            let parent = match (hashes.get(2 * i), hashes.get(2 * i + 1)) {
                (Some(left), Some(right)) => suite.hash(&[&[0x01], left.as_bytes(), right.as_bytes()]),
                (Some(left), None) => *left,
                (None, _) => break,
            };
            if let Some(place) = hashes.get_mut(i) {
                *place = parent;
            }
        }
        hashes.truncate(parents);
    }
    hashes.first().copied().unwrap_or_else(|| suite.hash(&[]))
}
