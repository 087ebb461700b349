//! Asks a witness for its cosignature (C2SP tlog-witness, `add-checkpoint`).

use std::time::Duration;

use bridge_suite::sha256;
use bridge_tlog::{
    ADD_CHECKPOINT_BYTES_MAX, AddCheckpoint, NOTE_BYTES_MAX, Note, NoteSignature, SignedCheckpoint,
    VerifierKey, consistency_proof, parse_cosignatures, parse_latest_size,
};

use crate::conflict::Conflict;
use crate::http::{Answer, Http};
use crate::tile_reader::root_of;
use crate::{Disposition, ReadError, TileReader};

/// Requests for one cosignature: one with the size that we believe, one with the size that the witness names, and one
/// more in case that another connection of ours came between.
const TRIES: usize = 3;

/// A witness did not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It does not answer.
    #[error("WIT001: the witness {witness} does not answer: {reason}; checkpoints go on without it")]
    Unreachable {
        /// The witness.
        witness: String,
        /// Why.
        reason: String,
    },
    /// It does not know this log, or its key.
    #[error(
        "WIT002: the witness {witness} does not know this log (status {status}: {reason}); its operator has to add the origin and the key of the log"
    )]
    Unknown {
        /// The witness.
        witness: String,
        /// 403 or 404.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// It answers something that an honest witness would not.
    #[error(
        "WIT003: the witness {witness} gives an odd answer: {reason}; the fault is the witness's, tell its operator"
    )]
    Odd {
        /// The witness.
        witness: String,
        /// What is odd.
        reason: String,
    },
    /// It showed a checkpoint under our own key that does not fit ours.
    #[error("WIT004: the witness {} holds a checkpoint of {} entries under our own log key that does not fit ours of {}: the log was forked, went back or its key was stolen; nothing more is published, both are saved",
        .0.witness, .0.theirs.checkpoint().size, .0.ours.checkpoint().size)]
    Conflict(Box<Conflict>),
    /// Our own tiles cannot be read.
    #[error(
        "WIT005: the proof for the witness {witness} cannot be made from our own tiles: {reason}; check the log's directory"
    )]
    Tiles {
        /// The witness.
        witness: String,
        /// Why.
        reason: String,
    },
    /// It refuses, and shows no checkpoint that would not fit.
    #[error(
        "WIT006: the witness {witness} refuses to cosign (status {status}): {reason}; a checking witness refuses a log with two chains of one stream, look at the reason"
    )]
    Refused {
        /// The witness.
        witness: String,
        /// The status.
        status: u16,
        /// Its words.
        reason: String,
    },
}

impl AskError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            AskError::Unreachable { .. } => "WIT001",
            AskError::Unknown { .. } => "WIT002",
            AskError::Odd { .. } => "WIT003",
            AskError::Conflict(_) => "WIT004",
            AskError::Tiles { .. } => "WIT005",
            AskError::Refused { .. } => "WIT006",
        }
    }

    /// Halt for a conflict: publishing stops. Everything else is tried again with the next checkpoint.
    pub fn disposition(&self) -> Disposition {
        match self {
            AskError::Conflict(_) => Disposition::Halt,
            _ => Disposition::Retry,
        }
    }
}

/// A cosignature that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The line for the checkpoint's note.
    pub line: NoteSignature,
    /// When the witness cosigned, in seconds since 1970.
    pub time: u64,
}

/// One witness, as a log knows it.
#[derive(Debug)]
pub struct WitnessClient {
    name: String,
    key: VerifierKey,
    url: String,
    http: Http,
    known: u64,
}

