//! Section keys: key records checked against contract and trust file, secrets unwrapped once and cached.

use std::sync::Arc;

use bridge_envelope::{Attested, Header, KeyRecord, KeyVersion, OpenError, Rewrap, SectionBlock};
use bridge_event::{Department, UnixMicros};
use bridge_suite::{KeyId, RecipientKey};
use bridge_trust::Trust;

use crate::Found;
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::on_record::Record;
use crate::promise::Promise;
use crate::records::{Kept, KeptRewrap, OriginSigners, Records};

/// How long a batch may be on its way after it was sealed, in microseconds: ten minutes. A producer that could not deliver for
/// two has given up, and its connector has begun a new epoch.
const ON_ITS_WAY: i64 = 600_000_000;

/// A department's recipient keys, and what they opened.
pub(crate) struct Keys {
    department: Department,
    own: Arc<[RecipientKey]>,
    trust: Arc<Trust>,
    known: Memory<Arc<Known>>,
}

/// A key record that was checked.
#[derive(Debug)]
struct Known {
    record: Arc<Attested<KeyRecord>>,
    entry: Record,
    version: Version,
}

/// What a key record holds for this department.
#[derive(Debug)]
enum Version {
    /// Its secret.
    Wrapped(KeyVersion),
    /// Nothing, as long as no more rewraps have come than this: one may be for it.
    NotWrapped { rewraps: u64 },
}

/// The key version of a section for one batch.
#[derive(Clone, Debug)]
pub(crate) struct SectionKey(Arc<Known>);

impl SectionKey {
    /// The log entry of its record.
    pub(crate) fn entry(&self) -> &Record {
        &self.0.entry
    }

    /// Whether the key version may have sealed a batch that came when its connector's clock was past this.
    ///
    /// # Errors
    /// The version had ended long before.
    pub(crate) fn lasts(&self, clock: Option<UnixMicros>) -> Result<(), Found> {
        let end = self.0.record.content().terms.not_after;
        match clock {
            Some(clock) if clock.0 > end.0.saturating_add(ON_ITS_WAY) => {
                let late = clock.0.saturating_sub(end.0) / 1_000_000;
                let what = format!(
                    "the batch is sealed with a key version that had ended {late} s before, by the clock of its own connector's beacon"
                );
                Err(Found::halt("VER055", what))
            }
            _ => Ok(()),
        }
    }

    /// The secret; `None` when the department has no grant.
    pub(crate) fn version(&self) -> Option<&KeyVersion> {
        match &self.0.version {
            Version::Wrapped(version) => Some(version),
            Version::NotWrapped { .. } => None,
        }
    }
}

impl Keys {
    pub(crate) fn new(
        department: Department,
        own: Arc<[RecipientKey]>,
        trust: Arc<Trust>,
        bytes_max: usize,
        metrics: &Metrics,
    ) -> Keys {
        let of_known = |known: &Arc<Known>| known.record.frame().len();
        let known = Memory::new("section-keys", bytes_max, metrics, of_known);
        Keys { department, own, trust, known }
    }

    /// The key of a section, when its record was checked before. `rewraps` is how many have come by now: that nothing is
    /// wrapped for this department is true only until the next one.
    ///
    /// # Errors
    /// The record is not for this section of this batch.
    pub(crate) fn cached(
        &self,
        header: &Header,
        block: &SectionBlock,
        rewraps: u64,
    ) -> Result<Option<SectionKey>, Found> {
        let Some(known) = self.known.find(&block.key_record) else { return Ok(None) };
        if matches!(known.version, Version::NotWrapped { rewraps: then } if then != rewraps) {
            return Ok(None);
        }
        belongs(&known.record, header, block)?;
        Ok(Some(SectionKey(known)))
    }

    /// Checks a key record and unwraps its secret, when the department is entitled to it.
    ///
    /// # Errors
    /// The record's recipients are not the grants, it is for another section, or the secret does not open.
    pub(crate) fn admit(
        &self,
        kept: &Kept,
        records: &Records,
        promise: &Promise,
        header: &Header,
        block: &SectionBlock,
    ) -> Result<SectionKey, Found> {
        let record = &kept.record;
        belongs(record, header, block)?;
        check_grants(record.content(), promise, &self.trust)?;
        let terms = &record.content().terms;
        let entitled = terms.department == self.department
            || promise.contract.entitled(&terms.section, terms.valid_from).contains(&self.department);
        let version = match entitled || !kept.rewraps.is_empty() {
            true => self.unwrap(kept, records, promise, entitled)?,
            false => None,
        };
        let version = version.map_or(Version::NotWrapped { rewraps: records.rewraps() }, Version::Wrapped);
        let known = Arc::new(Known { record: Arc::clone(record), entry: kept.entry.clone(), version });
        self.known.keep(block.key_record, Arc::clone(&known));
        Ok(SectionKey(known))
    }

