//! The server is stopped, and full; Kafka restarts. Whatever it was, the tables equal the source afterwards.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::broker::Broker;
use crate::process::{Process, get};
use crate::reckoning::{Application, PACE, Stage};
use crate::running::{FIRST, quorum};
use crate::server::{Server, give};
use crate::tables::Tables;

fn says(process: &mut Process, address: &str, code: &str) {
    process.until(&format!("its health says {code}"), || {
        let (status, words) = get(address, "/health").unwrap_or_default();
        status == 503 && words.contains(code)
    });
}

#[test]
fn tables_equal_the_source_after_server_and_broker_were_away_under_load() {
    let (mut broker, mut server) = (Broker::start(""), Server::start());
    let stage = Stage::on_kafka(&broker.plain(), &["payments"]);
    let witnesses = quorum(&stage);
    let mut connector = stage.scene.connector();
    let health = connector.healthy();
    let tables = Tables::new(&server, "audit", "received");
    tables.configure(&stage, &server, "postgres", "host = \"127.0.0.1\"\n");
    tables.created(&stage);
    let mut auditor = stage.scene.subscriber("audit");
    tables.until_equal(&stage, &server, &mut auditor);
    let address = auditor.healthy();
    let application = Application::begin(&stage.scene, FIRST, PACE);
    application.goes_on(30);

    // The server is away while more comes.
    server.stop();
    says(&mut auditor, &address, "DEL030");
    application.goes_on(100);
    server.begin();
    auditor.healthy();
    // The broker is, too, and for longer than a frame waits for its acknowledgement: a new epoch follows.
    let restarts = || crate::process::metric(&health, "govbridge_publish_restarts_total");
    let before = restarts();
    broker.kill();
    connector.until("the epoch is over", || restarts() > before);
    application.goes_on(100);
    broker.begin();
    // A row of five megabytes, in fragments, among the others.
    let channel: String = (0..5_u64 << 17)
        .map(|part| format!("{:08x}", part.wrapping_mul(0x9e37_79b9) & 0xffff_ffff))
        .collect();
    let sql = "INSERT INTO payments VALUES (900000001, 'T9901000021', 'vat', '2026-09-01', ?1, NULL, '12.30', NULL)";
    stage.scene.application().execute(sql, [&channel]).unwrap();
    application.goes_on(30);
    application.stop();
    tables.until_equal(&stage, &server, &mut auditor);
    let length = "SELECT length(channel) FROM govbridge.tax__payments WHERE payment_id = 900000001";
    assert_eq!(server.application("received").value(length), (5 << 20).to_string());
    assert_eq!(connector.stop().0.code(), Some(0));
    assert_eq!(auditor.stop().0.code(), Some(0));
    stage.log_and_topic_agree("payments");
    drop(witnesses);
}

/// A filesystem in memory, until it is dropped.
struct Small(PathBuf);

impl Small {
    /// None when this process may not mount.
    fn at(folder: &Path, size: &str) -> Option<Small> {
        std::fs::create_dir(folder).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).output();
        mounted.is_ok_and(|done| done.status.success()).then(|| Small(folder.to_owned()))
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let of = format!("of={}", ballast.display());
        let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k", &of]).output().unwrap();
        assert!(!filled.status.success(), "it is not full");
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A server that still has a file of it open does not hold it up.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_server_whose_disk_is_full_is_waited_for_and_nothing_is_lost() {
    let server = Server::start();
    let Some(small) = Small::at(&server.path("small"), "64m") else {
        println!("this process may not mount: no disk is really full here");
        return;
    };
    let place = small.0.join("tables");
    std::fs::create_dir(&place).unwrap();
    give(&place);
    let stage = Stage::new(&["payments"]);
    let _witnesses = quorum(&stage);
    let mut connector = stage.scene.connector();
    connector.healthy();
    let tables = Tables::new(&server, "audit", "received");
    server.application("postgres").run(&format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    server.application("postgres").run("ALTER DATABASE received SET TABLESPACE small");
    tables.configure(&stage, &server, "postgres", "host = \"127.0.0.1\"\n");
    tables.created(&stage);
    let mut auditor = stage.scene.subscriber("audit");
    tables.until_equal(&stage, &server, &mut auditor);
    let address = auditor.healthy();
    let ballast = small.fill();
    // More than the pages that there are take.
    stage.scene.pay(FIRST..FIRST + 3000);
    says(&mut auditor, &address, "DEL035");
    assert!(server.log().contains("No space left on device"), "{}", server.log());
    std::fs::remove_file(ballast).unwrap();
    tables.until_equal(&stage, &server, &mut auditor);
    auditor.healthy();
    assert_eq!(auditor.stop().0.code(), Some(0));
    assert_eq!(connector.stop().0.code(), Some(0));
}
