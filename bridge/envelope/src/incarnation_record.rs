//! Incarnation records: what a source says it is, signed and logged.

use bridge_event::{Department, Incarnation, IncarnationNumber, Origin, TOKEN_BYTES_MAX, Token};
use bridge_suite::{Digest, SigningKey};

use crate::signed::{Attested, INCARNATION, Signed, Signers, Verdict};
use crate::wire::{Reader, TEXT_BYTES_MAX, Writer};
use crate::{Finding, ParseError, SealError};

/// One life of a source. Avro record `govbridge.IncarnationRecord` (docs/spec/incarnation-record.avsc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationRecord {
    /// The connector's log.
    pub origin: Origin,
    /// The incarnation's number.
    pub number: IncarnationNumber,
    /// What the source says it is.
    pub identity: Incarnation,
    /// The digest of the record before, zero for the first.
    pub previous: Digest,
}

impl IncarnationRecord {
    /// Signs the record.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign(self, signers: &[&SigningKey]) -> Result<Signed<IncarnationRecord>, SealError> {
        let identity = &self.identity;
        for text in [&identity.engine, &identity.system, &identity.database, &identity.slot] {
            if text.len() > TEXT_BYTES_MAX {
                return Err(SealError::limit("a text of the source's identity", text.len(), TEXT_BYTES_MAX));
            }
        }
        let body = self.encode();
        Signed::new(&INCARNATION, self, &body, signers)
    }

    /// Verifies a record of `department`'s log `origin`.
    pub fn verify(
        bytes: &[u8],
        signers: &dyn Signers,
        department: &Department,
        origin: &Origin,
    ) -> Verdict<Attested<IncarnationRecord>> {
        INCARNATION.verify(bytes, signers, department, IncarnationRecord::decode, |record| {
            let other = record.origin != *origin;
            let finding = || Finding::Origin { expected: origin.clone(), found: record.origin.clone() };
            other.then(finding).into_iter().collect()
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let identity = &self.identity;
        let mut w = Writer::new();
        w.text(self.origin.as_str());
        w.small(self.number.0);
        w.text(&identity.engine);
        w.text(&identity.system);
        w.unsigned(identity.timeline);
        w.text(&identity.database);
        w.text(&identity.slot);
        w.bytes(identity.consistent_point.as_bytes());
        w.digest(&self.previous);
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<IncarnationRecord, ParseError> {
        let r = &mut Reader::new(bytes);
        let (origin, number) = (r.name("origin")?, r.incarnation("number")?);
        let identity = Incarnation {
            engine: r.text("engine", TEXT_BYTES_MAX)?.to_owned(),
            system: r.text("system", TEXT_BYTES_MAX)?.to_owned(),
            timeline: r.unsigned("timeline")?,
            database: r.text("database", TEXT_BYTES_MAX)?.to_owned(),
            slot: r.text("slot", TEXT_BYTES_MAX)?.to_owned(),
            consistent_point: {
                let token = r.bytes("consistent_point", TOKEN_BYTES_MAX)?;
                let limit = |_| ParseError::limit("consistent_point", token.len(), TOKEN_BYTES_MAX);
                Token::new(token).map_err(limit)?
            },
        };
        let previous = r.digest("previous")?;
        r.finish()?;
        Ok(IncarnationRecord { origin, number, identity, previous })
    }
}
