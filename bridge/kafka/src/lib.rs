//! Publish and fetch: frames into Kafka topics and out of them again.
//!
//! Kafka is transport only. What a record holds is proven by signatures, and its order by the chain inside the frames, so
//! this crate trusts nothing that a broker says except an acknowledgement, and that one only until a delivery fails.
//!
//! *In scope*: librdkafka's settings and which of them may not be changed, an idempotent producer that is thrown away after
//! its first failed delivery, a reader that stands at explicit offsets and has no group, the settings that topics need,
//! and the embedded cluster for trying out.
//! *Out of scope*: frames, sequences, epochs, what to do after an ambiguous publish (`bridge-chain`, `bridge-pipeline`).
//!
//! Invariants:
//! - `acks=all` and `enable.idempotence=true` cannot be switched off.
//! - After one delivery error a [`Publisher`] is broken for good: it sends nothing more and its queue is emptied.
//! - A [`Fetcher`] never moves to another offset by itself: an offset that is gone is an error.
//! - Dropping either never blocks for longer than [`DROP_WAIT_MAX`].

mod fetcher;
mod foreign;
mod link;
mod properties;
mod publisher;
pub mod removal;
pub mod topics;
pub mod trial;

pub use bridge_event::Disposition;
pub use fetcher::{Bounds, FetchError, Fetched, Fetcher, Reading};
pub use foreign::DROP_WAIT_MAX;
pub use link::{Link, Refusal, Standing};
pub use properties::{FRAME_BYTES_MAX, Properties, PropertiesError};
pub use publisher::{Delivery, DeliveryError, PublishError, Publisher};