impl WitnessClient {
    /// A witness by its name for people, its key and its submission prefix. Each request takes at most `timeout`.
    ///
    /// # Errors
    /// APP023 when the address does not begin with `http://` or `https://`.
    pub fn new(
        name: &str,
        key: VerifierKey,
        url: &str,
        timeout: Duration,
    ) -> Result<WitnessClient, ReadError> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ReadError::Address { address: url.to_owned() });
        }
        let url = url.trim_end_matches('/').to_owned();
        Ok(WitnessClient { name: name.to_owned(), key, url, http: Http::new(timeout), known: 0 })
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Asks for a cosignature. `tiles` is the log's own directory, `logs` the log's own keys.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn ask(
        &mut self,
        signed: &SignedCheckpoint,
        logs: &[VerifierKey],
        tiles: &TileReader,
    ) -> Result<Cosignature, AskError> {
        let size = signed.checkpoint().size;
        for _ in 0..TRIES {
            let old = if self.known > size { 0 } else { self.known };
            let answer = self.send(signed, old, tiles)?;
            match answer.status {
                200 => return self.accept(signed, &answer),
                403 | 404 => {
                    let witness = self.name.clone();
                    return Err(AskError::Unknown {
                        witness,
                        status: answer.status,
                        reason: words(&answer.body),
                    });
                }
                409 => match parse_latest_size(&answer.body) {
                    Some(latest) if latest <= size && latest != old => self.known = latest,
                    _ => return Err(self.explain(signed, logs, tiles, &answer)),
                },
                422 => return Err(self.explain(signed, logs, tiles, &answer)),
                500..=599 => {
                    return Err(self.unreachable(format!(
                        "status {}: {}",
                        answer.status,
                        words(&answer.body)
                    )));
                }
                status => return Err(self.odd(format!("status {status}: {}", words(&answer.body)))),
            }
        }
        Err(self.odd("it names another size each time".to_owned()))
    }

    /// The newest checkpoint of a log that the witness has cosigned, under that log's valid signature; none when it has
    /// none, or does not show it.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn newest(&self, origin: &str, logs: &[VerifierKey]) -> Result<Option<SignedCheckpoint>, AskError> {
        let url = format!("{}/{}/checkpoint", self.url, sha256(&[origin.as_bytes()]));
        let answer =
            self.http.read(&url, NOTE_BYTES_MAX as u64).map_err(|reason| self.unreachable(reason))?;
        match answer.status {
            200 => {}
            404 => return Ok(None),
            status => return Err(self.unreachable(format!("status {status}: {}", words(&answer.body)))),
        }
        let note = Note::parse(&answer.body).map_err(|error| self.odd(error.to_string()))?;
        let signed = SignedCheckpoint::verify(note, logs).map_err(|error| self.odd(error.to_string()))?;
        if signed.checkpoint().origin != origin {
            return Err(self.odd(format!("it shows a checkpoint of {}", signed.checkpoint().origin)));
        }
        Ok(Some(signed))
    }

    fn send(&self, signed: &SignedCheckpoint, old: u64, tiles: &TileReader) -> Result<Answer, AskError> {
        let failed = |reason: String| AskError::Tiles { witness: self.name.clone(), reason };
        let size = signed.checkpoint().size;
        let proof =
            consistency_proof(old, size, &tiles.hashes(size)).map_err(|error| failed(error.to_string()))?;
        let request = AddCheckpoint::new(old, proof, signed.note().clone())
            .map_err(|error| failed(error.to_string()))?;
        let url = format!("{}/add-checkpoint", self.url);
        self.http
            .send(&url, &request.format(), ADD_CHECKPOINT_BYTES_MAX as u64)
            .map_err(|reason| self.unreachable(reason))
    }

    fn accept(&mut self, signed: &SignedCheckpoint, answer: &Answer) -> Result<Cosignature, AskError> {
        let lines = parse_cosignatures(&answer.body).map_err(|error| self.odd(error.to_string()))?;
        let mut cosigned = signed.clone();
        let time =
            cosigned.add_cosignature(&lines, &self.key).map_err(|error| self.odd(error.to_string()))?;
        let line = cosigned.note().signatures().iter().rfind(|line| self.key.made(line)).cloned();
        let line = line.ok_or_else(|| self.odd("its cosignature is missing".to_owned()))?;
        self.known = signed.checkpoint().size;
        Ok(Cosignature { line, time })
    }

    /// Finds out what a refusal means: a conflict only when the witness can show our own key's signature.
    fn explain(
        &self,
        signed: &SignedCheckpoint,
        logs: &[VerifierKey],
        tiles: &TileReader,
        answer: &Answer,
    ) -> AskError {
        let ours = signed.checkpoint();
        let refused = || AskError::Refused {
            witness: self.name.clone(),
            status: answer.status,
            reason: words(&answer.body),
        };
        let theirs = match self.newest(&ours.origin, logs) {
            Ok(Some(theirs)) => theirs,
            Ok(None) if answer.status == 422 => return refused(),
            Ok(None) => {
                return self.odd(format!("it says {:?} and shows no checkpoint", words(&answer.body)));
            }
            Err(error) => return error,
        };
        let other = theirs.checkpoint();
        let fits = if other.size > ours.size {
            // Under our key, and beyond what we have signed: this log has lost entries, or somebody else writes it.
            Ok(false)
        } else {
            root_of(tiles, other.size, ours.size).map(|root| root == other.root)
        };
        match fits {
            Ok(true) if answer.status == 422 => refused(),
            Ok(true) => {
                self.odd(format!("it says {:?} and shows a checkpoint that fits ours", words(&answer.body)))
            }
            Ok(false) => AskError::Conflict(Box::new(Conflict {
                witness: self.name.clone(),
                ours: signed.clone(),
                theirs,
            })),
            Err(reason) => AskError::Tiles { witness: self.name.clone(), reason },
        }
    }

    fn odd(&self, reason: String) -> AskError {
        AskError::Odd { witness: self.name.clone(), reason }
    }

    fn unreachable(&self, reason: String) -> AskError {
        AskError::Unreachable { witness: self.name.clone(), reason }
    }
}

/// The beginning of a foreign body, fit for a log line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..400).unwrap_or(body)).into_owned();
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
