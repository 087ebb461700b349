//! One department's office: its database, and one transaction after the other.

use std::collections::BTreeMap;

use anyhow::Context as _;
use rusqlite::ToSql;

use super::store::{Row, Store};
use super::{education, social_security, tax};
use crate::people::Random;

/// What a statement does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Insert,
    Update,
    Delete,
}

/// Row changes that were committed, by table and operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    transactions: u64,
    rows: BTreeMap<(&'static str, Operation), u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.transactions += other.transactions;
        for (key, rows) in &other.rows {
            *self.rows.entry(*key).or_default() += rows;
        }
    }

    fn count(&mut self, table: &'static str, operation: Operation, rows: u64) {
        *self.rows.entry((table, operation)).or_default() += rows;
    }

    pub(crate) fn transactions(&self) -> u64 {
        self.transactions
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows.values().sum()
    }

    fn by_table(&self) -> BTreeMap<&'static str, u64> {
        let mut tables = BTreeMap::new();
        for ((table, _), rows) in &self.rows {
            *tables.entry(*table).or_default() += rows;
        }
        tables
    }

    pub(crate) fn of(&self, table: &str, operation: Operation) -> u64 {
        self.rows.iter().filter(|((t, o), _)| *t == table && *o == operation).map(|(_, rows)| rows).sum()
    }

    #[cfg(test)]
    pub(crate) fn of_operation(&self, operation: Operation) -> u64 {
        self.rows.iter().filter(|((_, o), _)| *o == operation).map(|(_, rows)| rows).sum()
    }
}

/// What each kind of office does. The list of tables is also the list of its datasets' source tables.
type Act = fn(&mut Desk<'_>, bool) -> anyhow::Result<()>;

/// A transaction that was committed, by its number in the server's log, of which the log itself keeps 32 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) number: u64,
    /// Row changes by table.
    pub(crate) rows: BTreeMap<&'static str, u64>,
}

/// A department's office, with its database open.
pub(crate) struct Office {
    pub(crate) department: String,
    store: Store,
    random: Random,
    act: Act,
    tables: &'static [&'static str],
    /// The number of the next invented thing, so that keys never repeat.
    serial: u64,
    /// What was committed since capture was installed, in its order, where transactions have numbers.
    done: Vec<Done>,
}

impl Office {
    /// Fills the department's empty database with its sample tables and rows.
    pub(crate) fn found(
        mut store: Store,
        department: &str,
        sample: &str,
        seed: u64,
    ) -> anyhow::Result<Office> {
        store.run(sample).with_context(|| format!("the sample tables of {department} are not good SQL"))?;
        let (act, tables, salt): (Act, _, _) = match department {
            "social-security" => (social_security::transact, social_security::TABLES, 1),
            "tax" => (tax::transact, tax::TABLES, 2),
            "education" => (education::transact, education::TABLES, 3),
            other => anyhow::bail!("there is no office for {other}"),
        };
        let random = Random::new(seed.wrapping_add(salt));
        let department = department.to_owned();
        Ok(Office { department, store, random, act, tables, serial: 1, done: Vec::new() })
    }

    /// Capture is installed: in a SQLite file, the office closes its transactions for govbridge from now on.
    pub(crate) fn is_captured(&mut self) {
        self.done.clear();
        if let Store::Sqlite { captured, .. } = &mut self.store {
            *captured = true;
        }
    }

    /// One transaction of the office's daily work; a large one touches several hundred rows.
    pub(crate) fn transact(&mut self, large: bool) -> anyhow::Result<Tally> {
        self.store.begin()?;
        let mut desk = Desk {
            store: &mut self.store,
            random: &mut self.random,
            serial: &mut self.serial,
            tally: Tally { transactions: 1, rows: BTreeMap::new() },
        };
        (self.act)(&mut desk, large)?;
        let Desk { mut tally, .. } = desk;
        let changed = tally.rows() > 0;
        if !changed {
            tally.transactions = 0;
        }
        if let Some(number) = self.store.commit(changed)?.filter(|_| changed) {
            self.done.push(Done { number: number & u64::from(u32::MAX), rows: tally.by_table() });
        }
        Ok(tally)
    }

