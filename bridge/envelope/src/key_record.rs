//! Key records: the secret of a section, wrapped for exactly those who are entitled to it, on record.
//!
//! ```text
//! commitment   = HKDF(E, "govbridge/v1/key-version\0")
//! HPKE info    = lp("govbridge/v1/wrap\0") lp(suite u16be) lp(department) lp(dataset) lp(section) lp(contract digest)
//!                lp(recipient) lp(recipient key id)                              lp(x) = u32be length || x
//! associated   = commitment
//! ```

use bridge_event::{Dataset, Department, SectionName, UnixMicros};
use bridge_suite::{Digest, KeyId, RecipientKey, RecipientPublicKey, Secret, SigningKey, Suite, Wrapped};

use crate::section::prefixed;
use crate::signed::{Attested, KEY_RECORD, REWRAP, Signed, Signers, Verdict};
use crate::wire::{Reader, TEXT_BYTES_MAX, Writer};
use crate::{Finding, Header, KeyVersion, OpenError, ParseError, SealError, SectionBlock};

/// Most wraps of a record: a body of 60 KiB holds fewer than this of 114 bytes and more.
const WRAPS_MAX: usize = 600;

/// What a key version is for, and how long it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// The suite.
    pub suite: Suite,
    /// The department that sends.
    pub department: Department,
    /// Its dataset.
    pub dataset: Dataset,
    /// The section.
    pub section: SectionName,
    /// SHA-256 of the exact contract file whose grants decide for whom the secret is wrapped.
    pub contract: Digest,
    /// From when on it is used; the grants in force at this instant count.
    pub valid_from: UnixMicros,
    /// Until when it is used (exclusive). No grant of the section changes in between.
    pub not_after: UnixMicros,
}

/// A secret wrapped for one recipient's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrap {
    /// The recipient.
    pub recipient: Department,
    /// The id of its key.
    pub key: KeyId,
    /// The wrapped secret.
    pub wrapped: Wrapped,
}

/// For whom to wrap.
#[derive(Clone, Debug)]
pub struct WrapTo<'a> {
    /// The recipient.
    pub recipient: &'a Department,
    /// Its public key, from the trust file.
    pub key: &'a RecipientPublicKey,
    /// 32 fresh random bytes, used for this wrap only.
    pub seed: [u8; 32],
}

/// A key record. Avro record `govbridge.KeyRecord` (docs/spec/key-record.avsc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// What the key version is for.
    pub terms: KeyTerms,
    /// What the secret must derive to.
    pub commitment: Digest,
    /// The wraps.
    pub wraps: Vec<Wrap>,
}

fn commitment(suite: Suite, secret: &Secret) -> Digest {
    Digest(*suite.derive(secret, &[b"govbridge/v1/key-version\0"]).expose())
}

impl KeyTerms {
    fn info(&self, recipient: &Department, key: &KeyId) -> Vec<u8> {
        prefixed(&[
            b"govbridge/v1/wrap\0",
            &self.suite.number().to_be_bytes(),
            self.department.as_str().as_bytes(),
            self.dataset.as_str().as_bytes(),
            self.section.as_str().as_bytes(),
            self.contract.as_bytes(),
            recipient.as_str().as_bytes(),
            key.as_bytes(),
        ])
    }

