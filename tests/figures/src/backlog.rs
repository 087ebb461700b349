//! The rows of the baselines, written as a backlog that waits in every slot.

use crate::interrupt;
use crate::sql::Sql;
use anyhow::Result;
use std::fmt::Display;

/// Transactions of a backlog.
const TRANSACTIONS: u64 = 1000;

/// The table of every database.
pub(crate) const TABLE: &str = "CREATE TABLE bench (id bigint PRIMARY KEY, person_id text NOT NULL, name text NOT NULL, \
     region int NOT NULL, amount numeric(12,2) NOT NULL, status text NOT NULL, updated_at timestamptz NOT NULL, note text NOT NULL)";

/// What is behind the backlog: a row that ends the drain of a reader that counts nothing.
pub(crate) const MARK: &str = "CREATE TABLE mark (id int PRIMARY KEY)";

/// Where a backlog ends in the server's log.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// In the last transaction, before its commit.
    pub(crate) inside: String,
    /// After the last commit.
    pub(crate) after: String,
}

/// The statement that inserts these rows: numbers, or parameters.
pub(crate) fn insert(first: impl Display, last: impl Display) -> String {
    format!(
        "INSERT INTO bench SELECT g, lpad(g::text,18,'3'), chr(24352)||chr(19968+(g%2000)::int)||chr(20000+(g%3000)::int), \
         (g%340)::int, (g%1000000)/7.0, 'active', now(), md5(g::text)||md5((g+1)::text)||md5((g+2)::text)||md5((g+3)::text) \
         FROM generate_series({first}::bigint, {last}::bigint) g"
    )
}

/// Makes a database with the empty table.
pub(crate) fn database(port: u16, name: &str) -> Result<Sql> {
    Sql::connect(port, "postgres")?.run(&format!("CREATE DATABASE {name}"))?;
    let mut sql = Sql::connect(port, name)?;
    sql.run(TABLE)?;
    sql.run(MARK)?;
    Ok(sql)
}

/// Inserts so many rows in 1,000 transactions, or in one.
pub(crate) fn write(sql: &mut Sql, rows: u64, in_one: bool) -> Result<End> {
    let transactions = if in_one { 1 } else { TRANSACTIONS.min(rows) };
    let mut inside = String::new();
    for number in 0..transactions {
        interrupt::check()?;
        let (first, last) = (number * rows / transactions + 1, (number + 1) * rows / transactions);
        sql.run("BEGIN")?;
        sql.run(&insert(first, last))?;
        if number + 1 == transactions {
            inside = sql.value("SELECT pg_current_wal_insert_lsn()")?;
        }
        sql.run("COMMIT")?;
    }
    let after = sql.value("SELECT pg_current_wal_lsn()")?;
    sql.run("INSERT INTO mark VALUES (1)")?;
    // What the insert left dirty is not written while something is measured.
    sql.run("VACUUM ANALYZE bench")?;
    sql.run("CHECKPOINT")?;
    Ok(End { inside, after })
}