    /// What was committed since capture was installed, in its order; empty where transactions have no numbers.
    pub(crate) fn done(&self) -> &[Done] {
        &self.done
    }

    /// How many rows each table has now.
    pub(crate) fn tables(&mut self) -> anyhow::Result<BTreeMap<&'static str, u64>> {
        let mut counts = BTreeMap::new();
        for table in self.tables {
            let rows = self.store.number(&format!("SELECT CAST(count(*) AS TEXT) FROM {table}"))?;
            counts.insert(*table, rows);
        }
        Ok(counts)
    }

    /// Whether a table is this office's.
    pub(crate) fn has(&self, table: &str) -> bool {
        self.tables.contains(&table)
    }

    /// The keys of a table's rows, each as one text.
    pub(crate) fn keys(&mut self, table: &str, columns: &[String]) -> anyhow::Result<Vec<String>> {
        let columns: Vec<String> = columns.iter().map(|column| format!("CAST({column} AS TEXT)")).collect();
        let rows = self.store.rows(&format!("SELECT {} FROM {table}", columns.join(", ")), &[])?;
        let joined = |row: Row| row.into_iter().flatten().collect::<Vec<_>>().join("\u{1f}");
        Ok(rows.into_iter().map(joined).collect())
    }
}

/// One open transaction, and what it did.
pub(super) struct Desk<'a> {
    store: &'a mut Store,
    pub(super) random: &'a mut Random,
    serial: &'a mut u64,
    tally: Tally,
}

impl Desk<'_> {
    /// A number that no other call gives.
    pub(super) fn serial(&mut self) -> u64 {
        *self.serial += 1;
        *self.serial
    }

    pub(super) fn insert(&mut self, table: &'static str, values: &[&dyn ToSql]) -> anyhow::Result<()> {
        let marks = vec!["?"; values.len()].join(", ");
        let rows = self.store.change(&format!("INSERT INTO {table} VALUES ({marks})"), values)?;
        self.tally.count(table, Operation::Insert, rows);
        Ok(())
    }

    /// `change` is what follows UPDATE's table name.
    pub(super) fn update(
        &mut self,
        table: &'static str,
        change: &str,
        values: &[&dyn ToSql],
    ) -> anyhow::Result<()> {
        let rows = self.store.change(&format!("UPDATE {table} {change}"), values)?;
        self.tally.count(table, Operation::Update, rows);
        Ok(())
    }

    /// `which` is the condition after WHERE.
    pub(super) fn delete(
        &mut self,
        table: &'static str,
        which: &str,
        values: &[&dyn ToSql],
    ) -> anyhow::Result<()> {
        let rows = self.store.change(&format!("DELETE FROM {table} WHERE {which}"), values)?;
        self.tally.count(table, Operation::Delete, rows);
        Ok(())
    }

    /// The value of a column in some row as text, none when no row fits `which`.
    pub(super) fn some(&mut self, table: &str, column: &str, which: &str) -> anyhow::Result<Option<String>> {
        let rows = self.store.number(&format!("SELECT CAST(count(*) AS TEXT) FROM {table} WHERE {which}"))?;
        let skip = i64::try_from(self.random.below(rows))?;
        self.store.one(
            &format!("SELECT CAST({column} AS TEXT) FROM {table} WHERE {which} LIMIT 1 OFFSET ?"),
            &[&skip],
        )
    }

    /// The office's own clock: it moves with each call, through the year 2026.
    pub(super) fn now(&mut self) -> Moment {
        let minutes = self.serial();
        Moment {
            month: 4 + (minutes / 13_440) % 8,
            day: 1 + (minutes / 480) % 28,
            minute: 480 + minutes % 480,
        }
    }

    /// An amount of money as text with two decimals.
    pub(super) fn amount(&mut self, low: u64, high: u64) -> String {
        format!("{}.{:02}", self.random.between(low, high), self.random.below(100))
    }
}

