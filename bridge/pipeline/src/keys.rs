//! Key versions: a fresh secret for each section, for exactly those who are entitled at its instant.
//!
//! A key version is made at each start and renewed by time, by volume, and at the very instant when a grant starts or
//! ends: a batch is sealed under a key version whose term holds the instant of sealing. Its record stands in the log and
//! in Kafka before the first batch that names it.

use crate::ConnectorError;
use crate::life::{End, Life, Plan};
use crate::outside::Point;
use crate::seal::Courier;
use bridge_envelope::{Entry, KeyRecord, KeyTerms, KeyVersion, WrapTo};
use bridge_event::{Department, UnixMicros};
use bridge_suite::{RecipientPublicKey, Secret};
use bridge_trust::Trust;

/// The key version of one section, and when it ends.
#[derive(Debug)]
struct InForce {
    version: KeyVersion,
    not_after: UnixMicros,
    rows: u64,
}

/// The key versions of all sections of all streams.
#[derive(Debug)]
pub(crate) struct KeyRing {
    streams: Vec<Vec<Option<InForce>>>,
}

const MICROS_PER_HOUR: i64 = 3_600_000_000;

impl KeyRing {
    /// No key version yet.
    pub(crate) fn new(plans: &[Plan]) -> KeyRing {
        KeyRing { streams: plans.iter().map(|plan| plan.sections.iter().map(|_| None).collect()).collect() }
    }

    /// Makes sure that every section of the stream has a key version in force at `now` with room for `rows` more.
    pub(crate) fn in_force(
        &mut self,
        life: &Life<'_>,
        stream: usize,
        rows: u64,
        now: UnixMicros,
        courier: &mut Courier<'_>,
    ) -> Result<(), End> {
        let plan = life.plan(stream)?;
        let Some(sections) = self.streams.get_mut(stream) else { return Ok(()) };
        for (index, slot) in sections.iter_mut().enumerate() {
            let used = slot.as_ref().map_or(0, |current| current.rows);
            let due = slot.as_ref().is_none_or(|current| {
                now >= current.not_after || (used > 0 && used.saturating_add(rows) > plan.renew_rows)
            });
            if due {
                *slot = Some(make(life, plan, index, now, courier)?);
            }
            if let Some(current) = slot {
                current.rows = current.rows.saturating_add(rows);
            }
        }
        Ok(())
    }

    /// The key versions of a stream's sections, in contract order.
    pub(crate) fn of(&self, stream: usize) -> impl Iterator<Item = &KeyVersion> {
        self.streams.get(stream).into_iter().flatten().flatten().map(|current| &current.version)
    }
}

/// Makes a key version, and puts its record into the log and then into Kafka.
fn make(
    life: &Life<'_>,
    plan: &Plan,
    index: usize,
    now: UnixMicros,
    courier: &mut Courier<'_>,
) -> Result<InForce, End> {
    let Some(section) = plan.sections.get(index) else {
        return Err(End::Halt(ConnectorError::NoSuchStream(index)));
    };
    let renew = i64::from(plan.renew_hours).saturating_mul(MICROS_PER_HOUR);
    let mut not_after = UnixMicros(now.0.saturating_add(renew));
    if let Some(change) = plan.schemas.next_change(&section.name, now) {
        not_after = not_after.min(change);
    }
    let mut recipients = plan.schemas.entitled(&section.name, now);
    recipients.retain(|department| *department != plan.stream.department);
    recipients.push(plan.stream.department.clone());

    let keys = recipient_keys(life.trust(), &recipients)?;
    let mut to = Vec::with_capacity(keys.len());
    for (recipient, key) in &keys {
        let mut seed = [0; 32];
        life.fill(&mut seed)?;
        to.push(WrapTo { recipient, key, seed });
    }
    let mut secret = [0; 32];
    life.fill(&mut secret)?;
    let secret = Secret::new(secret);
    let terms = KeyTerms {
        suite: plan.suite,
        department: plan.stream.department.clone(),
        dataset: plan.stream.dataset.clone(),
        section: section.name.clone(),
        contract: plan.contract,
        valid_from: now,
        not_after,
    };
    let record = KeyRecord::new(terms, &secret, &to).map_err(End::defect)?;
    let record = record.sign(&[life.signing_key()]).map_err(End::defect)?;
    life.append(&[Entry::KeyRecord(record.frame().to_vec())])?;
    let hint = format!("{}/{}", plan.stream, section.name);
    courier.record(bridge_kafka::topics::KEYS, &hint, record.frame())?;
    life.at(Point::AfterKeyRecord);
    life.metrics().key_version();
    tracing::info!(stream = %plan.stream, section = %section.name, record = %record.digest(), recipients = to.len(), "new key version");
    Ok(InForce { version: record.version(secret), not_after, rows: 0 })
}

/// The public keys to wrap for. A recipient whom the trust file gives no key halts the connector: it is entitled, and
/// would silently get nothing.
fn recipient_keys(
    trust: &Trust,
    recipients: &[Department],
) -> Result<Vec<(Department, RecipientPublicKey)>, End> {
    let mut keys = Vec::new();
    for department in recipients {
        let of_department = trust.recipient_keys(department);
        if of_department.is_empty() {
            return Err(End::Halt(ConnectorError::NoRecipientKey(department.clone())));
        }
        keys.extend(of_department.iter().map(|key| (department.clone(), *key)));
    }
    Ok(keys)
}
