//! `COPY ... FROM STDIN`: rows into a table, without a statement for each.

use crate::session::{Session, is_fatal, refusal, with_length};
use crate::socket::Fault;
use std::time::{Duration, Instant};

/// How much goes into one message.
const PIECE_BYTES: usize = 64 << 10;

impl Session {
    /// Runs a `COPY ... FROM STDIN` with these bytes, which are in the format that the statement names. The server has
    /// taken all of them or none.
    pub fn copy_in(&mut self, sql: &str, bytes: &[u8], patience: Duration) -> Result<(), Fault> {
        self.send(b'Q', sql)?;
        let until = Instant::now() + patience;
        let mut refused = None;
        loop {
            let (tag, range) = self.socket.take(until)?;
            match tag {
                b'G' => {
                    for piece in bytes.chunks(PIECE_BYTES) {
                        self.socket.pen().write(&with_length(Some(b'd'), piece))?;
                    }
                    self.socket.pen().write(&with_length(Some(b'c'), &[]))?;
                }
                b'E' => {
                    let refusal = refusal(self.socket.bytes(&range));
                    if is_fatal(&refusal) {
                        return Err(refusal);
                    }
                    refused = Some(refusal);
                }
                b'Z' => return refused.map_or(Ok(()), Err),
                b'C' | b'N' | b'S' | b'A' => {}
                _ => return Err(Fault::Protocol("an answer that no COPY has")),
            }
        }
    }
}
