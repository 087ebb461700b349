//! The vectors of docs/spec/trust.md: written by this file, and judged by the crate. With `GOVBRIDGE_WRITE_VECTORS` set the
//! files are written anew; without it they must be what is written here, byte for byte.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test ends by panicking")]

mod province;

use bridge_event::LogIndex;
use bridge_suite::{Digest, KeyId, Role, sha256};
use bridge_tlog::SignatureKind;
use bridge_trust::{Anchor, Draft, Remembered, Trust};
use province::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/govbridge/trust")
}

struct Cases {
    text: String,
    note: String,
    digest: Digest,
    cases: BTreeMap<String, Value>,
}

impl Cases {
    fn new() -> Self {
        let text = first().text().unwrap();
        let note = sign(&text, &["a", "b"]);
        let digest = sha256(&[text.as_bytes()]);
        Cases { text, note, digest, cases: BTreeMap::new() }
    }

    fn add(&mut self, name: &str, case: Value) {
        assert!(self.cases.insert(name.to_owned(), case).is_none(), "{name} twice");
    }

    /// A version 1 that is pinned and signed as it stands: only its content can be wrong.
    fn first(&mut self, name: &str, code: &str, text: &str) {
        let pin = sha256(&[text.as_bytes()]).to_string();
        self.add(name, json!({"expected": code, "pin": pin, "before": [], "note": sign(text, &["a", "b"])}));
    }

    fn edited(&mut self, name: &str, code: &str, from: &str, to: &str) {
        assert!(self.text.contains(from), "{name}: {from:?} is not in the text");
        let text = self.text.replacen(from, to, 1);
        assert_ne!(text, self.text);
        self.first(name, code, &text);
    }

    /// A note of any kind in the place of version 1, under the pin of the good one.
    fn instead(&mut self, name: &str, code: &str, note: &str) {
        let pin = self.digest.to_string();
        self.add(name, json!({"expected": code, "pin": pin, "before": [], "note": note}));
    }

    /// A note after the good version 1.
    fn after(&mut self, name: &str, code: &str, note: &str) {
        let pin = self.digest.to_string();
        self.add(name, json!({"expected": code, "pin": pin, "before": [self.note], "note": note}));
    }
}

fn second(first: &Trust) -> Draft {
    let mut draft = Draft::after(first).unwrap();
    let tax = department("tax");
    draft.end_signing(&tax, &signing("tax").to_string(), LogIndex(1000)).unwrap();
    let new = line(Role::Signing, "signing/tax/2", "tax").to_string();
    draft.add_signing(&tax, &new, &origin("tax"), LogIndex(1000)).unwrap();
    draft
}

fn successions(cases: &mut Cases) -> String {
    let first = Trust::verify(cases.note.as_bytes(), Anchor::Pinned(cases.digest)).unwrap();
    let text = second(&first).text().unwrap();
    let note = sign(&text, &["a", "c"]);
    cases.after("good-2", "ok", &note);
    cases.after("one-signature-of-two", "TRU004", &sign(&text, &["c"]));
    cases.after("signed-by-strangers", "TRU004", &sign(&text, &["x", "y"]));
    let lines = note.rsplit("\n\n").next().unwrap();
    let once = lines.lines().next().unwrap();
    cases.after("one-root-signed-twice", "TRU004", &format!("{text}\n{once}\n{once}\n"));
    cases.after(
        "changed-after-it-was-signed",
        "TRU005",
        &note.replacen("until_index = 1000", "until_index = 1001", 1),
    );
    let strangers =
        text.replacen(&root_vkey("a"), &root_vkey("x"), 1).replacen(&root_vkey("b"), &root_vkey("y"), 1);
    cases.after("signed-by-its-own-roots-only", "TRU004", &sign(&strangers, &["x", "y"]));
    let third = text.replacen("version = 2", "version = 3", 1);
    cases.after("version-skipped", "TRU009", &sign(&third, &["a", "b"]));
    let other = text.replacen(&cases.digest.to_string(), &"ab".repeat(32), 1);
    cases.after("previous-is-another-text", "TRU010", &sign(&other, &["a", "b"]));
    cases.after("domain-changed", "TRU010", &sign(&moved(&text), &["a", "b"]));
    let same = cases.text.replacen("税务局", "国家税务局", 1);
    cases.after("same-version-other-text", "TRU008", &sign(&same, &["a", "b"]));
    let pin = sha256(&[text.as_bytes()]).to_string();
    cases.add("pinned-version-2", json!({"expected": "TRU006", "pin": pin, "before": [], "note": note}));
    let (one, pin) = (cases.note.clone(), cases.digest.to_string());
    cases.add(
        "older-than-the-one-before",
        json!({"expected": "TRU007", "pin": pin, "before": [one, note], "note": sign(&same, &["a", "b"])}),
    );
    let remembered = json!({"version": 2, "digest": sha256(&[text.as_bytes()]).to_string()});
    cases.add(
        "older-than-remembered",
        json!({"expected": "TRU007", "pin": pin, "before": [], "remembered": remembered, "note": one}),
    );
    let remembered = json!({"version": 2, "digest": "cd".repeat(32)});
    cases.add(
        "other-than-remembered",
        json!({"expected": "TRU008", "pin": pin, "before": [one], "remembered": remembered, "note": note}),
    );
    note
}