    fn wrap(&self, secret: &Secret, commitment: &Digest, to: &[WrapTo<'_>]) -> Result<Vec<Wrap>, SealError> {
        let mut wraps: Vec<Wrap> = Vec::with_capacity(to.len());
        for WrapTo { recipient, key, seed } in to {
            let id = key.id();
            if wraps.iter().any(|other| other.recipient == **recipient && other.key == id) {
                return Err(SealError::RecipientTwice { recipient: recipient.to_string() });
            }
            let info = self.info(recipient, &id);
            let wrapped = self.suite.wrap(key, &info, commitment.as_bytes(), secret, seed);
            let wrapped =
                wrapped.map_err(|source| SealError::Wrap { recipient: recipient.to_string(), source })?;
            wraps.push(Wrap { recipient: (*recipient).clone(), key: id, wrapped });
        }
        Ok(wraps)
    }

    fn unwrap_for(
        &self,
        expected: &Digest,
        wraps: &[Wrap],
        recipient: &Department,
        key: &RecipientKey,
    ) -> Result<Secret, OpenError> {
        let id = key.id();
        let wrap = wraps.iter().find(|wrap| wrap.recipient == *recipient && wrap.key == id);
        let wrap = wrap
            .ok_or_else(|| OpenError::NotWrapped { recipient: recipient.to_string(), key: id.to_string() })?;
        let info = self.info(recipient, &id);
        let secret = self.suite.unwrap(key, &info, expected.as_bytes(), &wrap.wrapped);
        let secret = secret.map_err(OpenError::Unwrap)?;
        if commitment(self.suite, &secret) == *expected { Ok(secret) } else { Err(OpenError::WrongSecret) }
    }
}

impl KeyRecord {
    /// A record of `secret`, wrapped for each of `to`: the departments with a grant at `terms.valid_from`, and the
    /// source department itself.
    ///
    /// # Errors
    /// [`SealError`], when a recipient is given twice or its key is weak.
    pub fn new(terms: KeyTerms, secret: &Secret, to: &[WrapTo<'_>]) -> Result<KeyRecord, SealError> {
        let commitment = commitment(terms.suite, secret);
        let wraps = terms.wrap(secret, &commitment, to)?;
        Ok(KeyRecord { terms, commitment, wraps })
    }

    /// Signs the record.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign(self, signers: &[&SigningKey]) -> Result<Signed<KeyRecord>, SealError> {
        if let Some(contradiction) = self.contradictions().first() {
            return Err(SealError::Contradiction(contradiction));
        }
        let body = self.encode();
        Signed::new(&KEY_RECORD, self, &body, signers)
    }

    /// Verifies a record's shape and signatures. Whether its recipients are right is [`KeyRecord::check_grants`]'s
    /// to say, whether it belongs to a batch [`Attested::check_batch`]'s.
    pub fn verify(
        bytes: &[u8],
        signers: &dyn Signers,
        department: &Department,
    ) -> Verdict<Attested<KeyRecord>> {
        KEY_RECORD.verify(bytes, signers, department, KeyRecord::decode, |record| {
            let mut findings = Vec::new();
            if record.terms.department != *department {
                let (expected, found) = (department.to_string(), record.terms.department.to_string());
                findings.push(Finding::Stream { expected, found });
            }
            findings.extend(record.contradictions().into_iter().map(Finding::Contradiction));
            findings
        })
    }

    /// Compares the recipients with the contract and the trust file.
    ///
    /// `entitled` are the departments with a grant of the section at `terms.valid_from`; `next_change` is the first
    /// instant after it at which a grant of the section starts or ends; `is_known` says whether the trust file
    /// gives this recipient key to this department.
    pub fn check_grants(
        &self,
        entitled: &[Department],
        next_change: Option<UnixMicros>,
        is_known: &dyn Fn(&Department, &KeyId) -> bool,
    ) -> Vec<Finding> {
        let own = &self.terms.department;
        let mut findings = self.check_recipient_keys(&self.wraps, entitled, is_known);
        let wrapped = |department: &Department| self.wraps.iter().any(|wrap| wrap.recipient == *department);
        let others = entitled.iter().filter(|department| *department != own);
        let left_out = others.chain([own]).filter(|department| !wrapped(department));
        findings.extend(left_out.map(|recipient| Finding::LeftOut { recipient: recipient.clone() }));
        let inside =
            next_change.filter(|change| *change > self.terms.valid_from && *change < self.terms.not_after);
        findings.extend(inside.map(|change| Finding::GrantChange { change }));
        findings
    }

    fn check_recipient_keys(
        &self,
        wraps: &[Wrap],
        entitled: &[Department],
        is_known: &dyn Fn(&Department, &KeyId) -> bool,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for Wrap { recipient, key, .. } in wraps {
            if *recipient != self.terms.department && !entitled.contains(recipient) {
                findings.push(Finding::Outsider { recipient: recipient.clone() });
            }
            if !is_known(recipient, key) {
                findings.push(Finding::RecipientKey { recipient: recipient.clone(), key: *key });
            }
        }
        findings
    }

