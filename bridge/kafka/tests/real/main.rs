//! Publisher, fetcher and topics against Apache Kafka itself: what the trial cluster does not have.
//!
//! The tests share one broker and give each topic a name of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests stop at the first surprise"
)]

#[allow(dead_code, unreachable_pub, reason = "other tests need more of it")]
mod broker;
mod connection;
mod faults;
mod settings;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bridge_event::{Offset, Partition};
use bridge_kafka::topics::{self, Created, Plan};
use bridge_kafka::{Delivery, FetchError, Fetched, Fetcher, Properties, Publisher, Reading};
use broker::{Broker, PATIENCE};

const ZERO: Partition = Partition(0);

fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| Broker::start(""))
}

/// As the broker's own operator.
fn operator() -> Properties {
    Properties::of_brokers(&shared().plain()).unwrap()
}

fn plan(topic: &str) -> Plan {
    Plan::of_dataset(topic, 1, 1, None)
}

fn made(topic: &str) {
    assert_eq!(topics::create(&operator(), &plan(topic), PATIENCE).unwrap(), Created::Made);
}

fn deliveries(publisher: &mut Publisher, wanted: usize) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while all.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} deliveries came", all.len());
        publisher.poll(Duration::from_millis(100), &mut |delivery| all.push(delivery));
    }
    all
}

fn fill(properties: &Properties, topic: &str, frames: u64) {
    let mut publisher = Publisher::new(properties).unwrap();
    for token in 0..frames {
        publisher.publish(topic, ZERO, "hint", &token.to_be_bytes(), token).unwrap();
    }
    let delivered = deliveries(&mut publisher, usize::try_from(frames).unwrap());
    assert!(delivered.iter().all(|delivery| delivery.result.is_ok()), "{delivered:?}");
}

fn reader(properties: &Properties, topic: &str, offset: i64) -> Fetcher {
    let mut fetcher = Fetcher::new(properties).unwrap();
    fetcher.assign(vec![Reading { topic: topic.into(), partition: ZERO, offset: Offset(offset) }]).unwrap();
    fetcher
}

fn fetch(fetcher: &mut Fetcher, wanted: usize) -> Vec<Fetched> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while all.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} records came", all.len());
        match fetcher.next(Duration::from_millis(100)) {
            Ok(record) => all.extend(record),
            // A topic that was just made is not known to every broker's cache at once.
            Err(FetchError::UnknownTopic { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    all
}

/// The first error that passes the filter; what comes before it is waited out.
fn error_of(fetcher: &mut Fetcher, wanted: &str) -> FetchError {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fetcher.next(Duration::from_millis(100)) {
            Err(error) if error.code() == wanted => return error,
            other => assert!(Instant::now() < deadline, "{wanted} does not come, the last was {other:?}"),
        }
    }
}
