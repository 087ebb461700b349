//! The stage: folders, keys, the trust file and the configuration files, made by the commands that a person would use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use deploy_ports::Port;

use crate::contracts::Contract;
use crate::copies::{copy_folder, write};
use crate::ground::Ground;
use crate::processes::Binary;

/// The departments that send.
pub(crate) const DEPARTMENTS: &[&str] = &["social-security", "tax", "education"];

/// The departments that receive in the demo.
pub(crate) const RECEIVERS: &[&str] = &["social-security", "tax"];

/// Who runs a witness: the departments and the auditor, who sends nothing.
pub(crate) const WITNESSES: &[&str] = &["social-security", "tax", "education", "audit"];

const ROOTS: &[&str] = &["li", "wang", "zhao"];
const TITLES: &[(&str, &str)] = &[
    ("social-security", "示范省人力资源和社会保障厅"),
    ("tax", "示范省税务局"),
    ("education", "示范省教育厅"),
    ("audit", "示范省审计厅"),
];

/// The level at which the receivers deliver.
const PRODUCTION: &str = "level = \"witnessed\"\n";

/// A file in the working folder that says that the demo made it, so that nothing else is ever removed.
const MARK: &str = "made-by-govbridge-demo";

/// Addresses on this machine, reserved while this lives.
#[derive(Debug)]
pub(crate) struct Ports(BTreeMap<String, Port>);

impl Ports {
    /// A port for each process.
    fn find() -> anyhow::Result<Ports> {
        let names = DEPARTMENTS.iter().map(|d| connector(d)).chain(WITNESSES.iter().map(|d| witness(d)));
        let names = names.chain(RECEIVERS.iter().map(|d| subscriber(d)));
        let reserve = |name| Ok((name, Port::reserve()?));
        Ok(Ports(names.map(reserve).collect::<anyhow::Result<_>>()?))
    }

    /// `127.0.0.1:<port>` of a process.
    pub(crate) fn address(&self, process: &str) -> String {
        format!("127.0.0.1:{}", self.0.get(process).map(Port::number).unwrap_or_default())
    }

    pub(crate) fn url(&self, process: &str) -> String {
        format!("http://{}", self.address(process))
    }
}

/// A connector's name in the demo.
pub(crate) fn connector(department: &str) -> String {
    format!("{department} connector")
}

/// A witness's name in the demo.
pub(crate) fn witness(department: &str) -> String {
    format!("{department} witness")
}

/// A subscriber's name in the demo.
pub(crate) fn subscriber(department: &str) -> String {
    format!("{department} subscriber")
}

/// The identity of a department's log.
pub(crate) fn origin(department: &str) -> String {
    format!("gov.example/{department}/main")
}

/// The working folder and what stands in it.
pub(crate) struct Stage {
    pub(crate) folder: PathBuf,
    pub(crate) ports: Ports,
    /// All nine, by department.
    pub(crate) contracts: Vec<Contract>,
    pub(crate) ground: Ground,
    binary: Binary,
    /// Version 1's digest, pinned in every configuration.
    pin: String,
}

