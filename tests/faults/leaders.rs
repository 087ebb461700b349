//! The leader of a partition changes again and again under load, as brokers cut connections and fall silent (librdkafka
//! 4953). They do not fall: librdkafka's mock ends the whole process when it cannot have a fallen broker's port again.

use std::time::Duration;

use bridge_event::Partition;
use bridge_kafka::trial::{Fault, Request};

use crate::reckoning::{PACE, Stage};
use crate::running::Running;

#[test]
fn nothing_is_lost_or_there_twice_while_the_leader_moves_and_falls_silent() {
    let mut running = Running::on(Stage::on_brokers(3, &["payments"]), "", &[], PACE);
    let mut connector = running.connector();
    connector.healthy();
    for turn in 0..9_u16 {
        let (old, new) = (turn % 3 + 1, (turn + 1) % 3 + 1);
        let cluster = running.stage.cluster.as_ref().unwrap();
        for topic in ["govbridge.tax.payments", "govbridge.keys"] {
            cluster.lead(topic, Partition(0), Some(new)).unwrap();
        }
        for request in [Request::Produce, Request::Fetch] {
            cluster.fail_next(request, Fault::Disconnect, 1).unwrap();
        }
        cluster.delay(Some(old), Duration::from_secs(1)).unwrap();
        running.application.as_ref().unwrap().goes_on(20);
        let cluster = running.stage.cluster.as_ref().unwrap();
        cluster.delay(Some(old), Duration::ZERO).unwrap();
    }
    // An acknowledgement that comes too late for the client: it does not know whether the frame is there.
    let cluster = running.stage.cluster.as_ref().unwrap();
    cluster.delay(None, Duration::from_millis(700)).unwrap();
    running.application.as_ref().unwrap().goes_on(50);
    running.stage.cluster.as_ref().unwrap().delay(None, Duration::ZERO).unwrap();
    running.all_arrives();
    running.reckon_with(connector);
}
