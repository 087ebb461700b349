//! What happens to a topic, and to the broker, under a reader and a writer.

use std::time::{Duration, Instant};

use bridge_event::{Disposition, Offset, Partition};
use bridge_kafka::{DeliveryError, FetchError, Properties, Publisher};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::broker::{Broker, PASSWORD, PATIENCE};
use crate::{ZERO, deliveries, error_of, fetch, fill, made, operator, reader, shared};

/// A transaction of one record, as somebody else may leave one in a topic: its end takes an offset of its own.
fn transaction(topic: &str, id: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", shared().plain())
        .set("transactional.id", id)
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<str, [u8]>::to(topic).partition(0).payload(b"foreign")).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
}

#[test]
fn offsets_that_kafka_keeps_for_itself_hide_neither_the_end_nor_a_record() {
    made("faults.markers");
    fill(&operator(), "faults.markers", 3);
    for id in ["one", "two", "three"] {
        transaction("faults.markers", id);
    }
    // 0 1 2, then three times a record and the end of its transaction.
    let mut fetcher = reader(&operator(), "faults.markers", 0);
    let offsets: Vec<i64> = fetch(&mut fetcher, 6).iter().map(|record| record.offset.0).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 5, 7]);
    let bounds = fetcher.bounds("faults.markers", ZERO, PATIENCE).unwrap();
    assert_eq!(bounds.high, Offset(9));
    let deadline = Instant::now() + PATIENCE;
    while !fetcher.at_end("faults.markers", ZERO, PATIENCE).unwrap() {
        assert!(Instant::now() < deadline, "the last offset is Kafka's own, and the end is never reached");
        assert_eq!(fetcher.next(Duration::from_millis(50)).unwrap(), None);
    }
    // From an offset that is Kafka's own, too.
    assert_eq!(fetch(&mut reader(&operator(), "faults.markers", 4), 1)[0].offset, Offset(5));
    fill(&operator(), "faults.markers", 1);
    assert_eq!(fetch(&mut fetcher, 1)[0].offset, Offset(9));
}

#[test]
fn records_larger_than_a_fetch_come_whole_and_in_order() {
    made("faults.large");
    let mut publisher = Publisher::new(&operator()).unwrap();
    let sizes = [10, 7 << 20, 100, bridge_kafka::FRAME_BYTES_MAX, 1];
    for (token, size) in (0u64..).zip(sizes) {
        let frame = vec![u8::try_from(token).unwrap(); size];
        publisher.publish("faults.large", ZERO, "", &frame, token).unwrap();
    }
    assert!(deliveries(&mut publisher, sizes.len()).iter().all(|delivery| delivery.result.is_ok()));
    let small = operator()
        .with("fetch.message.max.bytes", "1000")
        .and_then(|with| with.with("fetch.max.bytes", "8454144"))
        .unwrap();
    for properties in [operator(), small] {
        let fetched = fetch(&mut reader(&properties, "faults.large", 0), sizes.len());
        assert_eq!(fetched.iter().map(|record| record.bytes.len()).collect::<Vec<_>>(), sizes);
    }
}

#[test]
fn a_topic_cut_under_a_reader_is_an_error_with_both_ends_and_never_a_jump() {
    made("faults.cut");
    fill(&operator(), "faults.cut", 10);
    let mut fetcher = reader(&operator(), "faults.cut", 10);
    assert_eq!(fetcher.next(Duration::from_millis(200)).unwrap(), None);
    let mut behind = reader(&operator(), "faults.cut", 2);
    shared().cut("faults.cut", 6);
    // What was fetched before the cut may still come; a reader that begins now begins with the error.
    let _ = behind.next(Duration::from_millis(200));
    let error = error_of(&mut reader(&operator(), "faults.cut", 2), "FET001");
    let FetchError::OutOfRange { offset, bounds, .. } = &error else { panic!("{error}") };
    assert_eq!((*offset, bounds.low, bounds.high), (Offset(2), Offset(6), Offset(10)));
    assert_eq!(error.disposition(), Disposition::Halt);
    assert_eq!(fetch(&mut reader(&operator(), "faults.cut", 6), 4).len(), 4);
}

