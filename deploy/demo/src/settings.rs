//! What a person may say to the demo.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::ground::Ground;
use crate::servers::Servers;

const LONG: &str = "\
Runs the whole path on this machine: three departments with a connector each, four witnesses, two receiving \
departments. Then tampers with copies of what they left behind, one act at a time, and says who noticed.

The processes are the real ones, with production's commands and configuration files. Without --servers the departments \
have SQLite files, and the transport is librdkafka's mock cluster in this program's memory, for trying out. With it \
they have PostgreSQL databases and the topics are a Kafka cluster's. All people in it are invented.";

const CODES: &str = "\
Exit codes: 0 everything arrived once and every act was noticed, 1 something did not or was not, 2 usage or a stage \
that could not be set, 3 a process or this machine failed.";

/// The demo's command line.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "govbridge-demo",
    version,
    about = "The whole path on one machine, and a tamperer who is caught"
)]
#[command(long_about = LONG, after_help = CODES)]
pub(crate) struct Settings {
    /// How long the departments work, in seconds
    #[arg(long, env = "DEMO_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=600))]
    seconds: u64,
    /// The seed of the invented people and their changes; the same seed gives the same ones
    #[arg(long, default_value_t = 20_260_401)]
    pub(crate) seed: u64,
    /// The working folder; one that an earlier demo made is removed first
    #[arg(long, default_value = ".demo")]
    pub(crate) folder: PathBuf,
    /// The contracts, when they are not found above the current folder
    #[arg(long)]
    schemas: Option<PathBuf>,
    /// Leave the working folder with all files behind, to look around in
    #[arg(long)]
    pub(crate) keep: bool,
    /// Run on real servers: the file `state` of deploy/dev/services.sh says where they are. Databases, slots and topics
    /// are removed at the end
    #[arg(long, value_name = "FILE")]
    servers: Option<PathBuf>,
    /// Start nothing but the trial cluster, with the topics of the contracts in these folders; print its address, and
    /// keep it until Ctrl-C. For trying a table of your own: docs/guide/first-table.md
    #[arg(long, value_name = "CONTRACTS", num_args = 1.., conflicts_with_all = ["folder", "schemas", "keep", "servers"])]
    pub(crate) cluster: Vec<PathBuf>,
}

impl Settings {
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// What the play stands on.
    ///
    /// # Errors
    /// When the file that names the servers cannot be read.
    pub(crate) fn ground(&self) -> anyhow::Result<Ground> {
        self.servers.as_deref().map_or(Ok(Ground::Trial), |file| Servers::read(file).map(Ground::Servers))
    }

    /// The folder of the contracts and sample tables: named, or the repository's, found from the current folder or the
    /// program upwards.
    ///
    /// # Errors
    /// When it is not found.
    pub(crate) fn schemas(&self) -> anyhow::Result<PathBuf> {
        let is_there = |folder: &Path| folder.join("tax/sample.sql").is_file();
        if let Some(named) = &self.schemas {
            return is_there(named)
                .then(|| named.clone())
                .with_context(|| format!("{} holds no tax/sample.sql", named.display()));
        }
        let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
        let above = starts.iter().flatten().flat_map(|start| start.ancestors());
        above
            .map(|folder| folder.join("schemas"))
            .find(|folder| is_there(folder))
            .context("the folder schemas was not found from here upwards; run the demo in the repository, or name it with --schemas")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_length_out_of_bounds_is_refused() {
        assert!(Settings::try_parse_from(["demo", "--seconds", "4"]).is_err());
        assert!(Settings::try_parse_from(["demo", "--seconds", "601"]).is_err());
        assert_eq!(
            Settings::try_parse_from(["demo", "--seconds", "7"]).unwrap().length(),
            Duration::from_secs(7)
        );
    }

    #[test]
    fn the_cluster_alone_goes_with_no_working_folder() {
        let alone = Settings::try_parse_from(["demo", "--cluster", "a", "b"]).unwrap();
        assert_eq!(alone.cluster.len(), 2);
        assert!(Settings::try_parse_from(["demo", "--cluster", "a", "--keep"]).is_err());
    }

    #[test]
    fn the_contracts_are_found_from_the_crate_upwards() {
        assert!(
            Settings::try_parse_from(["demo"]).unwrap().schemas().unwrap().join("tax/sample.sql").is_file()
        );
        assert!(Settings::try_parse_from(["demo", "--schemas", "/nowhere"]).unwrap().schemas().is_err());
    }
}