    fn contradictions(&self) -> Vec<&'static str> {
        let mut found = wrap_contradictions(&self.wraps);
        if self.terms.valid_from >= self.terms.not_after {
            found.push("the key version ends before it begins");
        }
        found
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let terms = &self.terms;
        let mut w = Writer::new();
        w.small(terms.suite.number().into());
        w.text(terms.department.as_str());
        w.text(terms.dataset.as_str());
        w.text(terms.section.as_str());
        w.digest(&terms.contract);
        w.digest(&self.commitment);
        w.long(terms.valid_from.0);
        w.long(terms.not_after.0);
        write_wraps(&mut w, &self.wraps);
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<KeyRecord, ParseError> {
        let r = &mut Reader::new(bytes);
        let suite = Suite::from_number(r.short("suite")?)?;
        let (department, dataset, section) = (r.name("department")?, r.name("dataset")?, r.name("section")?);
        let (contract, commitment) = (r.digest("contract")?, r.digest("commitment")?);
        let (valid_from, not_after) = (r.micros("valid_from")?, r.micros("not_after")?);
        let terms = KeyTerms { suite, department, dataset, section, contract, valid_from, not_after };
        let record = KeyRecord { terms, commitment, wraps: read_wraps(r)? };
        r.finish()?;
        Ok(record)
    }
}

impl Signed<KeyRecord> {
    /// The key version that this record carries; `secret` is the one that it was made from.
    pub fn version(&self, secret: Secret) -> KeyVersion {
        KeyVersion { suite: self.content().terms.suite, secret, record: self.digest() }
    }
}

impl Attested<KeyRecord> {
    /// The key version, unwrapped with the recipient's key.
    ///
    /// # Errors
    /// [`OpenError`]: not wrapped for this key, not authentic, or not the secret that the record commits to.
    pub fn unwrap_for(&self, recipient: &Department, key: &RecipientKey) -> Result<KeyVersion, OpenError> {
        let KeyRecord { terms, commitment, wraps } = self.content();
        let secret = terms.unwrap_for(commitment, wraps, recipient, key)?;
        Ok(KeyVersion { suite: terms.suite, secret, record: self.digest() })
    }

    /// Whether the record is the one that a section of a batch names, and is for that section.
    pub fn check_batch(&self, header: &Header, block: &SectionBlock) -> Vec<Finding> {
        let terms = &self.content().terms;
        let same = [
            ("digest", block.key_record == self.digest()),
            ("suite", terms.suite == header.suite),
            ("department", terms.department == header.stream.department),
            ("dataset", terms.dataset == header.stream.dataset),
            ("section", terms.section == block.name),
            ("contract", terms.contract == header.contract),
        ];
        let different = same.into_iter().filter(|(_, same)| !same);
        different.map(|(field, _)| Finding::KeyRecord { field }).collect()
    }
}

/// The secret of an earlier key record, wrapped later for one who joined or changed its key. Avro record
/// `govbridge.Rewrap` (docs/spec/rewrap.avsc).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrap {
    /// The digest of the key record.
    pub key_record: Digest,
    /// SHA-256 of the exact file of the contract whose grants entitle the recipients: the key record's, or a later one
    /// of its dataset.
    pub contract: Digest,
    /// When the rewrap was made, by the department's clock: the recipients have a grant of the section then.
    pub made: UnixMicros,
    /// The new wraps.
    pub wraps: Vec<Wrap>,
    /// Why, in words.
    pub reason: String,
}

impl Rewrap {
    /// Wraps the record's secret for others, under the record's own terms. `to` are departments with a grant of the section
    /// at `made` under the contract of digest `contract`.
    ///
    /// # Errors
    /// [`SealError`], as for a key record.
    pub fn new(
        record: &Attested<KeyRecord>,
        secret: &Secret,
        to: &[WrapTo<'_>],
        contract: Digest,
        made: UnixMicros,
        reason: String,
    ) -> Result<Rewrap, SealError> {
        let KeyRecord { terms, commitment, .. } = record.content();
        if reason.len() > TEXT_BYTES_MAX {
            return Err(SealError::limit("the reason", reason.len(), TEXT_BYTES_MAX));
        }
        let wraps = terms.wrap(secret, commitment, to)?;
        Ok(Rewrap { key_record: record.digest(), contract, made, wraps, reason })
    }

    /// Signs the rewrap.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign(self, signers: &[&SigningKey]) -> Result<Signed<Rewrap>, SealError> {
        let body = self.encode();
        Signed::new(&REWRAP, self, &body, signers)
    }

