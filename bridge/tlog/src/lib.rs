//! The transparency log's formats: leaf, tile, proof, note, checkpoint, cosignature, policy (C2SP).
//!
//! *In scope*: the tree of RFC 6962 with its inclusion and consistency proofs; C2SP tlog-tiles, signed-note (Ed25519),
//! tlog-checkpoint, tlog-cosignature (Ed25519), tlog-witness (the bodies of `add-checkpoint` and how to judge one),
//! tlog-proof and tlog-policy. *Out of scope*: files, HTTP and clocks (whoever owns a log or a witness has them; bytes
//! and times are arguments), what an entry means, ML-DSA and ECDSA signatures (ignored as those of unknown keys),
//! pruning, mirrors.
//!
//! ```text
//!  entry -> leaf_hash -> Frontier::append -> Node .. -> Tile, Bundle          what a log stores
//!                            |
//!                          root() -> Checkpoint -> SignedCheckpoint           what a log signs
//!                                                     |        ^
//!                                      AddCheckpoint -'        '- cosignature a witness judges, then cosigns
//!                                                     |
//!  entry, index, inclusion_proof, SignedCheckpoint -> TlogProof               what a third party checks,
//!                                                     '- Policy -> Standing   and whom it believes
//! ```
//!
//! Trust: a log is believed to have signed what its key signed and nothing more; that it shows everybody the same tree
//! is believed of a quorum of witnesses, which a [`Policy`] names.
//!
//! Invariants:
//! - a note, key, path, request or proof file that is parsed is written back byte for byte: a second spelling is refused;
//! - a [`SignedCheckpoint`] exists only under its log's valid signature;
//! - one wrong signature of a known key rejects the whole note, and no key counts twice;
//! - no parser panics, and none allocates more than a constant beyond the bytes that it was given.

mod bundle;
mod checkpoint;
mod cosignature;
mod key;
mod line;
mod note;
mod policy;
mod policy_file;
mod proof;
mod tile;
mod tlog_proof;
mod tree;
mod witness;

pub use bundle::{Bundle, BundleError, ENTRY_BYTES_MAX, append_entry, bundles_for};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use cosignature::{COSIGNATURE_TIME_MAX, CosignatureError, cosignature_message};
pub use key::{KEY_NAME_BYTES_MAX, KeyError, NoteKeyId, NoteSigner, SignError, SignatureKind, VerifierKey};
pub use note::{NOTE_BYTES_MAX, Note, NoteError, NoteSignature, SIGNATURES_MAX, Verified, VerifyError};
pub use policy::{Cosigned, EvaluateError, Policy, PolicyGroup, PolicyLog, PolicyWitness, Standing};
pub use policy_file::{POLICY_BYTES_MAX, PolicyError, PolicyFault};
pub use proof::{
    ProofError, ProveError, consistency_proof, inclusion_proof, tree_root, verify_consistency,
    verify_inclusion,
};
pub use tile::{HASH_BYTES, TILE_WIDTH, Tile, TileError, TileReadError, TileReader, tiles_for};
pub use tlog_proof::{EXTRA_BYTES_MAX, TLOG_PROOF_BYTES_MAX, TlogProof, TlogProofError};
pub use tree::{
    EMPTY_ROOT, Frontier, FrontierError, HashReader, Node, PROOF_HASHES_MAX, TREE_SIZE_MAX, leaf_hash,
    node_hash,
};
pub use witness::{
    ADD_CHECKPOINT_BYTES_MAX, AddCheckpoint, AddCheckpointError, Refusal, SIZE_CONTENT_TYPE,
    format_cosignatures, format_latest_size, parse_cosignatures, parse_latest_size,
};
