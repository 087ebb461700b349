//! The transparency log's formats: leaf, tile, proof, note, checkpoint, cosignature, policy (C2SP).

mod proof;
mod tree;

pub use proof::{
    ProofError, ProveError, consistency_proof, inclusion_proof, tree_root, verify_consistency, verify_inclusion,
};
pub use tree::{
    EMPTY_ROOT, Frontier, FrontierError, HashReader, Node, PROOF_HASHES_MAX, TREE_SIZE_MAX, leaf_hash, node_hash,
};