    /// Verifies a rewrap of `record`: its shape, its signatures, and that it names this record.
    pub fn verify(
        bytes: &[u8],
        signers: &dyn Signers,
        record: &Attested<KeyRecord>,
    ) -> Verdict<Attested<Rewrap>> {
        let department = &record.content().terms.department;
        REWRAP.verify(bytes, signers, department, Rewrap::decode, |rewrap| {
            let mut findings = Vec::new();
            if rewrap.key_record != record.digest() {
                findings.push(Finding::KeyRecord { field: "digest" });
            }
            findings.extend(wrap_contradictions(&rewrap.wraps).into_iter().map(Finding::Contradiction));
            if rewrap.key_record == record.digest() && rewrap.made < record.content().terms.valid_from {
                findings.push(Finding::Contradiction("the rewrap was made before its key version began"));
            }
            findings
        })
    }

    /// Compares the recipients with those who may be added: `entitled` are the departments with a grant of the
    /// section at `made` under the contract that the rewrap names.
    pub fn check_grants(
        &self,
        record: &KeyRecord,
        entitled: &[Department],
        is_known: &dyn Fn(&Department, &KeyId) -> bool,
    ) -> Vec<Finding> {
        record.check_recipient_keys(&self.wraps, entitled, is_known)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.digest(&self.key_record);
        w.digest(&self.contract);
        w.long(self.made.0);
        write_wraps(&mut w, &self.wraps);
        w.text(&self.reason);
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Rewrap, ParseError> {
        let r = &mut Reader::new(bytes);
        let (key_record, contract) = (r.digest("key_record")?, r.digest("contract")?);
        let made = r.micros("made")?;
        let wraps = read_wraps(r)?;
        let reason = r.text("reason", TEXT_BYTES_MAX)?.to_owned();
        r.finish()?;
        Ok(Rewrap { key_record, contract, made, wraps, reason })
    }
}

impl Attested<Rewrap> {
    /// The key version of `record`, unwrapped with a key that this rewrap added.
    ///
    /// # Errors
    /// As for a key record; [`OpenError::NotWrapped`] also when `record` is another one.
    pub fn unwrap_for(
        &self,
        record: &Attested<KeyRecord>,
        recipient: &Department,
        key: &RecipientKey,
    ) -> Result<KeyVersion, OpenError> {
        let KeyRecord { terms, commitment, .. } = record.content();
        let wraps = if self.content().key_record == record.digest() { &*self.content().wraps } else { &[] };
        let secret = terms.unwrap_for(commitment, wraps, recipient, key)?;
        Ok(KeyVersion { suite: terms.suite, secret, record: record.digest() })
    }
}

fn wrap_contradictions(wraps: &[Wrap]) -> Vec<&'static str> {
    let twice = wraps.iter().enumerate().any(|(i, wrap)| {
        let mut others = wraps.iter().take(i);
        others.any(|other| other.recipient == wrap.recipient && other.key == wrap.key)
    });
    let mut found = Vec::new();
    if twice {
        found.push("the secret is wrapped twice for one key");
    }
    if wraps.is_empty() {
        found.push("the secret is wrapped for nobody");
    }
    found
}

fn write_wraps(w: &mut Writer, wraps: &[Wrap]) {
    w.array(wraps, |w, wrap| {
        w.text(wrap.recipient.as_str());
        w.digest(&wrap.key.0);
        w.raw(&wrap.wrapped.encapsulated);
        w.raw(&wrap.wrapped.ciphertext);
    });
}

fn read_wraps(r: &mut Reader<'_>) -> Result<Vec<Wrap>, ParseError> {
    r.array("wraps", WRAPS_MAX, |r| {
        Ok(Wrap {
            recipient: r.name("wraps.recipient")?,
            key: KeyId(r.digest("wraps.key")?),
            wrapped: Wrapped {
                encapsulated: r.fixed("wraps.encapsulated")?,
                ciphertext: r.fixed("wraps.ciphertext")?,
            },
        })
    })
}