/// A version 2 of another domain without departments: only the domain is wrong.
fn moved(text: &str) -> String {
    let end = text.find("[[department]]").unwrap();
    text.get(..end).unwrap().replacen("\"gov.example\"", "\"gov2.example\"", 1)
}

fn notes(cases: &mut Cases) {
    let (text, note) = (cases.text.clone(), cases.note.clone());
    cases.instead("good-1", "ok", &note);
    cases.instead("nobody-signed", "TRU001", &text);
    cases.instead("carriage-returns", "TRU001", &note.replace('\n', "\r\n"));
    cases.instead("cut-off", "TRU001", note.get(..note.len() - 20).unwrap());
    let retitled = text.replacen("税务局", "国家税务局", 1);
    cases.instead("other-than-pinned", "TRU006", &sign(&retitled, &["a", "b"]));
    cases.edited("unknown-key", "TRU002", "threshold = 2\n", "threshold = 2\nexpires = 2030\n");
    cases.edited("missing-key", "TRU002", "threshold = 2\n", "");
    cases.edited("negative-index", "TRU002", "from_index = 0", "from_index = -1");
    cases.edited("not-toml", "TRU002", "threshold = 2\n", "threshold = = 2\n");
    cases.edited("newer-format", "TRU003", "govbridge_trust = 1\n", "govbridge_trust = 2\nnews = true\n");
    cases.edited(
        "previous-in-version-1",
        "TRU010",
        "version = 1\n",
        &format!("version = 1\nprevious = \"{}\"\n", "ab".repeat(32)),
    );
    cases.edited("version-0", "TRU010", "version = 1\n", "version = 0\n");
}

fn contents(cases: &mut Cases) {
    cases.edited(
        "department-twice",
        "TRU011",
        "[[log]]",
        "[[department]]\nname = \"tax\"\ntitle = \"again\"\n\n[[log]]",
    );
    cases.edited("control-character-in-a-title", "TRU011", "税务局", "税\\u0007务局");
    let other = vkey(SignatureKind::Ed25519, Role::Root, "root/x", &root_name("a"));
    cases.edited("root-name-twice", "TRU011", &root_vkey("c"), &other);
    let tax = signing("tax").to_string();
    let operator = line(Role::Operator, "operator/x", "tax").to_string();
    cases.edited("operator-key-as-signing-key", "TRU012", &tax, &operator);
    let foreign = line(Role::Signing, "signing/x", "education").to_string();
    cases.edited("signing-key-of-another-department", "TRU012", &tax, &foreign);
    let witness = vkey(SignatureKind::CosignatureV1, Role::Witness, "witness/x", origin("tax").as_str());
    cases.edited("witness-key-as-log-key", "TRU012", &log_vkey("tax"), &witness);
    let renamed = vkey(SignatureKind::Ed25519, Role::Log, "log/x", "gov.example/tax/other");
    cases.edited("log-key-of-another-origin", "TRU012", &log_vkey("tax"), &renamed);
    cases.edited("small-order-signing-key", "TRU012", &tax, &small_order());
    cases.edited(
        "check-digits-of-another-key",
        "TRU012",
        &tax,
        &tax.replacen(&signing("tax").id().short(), "00000000", 1),
    );
    let both = line(Role::Operator, "signing/tax", "tax").to_string();
    let operator = line(Role::Operator, "operator/tax", "tax").to_string();
    cases.edited("signing-key-as-operator-key-too", "TRU013", &operator, &both);
    let both = vkey(SignatureKind::CosignatureV1, Role::Witness, "log/tax", &witness_name("tax"));
    cases.edited("log-key-as-witness-key-too", "TRU013", &witness_vkey("tax"), &both);
    let both = line(Role::Signing, "signing/education", "tax").to_string();
    cases.edited("one-key-for-two-departments", "TRU013", &tax, &both);
    cases.edited(
        "witness-of-an-unknown-department",
        "TRU014",
        "department = \"audit\"",
        "department = \"auditors\"",
    );
    let own = format!("key = \"{tax}\"\norigin = \"{}\"", origin("tax"));
    let foreign = format!("key = \"{tax}\"\norigin = \"{}\"", origin("education"));
    cases.edited("signing-key-for-another-departments-log", "TRU014", &own, &foreign);
    cases.edited(
        "signing-key-valid-for-nothing",
        "TRU015",
        "from_index = 0",
        "from_index = 7\nuntil_index = 7",
    );
    cases.edited("threshold-0", "TRU016", "threshold = 2", "threshold = 0");
    cases.edited("threshold-above-the-roots", "TRU016", "threshold = 2", "threshold = 4");
    cases.edited("quorum-that-liars-can-split", "TRU017", "quorum = 3", "quorum = 2");
    cases.edited("quorum-0", "TRU017", "quorum = 3", "quorum = 0");
    cases.edited("quorum-out-of-reach", "TRU018", "quorum = 3", "quorum = 4");
    let second = vkey(SignatureKind::CosignatureV1, Role::Witness, "witness/audit/2", "audit.gov.example/w2");
    let more = format!(
        "[[witness]]\nname = \"audit.gov.example/w2\"\ndepartment = \"audit\"\nvkey = \"{second}\"\nurl = \"https://w2.example/\"\nchecking = true\n"
    );
    let text = format!("{}\n{more}", cases.text);
    cases.first("two-votes-of-one-department", "TRU019", &text);
}

