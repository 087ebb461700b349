//! The whole path from a real PostgreSQL: snapshot, changes, a restart, into a receiver's JSON lines.

use crate::application::{Application, port};
use crate::process::DEPARTMENTS;
use crate::reckoning::Stage;
use serde_json::Value;
use std::path::Path;

/// A database of the tax department; it and its slot end with this.
struct Database(String);

impl Database {
    fn new() -> Database {
        let database = Database(format!("path_{}", std::process::id()));
        Application::connect(port(), "postgres").run(&format!("CREATE DATABASE {}", database.0));
        database.application().run(
            "CREATE TABLE payments (payment_id bigint PRIMARY KEY, taxpayer_no varchar(20) NOT NULL, tax_kind text NOT NULL,
               paid_on date NOT NULL, channel text NOT NULL, receipt_digest bytea, amount numeric(14,2) NOT NULL, late_fee numeric(14,2));
             ALTER TABLE payments REPLICA IDENTITY FULL;",
        );
        database
    }

    fn application(&self) -> Application {
        Application::connect(port(), &self.0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut application = Application::connect(port(), "postgres");
        let name = &self.0;
        for _ in 0..500 {
            let dropped = application.attempt(&format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'"
            ));
            if dropped.is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = application.attempt(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}

fn pay(application: &mut Application, id: i64, amount: &str) {
    application.run(&format!(
        "INSERT INTO payments VALUES ({id}, 'T9901000021', '增值税', '2026-09-01', '银行端查询缴税', '\\x00ff', {amount}, NULL)"
    ));
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // Lines that end a transaction or name a schema are no rows.
    let parsed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line["op"].is_string()).collect()
}

/// What a line says, in short words: operation, number, amount before, amount after.
fn words(line: &Value) -> String {
    let (before, after) = (&line["before"], &line["after"]);
    let id = if after.is_object() { &after["payment_id"] } else { &before["payment_id"] };
    let amount = |state: &Value| state["amount"].as_str().unwrap_or("-").to_owned();
    format!("{} {id} {} {}", line["op"].as_str().unwrap_or("?"), amount(before), amount(after))
}

#[test]
fn changes_of_a_real_postgresql_arrive_as_they_were_made() {
    let stage = Stage::new(&["payments"]);
    // After the stage, so that the slot is free when the database goes.
    let database = Database::new();
    let mut application = database.application();
    pay(&mut application, 1, "12.30");
    pay(&mut application, 2, "99999999.99");
    let name = &database.0;
    stage.scene.replace_source(&format!(
        "engine = \"postgres\"\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{name}\"\nuser = \"postgres\"\nslot = \"{name}\"",
        port()
    ));
    let _witnesses: Vec<_> = DEPARTMENTS.iter().map(|department| stage.scene.witness(department)).collect();
    let mut connector = stage.scene.connector();
    connector.healthy();
    stage.scene.make_subscriber("audit", "");
    let mut auditor = stage.scene.subscriber("audit");
    let path = stage.scene.folder().join("audit/rows.jsonl");
    auditor.until("the snapshot is delivered", || lines(&path).len() >= 2);
    pay(&mut application, 3, "0.05");
    application.run("UPDATE payments SET amount = 45.60 WHERE payment_id = 1");
    application.run("UPDATE payments SET payment_id = 4 WHERE payment_id = 3");
    auditor.until("four changes are delivered", || lines(&path).len() >= 6);
    let (ended, _) = connector.stop();
    assert!(ended.success());
    // What happens while the connector is away waits in the slot.
    application.run("BEGIN; DELETE FROM payments WHERE payment_id = 2; INSERT INTO payments SELECT 100 + g, 'T', 'k', '2026-09-02', 'c', NULL, g, NULL FROM generate_series(1, 5000) g; COMMIT");
    let mut connector = stage.scene.connector();
    connector.healthy();
    auditor.until("what waited is delivered", || lines(&path).len() >= 6 + 5001);
    let all = lines(&path);
    let first: Vec<String> = all.iter().take(7).map(words).collect();
    assert_eq!(
        first,
        [
            "r 1 - 12.30",
            "r 2 - 99999999.99",
            "c 3 - 0.05",
            "u 1 12.30 45.60",
            "d 3 0.05 -",
            "c 4 - 0.05",
            "d 2 99999999.99 -"
        ]
    );
    let rest: Vec<String> = all.iter().skip(7).map(words).collect();
    let wanted: Vec<String> = (1..=5000).map(|g| format!("c {} - {g}.00", 100 + g)).collect();
    assert_eq!(rest, wanted);
    let row = &all[0]["after"];
    assert_eq!(row["paid_on"], "2026-09-01");
    assert_eq!(row["tax_kind"], "增值税");
    drop(connector);
}
