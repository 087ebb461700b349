//! The PostgreSQL sink, on a real server that `deploy/dev/services.sh` starts when none runs, and the trial cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise"
)]

#[allow(dead_code, reason = "the connector's tests use all of it")]
#[path = "../../../connectors/postgres/tests/postgres/application.rs"]
mod application;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use application::{Application, port};
use bridge_event::{Cell, Operation, Value};
use bridge_subscriber::{Interrupted, Point, Probe, RunError, Subscriber, create, run, script};
use sender::{Part, Row, Sender, Shape, part};

/// No step takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// A database of the receiving department; it ends with this.
struct Register {
    name: String,
    folder: tempfile::TempDir,
}

impl Register {
    fn new() -> Register {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sink{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Application::connect(port(), "postgres").run(&format!("CREATE DATABASE {name}"));
        Register { name, folder: tempfile::tempdir().unwrap() }
    }

    fn application(&self) -> Application {
        Application::connect(port(), &self.name)
    }

    fn subscriber(&self, sender: &Sender, department: &str, mode: &str) -> Subscriber {
        let sink = serde_json::json!({"postgres": {
            "host": "127.0.0.1", "port": port(), "database": self.name, "user": "postgres", "schema": "received"
        }});
        sender.subscriber(department, self.folder.path(), &|settings| {
            settings["sink"] = sink.clone();
            settings["mode"] = mode.into();
        })
    }

    /// Makes the sink, and delivers until a query has this answer.
    fn made(&self, sender: &Sender, department: &str, mode: &str) {
        create(self.subscriber(sender, department, mode)).unwrap();
    }

    fn until(&self, subscriber: Subscriber, sql: &str, wanted: &str) -> Result<(), RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut application = self.application();
        let until = async {
            let deadline = Instant::now() + LIMIT;
            loop {
                let found = application.value(sql);
                if found == wanted {
                    return;
                }
                assert!(Instant::now() < deadline, "{sql} gives {found}, and {wanted} is wanted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        runtime.block_on(run(subscriber, None, until))
    }

    fn ended(&self, subscriber: Subscriber) -> RunError {
        self.until(subscriber, "SELECT 'it did not end'", "").unwrap_err()
    }
}

impl Drop for Register {
    fn drop(&mut self) {
        let name = &self.name;
        let _ =
            Application::connect(port(), "postgres").attempt(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}

/// Every row of the payments in short words.
const PAYMENTS: &str = "SELECT coalesce(string_agg(concat_ws(' ', id, amount, coalesce(note, '-')), ', ' ORDER BY id), '') \
                        FROM received.tax__payments";

fn change(operation: Operation, id: i64, amount: &'static str, note: Cell<'static>) -> Part {
    let row = Row { operation, amount, note, ..Row::insert(id, 1, 0) };
    Part { commit: 0, rows: vec![row] }
}

/// Sends each change as a transaction of its own.
fn send(sender: &mut Sender, first: u64, changes: Vec<Part>) {
    for (commit, part) in (first..).zip(changes) {
        sender.transact(0, &[Part { commit, ..part }]);
    }
}

#[test]
fn a_table_is_made_from_the_contract_and_follows_every_change() {
    let mut sender = Sender::new(&["payments"]);
    let register = Register::new();
    let script = script(register.subscriber(&sender, "health", "stream")).unwrap();
    assert!(script.contains("CREATE TABLE IF NOT EXISTS \"received\".\"tax__payments\""), "{script}");
    assert!(!script.contains("account"), "health is not granted the section account: {script}");
    register.made(&sender, "health", "stream");
    let words = |text| Cell::Value(Value::Text(text));
    send(
        &mut sender,
        1,
        vec![
            change(Operation::Insert, 1, "12.30", words("a\tb\\")),
            change(Operation::Insert, 2, "0.10", words("kept")),
            change(Operation::Insert, 3, "-1", Cell::Null),
            change(Operation::Update, 1, "NaN", Cell::Null),
            change(Operation::Update, 2, "0.20", Cell::Unchanged),
            change(Operation::Delete, 3, "0", Cell::Null),
            change(Operation::Insert, 3, "7.00", words("again")),
        ],
    );
    let wanted = "1 NaN -, 2 0.20 kept, 3 7.00 again";
    register.until(register.subscriber(&sender, "health", "stream"), PAYMENTS, wanted).unwrap();
    let mut application = register.application();
    let columns = application.value(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = 'received.tax__payments'::regclass AND attnum > 0",
    );
    assert_eq!(
        columns,
        "id bigint, amount numeric, note text, govbridge_sequence bigint, govbridge_leaf integer, \
         govbridge_committed_at timestamp with time zone"
    );
    assert_eq!(application.value("SELECT obj_description('received.tax__payments'::regclass)"), "payments");
    assert_eq!(application.value("SELECT govbridge_sequence FROM received.tax__payments WHERE id = 2"), "4");
    // The next subscriber goes on from what stands in the sink, whatever its own folder holds.
    send(&mut sender, 8, vec![change(Operation::Update, 2, "5", Cell::Unchanged)]);
    let wanted = "1 NaN -, 2 5 kept, 3 7.00 again";
    register.until(register.subscriber(&sender, "health", "stream"), PAYMENTS, wanted).unwrap();
}

#[test]
fn a_snapshot_takes_the_tables_place_at_its_end_and_not_before() {
    let mut sender = Sender::new(&["payments"]);
    let register = Register::new();
    register.made(&sender, "audit", "stream");
    sender.transact(0, &[part(1, &[1, 2])]);
    let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM received.tax__payments";
    register.until(register.subscriber(&sender, "audit", "stream"), ids, "1 2").unwrap();
    let snapshot = |sender: &mut Sender, generation: u64, chunk: u64, last: bool, rows: &[i64]| {
        let rows = (0..).zip(rows).map(|(i, id)| Row {
            operation: Operation::Read,
            ..Row::insert(*id, chunk * 10 + i + 1, chunk * 10 + i)
        });
        let parts = [Part { commit: 1 + generation, rows: rows.collect() }];
        let shape = Shape { snapshot: true, ..Shape::default() };
        let batch = sender.seal_with(0, &parts, shape, |header| {
            let part = header.snapshot.as_mut().unwrap();
            (part.generation, part.chunk, part.last) = (bridge_event::Generation(generation), chunk, last);
        });
        sender.publish(0, &batch);
        let beacon = sender.beacon_with(0, |beacon| {
            beacon.place.snapshot = Some(bridge_envelope::SnapshotPlace {
                generation: bridge_event::Generation(generation),
                chunk,
                last,
            });
        });
        sender.publish(0, &beacon);
    };
    // A generation that was broken off: what it gathered is there, and not in the table.
    snapshot(&mut sender, 1, 0, false, &[2, 3, 4]);
    let gathered = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM received.tax__payments__snapshot";
    register.until(register.subscriber(&sender, "audit", "stream"), gathered, "2 3 4").unwrap();
    assert_eq!(register.application().value(ids), "1 2");
    // Over a restart the next one begins, goes on and ends.
    snapshot(&mut sender, 2, 0, false, &[2, 5]);
    register.until(register.subscriber(&sender, "audit", "stream"), gathered, "2 5").unwrap();
    snapshot(&mut sender, 2, 1, true, &[6]);
    register.until(register.subscriber(&sender, "audit", "stream"), ids, "2 5 6").unwrap();
    assert_eq!(register.application().value("SELECT count(*) FROM received.tax__payments__snapshot"), "0");
}

/// Ends the flow at the n-th passing of a point, as a kill does.
struct Killer {
    point: Point,
    left: AtomicUsize,
}

impl Probe for Killer {
    fn reach(&self, point: Point) -> Result<(), Interrupted> {
        let due = point == self.point && self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if due { Err(Interrupted(point)) } else { Ok(()) }
    }
}

#[test]
fn a_crash_at_any_point_leaves_the_same_tables_and_no_transaction_in_part() {
    for mode in ["stream", "source"] {
        let mut sender = Sender::new(&["payments", "refunds"]);
        let register = Register::new();
        register.made(&sender, "audit", mode);
        for commit in 1..=4_u64 {
            // One source transaction over two batches and two datasets.
            let id = commit as i64 * 10;
            let open = Shape { leaves_open: true, ..Shape::default() };
            let first = sender.seal(0, &[part(commit, &[id])], open);
            sender.publish(0, &first);
            let rest = Part { commit, rows: vec![Row::insert(id + 1, 2, 2)] };
            let second = sender.seal(0, &[rest], Shape { continues: true, ..Shape::default() });
            sender.publish(0, &second);
            let other = Part { commit, rows: vec![Row { index: 1, ..Row::insert(id + 5, 1, 1) }] };
            let third = sender.seal(1, &[other], Shape::default());
            sender.publish(1, &third);
            for stream in [0, 1] {
                let beacon = sender.beacon(stream);
                sender.publish(stream, &beacon);
            }
        }
        let both = "SELECT (SELECT count(*) FROM received.tax__payments) || ' ' || (SELECT count(*) FROM received.tax__refunds)";
        for point in Point::ALL {
            let mut subscriber = register.subscriber(&sender, "audit", mode);
            subscriber.probe = Arc::new(Killer { point, left: AtomicUsize::new(1) });
            match register.until(subscriber, "SELECT ''", "never") {
                Err(RunError::Interrupted(at)) => assert_eq!(at.0, point),
                // Everything was delivered by earlier starts.
                other => panic!("the fault at {point:?} did not fire: {other:?}"),
            }
            let found = register.application().value(both);
            let (payments, refunds) = found.split_once(' ').unwrap();
            let (payments, refunds): (u64, u64) = (payments.parse().unwrap(), refunds.parse().unwrap());
            if mode == "source" {
                assert_eq!(payments, 2 * refunds, "{point:?}: a transaction is there in part");
            }
            // The next point has something to deliver again.
            let mut application = register.application();
            application.run(
                "DELETE FROM received.tax__payments; DELETE FROM received.tax__refunds; \
                 UPDATE received.govbridge_progress SET progress = NULL",
            );
        }
        register.until(register.subscriber(&sender, "audit", mode), both, "8 4").unwrap();
        let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM received.tax__payments";
        assert_eq!(register.application().value(ids), "10 11 20 21 30 31 40 41");
    }
}

type Running = std::thread::JoinHandle<Result<(), RunError>>;

/// A subscriber on a thread of its own, until it is told to stop.
fn started(subscriber: Subscriber) -> (tokio::sync::oneshot::Sender<()>, Running) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(subscriber, None, async {
            let _ = stopped.await;
        }))
    });
    (stop, running)
}

#[test]
fn a_second_subscriber_and_a_holder_without_the_fence_are_refused() {
    let mut sender = Sender::new(&["payments"]);
    let register = Register::new();
    let not_made = register.ended(register.subscriber(&sender, "audit", "stream"));
    assert_eq!(not_made.code(), "DEL032");
    register.made(&sender, "audit", "stream");
    sender.transact(0, &[part(1, &[1])]);
    let (stop, first) = started(register.subscriber(&sender, "audit", "stream"));
    let deadline = Instant::now() + LIMIT;
    while register.application().value("SELECT count(*) FROM received.tax__payments") != "1" {
        assert!(Instant::now() < deadline && !first.is_finished(), "the first delivers");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut second = register.subscriber(&sender, "audit", "stream");
    second.settings.progress = register.folder.path().join("second");
    assert_eq!(register.ended(second).code(), "DEL034");
    // Whoever has a newer fence is the holder, whatever sessions say.
    register.application().run("UPDATE received.govbridge_progress SET fence = fence + 1");
    sender.transact(0, &[part(2, &[2])]);
    let ended = first.join().unwrap().unwrap_err();
    assert_eq!(ended.code(), "DEL034");
    drop(stop);
    assert_eq!(register.application().value("SELECT count(*) FROM received.tax__payments"), "1");
}

#[test]
fn a_table_that_somebody_changed_is_not_written() {
    for (sql, undo) in [
        ("ALTER TABLE received.tax__payments DROP COLUMN note", "ADD COLUMN note text"),
        (
            "ALTER TABLE received.tax__payments ALTER amount TYPE text",
            "ALTER amount TYPE numeric USING amount::numeric",
        ),
        ("ALTER TABLE received.tax__payments DROP CONSTRAINT tax__payments_pkey", "ADD PRIMARY KEY (id)"),
        ("ALTER TABLE received.tax__payments RENAME TO other", ""),
    ] {
        let mut sender = Sender::new(&["payments"]);
        let register = Register::new();
        register.made(&sender, "health", "stream");
        sender.transact(0, &[part(1, &[1])]);
        let count = "SELECT count(*) FROM received.tax__payments";
        register.until(register.subscriber(&sender, "health", "stream"), count, "1").unwrap();
        register.application().run(sql);
        sender.transact(0, &[part(2, &[2])]);
        let ended = register.ended(register.subscriber(&sender, "health", "stream"));
        assert_eq!(ended.code(), "DEL033", "{sql}: {ended}");
        let undo = match undo {
            "" => "ALTER TABLE received.other RENAME TO tax__payments".to_owned(),
            undo => format!("ALTER TABLE received.tax__payments {undo}"),
        };
        register.application().run(&undo);
        register.until(register.subscriber(&sender, "health", "stream"), count, "2").unwrap();
    }
}

#[test]
fn a_server_that_ends_the_session_is_waited_for_and_a_row_that_is_gone_is_told() {
    let mut sender = Sender::new(&["payments"]);
    let register = Register::new();
    register.made(&sender, "health", "stream");
    sender.transact(0, &[part(1, &[1])]);
    let (stop, running) = started(register.subscriber(&sender, "health", "stream"));
    let count = |wanted: &str| {
        let deadline = Instant::now() + LIMIT;
        while register.application().value("SELECT count(*) FROM received.tax__payments") != wanted {
            assert!(Instant::now() < deadline && !running.is_finished(), "{wanted} rows are wanted");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    count("1");
    register.application().run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'govbridge %'",
    );
    sender.transact(0, &[part(2, &[2])]);
    count("2");
    stop.send(()).unwrap();
    running.join().unwrap().unwrap();
    register.application().run("DELETE FROM received.tax__payments WHERE id = 1");
    // All of a row puts it back; a part of one cannot.
    send(&mut sender, 3, vec![change(Operation::Update, 1, "1.00", Cell::Null)]);
    register
        .until(register.subscriber(&sender, "health", "stream"), PAYMENTS, "1 1.00 -, 2 12.30 -")
        .unwrap();
    register.application().run("DELETE FROM received.tax__payments WHERE id = 1");
    send(&mut sender, 4, vec![change(Operation::Update, 1, "2.00", Cell::Unchanged)]);
    let ended = register.ended(register.subscriber(&sender, "health", "stream"));
    assert_eq!(ended.code(), "DEL037", "{ended}");
}

#[test]
fn a_row_that_moved_to_another_key_without_a_value_is_told_and_not_written_with_a_hole() {
    let mut sender = Sender::new(&["payments"]);
    let register = Register::new();
    register.made(&sender, "health", "stream");
    let kept = Cell::Value(Value::Text("large"));
    send(&mut sender, 1, vec![change(Operation::Insert, 1, "1.00", kept)]);
    register.until(register.subscriber(&sender, "health", "stream"), PAYMENTS, "1 1.00 large").unwrap();
    let gone = Row { operation: Operation::Delete, ..Row::insert(1, 1, 0) };
    let moved = Row { note: Cell::Unchanged, ..Row::insert(2, 2, 1) };
    sender.transact(0, &[Part { commit: 2, rows: vec![gone, moved] }]);
    let ended = register.ended(register.subscriber(&sender, "health", "stream"));
    assert_eq!(ended.code(), "DEL037", "{ended}");
    assert_eq!(register.application().value(PAYMENTS), "1 1.00 large");
}

#[test]
fn a_reader_never_sees_one_side_of_a_transaction_over_two_datasets() {
    let mut sender = Sender::new(&["payments", "refunds"]);
    let register = Register::new();
    register.made(&sender, "audit", "source");
    for commit in 1..=20_u64 {
        let id = commit as i64;
        let payment = sender.seal(0, &[part(commit, &[id])], Shape::default());
        sender.publish(0, &payment);
        let refund = Part { commit, rows: vec![Row { index: 1, ..Row::insert(id, 1, 1) }] };
        let refund = sender.seal(1, &[refund], Shape::default());
        sender.publish(1, &refund);
        for stream in [0, 1] {
            let beacon = sender.beacon(stream);
            sender.publish(stream, &beacon);
        }
    }
    let mut subscriber = register.subscriber(&sender, "audit", "source");
    subscriber.settings.limits.group_ms = 1;
    subscriber.settings.limits.group_bytes_max = 1;
    let sides = "SELECT coalesce(sum(abs((p.id IS NULL)::int - (r.id IS NULL)::int)), 0) || ' of ' || count(p.id) \
                 FROM received.tax__payments p FULL JOIN received.tax__refunds r ON r.id = p.id";
    let seen = std::cell::RefCell::new(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut application = register.application();
    let until = async {
        let deadline = Instant::now() + LIMIT;
        loop {
            let found = application.value(sides);
            let done = found == "0 of 20";
            seen.borrow_mut().push(found);
            if done {
                return;
            }
            assert!(Instant::now() < deadline, "{:?}", seen.borrow().last());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    runtime.block_on(run(subscriber, None, until)).unwrap();
    assert!(seen.borrow().iter().all(|found| found.starts_with("0 of ")), "{:?}", seen.borrow());
}
