//! Publisher, fetcher and topics against the trial cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first surprise"
)]

use std::time::{Duration, Instant};

use bridge_event::{Offset, Partition};
use bridge_kafka::topics::{self, Checked, Created, Plan};
use bridge_kafka::trial::{Cluster, Fault, Request};
use bridge_kafka::{
    Delivery, DeliveryError, Disposition, FetchError, Fetched, Fetcher, Properties, PublishError, Publisher,
    Reading,
};

const TOPIC: &str = "govbridge.tax.payments";
const ZERO: Partition = Partition(0);
/// No step takes this long unless it hangs.
const LIMIT: Duration = Duration::from_secs(30);

fn cluster() -> (Cluster, Properties) {
    let cluster = Cluster::start(1).unwrap();
    cluster.create_topic(TOPIC, 1).unwrap();
    let properties = Properties::of_brokers(cluster.bootstrap()).unwrap();
    (cluster, properties)
}

fn deliveries(publisher: &mut Publisher, wanted: usize) -> Vec<Delivery> {
    let deadline = Instant::now() + LIMIT;
    let mut all = Vec::new();
    while all.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} deliveries came", all.len());
        publisher.poll(Duration::from_millis(100), &mut |delivery| all.push(delivery));
    }
    all
}

fn fetch(fetcher: &mut Fetcher, wanted: usize) -> Vec<Fetched> {
    let deadline = Instant::now() + LIMIT;
    let mut all = Vec::new();
    while all.len() < wanted {
        assert!(Instant::now() < deadline, "{} of {wanted} records came", all.len());
        all.extend(fetcher.next(Duration::from_millis(100)).unwrap());
    }
    all
}

fn first_error(fetcher: &mut Fetcher) -> FetchError {
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline, "no error came");
        if let Err(error) = fetcher.next(Duration::from_millis(100)) {
            return error;
        }
    }
}

fn reader(properties: &Properties, offset: i64) -> Fetcher {
    let mut fetcher = Fetcher::new(properties).unwrap();
    fetcher.assign(vec![Reading { topic: TOPIC.into(), partition: ZERO, offset: Offset(offset) }]).unwrap();
    fetcher
}

fn fill(properties: &Properties, frames: u64) {
    let mut publisher = Publisher::new(properties).unwrap();
    for token in 0..frames {
        publisher.publish(TOPIC, ZERO, "hint", &token.to_be_bytes(), token).unwrap();
    }
    deliveries(&mut publisher, usize::try_from(frames).unwrap());
}

#[test]
fn frames_come_back_byte_for_byte_in_order() {
    let (_cluster, properties) = cluster();
    let mut publisher = Publisher::new(&properties).unwrap();
    let frames: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; 1 + usize::from(n) * 1000]).collect();
    for (token, frame) in (0u64..).zip(&frames) {
        publisher.publish(TOPIC, ZERO, "tax/payments/0", frame, token).unwrap();
    }
    assert_eq!(publisher.in_flight(), 20);
    let delivered = deliveries(&mut publisher, 20);
    for (number, delivery) in (0i64..).zip(&delivered) {
        assert_eq!(delivery.result, Ok(Offset(number)));
        assert_eq!(delivery.token, u64::try_from(number).unwrap());
        assert_eq!((delivery.topic.as_str(), delivery.partition), (TOPIC, ZERO));
    }
    assert_eq!(publisher.in_flight(), 0);
    assert!(!publisher.broken());

    let mut fetcher = reader(&properties, 0);
    let fetched = fetch(&mut fetcher, 20);
    assert_eq!(fetched.iter().map(|record| record.bytes.clone()).collect::<Vec<_>>(), frames);
    assert!(fetcher.at_end(TOPIC, ZERO, LIMIT).unwrap());
}

#[test]
fn two_producers_share_a_partition_and_each_keeps_its_own_order() {
    let (_cluster, properties) = cluster();
    let mut one = Publisher::new(&properties).unwrap();
    let mut two = Publisher::new(&properties).unwrap();
    for token in 0..50u64 {
        one.publish(TOPIC, ZERO, "", &[1, u8::try_from(token).unwrap()], token).unwrap();
        two.publish(TOPIC, ZERO, "", &[2, u8::try_from(token).unwrap()], token).unwrap();
    }
    deliveries(&mut one, 50);
    deliveries(&mut two, 50);
    let fetched = fetch(&mut reader(&properties, 0), 100);
    for sender in [1, 2] {
        let order: Vec<u8> =
            fetched.iter().filter(|record| record.bytes[0] == sender).map(|record| record.bytes[1]).collect();
        assert_eq!(order, (0..50).collect::<Vec<u8>>());
    }
}

