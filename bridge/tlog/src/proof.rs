//! Inclusion and consistency proofs: made as RFC 6962 sections 2.1.1 and 2.1.2 say, verified as RFC 9162 sections
//! 2.1.3.2 and 2.1.4.2 say.

use bridge_suite::Digest;

use crate::tree::{HashReader, PROOF_HASHES_MAX, TREE_SIZE_MAX, node_hash, root_of_edge};

/// A proof that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// The tree would be larger than [`TREE_SIZE_MAX`].
    #[error("a tree of {0} entries is above the limit of {TREE_SIZE_MAX}: check where the size comes from")]
    TooLarge(u64),
    /// The entry is not in the tree.
    #[error("entry {index} is not in a tree of {size} entries: ask for a larger tree")]
    OutsideTree {
        /// Index of the entry.
        index: u64,
        /// Entries of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {old} entries is not older than one of {new}: swap them or ask for a larger tree")]
    OldAboveNew {
        /// Entries of the older tree.
        old: u64,
        /// Entries of the newer tree.
        new: u64,
    },
    /// The reader of hashes failed.
    #[error("a hash of the tree cannot be read")]
    Read(#[source] E),
}

/// A proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree would be larger than [`TREE_SIZE_MAX`].
    #[error("the proof names a tree of {0} entries, above the limit of {TREE_SIZE_MAX}: refuse it")]
    TooLarge(u64),
    /// The entry is not in the tree.
    #[error("the proof names entry {index} in a tree of {size} entries: refuse it")]
    OutsideTree {
        /// Index of the entry.
        index: u64,
        /// Entries of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error(
        "the proof goes from {old} entries back to {new}: a log that shrinks is broken, keep both checkpoints"
    )]
    OldAboveNew {
        /// Entries of the older tree.
        old: u64,
        /// Entries of the newer tree.
        new: u64,
    },
    /// The older tree is empty, and so a part of every tree.
    #[error(
        "nothing is to be proved about an empty tree: decide without a proof what a first checkpoint means"
    )]
    NothingToProve,
    /// The proof has more or fewer hashes than these sizes need.
    #[error("the proof has {0} hashes, which these sizes do not need: refuse it")]
    Length(usize),
    /// The hashes do not lead to the root, or not to the older root.
    #[error(
        "the proof leads to another root: the entry, the index or the tree is not the one that was signed"
    )]
    WrongRoot,
}

/// Entries `start` to `end`, exclusive, whose root is one hash of a proof. `start` is a multiple of the largest power
/// of two in the span, so that every piece of it is a complete subtree.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    fn size(self) -> u64 {
        self.end - self.start
    }

    /// Left and right part as RFC 6962 splits them: at the largest power of two below the size.
    fn split(self) -> (Span, Span) {
        let middle = self.start + (1 << (self.size() - 1).ilog2());
        (Span { start: self.start, end: middle }, Span { start: middle, end: self.end })
    }

    /// The roots of the largest complete subtrees in the span, from the left.
    fn edge<R: HashReader>(self, reader: &R) -> Result<Vec<Digest>, ProveError<R::Error>> {
        let mut hashes = Vec::new();
        let mut start = self.start;
        while start < self.end {
            let height = (self.end - start).ilog2();
            let level = u8::try_from(height).unwrap_or(u8::MAX);
            hashes.push(reader.hash(level, start >> height).map_err(ProveError::Read)?);
            start += 1 << height;
        }
        Ok(hashes)
    }

    fn root<R: HashReader>(self, reader: &R) -> Result<Digest, ProveError<R::Error>> {
        Ok(root_of_edge(&self.edge(reader)?))
    }
}

/// The right edge of a tree of `size` entries.
pub(crate) fn edge<R: HashReader>(size: u64, reader: &R) -> Result<Vec<Digest>, ProveError<R::Error>> {
    if size > TREE_SIZE_MAX {
        return Err(ProveError::TooLarge(size));
    }
    Span { start: 0, end: size }.edge(reader)
}

/// The root of the tree of the first `size` entries.
///
/// # Errors
/// The size is above [`TREE_SIZE_MAX`], or the reader fails.
pub fn tree_root<R: HashReader>(size: u64, reader: &R) -> Result<Digest, ProveError<R::Error>> {
    Ok(root_of_edge(&edge(size, reader)?))
}

