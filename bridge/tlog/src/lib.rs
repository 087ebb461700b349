//! The transparency log's formats: leaf, tile, proof, note, checkpoint, cosignature, policy (C2SP).

mod bundle;
mod checkpoint;
mod cosignature;
mod key;
mod line;
mod note;
mod proof;
mod tile;
mod tree;

pub use bundle::{Bundle, BundleError, ENTRY_BYTES_MAX, append_entry, bundles_for};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use cosignature::{COSIGNATURE_TIME_MAX, CosignatureError, cosignature_message};
pub use key::{KEY_NAME_BYTES_MAX, KeyError, NoteKeyId, NoteSigner, SignError, SignatureKind, VerifierKey};
pub use note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, SIGNATURES_MAX, Verified, VerifyError};
pub use proof::{
    ProofError, ProveError, consistency_proof, inclusion_proof, tree_root, verify_consistency,
    verify_inclusion,
};
pub use tile::{HASH_BYTES, TILE_WIDTH, Tile, TileError, TileReadError, TileReader, tiles_for};
pub use tree::{
    EMPTY_ROOT, Frontier, FrontierError, HashReader, Node, PROOF_HASHES_MAX, TREE_SIZE_MAX, leaf_hash,
    node_hash,
};