#[test]
fn a_reader_starts_at_any_offset_and_seeks_back() {
    let (_cluster, properties) = cluster();
    fill(&properties, 10);
    let mut fetcher = reader(&properties, 7);
    assert_eq!(fetch(&mut fetcher, 3).iter().map(|record| record.offset.0).collect::<Vec<_>>(), [7, 8, 9]);
    fetcher.seek(TOPIC, ZERO, Offset(2)).unwrap();
    assert_eq!(fetch(&mut fetcher, 1)[0].bytes, 2u64.to_be_bytes());
    assert_eq!(fetcher.readings()[0].offset, Offset(3));
    let bounds = fetcher.bounds(TOPIC, ZERO, LIMIT).unwrap();
    assert_eq!((bounds.low, bounds.high), (Offset(0), Offset(10)));
    assert!(!fetcher.at_end(TOPIC, ZERO, LIMIT).unwrap());
}

#[test]
fn a_reader_at_the_end_gets_what_comes_later() {
    let (_cluster, properties) = cluster();
    fill(&properties, 3);
    let mut fetcher = reader(&properties, 3);
    assert_eq!(fetcher.next(Duration::from_millis(200)).unwrap(), None);
    fill(&properties, 1);
    assert_eq!(fetch(&mut fetcher, 1)[0].offset, Offset(3));
}

#[test]
fn an_offset_beyond_the_topic_is_an_error_and_never_a_jump() {
    let (_cluster, properties) = cluster();
    fill(&properties, 3);
    let error = first_error(&mut reader(&properties, 1000));
    let FetchError::OutOfRange { ref topic, partition, offset, bounds } = error else { panic!("{error}") };
    assert_eq!((&**topic, partition, offset, bounds.high), (TOPIC, ZERO, Offset(1000), Offset(3)));
    assert_eq!((error.code(), error.disposition()), ("FET001", Disposition::Halt));
}

#[test]
fn a_partition_that_is_not_assigned_cannot_be_sought() {
    let (_cluster, properties) = cluster();
    let mut fetcher = reader(&properties, 0);
    assert_eq!(fetcher.seek("other", ZERO, Offset(0)).unwrap_err().code(), "FET007");
    assert_eq!(fetcher.at_end(TOPIC, Partition(1), LIMIT).unwrap_err().code(), "FET007");
}

#[test]
fn after_a_failed_delivery_a_publisher_is_broken_and_sends_nothing_more() {
    let (cluster, properties) = cluster();
    let mut publisher = Publisher::new(&properties).unwrap();
    publisher.publish(TOPIC, ZERO, "", b"good", 0).unwrap();
    deliveries(&mut publisher, 1);
    cluster.fail_next(Request::Produce, Fault::Forbidden, 1).unwrap();
    publisher.publish(TOPIC, ZERO, "", b"refused", 1).unwrap();
    let failed = deliveries(&mut publisher, 1).remove(0);
    let error = failed.result.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("PUB006", Disposition::Halt));
    assert!(publisher.broken());
    assert_eq!(publisher.publish(TOPIC, ZERO, "", b"late", 2), Err(PublishError::Broken));
    assert_eq!(fetch(&mut reader(&properties, 0), 1)[0].bytes, b"good");
    assert_eq!(reader(&properties, 0).bounds(TOPIC, ZERO, LIMIT).unwrap().high, Offset(1));
}

