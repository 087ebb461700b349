//! A PostgreSQL server that is restarted, crashed, restored from a copy, promoted or replaced; and one large transaction.

use crate::application::Application;
use crate::cluster::Cluster;
use crate::large::{PEAK_KIB_MAX, sends};
use crate::postgres::{Town, Writer, transaction};
use crate::process::{Process, metric};
use crate::reckoning::{has_page, refused};

/// Waits until the auditor has received changes beyond those that it has now.
fn goes_on(town: &Town, connector: &mut Process) {
    let [before, _] = town.received();
    connector.until("more is received", || town.received()[0] > before + 10);
}

/// P1, P2, P11: fast shutdowns wait for the connector, crashes do not; the slot may stand farther back afterwards.
#[test]
fn a_server_that_is_restarted_and_crashed_under_load_loses_and_repeats_nothing() {
    let mut cluster = Cluster::start(&[]);
    let town = Town::on("restarts", cluster.port());
    let mut connector = town.connector_after_the_snapshots();
    let auditor = town.stage.scene.subscriber("audit");
    let writer = Writer::begin(&town.database, 1_000_000);
    goes_on(&town, &mut connector);
    for stop in [Cluster::stop_fast, Cluster::crash, Cluster::crash, Cluster::stop_fast] {
        stop(&mut cluster);
        cluster.begin();
        goes_on(&town, &mut connector);
    }
    let changes = writer.stop();
    town.reckon(connector, auditor, changes);
}

/// The tax department writes these transactions and more that is not shared.
fn write(application: &mut Application, numbers: std::ops::Range<u64>, filler: u32) {
    for number in numbers {
        application.run(&transaction(number * 10).0);
    }
    application.run(&format!(
        "INSERT INTO other SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, {filler}) g"
    ));
}

/// How many changes of each table these transactions make.
fn changes(numbers: std::ops::Range<u64>) -> [u64; 2] {
    numbers.fold([0, 0], |[payments, taxpayers], number| {
        let (_, more, others) = transaction(number * 10);
        [payments + more, taxpayers + others]
    })
}

/// P6: a transaction that stays open holds the slot back, and an operator is told before the server gives it up.
#[test]
fn a_slot_that_is_held_back_is_told_before_the_server_gives_it_up() {
    let cluster = Cluster::start(&["max_slot_wal_keep_size=64MB"]);
    let town = Town::on("retained", cluster.port());
    let mut connector = town.connector_after_the_snapshots();
    let address = connector.address();
    let mut open = town.database.application();
    open.run("BEGIN");
    open.run(&transaction(1000).0);
    town.database.application().run("SELECT pg_logical_emit_message(false, 'x', repeat('x', 40 << 20))");
    connector.until_it_says("CAP024");
    has_page("CAP024");
    let retained = metric(&address, "govbridge_capture_retained_bytes");
    let limit = metric(&address, "govbridge_capture_retained_limit_bytes");
    assert!(retained > 40 << 20 && retained < limit, "{retained} of {limit}");
    open.run("COMMIT");
    let auditor = town.stage.scene.subscriber("audit");
    let (_, payments, taxpayers) = transaction(1000);
    town.reckon(connector, auditor, [payments, taxpayers]);
}

/// P13, P14, P15: a stream goes on only with the history that it has.
#[test]
fn a_copy_that_was_restored_or_promoted_and_a_stranger_halt_before_anything_is_sent() {
    let mut cluster = Cluster::start(&[]);
    let town = Town::on("copies", cluster.port());
    let connector = town.connector_after_the_snapshots();
    write(&mut town.database.application(), 100..108, 1);
    let mut auditor = town.stage.scene.subscriber("audit");
    auditor.until("all is received", || town.received() == changes(100..108));
    assert_eq!(connector.stop().0.code(), Some(0));
    cluster.stop_fast();
    let (own, early) = (cluster.data().to_owned(), cluster.copy());
    cluster.begin();
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    write(&mut town.database.application(), 108..116, 300);
    auditor.until("all is received", || town.received() == changes(100..116));
    assert_eq!(connector.stop().0.code(), Some(0));
    cluster.stop_fast();
    let late = cluster.copy();
    let sent = ["payments", "taxpayers"].map(|dataset| town.stage.log_and_topic_agree(dataset));

    cluster.stand_on(&early);
    let other_early = cluster.copy();
    cluster.begin();
    refused(town.stage.scene.connector(), 1, "STA021");
    write(&mut town.database.application(), 200..208, 3000);
    refused(town.stage.scene.connector(), 1, "STA022");
    cluster.stop_fast();

    cluster.stand_on(&late);
    cluster.begin_as_standby();
    let said = refused(town.stage.scene.connector(), 2, "CAP005");
    assert!(said.contains("the server is a standby"), "{said}");
    cluster.promote();
    refused(town.stage.scene.connector(), 1, "STA020");
    cluster.stop_fast();

    cluster.stand_on_new();
    cluster.begin();
    town.database.make();
    town.stage.scene.run(&["connector", "--config", "tax/connector.toml", "--create"]);
    refused(town.stage.scene.connector(), 1, "STA020");
    cluster.stop_fast();

    // While it runs, its server crashes and comes back as the copy.
    cluster.stand_on(&own);
    cluster.begin();
    let mut connector = town.stage.scene.connector();
    connector.healthy();
    cluster.crash();
    cluster.stand_on(&other_early);
    cluster.begin();
    refused(connector, 1, "CAP008");
    cluster.stop_fast();
    for (dataset, sent) in ["payments", "taxpayers"].into_iter().zip(sent) {
        assert_eq!(town.stage.log_and_topic_agree(dataset), sent, "nothing was sent");
    }

    // A machine that comes up starts both at once: the connector waits for its server.
    cluster.stand_on(&own);
    let mut connector = town.stage.scene.connector();
    connector.until_it_says("CAP001");
    cluster.begin();
    connector.healthy();
    write(&mut town.database.application(), 116..120, 1);
    town.reckon(connector, auditor, changes(100..120));
}

/// F16: what one transaction holds is never held here.
#[test]
fn a_transaction_of_more_than_100_000_rows_of_postgresql_is_sent_in_bounded_memory() {
    const ROWS: i64 = 120_000;
    let insert = |first: i64| {
        format!(
            "INSERT INTO payments SELECT g, 'T9901000021', '增值税', '2026-09-01', '银行端查询缴税', NULL, 12.30, NULL \
             FROM generate_series({first}, {first} + {ROWS} - 1) g"
        )
    };
    let town = Town::new("large");
    let connector = town.connector_after_the_snapshots();
    assert_eq!(connector.stop().0.code(), Some(0));
    town.database.application().run(&insert(1_000_000));
    let mut connector = town.stage.scene.connector();
    let mut peaks = vec![sends(&mut connector, ROWS)];
    assert_eq!(connector.stop().0.code(), Some(0));
    // A snapshot of all of it, by a connector that has sent nothing yet.
    let other = Town::new("larger");
    other.database.application().run(&insert(1_000_000));
    let mut connector = other.stage.scene.connector();
    peaks.push(sends(&mut connector, ROWS));
    assert_eq!(connector.stop().0.code(), Some(0));
    assert!(peaks.iter().all(|peak| *peak < PEAK_KIB_MAX), "{peaks:?} KiB");
}
