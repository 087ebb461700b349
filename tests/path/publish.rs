//! publish: sealed batch -> Kafka, acknowledged by all in-sync replicas.

use bridge_envelope::Header;

use crate::process::ORIGIN;
use crate::province::{payment, province};
use crate::reckoning::stream;

#[test]
fn a_stream_is_dense_from_its_genesis_and_each_batch_names_the_one_before() {
    let province = province();
    for number in province.numbers(5) {
        province.execute(&payment(number));
    }
    for dataset in ["payments", "taxpayers"] {
        let mut previous = Header::genesis(&stream(dataset), &ORIGIN.parse().unwrap());
        for (sequence, (header, digest)) in (0..).zip(province.stage.accepted(dataset)) {
            assert_eq!((header.sequence.0, header.previous), (sequence, previous));
            assert_eq!(header.stream, stream(dataset));
            previous = digest;
        }
    }
}

#[test]
fn the_contract_and_every_key_stand_in_their_topics_before_a_batch_names_them() {
    let province = province();
    let contracts = province.stage.records("govbridge.contracts");
    assert!(contracts.len() >= 2 && contracts.iter().all(|record| record.starts_with(b"GBC1")));
    let keys = province.stage.records("govbridge.keys");
    // Two sections of payments; taxpayers has its own.
    assert!(keys.len() >= 3 && keys.iter().all(|record| record.starts_with(b"GBK1")));
}
