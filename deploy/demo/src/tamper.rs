//! The tamperer: somebody who holds the bytes, and some of the keys, and shares no code with those who verify.
//!
//! *In scope*: taking frames apart by the published formats (docs/spec), changing them, putting them together again, and
//! signing them with stolen keys. *Out of scope*: everything that judges. No room that verifies is named in here: a
//! mistake in one of them must not be made twice.

mod acts;
mod avro;
mod frame;
mod pen;
mod shapes;

pub(crate) use acts::{ACTS, Act, Stolen};
pub(crate) use pen::Pen;