    fn unwrap(
        &self,
        kept: &Kept,
        records: &Records,
        promise: &Promise,
        entitled: bool,
    ) -> Result<Option<KeyVersion>, Found> {
        let record = &*kept.record;
        let refused = |error: OpenError| Found::halt(error.code(), error.to_string());
        let mut last = None;
        for key in self.own.iter() {
            match record.unwrap_for(&self.department, key) {
                Ok(version) => return Ok(Some(version)),
                Err(error @ OpenError::NotWrapped { .. }) => last = Some(error),
                Err(error) => return Err(refused(error)),
            }
        }
        let signers = OriginSigners { trust: &self.trust, origin: promise.contract.origin() };
        for KeptRewrap { bytes, contract } in &kept.rewraps {
            let Ok(rewrap) = Rewrap::verify(bytes, &signers, record).into_verified() else { continue };
            let named = records.contract(contract);
            check_rewrap(rewrap.content(), record.content(), named.as_deref(), &self.trust)?;
            for key in self.own.iter() {
                match rewrap.unwrap_for(record, &self.department, key) {
                    Ok(version) => return Ok(Some(version)),
                    Err(OpenError::NotWrapped { .. }) => {}
                    Err(error) => return Err(refused(error)),
                }
            }
        }
        match last {
            // Not entitled when the key began, and no rewrap is for this department.
            _ if !entitled => Ok(None),
            Some(error) => Err(refused(error)),
            None => {
                let what = format!(
                    "{} may open section {}, and no recipient key was given; give its key file",
                    self.department,
                    record.content().terms.section
                );
                Err(Found::halt("OPE010", what))
            }
        }
    }
}

fn belongs(record: &Attested<KeyRecord>, header: &Header, block: &SectionBlock) -> Result<(), Found> {
    first(&record.check_batch(header, block))
}

/// Whether the secret is wrapped for exactly those whom the contract names.
pub(crate) fn check_grants(record: &KeyRecord, promise: &Promise, trust: &Trust) -> Result<(), Found> {
    let terms = &record.terms;
    let contract = &promise.contract;
    if terms.contract != contract.digest()
        || terms.suite != contract.suite()
        || contract.section(&terms.section).is_none()
    {
        return Err(Found::halt("VER054", "the key record does not belong to the batch's contract"));
    }
    let entitled = contract.entitled(&terms.section, terms.valid_from);
    let change = contract.next_change(&terms.section, terms.valid_from);
    first(&record.check_grants(&entitled, change, &|department, key| gives(trust, department, key)))
}

/// Whether every recipient had a grant of the section when the rewrap was made, under the contract that it names.
fn check_rewrap(
    rewrap: &Rewrap,
    record: &KeyRecord,
    named: Option<&Promise>,
    trust: &Trust,
) -> Result<(), Found> {
    let terms = &record.terms;
    let Some(Promise { contract, .. }) = named else {
        let what = format!(
            "a rewrap names the contract {}, which is not in govbridge.contracts with the department's signature",
            rewrap.contract
        );
        return Err(Found::halt("VER060", what));
    };
    if (contract.department(), contract.dataset()) != (&terms.department, &terms.dataset)
        || contract.section(&terms.section).is_none()
    {
        return Err(Found::halt(
            "VER054",
            "the rewrap names a contract of another dataset than its key record",
        ));
    }
    let entitled = contract.entitled(&terms.section, rewrap.made);
    first(&rewrap.check_grants(record, &entitled, &|department, key| gives(trust, department, key)))
}

fn gives(trust: &Trust, department: &Department, key: &KeyId) -> bool {
    trust.recipient_keys(department).iter().any(|known| known.id() == *key)
}

fn first(findings: &[bridge_envelope::Finding]) -> Result<(), Found> {
    if findings.is_empty() {
        return Ok(());
    }
    // Everything here was signed by the department: it contradicts its own contract.
    let code = findings.first().map_or("VER054", bridge_envelope::Finding::code);
    let words: Vec<String> = findings.iter().map(|finding| format!("{} {finding}", finding.code())).collect();
    Err(Found::halt(code, words.join("; ")))
}