#[test]
fn a_topic_made_anew_under_a_reader_is_an_error_and_never_a_jump() {
    made("faults.anew");
    fill(&operator(), "faults.anew", 10);
    let mut fetcher = reader(&operator(), "faults.anew", 0);
    fetch(&mut fetcher, 10);
    shared().topic("faults.anew", &["--delete"]);
    let deadline = Instant::now() + PATIENCE;
    while let Ok(bounds) = fetcher.bounds("faults.anew", ZERO, PATIENCE) {
        assert!(Instant::now() < deadline, "the topic is still there: {bounds:?}");
    }
    made("faults.anew");
    fill(&operator(), "faults.anew", 3);
    let error = error_of(&mut fetcher, "FET001");
    let FetchError::OutOfRange { offset, bounds, .. } = &error else { panic!("{error}") };
    assert_eq!((*offset, bounds.high), (Offset(10), Offset(3)));
}

#[test]
fn a_topic_deleted_under_both_is_told_to_both_by_its_code() {
    made("faults.gone");
    fill(&operator(), "faults.gone", 3);
    let mut fetcher = reader(&operator(), "faults.gone", 0);
    fetch(&mut fetcher, 3);
    let mut publisher = Publisher::new(&operator().with("message.timeout.ms", "10000").unwrap()).unwrap();
    publisher.publish("faults.gone", ZERO, "", b"there", 0).unwrap();
    deliveries(&mut publisher, 1);
    shared().topic("faults.gone", &["--delete"]);
    error_of(&mut fetcher, "FET003");
    assert_eq!(fetcher.bounds("faults.gone", ZERO, PATIENCE).unwrap_err().code(), "FET003");
    publisher.publish("faults.gone", ZERO, "", b"gone", 1).unwrap();
    let error = deliveries(&mut publisher, 1).remove(0).result.unwrap_err();
    assert!(
        matches!(error, DeliveryError::UnknownTopic { .. } | DeliveryError::Unacknowledged { .. }),
        "{error}"
    );
    assert!(publisher.broken());
}

#[test]
fn a_limit_made_smaller_under_a_writer_is_told_with_the_setting() {
    made("faults.small");
    let mut publisher = Publisher::new(&operator()).unwrap();
    publisher.publish("faults.small", ZERO, "", &[1; 100_000], 0).unwrap();
    assert!(deliveries(&mut publisher, 1)[0].result.is_ok());
    shared().set("faults.small", "max.message.bytes=50000");
    publisher.publish("faults.small", ZERO, "", &[1; 100_000], 1).unwrap();
    let error = deliveries(&mut publisher, 1).remove(0).result.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("PUB003", Disposition::Halt));
    assert!(error.to_string().contains("max.message.bytes to 8454144"), "{error}");
}

#[test]
fn who_may_not_write_or_read_is_told_so() {
    let broker = shared();
    made("faults.denied");
    fill(&operator(), "faults.denied", 1);
    broker.allow("stranger", &["--operation", "Describe", "--topic", "faults.denied"]);
    let stranger = Properties::of_brokers(&broker.sasl())
        .and_then(|with| with.with("security.protocol", "sasl_plaintext"))
        .and_then(|with| with.with("sasl.mechanism", "SCRAM-SHA-512"))
        .and_then(|with| with.with("sasl.username", "stranger"))
        .and_then(|with| with.with("sasl.password", PASSWORD))
        .unwrap();
    error_of(&mut reader(&stranger, "faults.denied", 0), "FET004");
    let mut publisher = Publisher::new(&stranger).unwrap();
    publisher.publish("faults.denied", ZERO, "", b"x", 0).unwrap();
    let error = deliveries(&mut publisher, 1).remove(0).result.unwrap_err();
    assert!(
        matches!(error.code(), "PUB006" | "PUB007") && publisher.broken(),
        "a producer that is not let in: {error}"
    );
    assert_eq!(
        reader(&operator(), "faults.denied", 0).bounds("faults.denied", ZERO, PATIENCE).unwrap().high,
        Offset(1)
    );
}

#[test]
fn partitions_added_under_both_change_nothing_for_the_first_one() {
    made("faults.partitions");
    fill(&operator(), "faults.partitions", 2);
    let mut fetcher = reader(&operator(), "faults.partitions", 0);
    let mut publisher = Publisher::new(&operator()).unwrap();
    publisher.publish("faults.partitions", ZERO, "hint", b"before", 0).unwrap();
    deliveries(&mut publisher, 1);
    shared().topic("faults.partitions", &["--alter", "--partitions", "3"]);
    for token in 1..20 {
        publisher.publish("faults.partitions", ZERO, &format!("hint {token}"), b"after", token).unwrap();
    }
    let delivered = deliveries(&mut publisher, 19);
    assert!(delivered.iter().all(|one| one.partition == ZERO && one.result.is_ok()), "{delivered:?}");
    assert_eq!(fetch(&mut fetcher, 22).len(), 22);
    // A running reader renews its list of partitions every five minutes; a new one asks at once.
    let newcomer = reader(&operator(), "faults.partitions", 0);
    for other in [Partition(1), Partition(2)] {
        assert_eq!(newcomer.bounds("faults.partitions", other, PATIENCE).unwrap().high, Offset(0));
    }
}

