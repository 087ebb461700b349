//! The trial cluster alone, for a person who tries a table of their own: no departments, no processes, no tampering.
//!
//! stdout is one line, the address as `bootstrap.servers` wants it; words are on stderr.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use bridge_kafka::trial::Cluster;

use crate::contracts::Contract;
use crate::copies::{CONTRACTS, KEYS};
use crate::interruption::Interruption;
use crate::processes::LOOK;

/// The contracts that a person named: each folder is a contract's own, or one above contracts.
///
/// # Errors
/// When there is none, or one cannot be read.
pub(crate) fn contracts(folders: &[PathBuf]) -> anyhow::Result<Vec<Contract>> {
    let mut all = Vec::new();
    for folder in folders {
        let own = folder.join("contract.toml");
        let found = if own.is_file() { vec![Contract::read(&own)?] } else { Contract::read_all(folder)? };
        ensure!(
            !found.is_empty(),
            "{} holds no contract: there is no contract.toml in it or one folder below; name the folder of your contract",
            folder.display()
        );
        all.extend(found);
    }
    Ok(all)
}

/// Starts the cluster with the contracts' topics, says where it is, and keeps it until somebody asks it to end.
///
/// # Errors
/// When a topic cannot be made, or stdout is closed.
pub(crate) fn keep(contracts: &[Contract], interruption: &Interruption) -> anyhow::Result<()> {
    let cluster = Cluster::start(1)?;
    for topic in [CONTRACTS, KEYS] {
        cluster.create_topic(topic, 1)?;
    }
    for contract in contracts {
        let (topic, partitions) = (contract.topic(), contract.partitions);
        cluster.create_topic(&topic, partitions).with_context(|| {
            format!("the topic {topic} with {partitions} partitions; is the contract named twice?")
        })?;
    }
    eprintln!(
        "A trial cluster is up, FOR TRYING OUT ONLY: it keeps everything in this program's memory, at most 5 MiB in a\n\
         partition. When it ends all batches are gone: then begin again with a new log, new folders and a new database.\n\
         A connector that uses it needs `check = false` under [topics]. Ctrl-C ends it."
    );
    for name in contracts.iter().map(Contract::name) {
        eprintln!("  topics for {name}");
    }
    println!("{}", cluster.bootstrap());
    std::io::stdout().flush().context("stdout is closed")?;
    while interruption.check().is_ok() {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn schemas(below: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas").join(below)
    }

    #[test]
    fn a_contracts_own_folder_and_one_above_contracts_are_read() {
        let found = contracts(&[schemas("tax/payments"), schemas("education")]).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!(found.first().unwrap().topic(), "govbridge.tax.payments");
        assert!(found.iter().all(|contract| contract.partitions > 0));
    }

    #[test]
    fn a_folder_without_contracts_is_refused_by_its_name() {
        let refused = contracts(&[schemas("tests")]).unwrap_err().to_string();
        assert!(refused.contains("holds no contract"), "{refused}");
        assert!(contracts(&[schemas("nowhere")]).unwrap_err().to_string().contains("nowhere"));
    }
}
