//! One session with a PostgreSQL server, as its frontend/backend protocol 3.0 has it.
//!
//! *In scope*: a connection by TCP, with TLS or without, or by Unix socket, startup with pinned settings, SCRAM-SHA-256, commands and their rows,
//! rows in binary, the bytes of a walsender's stream, `COPY ... FROM STDIN`. *Out of scope*: what a statement is for;
//! other kinds of authentication; pools.
//!
//! ```text
//!   Session: query, begin_rows/next_row, copy_in
//!      |  messages
//!   Socket: TCP, TLS or Unix; big gulps, framed without a copy  ----  Pen: the writing half, which another thread may share
//! ```
//!
//! Invariants: nothing a server sends is believed beyond its length, and no message over 256 MiB is taken; a server's
//! detail and context, which may hold values, are never repeated; another machine proves who it is, unless plain
//! text was asked for by name; a session says its settings itself, so that neither a role's nor a
//! database's own change how a value looks.

mod bytes;
mod copy;
mod low_water;
mod scram;
mod server;
mod session;
mod socket;
mod tls;

pub use bytes::Reader;
pub use server::{Server, literal, quoted};
pub use session::{ANSWER, Row, Session, refusal, with_length};
pub use socket::{Fault, Pen, Socket};
pub use tls::{SslMode, Tls};
