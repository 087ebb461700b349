//! The Merkle tree of RFC 6962 section 2.1: hashes of leaves and nodes, and the right edge of a growing tree.
//!
//! ```text
//! leaf hash = SHA-256(0x00 || entry)
//! node hash = SHA-256(0x01 || left || right)
//! empty     = SHA-256("")
//! ```

use bridge_suite::{Digest, sha256};

/// The root of a tree without entries: SHA-256 of nothing (RFC 6962 section 2.1).
pub const EMPTY_ROOT: Digest = Digest([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Most entries of a tree. A consistency proof has at most log2(size) + 1 hashes, and tlog-witness lets 63 through:
/// 62 + 1 = 63. No shift or sum below this size can overflow 64 bits.
pub const TREE_SIZE_MAX: u64 = 1 << 62;

/// Most hashes of an inclusion or a consistency proof (tlog-witness, `add-checkpoint`).
pub const PROOF_HASHES_MAX: usize = 63;

/// The hash of an entry (RFC 6962 section 2.1).
pub fn leaf_hash(entry: &[u8]) -> Digest {
    sha256(&[&[0x00], entry])
}

/// The hash of an interior node over its two children (RFC 6962 section 2.1).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[0x01], left.as_bytes(), right.as_bytes()])
}

/// The root of a complete subtree: it covers the entries `index << level` up to `(index + 1) << level`, exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Height of the subtree; 0 is a leaf.
    pub level: u8,
    /// Place of the subtree among those of its height, from the left, counted from 0.
    pub index: u64,
    /// Its root.
    pub hash: Digest,
}

/// Gives the hashes of complete subtrees, from memory, tiles or a database.
///
/// A closure `Fn(u8, u64) -> Result<Digest, E>` is a reader, too.
pub trait HashReader {
    /// Why a hash cannot be had.
    type Error;

    /// The root of the complete subtree of height `level` at `index`, counted from the left. Level 0 holds the leaf
    /// hashes.
    fn hash(&self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

impl<F, E> HashReader for F
where
    F: Fn(u8, u64) -> Result<Digest, E>,
{
    type Error = E;

    fn hash(&self, level: u8, index: u64) -> Result<Digest, E> {
        self(level, index)
    }
}

/// A tree that cannot be built or grown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The tree has as many entries as it can hold.
    #[error("the tree holds {TREE_SIZE_MAX} entries and takes no more: start a new log")]
    Full,
    /// The hashes are not the right edge of a tree of this size.
    #[error("a tree of {size} entries has {wanted} edge hashes, {found} were given: read the edge again")]
    EdgeCount {
        /// Entries of the tree.
        size: u64,
        /// Edge hashes of a tree of this size: the ones in its binary form.
        wanted: u32,
        /// Edge hashes that were given.
        found: usize,
    },
}

/// The right edge of a tree: the roots of its largest complete subtrees, from the left. It is all that is needed to
/// append and to compute the root, and has at most 63 hashes.
///
/// Invariant: there is one edge hash for each one in the binary form of `size`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    edge: Vec<Digest>,
}

impl Frontier {
    /// The tree without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` entries with this right edge, as [`Frontier::edge`] gave it.
    ///
    /// # Errors
    /// The size is above [`TREE_SIZE_MAX`], or the number of hashes does not fit it.
    pub fn from_edge(size: u64, edge: Vec<Digest>) -> Result<Self, FrontierError> {
        if size > TREE_SIZE_MAX {
            return Err(FrontierError::Full);
        }
        let wanted = size.count_ones();
        if u32::try_from(edge.len()) != Ok(wanted) {
            return Err(FrontierError::EdgeCount { size, wanted, found: edge.len() });
        }
        Ok(Self { size, edge })
    }

    /// Reads the right edge of a tree of `size` entries; its root is to be compared with a signed one.
    ///
    /// # Errors
    /// The size is above [`TREE_SIZE_MAX`], or the reader fails.
    pub fn read<R: HashReader>(size: u64, reader: &R) -> Result<Self, crate::ProveError<R::Error>> {
        let edge = crate::proof::edge(size, reader)?;
        Ok(Self { size, edge })
    }

