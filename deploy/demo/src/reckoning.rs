//! Was every committed change delivered, once, to everybody entitled? Two counts that know nothing of each other: what
//! the offices committed, and what the receivers' files hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::deliveries::Deliveries;
use crate::generator::{Done, Office, Operation, Tally};
use crate::stage::origin;

/// What the offices committed.
pub(crate) struct Committed {
    /// The rows that each table had when the connectors were first started: the snapshot.
    pub(crate) before: BTreeMap<&'static str, u64>,
    /// Every change since.
    pub(crate) since: Tally,
}

const OPERATIONS: &[(&str, Operation)] =
    &[("c", Operation::Insert), ("u", Operation::Update), ("d", Operation::Delete)];

impl Committed {
    /// How many rows of a table each recipient must get, by the operations of JSON lines.
    fn expected(&self, table: &str) -> Vec<(&'static str, u64)> {
        let read = ("r", self.before.get(table).copied().unwrap_or_default());
        let changes = OPERATIONS.iter().map(|(word, operation)| (*word, self.since.of(table, *operation)));
        std::iter::once(read).chain(changes).collect()
    }

    /// Rows that a receiver must get in all.
    pub(crate) fn rows_for(&self, deliveries: &Deliveries) -> u64 {
        deliveries
            .contracts()
            .flat_map(|(_, contract)| self.expected(&contract.table))
            .map(|(_, rows)| rows)
            .sum()
    }

    /// Compares one receiver's file with what was committed; a line for each difference.
    pub(crate) fn differences(
        &self,
        deliveries: &Deliveries,
        offices: &mut [Office],
    ) -> anyhow::Result<Vec<String>> {
        let who = &deliveries.department;
        let mut found: Vec<String> =
            deliveries.faults().iter().map(|fault| format!("{who}: {fault}")).collect();
        for (name, contract) in deliveries.contracts() {
            let received = deliveries.received(name);
            for (operation, rows) in self.expected(&contract.table) {
                let got = received.count(operation);
                if got != rows {
                    found.push(format!(
                        "{who}: {name}: {rows} rows of operation {operation} were committed, {got} came"
                    ));
                }
            }
            let mut keys = BTreeSet::new();
            for office in offices.iter_mut().filter(|office| office.has(&contract.table)) {
                keys.extend(office.keys(&contract.table, &contract.key)?);
            }
            let (missing, surplus) =
                (keys.difference(received.keys()).count(), received.keys().difference(&keys).count());
            if missing + surplus > 0 {
                found.push(format!(
                    "{who}: {name}: {missing} rows of the source are missing, {surplus} exist here only"
                ));
            }
        }
        Ok(found)
    }
}

/// The source transactions that a receiver must get of an office, in their order: number and rows.
fn expected_transactions(deliveries: &Deliveries, office: &Office) -> Vec<(u64, u64)> {
    let tables: BTreeSet<&str> =
        deliveries.contracts().map(|(_, contract)| contract.table.as_str()).collect();
    let rows =
        |done: &Done| done.rows.iter().filter(|(t, _)| tables.contains(*t)).map(|(_, rows)| rows).sum();
    let all = office.done().iter().map(|done| (done.number, rows(done)));
    all.filter(|(_, rows)| *rows > 0).collect()
}

/// Whether whole source transactions came each once and in the order of their commits, where they have numbers: how many,
/// and a line for each origin where they did not.
pub(crate) fn transactions(deliveries: &Deliveries, offices: &[Office]) -> (usize, Vec<String>) {
    let (mut count, mut found) = (0, Vec::new());
    for office in offices.iter().filter(|office| !office.done().is_empty()) {
        let (wanted, origin) = (expected_transactions(deliveries, office), origin(&office.department));
        let got = deliveries.transactions(&origin);
        count += got.len();
        if let Some(at) = (0..wanted.len().max(got.len())).find(|at| wanted.get(*at) != got.get(*at)) {
            found.push(format!(
                "{}: {origin}: {} transactions were committed and {} came; number {at} is {:?} and should be {:?} \
                 (its number at the source, its rows)",
                deliveries.department,
                wanted.len(),
                got.len(),
                got.get(at),
                wanted.get(at)
            ));
        }
    }
    (count, found)
}

/// One row as each receiver got it, column by column: what one sees and another does not.
pub(crate) fn side_by_side(samples: &[(String, BTreeMap<String, String>)]) -> Vec<String> {
    let columns: BTreeSet<&String> = samples.iter().flat_map(|(_, sample)| sample.keys()).collect();
    let cells =
        |texts: &mut dyn Iterator<Item = &str>| -> String { texts.map(|text| padded(text, 30)).collect() };
    let head = cells(&mut samples.iter().map(|(department, _)| department.as_str()));
    let mut lines = vec![format!("    {}{}", padded("", 16), head.trim_end())];
    for column in columns {
        let values =
            cells(&mut samples.iter().map(|(_, sample)| sample.get(column).map_or("-", String::as_str)));
        lines.push(format!("    {}{}", padded(column, 16), values.trim_end()));
    }
    lines
}

/// A text of so many places on a terminal, where a Chinese character takes two.
fn padded(text: &str, places: usize) -> String {
    let wide = |c: char| if c >= '\u{1100}' { 2 } else { 1 };
    let mut taken = 0;
    let mut out = String::new();
    for character in text.chars() {
        if taken + wide(character) > places - 2 {
            out.push('\u{2026}');
            taken += 1;
            break;
        }
        out.push(character);
        taken += wide(character);
    }
    out.extend(std::iter::repeat_n(' ', places.saturating_sub(taken)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_text_is_padded_by_what_it_takes_on_a_terminal() {
        assert_eq!(padded("陈一诺", 10), "陈一诺    ");
        assert_eq!(padded("abc", 6), "abc   ");
        assert_eq!(padded("示范省云溪市东湖区", 10), "示范省云\u{2026} ");
    }
}
