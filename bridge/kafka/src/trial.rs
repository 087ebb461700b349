//! librdkafka's mock cluster: a broker in this process's memory for tests and for trying govbridge out, never for data.
//!
//! Other processes reach it over TCP. A partition keeps 5 MiB or 100,000 records and then drops its oldest ones. It knows
//! no admin calls: topics are made by [`Cluster::create_topic`].

use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use bridge_event::Partition;
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

type Mock = MockCluster<'static, DefaultProducerContext>;
type Act = Box<dyn FnOnce(&Mock) + Send>;

/// The cluster could not be started or did not take a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PUB012: the trial cluster failed: {reason}; it is for trying out only, so start the demo again")]
pub struct ClusterError {
    /// librdkafka's words.
    pub reason: String,
}

impl ClusterError {
    /// The code of its page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        "PUB012"
    }

    fn of(error: &KafkaError) -> ClusterError {
        ClusterError { reason: error.to_string() }
    }

    fn ended() -> ClusterError {
        ClusterError { reason: "its thread has ended".to_owned() }
    }
}

/// A way in which a broker fails a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut before the request is done.
    Disconnect,
    /// The broker asks to try again (not enough in-sync replicas).
    TryAgain,
    /// The broker refuses for good (topic authorization).
    Forbidden,
    /// The broker refuses a record as too large.
    TooLarge,
    /// The broker has lost count of the producer's sequence numbers.
    OutOfOrder,
}

/// A kind of request that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Writing records.
    Produce,
    /// Reading records.
    Fetch,
    /// Asking for topics and leaders.
    Metadata,
    /// Asking for the first and last offset.
    ListOffsets,
    /// Asking for a producer id.
    InitProducerId,
}

/// A running cluster. It ends when this is dropped.
///
/// librdkafka's handle may not change threads, so a thread of its own holds it and takes the calls in order.
pub struct Cluster {
    bootstrap: String,
    acts: Option<Sender<Act>>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Starts so many brokers on free local ports.
    ///
    /// # Errors
    /// PUB012 when librdkafka cannot start them.
    pub fn start(brokers: u16) -> Result<Cluster, ClusterError> {
        let (acts, todo) = mpsc::channel::<Act>();
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("trial-cluster".to_owned())
            .spawn(move || {
                let mock = match Mock::new(i32::from(brokers)) {
                    Ok(mock) => mock,
                    Err(error) => {
                        let _ = ready.send(Err(ClusterError::of(&error)));
                        return;
                    }
                };
                let _ = ready.send(Ok(mock.bootstrap_servers()));
                while let Ok(act) = todo.recv() {
                    act(&mock);
                }
            })
            .map_err(|error| ClusterError { reason: error.to_string() })?;
        let bootstrap = started.recv().map_err(|_| ClusterError::ended())??;
        Ok(Cluster { bootstrap, acts: Some(acts), thread: Some(thread) })
    }

    /// The brokers as `bootstrap.servers` wants them.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Makes a topic.
    ///
    /// # Errors
    /// PUB012 when it is there already or the number of partitions is none.
    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), ClusterError> {
        let topic = topic.to_owned();
        let partitions =
            i32::try_from(partitions).map_err(|error| ClusterError { reason: error.to_string() })?;
        self.ask(move |mock| mock.create_topic(&topic, partitions, 1))
    }

    /// Makes the next `times` requests of one kind fail.
    ///
    /// # Errors
    /// PUB012 when the cluster has ended.
    pub fn fail_next(&self, request: Request, fault: Fault, times: usize) -> Result<(), ClusterError> {
        self.ask(move |mock| {
            mock.request_errors(api(request), &vec![code(fault); times]);
            Ok(())
        })
    }

    /// Takes back the failures that have not happened yet.
    ///
    /// # Errors
    /// PUB012 when the cluster has ended.
    pub fn fail_no_more(&self, request: Request) -> Result<(), ClusterError> {
        self.ask(move |mock| {
            mock.clear_request_errors(api(request));
            Ok(())
        })
    }

    /// Cuts all connections to one broker (numbered from 1), or to all, and takes no new ones.
    ///
    /// # Errors
    /// PUB012 when there is no such broker.
    pub fn broker_down(&self, broker: Option<u16>) -> Result<(), ClusterError> {
        self.ask(move |mock| mock.broker_down(broker.map_or(-1, i32::from)))
    }

    /// Lets a broker, or all, be reached again.
    ///
    /// # Errors
    /// PUB012 when there is no such broker.
    pub fn broker_up(&self, broker: Option<u16>) -> Result<(), ClusterError> {
        self.ask(move |mock| mock.broker_up(broker.map_or(-1, i32::from)))
    }

    /// Delays every answer of one broker, or of all. A delay above a client's time-out makes a request that was done
    /// look as if it had failed.
    ///
    /// # Errors
    /// PUB012 when there is no such broker.
    pub fn delay(&self, broker: Option<u16>, round_trip: Duration) -> Result<(), ClusterError> {
        self.ask(move |mock| mock.broker_round_trip_time(broker.map_or(-1, i32::from), round_trip))
    }

    /// Gives a partition another leader, or none.
    ///
    /// # Errors
    /// PUB012 when there is no such broker or partition.
    pub fn lead(&self, topic: &str, partition: Partition, broker: Option<u16>) -> Result<(), ClusterError> {
        let topic = topic.to_owned();
        let partition =
            i32::try_from(partition.0).map_err(|error| ClusterError { reason: error.to_string() })?;
        self.ask(move |mock| mock.partition_leader(&topic, partition, broker.map(i32::from)))
    }

    fn ask(
        &self,
        act: impl FnOnce(&Mock) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), ClusterError> {
        let (answer, outcome) = mpsc::channel();
        let acts = self.acts.as_ref().ok_or_else(ClusterError::ended)?;
        let act: Act = Box::new(move |mock| {
            let _ = answer.send(act(mock));
        });
        acts.send(act).map_err(|_| ClusterError::ended())?;
        outcome.recv().map_err(|_| ClusterError::ended())?.map_err(|error| ClusterError::of(&error))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.acts.take());
        if let Some(thread) = self.thread.take() {
            // The thread ends when its queue does; a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

fn api(request: Request) -> RDKafkaApiKey {
    match request {
        Request::Produce => RDKafkaApiKey::Produce,
        Request::Fetch => RDKafkaApiKey::Fetch,
        Request::Metadata => RDKafkaApiKey::Metadata,
        Request::ListOffsets => RDKafkaApiKey::ListOffsets,
        Request::InitProducerId => RDKafkaApiKey::InitProducerId,
    }
}

fn code(fault: Fault) -> RDKafkaRespErr {
    match fault {
        Fault::Disconnect => RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
        Fault::TryAgain => RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Fault::Forbidden => RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        Fault::TooLarge => RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        Fault::OutOfOrder => RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
    }
}
