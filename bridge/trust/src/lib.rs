//! The trust file: departments, their keys, logs, witnesses and policies, signed k-of-m.
//!
//! *In scope*: reading, judging and verifying versions of the file (`docs/spec/trust.md`), editing and signing a next
//! one, and answering whose key may have signed what. *Out of scope*: files (`bridge-cli`), notes (`bridge-tlog`), what
//! was signed with the keys (`bridge-envelope`), and remembering the newest version over a restart (the processes).
//!
//! ```text
//!   Draft --text--> Ballot --root signatures, k of m--> signed note --Trust::verify--> Trust
//!                                                                        ^
//!                         pinned digest (version 1), or the Trust of the version before
//! ```
//!
//! Trust: whoever holds k root keys decides what every other room believes. This crate believes a pinned digest,
//! `bridge-tlog`'s notes, and nothing else.
//!
//! Invariants:
//! - a [`Trust`] exists only for a version that follows its anchor, keeps the rules, and bears k root signatures;
//! - no key bytes stand twice in a [`Terms`];
//! - a log owner's own witness counts for none of its logs.

mod content;
mod draft;
mod error;
mod problem;
mod quorum;
mod signing;
mod terms;
mod trust;

pub use draft::{Draft, EditError, Place};
pub use error::{PolicyError, SignError, TrustError};
pub use problem::{Problem, Warning};
pub use signing::{Ballot, is_signed};
pub use terms::{Log, Member, SigningTerm, Terms, Validity, Votes, Witness};
pub use trust::{Anchor, Remembered, Trust};
