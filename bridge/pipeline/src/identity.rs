//! Who the source and the datasets are, on record before the first batch names them.

use crate::life::{End, held};
use crate::{Connector, ConnectorError};
use bridge_envelope::{ContractRecord, Entry, Frame, IncarnationRecord, SchemaFile, Signed, TrustEntry};
use bridge_event::{At, Incarnation, IncarnationNumber, LogIndex};
use bridge_ledger::{Acknowledged, Log};
use bridge_suite::Digest;
use schemas::{Compatibility, Contract, ContractFiles, compatible};
use std::sync::Mutex;

/// The number of the source's incarnation. A log without one gets the first; another identity halts.
pub(crate) fn incarnation(
    connector: &Connector,
    found: &Incarnation,
    log: &Mutex<Log>,
) -> Result<IncarnationNumber, End> {
    let mut log = held(log);
    if let Some(index) = log.newest_incarnation() {
        let known = read_incarnation(&log, index)?;
        if known.identity == *found {
            return Ok(known.number);
        }
        return Err(End::Halt(ConnectorError::Identity {
            found: describe(found),
            known: describe(&known.identity),
        }));
    }
    let number = IncarnationNumber(1);
    let record = IncarnationRecord {
        origin: connector.origin.clone(),
        number,
        identity: found.clone(),
        previous: Digest::ZERO,
    };
    let record = record.sign(&[&connector.signing]).map_err(End::defect)?;
    append(&mut log, Entry::Incarnation(record.into_frame()))?;
    Ok(number)
}

/// The source must not begin beyond what it was told to forget: what lies between, nobody would miss.
pub(crate) fn kept_place(found: At, incarnation: IncarnationNumber, log: &Mutex<Log>) -> Result<(), End> {
    let mut log = held(log);
    let kept = log.acknowledged().map_err(|error| End::Halt(error.into()))?;
    match kept.filter(|kept| kept.incarnation == incarnation) {
        Some(Acknowledged { through: kept, .. }) if found > kept => {
            Err(End::Halt(ConnectorError::SourceMoved { found, kept }))
        }
        Some(_) => Ok(()),
        // Nothing was told yet.
        None => log.keep_acknowledged(Acknowledged { incarnation, through: found }).map_err(End::from_log),
    }
}

fn read_incarnation(log: &Log, index: LogIndex) -> Result<IncarnationRecord, End> {
    let bytes = log.entry(index).map_err(|error| End::Halt(error.into()))?;
    match Entry::decode(&bytes) {
        Ok(Entry::Incarnation(frame)) => match Frame::parse(&frame) {
            Ok(Frame::Incarnation(record)) => Ok(record.content.clone()),
            _ => Err(End::defect(format!("entry {index} holds no incarnation record"))),
        },
        _ => Err(End::defect(format!("entry {index} is no incarnation"))),
    }
}

fn describe(incarnation: &Incarnation) -> String {
    let Incarnation { engine, system, timeline, database, slot, .. } = incarnation;
    format!("{engine} {system}, timeline {timeline}, database {database}, slot {slot}")
}

/// The contracts' records, each in the log; the sealing thread publishes them before its first batch.
pub(crate) fn contracts(connector: &Connector, log: &Mutex<Log>) -> Result<Vec<Signed<ContractRecord>>, End> {
    let mut records = Vec::new();
    let before = newest_contracts(&held(log))?;
    for promise in &connector.promises {
        if let Some(before) = before.iter().find(|before| before.dataset() == promise.contract.dataset()) {
            follows(before, &promise.contract)?;
        }
        let schemas = promise
            .contract
            .sections()
            .iter()
            .map(|section| SchemaFile {
                section: section.name().clone(),
                content: section.schema_bytes().to_vec(),
            })
            .collect();
        let record = ContractRecord { contract: promise.contract.bytes().to_vec(), schemas };
        let record = record.sign(&[&connector.signing]).map_err(End::defect)?;
        append(&mut held(log), Entry::Contract(record.frame().to_vec()))?;
        records.push(record);
    }
    Ok(records)
}

/// The newest contract of each dataset in the log.
fn newest_contracts(log: &Log) -> Result<Vec<Contract>, End> {
    let mut newest: Vec<Contract> = Vec::new();
    for index in log.records() {
        let bytes = log.entry(index).map_err(|error| End::Halt(error.into()))?;
        let Ok(Entry::Contract(frame)) = Entry::decode(&bytes) else { continue };
        let Ok(Frame::Contract(record)) = Frame::parse(&frame) else {
            return Err(End::defect(format!("entry {index} holds no contract record")));
        };
        let record = &record.content;
        let schemas = record.schemas.iter().map(|file| (file.section.as_str(), file.content.as_slice()));
        let files = ContractFiles::of_record(&record.contract, schemas);
        let contract = Contract::parse(&files)
            .map_err(|problems| End::defect(format!("entry {index} holds a broken contract: {problems}")))?;
        if newest.iter().all(|one| one.dataset() != contract.dataset()) {
            newest.push(contract);
        }
    }
    Ok(newest)
}

/// A contract that may not follow the one before it is refused before anything is sent under it: readers know a contract
/// by its digest, and keep the first that they have read.
fn follows(before: &Contract, contract: &Contract) -> Result<(), End> {
    let refused =
        |what: String| End::Halt(ConnectorError::Contract { contract: contract.dataset().to_string(), what });
    match compatible(before, contract) {
        Compatibility::Same => Ok(()),
        Compatibility::Changes { additions, widenings } => {
            let (dataset, revision) = (contract.dataset(), contract.revision());
            tracing::info!(%dataset, revision, added = additions.len(), widened = widenings.len(), "the contract was amended");
            Ok(())
        }
        Compatibility::Refused(problems) => Err(refused(format!(
            "it may not follow revision {}, which is the newest in the log: {problems}",
            before.revision()
        ))),
    }
}

/// The trust file in force is on record: a reader of the log knows by which one the connector worked.
pub(crate) fn trust(connector: &Connector, log: &Mutex<Log>) -> Result<(), End> {
    let (version, digest) = (connector.trust.version(), connector.trust.digest());
    append(&mut held(log), Entry::Trust(TrustEntry { version, digest }))
}

/// Appends an entry that stands in the log once, whatever number of starts there are.
fn append(log: &mut Log, entry: Entry) -> Result<(), End> {
    let bytes = entry.encode().map_err(End::defect)?;
    if log.index_of(&bytes).is_none() {
        log.append(&[bytes]).map_err(End::from_log)?;
    }
    Ok(())
}
