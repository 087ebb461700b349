//! The quick start of `README.md` is run as it stands, on real servers, in a copy of what it needs of a clone.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

#[allow(dead_code, unreachable_pub, reason = "tests/process.rs has hands that only other tests need")]
#[path = "../../../tests/process.rs"]
mod process;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use deploy_ports::Port;
use process::{Binary, repository};

/// What the shell may take on a loaded machine, in seconds. `timeout` then ends all that it started.
const PATIENCE: &str = "300";

/// Commands that a person is asked for, at most.
const COMMANDS_MAX: usize = 10;

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).unwrap()
}

/// The commands of a page: its blocks that are marked as shell.
fn commands(page: &str) -> Vec<&str> {
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0);
    blocks.flat_map(str::lines).collect()
}

fn shell(folder: &Path, script: &str, unpacked: &str) -> Output {
    Command::new("timeout")
        .args([PATIENCE, "bash", "-eu", "-o", "pipefail", "-c", script])
        .current_dir(folder)
        // The programs are built already, by whoever runs this test.
        .env("CARGO", "true")
        .env("SERVICES_UNPACKED", unpacked)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn good(output: Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{}\n{complaint}", output.status, said(&output));
    said(&output)
}

/// A folder with what the quick start needs of a clone; its servers end with it.
struct Clone {
    folder: tempfile::TempDir,
    unpacked: String,
}

impl Clone {
    fn new() -> Clone {
        let fetched =
            Command::new(repository().join("deploy/dev/services.sh")).arg("fetch").output().unwrap();
        let homes = good(fetched);
        let unpacked =
            Path::new(homes.lines().last().unwrap()).parent().unwrap().to_str().unwrap().to_owned();
        let clone = Clone { folder: tempfile::tempdir().unwrap(), unpacked };
        let from = repository().canonicalize().unwrap();
        let programs = Binary::beside_this().path().parent().unwrap().canonicalize().unwrap();
        let (from, programs) = (from.display(), programs.display());
        clone.run(&format!(
            "mkdir -p deploy/dev target && cp {from}/Makefile . && cp -r {from}/schemas . &&
             cp -r {from}/deploy/dev/*.toml {from}/deploy/dev/*.sh {from}/deploy/dev/services deploy/dev && ln -s {programs} target/debug"
        ));
        clone
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, script: &str) -> String {
        good(shell(self.path(), script, &self.unpacked))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    fn replace(&self, from: &str, to: &str) {
        self.run(&format!("sed -i 's/{from}/{to}/g' deploy/dev/*.toml deploy/dev/prepare.sh"));
    }

    /// A word of the services' state.
    fn state(&self, name: &str) -> String {
        let state = self.read("target/services/state");
        state.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = shell(self.path(), "deploy/dev/services.sh clean", &self.unpacked);
    }
}

#[test]
fn the_quick_start_does_what_it_says() {
    let text = page("README.md");
    let commands = commands(&text);
    assert!((1..=COMMANDS_MAX).contains(&commands.len()), "{commands:?}");
    let clone = Clone::new();
    // This machine may have other servers: the ports that the files name are those of one developer's machine.
    clone.run("deploy/dev/services.sh up");
    clone.replace("25432", clone.state("POSTGRES_PORT=").as_str());
    clone.replace("127.0.0.1:29092", &clone.state("KAFKA_BOOTSTRAP="));
    let ports = [7101, 7201, 7301].map(|named| (named, Port::reserve().unwrap()));
    for (named, port) in &ports {
        clone.replace(&named.to_string(), &port.number().to_string());
    }

    let script = format!("trap 'kill $(jobs -p) 2> jobs.words || true' EXIT\n{}\n", commands.join("\n"));
    let done = shell(clone.path(), &script, &clone.unpacked);
    let words = ["connector", "subscriber", "witness"]
        .map(|name| clone.read(&format!("deploy/dev/{name}.words")))
        .join("\n");
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}\n{}\n{complaint}\n{words}", done.status, said(&done));

    let said = said(&done);
    let line = said.lines().find(|line| line.contains("900001")).unwrap();
    let row: serde_json::Value = serde_json::from_str(line).unwrap();
    // The connector's first snapshot finds the row when it is later than the INSERT.
    assert!(row["op"] == "c" || row["op"] == "r", "{row}");
    assert_eq!(row["after"]["taxpayer_no"], "T9901000021");
    assert_eq!(row["provenance"]["level"], "witnessed");
    assert_eq!(row["provenance"]["origin"], "gov.example/tax/main");
    assert_eq!(row["source"]["dataset"], "payments");
    assert!(!clone.path().join("target/services/state").exists(), "the last command stops the servers");
}

#[test]
fn both_languages_of_the_readme_have_the_same_commands() {
    assert_eq!(commands(&page("README.md")), commands(&page("docs/README.zh-CN.md")));
}
