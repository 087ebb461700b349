//! The real binary as a connector: a SQLite file, a trial cluster, signals, health, metrics, and a second process.

use super::scene;
use crate::process::{self, get, metric};
use std::time::Duration;

#[test]
fn a_connector_sends_what_is_written_is_healthy_and_stops_on_sigterm() {
    let (scene, _cluster) = scene(&["payments", "taxpayers"]);
    let mut connector = scene.connector();
    let address = connector.healthy();
    let before = metric(&address, "govbridge_capture_rows_total");
    scene.pay(100_000..100_050);
    connector
        .until("50 rows are captured", || metric(&address, "govbridge_capture_rows_total") >= before + 50);
    connector.until("all of it is in the log and the source may forget it", || {
        metric(&address, "govbridge_publish_outstanding_batches") == 0
            && metric(&address, "govbridge_acknowledge_commit") > 0
    });
    connector.until("it stays healthy", || get(&address, "/health").is_some_and(|(status, _)| status == 200));

    let shown =
        scene.run(&["log", "show", "--directory", &format!("http://{address}"), "--origin", process::ORIGIN]);
    for stream in ["tax/payments/0", "tax/taxpayers/0"] {
        assert!(shown.contains(&format!("stream {stream}: sequence ")), "{shown}");
    }
    let second = scene.try_run(&["connector", "--config", "tax/connector.toml"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.contains("APP001") && said.contains("docs/errors/APP001.md"), "{said}");

    let (status, took) = connector.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
    let json = scene.run(&["log", "show", "--directory", "tax/log", "--json"]);
    assert!(json.contains("\"origin\": \"gov.example/tax/main\"") && json.contains("\"root\""), "{json}");
}

#[test]
fn a_paused_connector_is_replaced_and_ends_when_it_goes_on() {
    let (scene, _cluster) = scene(&["payments"]);
    let mut old = scene.connector();
    let address = old.healthy();
    // One that stands inside a write is not replaced: it is paused again, elsewhere.
    let mut tries = 0;
    loop {
        old.pause();
        let done = scene.try_run(&["log", "take-over", "--directory", "tax/log"]);
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() {
            assert!(said.contains("has lost the log"), "{said}");
            break;
        }
        assert!(said.contains("APP013") && done.status.code() == Some(3) && tries < 20, "{said}");
        tries += 1;
        old.go_on();
        old.healthy();
    }
    // The old one still has the port: the new one is told to take another.
    let mut new = scene.connector_with(&["--take-over"], &[("GOVBRIDGE__HTTP__LISTEN", "127.0.0.1:0")]);
    let taken = new.healthy();
    assert_ne!(taken, address);
    old.go_on();
    scene.pay(100_000..100_010);
    new.until("10 rows are captured", || metric(&taken, "govbridge_capture_rows_total") >= 10);
    let status = old.wait();
    assert_eq!(status.code(), Some(3), "the replaced one ends by itself");
    assert_eq!(new.stop().0.code(), Some(0));
}

#[test]
fn a_fault_kills_the_process_at_its_point_and_the_next_start_goes_on() {
    let (scene, _cluster) = scene(&["payments"]);
    let connector = scene.connector_with(&[], &[("GOVBRIDGE_FAULT", "after-fence:1")]);
    let status = connector.wait();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    let said = std::fs::read_to_string(scene.tax().join("connector.err")).unwrap();
    assert!(said.contains("after-fence"), "{said}");

    let mut connector = scene.connector_with(&[], &[("GOVBRIDGE_FAULT", "disk-journal-append-lost:4")]);
    connector.until("the write was spoiled", || {
        std::fs::read_to_string(scene.tax().join("connector.err"))
            .unwrap()
            .contains("disk-journal-append-lost")
    });
    assert_eq!(connector.wait().code(), Some(3));

    let mut connector = scene.connector();
    connector.healthy();
    assert_eq!(connector.stop().0.code(), Some(0));
}

/// An address where everybody is let in and nobody is answered.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_connector_stops_cleanly_within_five_seconds_whatever_question_to_kafka_it_waits_for() {
    let (scene, cluster) = scene(&["payments"]);
    drop(cluster);
    let (_listener, silent) = silent();
    let nobody = "127.0.0.1:1".to_owned();
    for brokers in [&silent, &nobody] {
        for check in ["true", "false"] {
            let environment = [
                ("GOVBRIDGE__KAFKA__BOOTSTRAP_SERVERS", brokers.as_str()),
                ("GOVBRIDGE__TOPICS__CHECK", check),
            ];
            let mut connector = scene.connector_with(&[], &environment);
            connector.address();
            let (status, took) = connector.stop();
            assert_eq!(status.code(), Some(0), "{environment:?}");
            assert!(took < Duration::from_secs(5), "{environment:?}: {took:?}");
        }
    }
    // Between two tries, when each waits longer for the next.
    let mut connector = scene.connector_with(&[], &[("GOVBRIDGE__KAFKA__BOOTSTRAP_SERVERS", &nobody)]);
    let said = scene.tax().join("connector.err");
    let from = std::fs::read_to_string(&said).unwrap().len();
    connector.until("a try has failed", || {
        std::fs::read_to_string(&said).unwrap()[from..].contains("a new epoch begins")
    });
    let (status, took) = connector.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn processes_stop_on_sigterm_also_while_no_broker_answers() {
    let (scene, cluster) = scene(&["payments"]);
    drop(cluster);
    scene.make_subscriber("audit", "level = \"logged\"");
    for mut process in [scene.connector(), scene.subscriber("audit")] {
        process.address();
        let begun = std::time::Instant::now();
        process.terminate();
        let (status, said) = process.end();
        // Whether all was handed over, nobody answers; between two questions there is nothing to hand over.
        let pages = ["STA028", "DEL023", "FET002"].map(|code| format!("see: docs/errors/{code}.md"));
        let told = status.code() == Some(3) && pages.iter().any(|page| said.contains(page));
        assert!(told || status.code() == Some(0), "{status} {said}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{said}");
    }
    let done = scene.try_run(&["subscriber", "--config", "audit/subscriber.toml", "--check"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("docs/errors/FET"), "{said}");
}