#[test]
fn a_broker_that_forgets_its_producers_and_falls_loses_nothing_and_repeats_only_what_came_before() {
    // A broker of its own: it is killed here, and forgets who wrote after a second.
    let mut broker = Broker::start(
        "producer.id.expiration.ms=1000\nproducer.id.expiration.check.interval.ms=100\ntransactional.id.expiration.ms=1000",
    );
    let properties = Properties::of_brokers(&broker.plain()).unwrap();
    bridge_kafka::topics::create(&properties, &crate::plan("faults.killed"), PATIENCE).unwrap();
    let mut publisher = Publisher::new(&properties).unwrap();
    let mut next = 0u64;
    let mut send = |publisher: &mut Publisher, count: u64| {
        for token in next..next + count {
            publisher.publish("faults.killed", ZERO, "", &token.to_be_bytes(), token).unwrap();
        }
        next += count;
    };
    send(&mut publisher, 100);
    assert!(deliveries(&mut publisher, 100).iter().all(|one| one.result.is_ok()));
    // Longer than the broker remembers.
    std::thread::sleep(Duration::from_secs(3));
    send(&mut publisher, 100);
    let delivered = deliveries(&mut publisher, 100);
    assert!(delivered.iter().all(|one| one.result.is_ok()), "{:?}", delivered.first());
    // Away, with frames on their way, and back.
    send(&mut publisher, 1000);
    broker.kill();
    let fetcher = reader(&properties, "faults.killed", 0);
    let away = fetcher.bounds("faults.killed", ZERO, Duration::from_secs(2)).unwrap_err();
    assert_eq!((away.code(), away.disposition()), ("FET002", Disposition::Retry));
    let deadline = Instant::now() + PATIENCE;
    while publisher.link().standing().brokers_up != Some(0) {
        assert!(Instant::now() < deadline, "{:?}", publisher.link().standing());
        std::thread::sleep(Duration::from_millis(50));
    }
    send(&mut publisher, 100);
    broker.begin();
    assert!(deliveries(&mut publisher, 1100).iter().all(|one| one.result.is_ok()));
    assert!(!publisher.broken());
    let mut fetcher = reader(&properties, "faults.killed", 0);
    let stored = fetcher.bounds("faults.killed", ZERO, PATIENCE).unwrap().high.0;
    // A broker that forgot its producer stores a frame again whose acknowledgement was lost: after its first time, never
    // before. The chain drops such a copy by its sequence.
    let mut next = 0;
    for fetched in fetch(&mut fetcher, usize::try_from(stored).unwrap()) {
        let number = u64::from_be_bytes(fetched.bytes.try_into().unwrap());
        assert!(number <= next, "{number} stands where {next} is to come");
        next = next.max(number + 1);
    }
    assert_eq!(next, 1300);
    while publisher.link().standing().brokers_up != Some(1) {
        assert!(Instant::now() < deadline + PATIENCE, "{:?}", publisher.link().standing());
        std::thread::sleep(Duration::from_millis(50));
    }
    // It stands still for longer than a frame may wait: whether the frame came is not known, and the publisher is broken.
    drop(publisher);
    let mut publisher =
        Publisher::new(&properties.clone().with("message.timeout.ms", "2000").unwrap()).unwrap();
    publisher.publish("faults.killed", ZERO, "", b"known", 0).unwrap();
    deliveries(&mut publisher, 1);
    broker.pause();
    publisher.publish("faults.killed", ZERO, "", b"unknown", 1).unwrap();
    let error = deliveries(&mut publisher, 1).remove(0).result.unwrap_err();
    assert_eq!((error.code(), error.disposition()), ("PUB005", Disposition::Retry), "{error}");
    assert!(publisher.broken());
    broker.go_on();
    drop(publisher);
    fill(&properties, "faults.killed", 1);
}
