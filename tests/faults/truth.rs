//! What PostgreSQL itself says was committed, and in which order: a second slot, read by `test_decoding`, which shares nothing
//! with govbridge. And the same words of a receiver's lines.

use serde_json::Value;

use crate::postgres::Database;

/// A change in words that can be compared: transaction, index in it, dataset, operation, key, and every shared value.
pub type Words = String;

/// The source's own record of its transactions, from its making on.
pub struct Truth<'a> {
    database: &'a Database,
    slot: String,
}

/// What is compared: changes in commit order, and after how many of them a transaction ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub changes: Vec<Words>,
    pub ends: Vec<usize>,
}

impl<'a> Truth<'a> {
    /// From now on.
    pub fn begin(database: &'a Database) -> Truth<'a> {
        let slot = format!("{}_truth", database.name);
        let sql = format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')");
        database.application().run(&sql);
        Truth { database, slot }
    }

    /// Everything that was committed since, once.
    pub fn read(&self) -> Committed {
        let rows = self.database.application().run(&format!(
            "SELECT data, lsn FROM pg_logical_slot_get_changes('{}', NULL, NULL, 'skip-empty-xacts', '1')",
            self.slot
        ));
        let (mut truth, mut index, mut transaction) = (Changes::default(), 0, String::new());
        let mut last = String::new();
        for row in rows {
            let line = row[0].clone().unwrap();
            if let Some(number) = line.strip_prefix("BEGIN ") {
                (index, transaction) = (0, number.to_owned());
            } else if line.starts_with("COMMIT ") {
                if index > 0 {
                    truth.ends.push(truth.changes.len());
                }
            } else if let Some((dataset, rest)) =
                line.strip_prefix("table public.").and_then(|rest| rest.split_once(": "))
                && key_of(dataset).is_some()
            {
                last = row[1].clone().unwrap();
                for change in decoded(dataset, rest) {
                    truth.changes.push(format!("{transaction} {index} {dataset} {change}"));
                    index += 1;
                }
            }
        }
        Committed { changes: truth, last }
    }
}

/// What was committed, and where the last change stands in the source's log.
pub struct Committed {
    pub changes: Changes,
    pub last: String,
}

fn key_of(dataset: &str) -> Option<&'static str> {
    match dataset {
        "payments" => Some("payment_id"),
        "taxpayers" => Some("taxpayer_no"),
        _ => None,
    }
}

/// One change of `test_decoding`, or two where a key changed.
fn decoded(dataset: &str, line: &str) -> Vec<String> {
    let key = key_of(dataset).unwrap();
    let (operation, rest) = line.split_once(": ").unwrap();
    let deleted = |columns: &[Column]| format!("d {}", value_of(columns, key));
    match operation {
        "INSERT" => vec![format!("c {}", shown(&columns(rest)))],
        "DELETE" => vec![deleted(&columns(rest))],
        "UPDATE" => {
            let Some(rest) = rest.strip_prefix("old-key: ") else {
                return vec![format!("u {}", shown(&columns(rest)))];
            };
            let all = columns(rest);
            let middle = 1 + all.iter().skip(1).position(|(name, _)| *name == all[0].0).unwrap();
            let (old, new) = all.split_at(middle);
            if value_of(old, key) == value_of(new, key) {
                return vec![format!("u {}", shown(new))];
            }
            vec![deleted(old), format!("c {}", shown(new))]
        }
        other => panic!("the load does no {other}"),
    }
}

type Column = (String, String);

fn value_of(columns: &[Column], key: &str) -> String {
    columns.iter().find(|(name, _)| name == key).unwrap().1.clone()
}

/// Columns that nobody is sent, and the one whose text differs (a receiver's tables show it as the source does).
fn is_shown(name: &str) -> bool {
    !["risk_score", "receipt_digest"].contains(&name)
}

fn shown(columns: &[Column]) -> String {
    let mut words: Vec<String> = columns
        .iter()
        .filter(|(name, _)| is_shown(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    words.sort();
    words.join(" ")
}

/// `name[type]:value` one after the other; a text in quotes, a quote in it doubled.
fn columns(mut line: &str) -> Vec<Column> {
    let mut columns = Vec::new();
    while !line.is_empty() {
        line = line.strip_prefix("new-tuple: ").unwrap_or(line);
        let (name, rest) = line.split_once('[').unwrap();
        let (_, rest) = rest.split_once("]:").unwrap();
        let (value, rest) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        columns.push((name.to_owned(), value));
        line = rest.strip_prefix(' ').unwrap_or(rest);
    }
    columns
}

fn quoted_value(quoted: &str) -> (String, &str) {
    let (mut value, mut rest) = (String::new(), quoted);
    loop {
        let end = rest.find('\'').unwrap();
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return (value, rest),
        }
    }
}

/// The same of a receiver's lines: what came after the snapshots, and where transactions ended.
pub fn received(lines: &[String]) -> Changes {
    let mut received = Changes::default();
    for line in lines {
        let line: Value = serde_json::from_str(line).unwrap();
        if line.get("commit").is_some() {
            received.ends.push(received.changes.len());
        }
        let Some(operation) = line["op"].as_str().filter(|operation| *operation != "r") else { continue };
        let source = &line["source"];
        let dataset = source["dataset"].as_str().unwrap();
        let said = match operation {
            "d" => format!("d {}", word(&line["before"][key_of(dataset).unwrap()])),
            _ => {
                let columns: Vec<Column> = line["after"]
                    .as_object()
                    .unwrap()
                    .iter()
                    .map(|(name, value)| (name.clone(), word(value)))
                    .collect();
                format!("{operation} {}", shown(&columns))
            }
        };
        let place = format!("{} {}", source["transaction"], source["index"]);
        received.changes.push(format!("{place} {dataset} {said}"));
    }
    received
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Changes {
    /// The changes of one dataset.
    fn of(&self, dataset: &str) -> Changes {
        let changes = self.changes.iter().filter(|change| change.contains(dataset)).cloned().collect();
        Changes { changes, ends: Vec::new() }
    }

    /// Panics at the first difference, with what stands around it. In mode `stream` each dataset has an order of its own.
    pub fn equal(&self, truth: &Changes, mode: &str) {
        if mode == "stream" {
            for dataset in [" payments ", " taxpayers "] {
                self.of(dataset).equal(&truth.of(dataset), "source");
            }
            return;
        }
        let pairs = self.changes.iter().zip(&truth.changes);
        if let Some(at) = pairs.clone().position(|(received, committed)| received != committed) {
            let from = at.saturating_sub(3);
            let around =
                |changes: &Changes| changes.changes[from..changes.changes.len().min(at + 4)].join("\n  ");
            panic!("change {at} differs; received:\n  {}\ncommitted:\n  {}", around(self), around(truth));
        }
        assert_eq!(self.changes.len(), truth.changes.len(), "every change once");
        let parts: Vec<_> =
            self.ends.iter().filter(|end| **end > 0 && truth.ends.binary_search(end).is_err()).collect();
        assert!(parts.is_empty(), "commits after {parts:?} changes end no transaction of the source");
    }
}
