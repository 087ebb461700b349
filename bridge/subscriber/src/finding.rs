//! What the receiving flow finds, and what follows from it.
//!
//! A record that nobody entitled has signed must not be able to stop delivery, or anyone with access to the broker could:
//! it is dropped, counted and reported. A signed contradiction halts, because somebody with the department's key made it.
//! A record that is missing shows in the chain, and that halts as well.

use std::fmt;

use bridge_chain::{Finding as ChainFinding, Step};
use bridge_envelope::Finding as EnvelopeFinding;
use bridge_event::{Offset, StreamId};
use serde::Serialize;

/// What follows from a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consequence {
    /// Nothing is refused; it is said and counted.
    Note,
    /// The record is dropped; delivery goes on.
    Drop,
    /// Nothing is delivered any more before a person has looked.
    Halt,
}

/// One finding, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The code of its page in `docs/errors`.
    pub code: &'static str,
    /// What follows.
    pub consequence: Consequence,
    /// The stream, or the topic's name when it is none of a stream.
    pub place: String,
    /// The record's offset, where there is a record.
    pub offset: Option<i64>,
    /// What was found and what to do. Never a row's value.
    pub what: String,
}

impl Found {
    pub(crate) fn new(code: &'static str, consequence: Consequence, what: impl Into<String>) -> Found {
        Found { code, consequence, place: String::new(), offset: None, what: what.into() }
    }

    pub(crate) fn note(code: &'static str, what: impl Into<String>) -> Found {
        Found::new(code, Consequence::Note, what)
    }

    pub(crate) fn drop(code: &'static str, what: impl Into<String>) -> Found {
        Found::new(code, Consequence::Drop, what)
    }

    pub(crate) fn halt(code: &'static str, what: impl Into<String>) -> Found {
        Found::new(code, Consequence::Halt, what)
    }

    pub(crate) fn at(mut self, stream: &StreamId, offset: Offset) -> Found {
        self.place = stream.to_string();
        self.offset = Some(offset.0);
        self
    }

    pub(crate) fn of_stream(mut self, stream: &StreamId) -> Found {
        self.place = stream.to_string();
        self
    }

    pub(crate) fn in_topic(mut self, topic: &str, offset: Offset) -> Found {
        self.place = topic.to_owned();
        self.offset = Some(offset.0);
        self
    }

    /// Whether delivery ends with it.
    pub fn halts(&self) -> bool {
        self.consequence == Consequence::Halt
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code)?;
        match (self.place.as_str(), self.offset) {
            ("", None) => {}
            ("", Some(offset)) => write!(f, "offset {offset}: ")?,
            (place, None) => write!(f, "{place}: ")?,
            (place, Some(offset)) => write!(f, "{place} offset {offset}: ")?,
        }
        f.write_str(&self.what)
    }
}

/// What the findings of one verdict come to. When anything in them may be the work of someone without the department's
/// key (bytes that are not what was signed, a signature that is not its own, a frame moved here from elsewhere), the
/// record is dropped; when everything that contradicts was signed by the department for this very stream, it halts.
pub(crate) fn of_verdict(findings: &[EnvelopeFinding]) -> Vec<Found> {
    let anyones = findings.iter().any(is_anyones);
    let consequence = if anyones { Consequence::Drop } else { Consequence::Halt };
    findings.iter().map(|finding| Found::new(finding.code(), consequence, finding.to_string())).collect()
}

fn is_anyones(finding: &EnvelopeFinding) -> bool {
    match finding {
        EnvelopeFinding::Shape(_)
        | EnvelopeFinding::UnknownKey { .. }
        | EnvelopeFinding::KeyRole { .. }
        | EnvelopeFinding::Signature { .. }
        | EnvelopeFinding::SignatureMissing { .. }
        | EnvelopeFinding::Stream { .. }
        // The header was signed, and these bytes are not the ones that it names: whoever held them changed them.
        | EnvelopeFinding::Block { .. }
        | EnvelopeFinding::Ciphertext { .. } => true,
        EnvelopeFinding::Origin { .. }
        | EnvelopeFinding::Suite { .. }
        | EnvelopeFinding::Genesis { .. }
        | EnvelopeFinding::Extension { .. }
        | EnvelopeFinding::Contradiction(_)
        | EnvelopeFinding::Rows { .. }
        | EnvelopeFinding::SectionTwice { .. }
        | EnvelopeFinding::Outsider { .. }
        | EnvelopeFinding::LeftOut { .. }
        | EnvelopeFinding::RecipientKey { .. }
        | EnvelopeFinding::GrantChange { .. }
        | EnvelopeFinding::KeyRecord { .. } => false,
    }
}

