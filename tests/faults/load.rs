//! An office at work on a real PostgreSQL: several connections write payments and taxpayers at once, in transactions of one
//! table and of both, small and large, with parts rolled back, overlapping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::postgres::Database;

/// Between two transactions of a connection.
const PACE: Duration = Duration::from_millis(40);

/// Taxpayers that all connections write; one transaction has at most one of them, or is the only one with several.
const SHARED: u64 = 200;

/// In every transaction the payments of this channel and the taxpayers' sums (kept in `phone`) change by the same amount.
pub const BALANCED: &str = "both";

/// Connections that write until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Load {
    /// Begins to write. When servers are killed meanwhile, a connection that broke is made again, and its transaction is
    /// forgotten whether it was committed or not.
    pub fn begin(database: &Arc<Database>, connections: u64, servers_die: bool) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let write = |connection| {
            let (database, stop) = (Arc::clone(database), Arc::clone(&stop));
            std::thread::spawn(move || write(&database, connection, servers_die, &stop))
        };
        let threads = (0..connections).map(write).collect();
        Load { stop, threads }
    }

    /// Ends it, and says how many transactions were committed for certain.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.drain(..).map(|thread| thread.join().unwrap()).sum()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn write(database: &Database, connection: u64, servers_die: bool, stop: &AtomicBool) -> u64 {
    let (mut application, mut committed) = (None, 0);
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let said = match application.take().map_or_else(|| database.try_application(), Ok) {
            Ok(mut open) => open.attempt(&transaction(connection, turn)).map(|_| open),
            Err(away) => Err(away),
        };
        match said {
            Ok(open) => {
                application = Some(open);
                committed += 1;
            }
            Err(said) => assert!(servers_die, "{said}"),
        }
        std::thread::sleep(PACE);
    }
    committed
}

/// The connection's transaction of this turn.
fn transaction(connection: u64, turn: u64) -> String {
    let id = (connection + 1) * 100_000_000 + turn * 1000;
    let no = (connection * 37 + turn * 13) % SHARED + 1;
    let pay = |id: u64, channel: &str, amount: u64| {
        format!(
            "INSERT INTO payments VALUES ({id}, 'T{no}', '增值税''s', '2026-09-{:02}', '{channel}', '\\x{id:016x}', {amount}.25, \
             CASE WHEN {id} % 3 = 0 THEN NULL ELSE {id} / 100.0 END);",
            turn % 28 + 1
        )
    };
    let both = |id: u64| {
        let add = format!(
            "UPDATE taxpayers SET phone = (phone::numeric + {turn}.25)::text WHERE taxpayer_no = 'T{no}';"
        );
        pay(id, BALANCED, turn) + &add
    };
    let statements = match turn % 8 {
        0 => return pay(id, "bank", turn),
        1 => both(id),
        2 => format!(
            "{}{}{}UPDATE payments SET late_fee = NULL, channel = 'a\"b\\c' WHERE payment_id = {id}; DELETE FROM payments WHERE payment_id = {};",
            pay(id, "bank", turn),
            pay(id + 1, "post", 1),
            pay(id + 2, "bank", 2),
            id + 1
        ),
        3 => format!("SAVEPOINT a; {} ROLLBACK TO a; {}", both(id), both(id + 1)),
        // The key changes: a row goes and another comes.
        4 => format!("{}UPDATE payments SET payment_id = {} WHERE payment_id = {id};", pay(id, "bank", 7), id + 1),
        5 => format!(
            "INSERT INTO taxpayers VALUES ('W{id}', '青禾 {turn}', '个体', 990102, NULL, '2009-04-18', true, '周', NULL, '0', '', 0.5);
             UPDATE taxpayers SET active = false, address = repeat('税', {}) WHERE taxpayer_no = 'W{id}';
             DELETE FROM taxpayers WHERE taxpayer_no = 'W{}';",
            turn % 40,
            id.saturating_sub(24_000)
        ),
        // Others commit in the middle of it.
        6 => format!("{} SELECT pg_sleep(0.25); {}", pay(id, "bank", 3), both(id + 1)),
        _ if connection == 0 && turn % 40 == 7 => large(id),
        _ => both(id),
    };
    format!("BEGIN; {statements} COMMIT")
}

/// A transaction of many rows of both tables.
fn large(id: u64) -> String {
    format!(
        "INSERT INTO payments SELECT {id} + g, 'T' || g, '消费税', '2026-10-01', '{BALANCED}', NULL, 1.00, 0.01 FROM generate_series(1, 60) g;
         UPDATE taxpayers SET phone = (phone::numeric + 1.00)::text WHERE taxpayer_no IN (SELECT 'T' || g FROM generate_series(1, 60) g);
         DELETE FROM payments WHERE channel = 'bank' AND payment_id BETWEEN {} AND {id};",
        id.saturating_sub(9000)
    )
}