/// An instant of the invented year.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    month: u64,
    day: u64,
    minute: u64,
}

impl Moment {
    /// YYYY-MM-DD
    pub(super) fn date(self) -> String {
        format!("2026-{:02}-{:02}", self.month, self.day)
    }

    /// YYYY-MM
    pub(super) fn period(self) -> String {
        format!("2026-{:02}", self.month)
    }

    /// RFC 3339 with its zone.
    pub(super) fn instant(self) -> String {
        format!("{}T{:02}:{:02}:00+08:00", self.date(), self.minute / 60, self.minute % 60)
    }

    /// Local time without a zone.
    pub(super) fn local(self) -> String {
        format!("{} {:02}:{:02}:00", self.date(), self.minute / 60, self.minute % 60)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn sample(department: &str) -> String {
        let schemas = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
        std::fs::read_to_string(schemas.join(department).join("sample.sql")).unwrap()
    }

    pub(crate) fn opened(folder: &Path, department: &str) -> Office {
        let file = crate::generator::database(folder, department);
        Office::found(Store::file(&file).unwrap(), department, &sample(department), 42).unwrap()
    }

    fn connection(office: &Office) -> &rusqlite::Connection {
        match &office.store {
            Store::Sqlite { connection, .. } => connection,
            Store::Postgres(_) => panic!("these tests need no server"),
        }
    }

    fn dump(office: &Office) -> Vec<String> {
        let mut lines = Vec::new();
        for table in office.tables {
            let mut statement =
                connection(office).prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).unwrap();
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                (0..columns).map(|i| row.get::<_, rusqlite::types::Value>(i)).collect::<Result<Vec<_>, _>>()
            });
            lines.extend(rows.unwrap().map(|row| format!("{table} {:?}", row.unwrap())));
        }
        lines
    }

    #[test]
    fn the_same_seed_does_the_same_work() {
        for department in crate::stage::DEPARTMENTS {
            let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let [a, b] = folders.map(|folder| {
                let mut office = opened(folder.path(), department);
                for turn in 0..80 {
                    office.transact(turn % 40 == 20).unwrap();
                }
                dump(&office)
            });
            assert_eq!(a, b, "{department}");
        }
    }

    #[test]
    fn what_is_counted_is_what_the_tables_hold() {
        for department in crate::stage::DEPARTMENTS {
            let folder = tempfile::tempdir().unwrap();
            let mut office = opened(folder.path(), department);
            let before = office.tables().unwrap();
            let mut tally = Tally::default();
            for turn in 0..400 {
                tally.add(&office.transact(turn % 100 == 50).unwrap());
            }
            for (table, rows) in office.tables().unwrap() {
                let expected =
                    before[table] + tally.of(table, Operation::Insert) - tally.of(table, Operation::Delete);
                assert_eq!(rows, expected, "{department}/{table}");
                for operation in [Operation::Insert, Operation::Update, Operation::Delete] {
                    assert!(tally.of(table, operation) > 0, "{department}/{table}: no {operation:?}");
                }
            }
            assert!(tally.transactions() > 390 && tally.rows() > 1000);
        }
    }

    #[test]
    fn a_captured_office_closes_each_transaction_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut office = opened(folder.path(), "tax");
        connection(&office)
            .execute_batch("CREATE TABLE govbridge_commit (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER)")
            .unwrap();
        office.is_captured();
        let mut tally = Tally::default();
        for _ in 0..30 {
            tally.add(&office.transact(false).unwrap());
        }
        let closed: i64 = connection(&office)
            .query_row("SELECT count(*) FROM govbridge_commit", [], |row| row.get(0))
            .unwrap();
        assert_eq!(u64::try_from(closed).unwrap(), tally.transactions());
    }
}
