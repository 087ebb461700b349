//! Seal, verify and open: the wire format of everything that is signed.
//!
//! ```text
//! rows -> Sealer::seal -> Sealed          frame bytes for Kafka, an entry for the log
//! bytes -> verify_batch -> Verdict -> Verified -> Opener::open -> Opened rows
//! ```
//!
//! *In scope*: batches with their headers, section blocks and ciphertexts; fences, beacons, key records, rewraps,
//! contract and incarnation records; log entries; the findings and errors of all of them.
//! *Out of scope*: whether a batch follows its stream (`bridge-chain`), what rows mean (`schemas`), whose key a key is
//! (the trust file, behind [`Signers`]), inclusion proofs and checkpoints (`bridge-tlog`), where randomness comes
//! from (nonces, seeds and secrets are arguments).
//!
//! Trust: this crate believes its caller's [`Signers`] and [`Expected`], and nothing that it reads.
//!
//! Invariants:
//! - every signed thing has one encoding; leftover bytes are refused; lengths are bounded before they are used;
//! - verification works on the received bytes, never on an encoding made again;
//! - a [`Verified`] exists only after its shape, signatures, stream, header, blocks and ciphertexts were right;
//! - rows leave [`Opener::open`] only after commitment, ciphertext, padding, expansion, count and root were right;
//! - two batches share an AEAD key only if they are the same batch.

mod beacon;
mod contract_record;
mod contradiction;
mod entry;
mod fence;
mod finding;
mod fragment;
mod frame;
mod header;
mod incarnation_record;
mod key_record;
mod mark;
mod open;
mod padding;
mod parse_error;
mod rows;
mod seal;
mod section;
mod signed;
mod verify;
mod wire;

pub use beacon::{Appended, Beacon, Head, PATH_HASHES_MAX, Place, SnapshotPlace, sign_beacon, verify_beacon};
pub use bridge_event::Mark;
pub use contract_record::{ContractRecord, SchemaFile};
pub use contradiction::{FRAGMENTS_MAX, ROW_BYTES_MAX};
pub use entry::{BatchEntry, ENTRY_BYTES_MAX, Entry, EpochEntry, MarkEntry, StreamMark, TrustEntry};
pub use fence::{Fence, sign_fence, verify_fence};
pub use finding::Finding;
pub use fragment::{FRAGMENT_BYTES, Fragments, Pieces, SectionAccess};
pub use frame::{Frame, FrameKind};
pub use header::{
    ClosedBy, EXTENSION_BYTES_MAX, EXTENSIONS_MAX, Extension, FragmentPart, Gap, Header, Notice, Retract,
    SnapshotPart, Vanished,
};
pub use incarnation_record::IncarnationRecord;
pub use key_record::{KeyRecord, KeyTerms, Rewrap, Wrap, WrapTo};
pub use mark::{BatchRef, RowPosition};
pub use open::{OpenError, Opened, Opener, open_section};
pub use padding::PLAINTEXT_BYTES_MIN;
pub use parse_error::ParseError;
pub use seal::{EXPANDED_BYTES_MAX, FRAME_BYTES_MAX, KeyVersion, SealError, Sealed, Sealer, SectionDraft};
pub use section::{BLOCK_BYTES_MAX, Compression, GROUPS_MAX, ROWS_MAX, SECTIONS_MAX, SectionBlock};
pub use signed::{Attested, Clear, SIGNATURES_MAX, Signature, Signed, Signers, Verdict};
pub use verify::{BatchFrame, Expected, Verified, verify_batch};
pub use wire::TEXT_BYTES_MAX;