fn small_order() -> String {
    let mut identity = [0; 32];
    identity[0] = 1;
    let id = KeyId::new(Role::Signing, 1, &identity);
    // base64 of 0x0001, 0x01 and 31 zero bytes.
    let text = format!("AAEB{}AA==", "A".repeat(40));
    format!("tax/signing+{}+{text}", id.short())
}

fn all() -> Cases {
    let mut cases = Cases::new();
    notes(&mut cases);
    successions(&mut cases);
    contents(&mut cases);
    cases
}

fn judge(case: &Value) -> Result<Trust, &'static str> {
    let pin: Digest = case["pin"].as_str().unwrap().parse().unwrap();
    let before = case["before"].as_array().unwrap().iter();
    let notes: Vec<&str> = before.chain([&case["note"]]).map(|n| n.as_str().unwrap()).collect();
    let remembered = case.get("remembered").map(|r| Remembered {
        version: r["version"].as_u64().unwrap(),
        digest: r["digest"].as_str().unwrap().parse().unwrap(),
    });
    Trust::walk(pin, &notes, remembered).map_err(|error| error.code())
}

#[test]
fn each_vector_is_judged_as_it_says() {
    let mut wrong = Vec::new();
    let mut codes = std::collections::BTreeSet::new();
    for (name, case) in all().cases {
        let expected = case["expected"].as_str().unwrap().to_owned();
        let found = judge(&case).map_or_else(|code| code.to_owned(), |_| "ok".to_owned());
        if found != expected {
            wrong.push(format!("{name}: {found} instead of {expected}"));
        }
        codes.insert(expected);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let wanted: Vec<String> = (1..=19).map(|n| format!("TRU{n:03}")).collect();
    assert!(wanted.iter().all(|code| codes.contains(code)), "{codes:?}");
}

#[test]
fn the_vector_files_are_what_is_written_here() {
    let write = std::env::var_os("GOVBRIDGE_WRITE_VECTORS").is_some();
    let cases = all().cases;
    for (name, case) in &cases {
        let path = folder().join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(case).unwrap() + "\n";
        if write {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{name}");
    }
    assert_eq!(std::fs::read_dir(folder()).unwrap().count(), cases.len(), "a file that nobody writes");
}

#[test]
fn the_specs_example_is_the_good_vector() {
    let spec = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/trust.md");
    let spec = std::fs::read_to_string(spec).unwrap();
    let note = Cases::new().note;
    let shown: String =
        note.lines().map(|l| if l.is_empty() { "\n".to_owned() } else { format!("    {l}\n") }).collect();
    assert!(spec.contains(&shown), "the worked example of docs/spec/trust.md is not:\n{shown}");
    assert!(spec.contains(&Cases::new().digest.to_string()));
}