#[test]
fn a_short_outage_is_ridden_out_without_a_duplicate() {
    let (cluster, properties) = cluster();
    let mut publisher = Publisher::new(&properties).unwrap();
    cluster.fail_next(Request::Produce, Fault::Disconnect, 2).unwrap();
    for token in 0..5 {
        publisher.publish(TOPIC, ZERO, "", &[u8::try_from(token).unwrap()], token).unwrap();
    }
    let delivered = deliveries(&mut publisher, 5);
    assert_eq!(
        delivered.iter().map(|delivery| delivery.result.clone().unwrap().0).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    let fetched = fetch(&mut reader(&properties, 0), 5);
    assert_eq!(fetched.iter().map(|record| record.bytes[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_broker_that_is_away_fails_every_waiting_frame_and_the_drop_is_quick() {
    let (cluster, properties) = cluster();
    let properties = properties.with("message.timeout.ms", "1500").unwrap();
    let mut publisher = Publisher::new(&properties).unwrap();
    publisher.publish(TOPIC, ZERO, "", b"good", 0).unwrap();
    deliveries(&mut publisher, 1);
    cluster.broker_down(None).unwrap();
    for token in 1..4 {
        publisher.publish(TOPIC, ZERO, "", b"stuck", token).unwrap();
    }
    let failed = deliveries(&mut publisher, 3);
    assert!(failed.iter().all(|delivery| delivery.result.is_err()));
    assert!(matches!(failed[0].result, Err(DeliveryError::Unacknowledged { .. })), "{failed:?}");
    assert!(publisher.broken());

    let mut other = Publisher::new(&properties).unwrap();
    other.publish(TOPIC, ZERO, "", b"stuck", 9).unwrap();
    let before = Instant::now();
    drop(other);
    drop(publisher);
    assert!(before.elapsed() < Duration::from_secs(11));
}

#[test]
fn a_new_publisher_goes_on_after_a_broken_one() {
    let (cluster, properties) = cluster();
    let mut publisher = Publisher::new(&properties).unwrap();
    cluster.fail_next(Request::Produce, Fault::TooLarge, 1).unwrap();
    publisher.publish(TOPIC, ZERO, "", b"first", 0).unwrap();
    assert_eq!(deliveries(&mut publisher, 1)[0].result.as_ref().unwrap_err().code(), "PUB003");
    drop(publisher);
    fill(&properties, 2);
    assert_eq!(fetch(&mut reader(&properties, 0), 2).len(), 2);
}

#[test]
fn the_queue_is_bounded_and_says_when_it_is_full() {
    let (cluster, properties) = cluster();
    cluster.broker_down(None).unwrap();
    let properties = properties.with("queue.buffering.max.kbytes", "16384").unwrap();
    let mut publisher = Publisher::new(&properties).unwrap();
    let frame = vec![7u8; 1 << 20];
    let mut taken = 0;
    let error = loop {
        match publisher.publish(TOPIC, ZERO, "", &frame, taken) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 64);
    };
    assert_eq!(error, PublishError::QueueFull);
    assert!((14..=17).contains(&taken), "{taken}");
    assert!(!publisher.broken());
}

#[test]
fn a_frame_above_the_limit_is_refused_and_one_of_two_megabytes_passes() {
    let (_cluster, properties) = cluster();
    let mut publisher = Publisher::new(&properties).unwrap();
    let large = vec![0u8; bridge_kafka::FRAME_BYTES_MAX + 1];
    assert_eq!(publisher.publish(TOPIC, ZERO, "", &large, 0).unwrap_err().code(), "PUB003");
    let frame = vec![9u8; 2 << 20];
    publisher.publish(TOPIC, ZERO, "", &frame, 1).unwrap();
    deliveries(&mut publisher, 1);
    assert_eq!(fetch(&mut reader(&properties, 0), 1)[0].bytes, frame);
}

#[test]
fn a_trial_cluster_reports_topics_as_not_checked() {
    let (_cluster, properties) = cluster();
    // It says at once that it knows no such question; a client that tried until its time is over would fail this test.
    let wait = LIMIT * 4;
    let begun = Instant::now();
    let plan = Plan::of_dataset(TOPIC, 1, 1, None);
    let checked = topics::check(&properties, &plan, wait).unwrap();
    assert!(matches!(checked, Checked::NotChecked { .. }), "{checked:?}");
    assert_eq!(topics::create(&properties, &plan, wait).unwrap(), Created::AlreadyThere);
    let wrong = topics::check(&properties, &Plan::of_dataset(TOPIC, 2, 1, None), wait).unwrap();
    assert!(matches!(&wrong, Checked::Problems(problems) if problems.len() == 1), "{wrong:?}");
    let other = Plan::of_dataset("govbridge.tax.none", 1, 1, None);
    assert_eq!(topics::check(&properties, &other, wait).unwrap(), Checked::Missing);
    let created = topics::create(&properties, &other, wait).unwrap();
    assert!(matches!(created, Created::NotSupported { .. }), "{created:?}");
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
}

#[test]
fn a_cluster_that_is_away_is_reported_within_the_time_out() {
    let (cluster, properties) = cluster();
    cluster.broker_down(None).unwrap();
    let fetcher = Fetcher::new(&properties).unwrap();
    let error = fetcher.bounds(TOPIC, ZERO, Duration::from_millis(500)).unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("FET002", Disposition::Retry));
}

#[test]
fn a_setting_that_librdkafka_does_not_know_is_refused() {
    let properties = Properties::of_brokers("127.0.0.1:1").unwrap().with("no.such.setting", "1").unwrap();
    assert_eq!(Publisher::new(&properties).err().unwrap().code(), "PUB011");
    assert_eq!(Fetcher::new(&properties).err().unwrap().code(), "PUB011");
}
