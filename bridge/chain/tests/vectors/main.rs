//! The vectors of `tests/vectors/govbridge/chain` and the worked example of `docs/spec/chain.md`: what the shipped
//! machine makes of each run, step by step.
//!
//! They are made here, the same in every run, and compared with the committed files; `GOVBRIDGE_WRITE_VECTORS=1`
//! writes them instead.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "a vector that is half written is simply written again")]

mod failures;
mod good;
mod run;

use run::Run;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn all() -> Vec<Run> {
    good::runs().into_iter().chain(failures::runs()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn is_writing() -> bool {
    std::env::var_os("GOVBRIDGE_WRITE_VECTORS").is_some()
}

/// Writes a file, or compares it with the committed one.
fn keep(path: &Path, text: &str) {
    if is_writing() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    } else {
        let committed = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(committed == text, "{} is not what is made now; see this file's head", path.display());
    }
}

#[test]
fn the_committed_vectors_are_those_that_are_made_now() {
    let folder = root().join("tests/vectors/govbridge/chain");
    let mut names = BTreeSet::new();
    for run in all() {
        keep(&folder.join(run.name).with_extension("json"), &(run.text() + "\n"));
        assert!(names.insert(run.name), "two runs are called {}", run.name);
    }
    for file in std::fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(names.contains(name), "{} is no longer made: remove it", path.display());
    }
}

#[test]
fn a_good_run_ends_well_and_every_other_one_with_one_code() {
    let mut codes = BTreeSet::new();
    for run in all() {
        let expect = run.expect();
        assert_eq!(expect.is_none(), run.name.starts_with("good"), "{}", run.name);
        codes.extend(expect);
    }
    assert_eq!(codes, run::CODES.iter().map(|(_, code)| *code).collect(), "a code without a run");
}

#[test]
fn the_specifications_worked_example_is_a_vector() {
    let (begin, end) = (
        "<!-- worked example: made by `cargo test -p bridge-chain --test vectors` -->\n",
        "<!-- end of worked example -->\n",
    );
    let path = root().join("docs/spec/chain.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let run = all().into_iter().find(|run| run.name == "good-take-over").unwrap();
    let mut example = format!(
        "\n`{}.json`: {}.\n\n| frame | step | state after it |\n|---|---|---|\n",
        run.name,
        run.about()
    );
    for step in run.steps() {
        let code = step["code"].as_str().map_or(String::new(), |code| format!(" ({code})"));
        example += &format!(
            "| {} | {}{code} | {} |\n",
            frame(step),
            step["step"].as_str().unwrap(),
            state(&step["state"])
        );
    }
    keep(&path, &format!("{before}{begin}{example}\n{end}{after}"));
}

/// The first eight characters of a digest.
fn short(digest: &Value) -> &str {
    &digest.as_str().unwrap()[..8]
}

fn frame(step: &Value) -> String {
    if let Some(fence) = step.get("fence") {
        return format!("fence of epoch {}", fence["epoch"]);
    }
    if let Some(beacon) = step.get("beacon") {
        return match &beacon["head"] {
            Value::Null => format!("beacon of epoch {}, no head", beacon["epoch"]),
            head => format!(
                "beacon of epoch {}, head {} `{}`",
                beacon["epoch"],
                head["sequence"],
                short(&head["digest"])
            ),
        };
    }
    let batch = &step["batch"];
    let mut words = format!(
        "{} batch {} `{}` after `{}`, epoch {}, {} rows from {} to {}",
        batch["kind"].as_str().unwrap(),
        batch["sequence"],
        short(&batch["digest"]),
        short(&batch["previous"]),
        batch["epoch"],
        batch["rows"],
        batch["first"],
        batch["last"]
    );
    for flag in ["continues", "leaves_open"] {
        if batch[flag] == json!(true) {
            words += &format!(", {flag}");
        }
    }
    words
}

fn state(state: &Value) -> String {
    let head = match &state["head"] {
        Value::Null => "no head".to_owned(),
        head => format!("head {} `{}`", head["sequence"], short(&head["digest"])),
    };
    format!("epoch {}, {head}, last {}, open {}", state["epoch"], state["last"], state["open"])
}
