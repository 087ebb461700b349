//! What a department promises: contracts, sections, grants; rows to Avro bytes and back.
//!
//! *In scope*: `contract.toml` and the schema of each section, every problem in them with its place and remedy; who is
//! entitled when; whether a new contract may follow an old one; writing a change as each section's bytes, and reading
//! them back from anyone. *Out of scope*: files and folders (the caller brings bytes), leaf hashes and encryption
//! (`bridge-envelope`), when a key version starts (`bridge-pipeline`).
//!
//! ```text
//! contract.toml, <section>.avsc -> Contract -> Encoder       (a change  -> Rows of each section)
//!                                          \-> SectionReader (untrusted bytes -> Rows -> cells)
//! ```
//!
//! Invariants:
//! - a [`Contract`] that exists is whole;
//! - what the [`Encoder`] writes is the Avro of [`Section::derived_schema_json`], and each value has one encoding;
//! - a conversion loses nothing, or is refused;
//! - a [`SectionReader`] accepts what the encoder can write, and nothing else; it never panics, and allocates no more
//!   than the content is long.

mod assembly;
mod audience;
mod avro_schema;
mod column;
mod compatibility;
mod contract;
mod convert;
mod declaration;
mod derived;
mod document;
mod encoder;
mod moment;
mod problem;
mod reader;
mod row;
mod wire;

pub use audience::{Audience, SectionView, View};
pub use column::{Class, Column, ColumnType};
pub use compatibility::{Addition, Compatibility, Widening, compatible};
pub use contract::{
    Compression, Contract, ContractFiles, FILES_BYTES_MAX, GRANTS_MAX, GROUPS_MAX, Grant, Group,
    SECTIONS_MAX, Section,
};
pub use encoder::{EncodeError, Encoder};
pub use moment::{write_date, write_time, write_timestamp};
pub use problem::{CONTRACT_FILE, Problem, Problems};
pub use reader::{ReadError, ReadRow, SectionReader};
pub use row::{EventHead, ROW_BYTES_MAX, States};