impl Stage {
    /// Empties the working folder, or refuses one that the demo did not make, and copies the contracts into it.
    pub(crate) fn clear(
        folder: &Path,
        schemas: &Path,
        binary: &Binary,
        ground: &Ground,
    ) -> anyhow::Result<Stage> {
        if folder.exists() {
            let empty = fs::read_dir(folder)?.next().is_none();
            ensure!(
                empty || folder.join(MARK).exists(),
                "{} is not empty, and the demo did not make it; name another folder with --folder",
                folder.display()
            );
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        write(&folder.join(MARK), "The next demo removes this folder with everything in it.\n")?;
        for name in ["words", "copies", "root", "trust"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let mut contracts = Vec::new();
        for department in DEPARTMENTS {
            let own = folder.join("schemas").join(department);
            copy_folder(&schemas.join(department), &own)?;
            contracts.extend(Contract::read_all(&own)?);
        }
        let (ports, binary, ground) = (Ports::find()?, binary.clone(), ground.clone());
        Ok(Stage { folder, ports, contracts, ground, binary, pin: String::new() })
    }

    /// The folder of a department.
    pub(crate) fn of(&self, department: &str) -> PathBuf {
        self.folder.join(department)
    }

    /// The file that a process's words go to.
    pub(crate) fn words(&self, process: &str) -> PathBuf {
        self.folder.join("words").join(format!("{}.log", process.replace(' ', "-")))
    }

    /// All topics.
    pub(crate) fn topics(&self) -> Vec<String> {
        let records = [crate::copies::CONTRACTS, crate::copies::KEYS].map(ToOwned::to_owned);
        self.contracts.iter().map(Contract::topic).chain(records).collect()
    }

    /// The datasets that a department receives.
    pub(crate) fn received_by(&self, department: &str) -> Vec<&Contract> {
        self.contracts.iter().filter(|contract| contract.opened_by(department).is_some()).collect()
    }

    fn govbridge(&self, words: &[&str]) -> anyhow::Result<String> {
        self.binary.run(&self.folder, words)
    }

    /// Makes every key and the signed trust file. `step` is told of each command.
    pub(crate) fn keys_and_trust(&mut self, step: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let mut keygen = |role: &str, name: &str, file: &str| {
            step(&format!("keygen {role} {name}"));
            let line = self.govbridge(&["keygen", "--role", role, "--name", name, "--out", file])?;
            Ok::<String, anyhow::Error>(line.trim().to_owned())
        };
        let mut roots = Vec::new();
        for root in ROOTS {
            roots.push(keygen("root", &format!("gov.example/root/{root}"), &format!("root/{root}.key"))?);
        }
        let mut acts: Vec<Vec<String>> = Vec::new();
        let add = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for department in WITNESSES {
            fs::create_dir_all(self.of(department).join("keys"))?;
            let title = TITLES.iter().find(|(name, _)| name == department).map_or("", |(_, title)| *title);
            acts.push(add(&["department", "--name", department, "--title", title]));
            let key = |role: &str| format!("{department}/keys/{role}.key");
            let recipient = keygen("recipient", department, &key("recipient"))?;
            acts.push(add(&["recipient", "--department", department, "--key", &recipient]));
            let name = format!("gov.example/{department}/witness");
            let vkey = keygen("witness", &name, &key("witness"))?;
            let url = self.ports.url(&witness(department));
            acts.push(add(&[
                "witness",
                "--department",
                department,
                "--name",
                &name,
                "--vkey",
                &vkey,
                "--url",
                &url,
                "--checking",
            ]));
            if DEPARTMENTS.contains(department) {
                let origin = origin(department);
                let signing = keygen("signing", department, &key("signing"))?;
                acts.push(add(&[
                    "signing",
                    "--department",
                    department,
                    "--key",
                    &signing,
                    "--origin",
                    &origin,
                ]));
                let vkey = keygen("log", &origin, &key("log"))?;
                let url = self.ports.url(&connector(department));
                acts.push(add(&[
                    "log",
                    "--department",
                    department,
                    "--origin",
                    &origin,
                    "--vkey",
                    &vkey,
                    "--url",
                    &url,
                ]));
            }
        }
        // Three witnesses count for each log, its owner's own never does: all of them must cosign, and one may lie.
        acts.push(add(&["policy", "--quorum", "3", "--liars", "1"]));
        self.trust(&roots, &acts, step)
    }

    fn trust(
        &mut self,
        roots: &[String],
        acts: &[Vec<String>],
        step: &mut dyn FnMut(&str),
    ) -> anyhow::Result<()> {
        const FILE: &str = "trust/trust-1.note";
        let mut init = vec!["trust", "init", FILE, "--domain", "gov.example", "--threshold", "2"];
        for root in roots {
            init.extend(["--root", root]);
        }
        step("trust init");
        self.govbridge(&init)?;
        for act in acts {
            step(&format!("trust add {}", act.first().map_or("", String::as_str)));
            let mut words = vec!["trust", "add", FILE];
            words.extend(act.iter().map(String::as_str));
            self.govbridge(&words)?;
        }
        for root in ROOTS.iter().take(2) {
            step(&format!("trust sign, {root}"));
            let signed = self.govbridge(&["trust", "sign", FILE, "--key", &format!("root/{root}.key")])?;
            self.pin = signed.trim().to_owned();
        }
        if self.pin.len() != 64 {
            bail!("two of three root holders signed, and `trust sign` printed no digest");
        }
        Ok(())
    }

    /// How many commands [`keys_and_trust`](Stage::keys_and_trust) and [`open_logs`](Stage::open_logs) run.
    pub(crate) const COMMANDS: u64 = 53;

    /// Makes the empty logs and the witnesses' states: commands of their own, never done by a start.
    pub(crate) fn open_logs(&self, step: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        for department in DEPARTMENTS {
            step(&format!("log init {department}"));
            let (directory, key) = (format!("{department}/log"), format!("{department}/keys/log.key"));
            self.govbridge(&[
                "log",
                "init",
                "--directory",
                &directory,
                "--origin",
                &origin(department),
                "--key",
                &key,
            ])?;
        }
        for department in WITNESSES {
            step(&format!("witness init {department}"));
            self.govbridge(&["witness", "init", "--config", &format!("{department}/witness.toml")])?;
        }
        Ok(())
    }

    /// Installs capture in a department's file, and makes what a first start needs.
    pub(crate) fn create_connector(&self, department: &str) -> anyhow::Result<()> {
        self.govbridge(&["connector", "--config", &format!("{department}/connector.toml"), "--create"])
            .map(drop)
    }

    /// Makes the tables of a receiving department, which needs the contracts that the connectors publish.
    pub(crate) fn create_tables(&self, department: &str) -> anyhow::Result<()> {
        self.govbridge(&["subscriber", "--config", &format!("{department}/subscriber.toml"), "--create"])
            .map(drop)
    }

    fn trust_lines(&self, process: &str) -> String {
        format!(
            "[trust]\nfile = \"../trust/trust-1.note\"\npin = \"{}\"\nstate = \"{process}-trust.state\"\n",
            self.pin
        )
    }

    /// Writes every process's configuration file: production's, with addresses of this machine.
    pub(crate) fn configure(&self, bootstrap: &str) -> anyhow::Result<()> {
        for department in DEPARTMENTS {
            let own = self.contracts.iter().filter(|contract| contract.department == *department);
            let contracts: Vec<String> = own
                .map(|contract| format!("  \"../schemas/{department}/{}\",\n", contract.dataset))
                .collect();
            let text = format!(
                "department = \"{department}\"\norigin = \"{}\"\ncontracts = [\n{}]\n\n[source]\n{}\n[kafka]\n\"bootstrap.servers\" = \"{bootstrap}\"\n\n[log]\n\
                 directory = \"log\"\n\n[keys]\nsigning = \"keys/signing.key\"\nlog = \"keys/log.key\"\n\n{}\n[http]\n\
                 listen = \"{}\"\n\n[topics]\n{}",
                origin(department),
                contracts.concat(),
                self.ground.source(department),
                self.trust_lines("connector"),
                self.ports.address(&connector(department)),
                self.ground.topics(),
            );
            write(&self.of(department).join("connector.toml"), &text)?;
        }
        for department in WITNESSES {
            let text = format!(
                "name = \"gov.example/{department}/witness\"\ndirectory = \"witness\"\nchecking = true\n\n[keys]\n\
                 witness = \"keys/witness.key\"\n\n{}\n[http]\nlisten = \"{}\"\n",
                self.trust_lines("witness"),
                self.ports.address(&witness(department)),
            );
            write(&self.of(department).join("witness.toml"), &text)?;
        }
        for department in RECEIVERS {
            let listen = format!("\n[http]\nlisten = \"{}\"\n", self.ports.address(&subscriber(department)));
            let text = self.subscriber_text(
                department,
                bootstrap,
                PRODUCTION,
                ["progress", &self.ground.sink(department)],
                &listen,
            );
            write(&self.of(department).join("subscriber.toml"), &text)?;
        }
        Ok(())
    }

    fn subscriber_text(
        &self,
        department: &str,
        bootstrap: &str,
        head: &str,
        [progress, sink]: [&str; 2],
        more: &str,
    ) -> String {
        let datasets: Vec<String> = self
            .received_by(department)
            .iter()
            .map(|c| {
                format!("[[dataset]]\ndepartment = \"{}\"\ndataset = \"{}\"\n\n", c.department, c.dataset)
            })
            .collect();
        format!(
            "department = \"{department}\"\nname = \"main\"\nmode = \"{}\"\n{head}\
             progress = \"{progress}\"\n\n{}{sink}\n[kafka]\n\
             \"bootstrap.servers\" = \"{bootstrap}\"\n\n[keys]\nrecipient = [\"keys/recipient.key\"]\n\n{}{more}",
            self.ground.mode(),
            datasets.concat(),
            self.trust_lines("subscriber"),
        )
    }

    /// Writes the configuration of a reader of copies: its own progress and trust state, and logs from folders. Returns
    /// its name in the department's folder.
    pub(crate) fn configure_reader(
        &self,
        department: &str,
        number: usize,
        bootstrap: &str,
        (logs, level): (&Path, &str),
    ) -> anyhow::Result<String> {
        let mut urls = String::from("\n[log_urls]\n");
        for owner in DEPARTMENTS {
            urls.push_str(&format!("\"{}\" = \"{}\"\n", origin(owner), logs.join(owner).display()));
        }
        // A copy does not get younger.
        let head = format!("level = \"{level}\"\nfreshness_seconds = 3600\n");
        let progress = format!("check-{number}/progress");
        let sink = format!("[sink]\njson_lines = \"check-{number}/rows.jsonl\"\n");
        let text = self.subscriber_text(department, bootstrap, &head, [&progress, &sink], &urls);
        fs::create_dir_all(self.of(department).join(format!("check-{number}")))?;
        let name = format!("check-{number}.toml");
        write(&self.of(department).join(&name), &text)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleared(folder: &Path) -> anyhow::Result<Stage> {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        Stage::clear(folder, &schemas, &Binary::at("/bin/true"), &Ground::Trial)
    }

    #[test]
    fn a_folder_that_the_demo_did_not_make_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(cleared(folder.path()).is_err());
        assert!(folder.path().join("thesis.txt").exists());
    }

    #[test]
    fn a_folder_of_an_earlier_demo_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("demo");
        cleared(&place).unwrap();
        write(&place.join("old"), "x").unwrap();
        let stage = cleared(&place).unwrap();
        assert!(!place.join("old").exists());
        assert_eq!((stage.contracts.len(), stage.topics().len()), (9, 11));
    }

    #[test]
    fn the_configuration_files_are_toml_and_name_what_each_process_needs() {
        let folder = tempfile::tempdir().unwrap();
        let stage = cleared(&folder.path().join("demo")).unwrap();
        for department in WITNESSES {
            fs::create_dir_all(stage.of(department)).unwrap();
        }
        stage.configure("127.0.0.1:1").unwrap();
        let read = |file: &str| -> toml::Table {
            fs::read_to_string(stage.folder.join(file)).unwrap().parse().unwrap()
        };
        assert_eq!(read("tax/connector.toml")["contracts"].as_array().unwrap().len(), 3);
        assert_eq!(read("audit/witness.toml")["checking"].as_bool(), Some(true));
        let tax = read("tax/subscriber.toml");
        assert_eq!(tax["dataset"].as_array().unwrap().len(), 6);
        assert_eq!(tax["level"].as_str(), Some("witnessed"));
        let reader = stage
            .configure_reader("tax", 7, "127.0.0.1:2", (&stage.folder.join("copies"), "signed"))
            .unwrap();
        assert_eq!(read(&format!("tax/{reader}"))["log_urls"].as_table().unwrap().len(), 3);
    }

    #[test]
    fn no_two_processes_share_a_port() {
        let Ports(ports) = Ports::find().unwrap();
        let distinct: std::collections::BTreeSet<_> = ports.values().map(Port::number).collect();
        assert_eq!((ports.len(), distinct.len()), (9, 9));
    }
}