/// The path from entry `index` to the root of the tree of `size` entries, the leaf's sibling first (RFC 6962 section
/// 2.1.1).
///
/// # Errors
/// The entry is not in the tree, the size is above [`TREE_SIZE_MAX`], or the reader fails.
pub fn inclusion_proof<R: HashReader>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Digest>, ProveError<R::Error>> {
    if size > TREE_SIZE_MAX {
        return Err(ProveError::TooLarge(size));
    }
    if index >= size {
        return Err(ProveError::OutsideTree { index, size });
    }
    let mut siblings = Vec::new();
    let mut span = Span { start: 0, end: size };
    while span.size() > 1 {
        let (left, right) = span.split();
        let (next, sibling) = if index < left.end { (left, right) } else { (right, left) };
        siblings.push(sibling);
        span = next;
    }
    siblings.iter().rev().map(|sibling| sibling.root(reader)).collect()
}

/// The proof that the tree of `new` entries begins with the tree of `old` entries (RFC 6962 section 2.1.2). It is
/// empty when the sizes are equal, and when `old` is 0 (tlog-witness, `add-checkpoint`).
///
/// # Errors
/// `old` is above `new`, `new` is above [`TREE_SIZE_MAX`], or the reader fails.
pub fn consistency_proof<R: HashReader>(
    old: u64,
    new: u64,
    reader: &R,
) -> Result<Vec<Digest>, ProveError<R::Error>> {
    if new > TREE_SIZE_MAX {
        return Err(ProveError::TooLarge(new));
    }
    if old > new {
        return Err(ProveError::OldAboveNew { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let mut span = Span { start: 0, end: new };
    // SUBPROOF of RFC 6962: the part that ends where the old tree ends is left out only when it is the old tree.
    while span.end != old {
        let (left, right) = span.split();
        let (next, other) = if old <= left.end { (left, right) } else { (right, left) };
        parts.push(other);
        span = next;
    }
    if span.start != 0 {
        parts.push(span);
    }
    parts.iter().rev().map(|part| part.root(reader)).collect()
}

/// Verifies that the entry with this leaf hash stands at `index` in the tree of `size` entries with this root (RFC
/// 9162 section 2.1.3.2).
///
/// # Errors
/// The proof does not hold.
pub fn verify_inclusion(
    leaf_hash: &Digest,
    index: u64,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if size > TREE_SIZE_MAX {
        return Err(ProofError::TooLarge(size));
    }
    if index >= size {
        return Err(ProofError::OutsideTree { index, size });
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::Length(proof.len()));
    }
    let mut climb = Climb { node: index, last: size - 1 };
    let mut hash = *leaf_hash;
    for sibling in proof {
        hash = match climb.step() {
            Some(Side::Left) => node_hash(sibling, &hash),
            Some(Side::Right) => node_hash(&hash, sibling),
            None => return Err(ProofError::Length(proof.len())),
        };
    }
    if climb.last != 0 {
        return Err(ProofError::Length(proof.len()));
    }
    if hash == *root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// Verifies that the tree of `new_size` entries with `new_root` begins with the tree of `old_size` entries with
/// `old_root` (RFC 9162 section 2.1.4.2). Equal sizes need equal roots and an empty proof.
///
/// # Errors
/// The proof does not hold, or `old_size` is 0: every tree begins with the empty one, so nothing is proved, and a
/// caller who knows no older tree must not ask.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if new_size > TREE_SIZE_MAX {
        return Err(ProofError::TooLarge(new_size));
    }
    if old_size > new_size {
        return Err(ProofError::OldAboveNew { old: old_size, new: new_size });
    }
    if old_size == 0 {
        return Err(ProofError::NothingToProve);
    }
    if proof.len() > PROOF_HASHES_MAX {
        return Err(ProofError::Length(proof.len()));
    }
    if old_size == new_size {
        return match (proof.is_empty(), old_root == new_root) {
            (false, _) => Err(ProofError::Length(proof.len())),
            (true, false) => Err(ProofError::WrongRoot),
            (true, true) => Ok(()),
        };
    }
    let mut climb = Climb { node: old_size - 1, last: new_size - 1 };
    climb.skip_right_children();
    // The climb starts at the last complete subtree of the old tree. When that is the whole old tree, its root is
    // known and not in the proof.
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(ProofError::Length(0))?
    };
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        match climb.step() {
            Some(Side::Left) => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Some(Side::Right) => new = node_hash(&new, sibling),
            None => return Err(ProofError::Length(proof.len())),
        }
    }
    if climb.last != 0 {
        return Err(ProofError::Length(proof.len()));
    }
    if old == *old_root && new == *new_root { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// On which side of the path a proof's hash stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162, the node's index and the last index of its level.
struct Climb {
    node: u64,
    last: u64,
}

impl Climb {
    /// Goes over one hash of the proof; nothing when the root is already reached.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // The last node of a level without a sibling is its own parent, up to where it is a right child.
            while self.node & 1 == 0 && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Some(side)
    }

    fn skip_right_children(&mut self) {
        while self.node & 1 == 1 {
            self.up();
        }
    }

    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }
}