/// What a step of the chain machine comes to; `None` when the frame follows.
pub(crate) fn of_step(step: Step) -> Option<Found> {
    let (code, consequence, what) = match step {
        Step::Accepted | Step::Fenced | Step::BeaconSeen => return None,
        Step::Late => ("CHA010", Consequence::Drop, "the frame is of an epoch that was over when it came"),
        Step::Duplicate => ("CHA011", Consequence::Drop, "the batch was accepted before: it came twice"),
        Step::Old => ("CHA012", Consequence::Drop, "the frame speaks of a batch from before those at hand"),
        Step::Ahead => (
            "CHA013",
            Consequence::Drop,
            "the batch is beyond the next sequence: the ones before it did not come",
        ),
        Step::Halt(finding) => return Some(of_chain(finding)),
    };
    Some(Found::new(code, consequence, what))
}

fn of_chain(finding: ChainFinding) -> Found {
    let (code, what) = match finding {
        ChainFinding::Unfenced => {
            ("CHA001", "the frame is of an epoch that no fence in the stream has opened")
        }
        ChainFinding::Fork => ("CHA002", "two different batches were signed for one sequence"),
        ChainFinding::BrokenChain => {
            ("CHA003", "the batch names another batch before it than the stream has")
        }
        ChainFinding::Loss => {
            ("CHA004", "a beacon's head is beyond the last batch that came: batches are missing")
        }
        ChainFinding::PositionBack => {
            ("CHA005", "the batch's position is at or before one that the stream has")
        }
        ChainFinding::RowBroken => {
            ("CHA009", "the batch is not the next fragment of the row that the stream is in the midst of")
        }
        ChainFinding::PositionMoved => {
            ("CHA006", "a batch without rows, or of a snapshot, is not at the position that it must repeat")
        }
        ChainFinding::OpenMismatch => {
            ("CHA007", "the batch continues another source transaction than the stream has open")
        }
        ChainFinding::IncarnationChanged => {
            ("CHA008", "the source became another one without a GAP or RETRACT")
        }
        ChainFinding::SnapshotBroken => (
            "CHA014",
            "a snapshot's chunk is not the next one, or rows come before the snapshot's last chunk",
        ),
    };
    Found::halt(code, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_envelope::ParseError;

    #[test]
    fn what_anyone_could_have_put_there_never_halts() {
        let shape = EnvelopeFinding::Shape(ParseError::Magic { expected: "a frame" });
        let signed = EnvelopeFinding::Contradiction("it contradicts");
        assert!(!of_verdict(std::slice::from_ref(&shape))[0].halts());
        assert!(of_verdict(std::slice::from_ref(&signed))[0].halts());
        assert!(of_verdict(&[signed, shape]).iter().all(|found| !found.halts()));
    }

    #[test]
    fn each_chain_finding_has_a_code_of_its_own_and_halts() {
        let mut codes: Vec<_> =
            ChainFinding::ALL.into_iter().map(|f| of_step(Step::Halt(f)).unwrap()).collect();
        codes.extend([Step::Late, Step::Duplicate, Step::Old, Step::Ahead].map(|s| of_step(s).unwrap()));
        let distinct: std::collections::BTreeSet<_> = codes.iter().map(|found| found.code).collect();
        assert_eq!(distinct.len(), 14);
        assert_eq!(codes.iter().filter(|found| found.halts()).count(), 10);
        assert!(of_step(Step::Accepted).is_none());
    }
}