    /// Entries in the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the largest complete subtrees, from the left.
    pub fn edge(&self) -> &[Digest] {
        &self.edge
    }

    /// The same as [`Frontier::edge`], taken out.
    pub fn into_edge(self) -> Vec<Digest> {
        self.edge
    }

    /// The root over all entries.
    pub fn root(&self) -> Digest {
        root_of_edge(&self.edge)
    }

    /// Appends a leaf hash and gives the interior nodes that it completes, from the lowest. The leaf itself, level 0
    /// at index `size() - 1`, is not among them.
    ///
    /// # Errors
    /// The tree is full.
    pub fn append(&mut self, leaf: Digest) -> Result<Vec<Node>, FrontierError> {
        if self.size >= TREE_SIZE_MAX {
            return Err(FrontierError::Full);
        }
        let mut completed = Vec::new();
        let mut node = Node { level: 0, index: self.size, hash: leaf };
        // An odd index is a right child, and the edge's last hash is its sibling.
        while node.index & 1 == 1 {
            let Some(left) = self.edge.pop() else { break };
            node = Node { level: node.level + 1, index: node.index >> 1, hash: node_hash(&left, &node.hash) };
            completed.push(node);
        }
        self.edge.push(node.hash);
        self.size += 1;
        Ok(completed)
    }
}

/// The root over complete subtrees that stand side by side, from the left, each smaller than the one before.
pub(crate) fn root_of_edge(edge: &[Digest]) -> Digest {
    edge.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or(EMPTY_ROOT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference tree of Certificate Transparency: leaves and the roots of its first 0 to 8 entries.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_of_the_reference_tree_are_those_of_certificate_transparency() {
        let mut tree = Frontier::new();
        assert_eq!(tree.root(), EMPTY_ROOT);
        assert_eq!(hex::encode(tree.root().as_bytes()), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            tree.append(leaf_hash(&hex::decode(leaf).unwrap())).unwrap();
            assert_eq!(hex::encode(tree.root().as_bytes()), *root);
        }
        assert_eq!(tree.size(), 8);
    }

    #[test]
    fn an_append_names_each_node_that_it_completes() {
        let mut tree = Frontier::new();
        let places: Vec<Vec<(u8, u64)>> = (0..8u8)
            .map(|i| {
                tree.append(leaf_hash(&[i])).unwrap().iter().map(|node| (node.level, node.index)).collect()
            })
            .collect();
        let wanted: [&[(u8, u64)]; 8] =
            [&[], &[(1, 0)], &[], &[(1, 1), (2, 0)], &[], &[(1, 2)], &[], &[(1, 3), (2, 1), (3, 0)]];
        assert_eq!(places, wanted);
    }

    #[test]
    fn a_frontier_goes_on_from_its_edge() {
        let mut whole = Frontier::new();
        for i in 0..200u8 {
            whole.append(leaf_hash(&[i])).unwrap();
            let mut again = Frontier::from_edge(whole.size(), whole.edge().to_vec()).unwrap();
            assert_eq!(again, whole);
            again.append(leaf_hash(b"x")).unwrap();
            let mut ahead = whole.clone();
            ahead.append(leaf_hash(b"x")).unwrap();
            assert_eq!(again.root(), ahead.root());
        }
        let wanted = FrontierError::EdgeCount { size: 200, wanted: 3, found: 2 };
        assert_eq!(Frontier::from_edge(200, vec![EMPTY_ROOT; 2]), Err(wanted));
    }

    #[test]
    fn a_tree_beyond_the_limit_is_refused() {
        assert_eq!(Frontier::from_edge(TREE_SIZE_MAX + 1, vec![EMPTY_ROOT; 2]), Err(FrontierError::Full));
        let mut full = Frontier::from_edge(TREE_SIZE_MAX, vec![EMPTY_ROOT]).unwrap();
        assert_eq!(full.append(EMPTY_ROOT), Err(FrontierError::Full));
    }
}
