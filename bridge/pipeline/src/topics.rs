//! The topics: made when they never were there, compared with what the promise needs before each life and while it runs.

use crate::life::{End, Life, Plan, held};
use crate::settings::TopicSettings;
use crate::shutdown::Shutdown;
use crate::{Connector, ConnectorError};
use bridge_event::Partition;
use bridge_kafka::topics::{self, Checked, Created, Plan as TopicPlan, TopicError};
use bridge_kafka::{FetchError, Fetcher, Properties};
use bridge_ledger::Log;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(10);
/// A topic that the log speaks of is looked for again before it counts as deleted: a broker that has just come up may not
/// know every topic yet.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How long one question lasts while a life runs; its end waits for it.
const WATCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the end of a life is looked for.
const LOOK: Duration = Duration::from_millis(100);

fn wanted(connector: &Connector, plans: &[Plan]) -> Vec<TopicPlan> {
    let TopicSettings { replication, retention_ms, .. } = connector.topics;
    let mut wanted: Vec<TopicPlan> = plans
        .iter()
        .map(|p| TopicPlan::of_dataset(&p.stream.topic(), 1, replication, retention_ms))
        .collect();
    wanted.extend(TopicPlan::of_records(replication));
    wanted
}

/// Whether the log names something that stood in the topic. Whoever has sent a batch has sent its contract and its keys.
fn known(log: &Mutex<Log>, plans: &[Plan], topic: &str) -> bool {
    let own = plans.iter().any(|plan| plan.stream.topic() == topic);
    let log = held(log);
    plans
        .iter()
        .filter(|plan| !own || plan.stream.topic() == topic)
        .any(|plan| log.head(&plan.stream).is_some())
}

/// The topics must be there with settings that keep the promise; the mock cluster has no settings to check. `again`: an
/// earlier life of this process has passed, so a connection that is refused now may be let in later.
pub(crate) fn check(
    connector: &Connector,
    plans: &[Plan],
    log: &Mutex<Log>,
    again: bool,
    shutdown: &Shutdown,
) -> Result<(), End> {
    if !connector.topics.check {
        if !again {
            tracing::info!("the topics' settings are not checked, as configured");
        }
        return Ok(());
    }
    let wanted = wanted(connector, plans);
    let mut looks = 0;
    loop {
        let found =
            match ask(connector, &wanted, shutdown, |kafka, plans| topics::check_all(kafka, plans, TIMEOUT))?
            {
                Err(TopicError::Connection(refusal)) if again => return Err(End::retry(refusal)),
                found => found.map_err(topic_end)?,
            };
        looks += 1;
        let gone = wanted
            .iter()
            .zip(&found)
            .find(|(plan, found)| **found == Checked::Missing && known(log, plans, &plan.topic));
        match gone {
            None => return settle(connector, &wanted, found, again, shutdown),
            Some((plan, _)) if looks >= LOOKS => return Err(gone_end(connector, plan)),
            Some(_) if shutdown.wait(BETWEEN_LOOKS) => return Err(End::Stopped),
            Some(_) => {}
        }
    }
}

/// Who may do nothing with a topic does not see it among the others: only a question by its name tells whether it is there.
fn gone_end(connector: &Connector, plan: &TopicPlan) -> End {
    let asked = Fetcher::new(&connector.kafka)
        .ok()
        .map(|fetcher| fetcher.bounds(&plan.topic, Partition(0), WATCH_TIMEOUT));
    match asked {
        Some(Err(error @ FetchError::Forbidden { .. })) => End::unread(error),
        _ => End::Halt(ConnectorError::TopicGone { topic: plan.topic.clone() }),
    }
}

/// Makes what is missing, tells what is to be told, and halts at the first topic that could lose records.
fn settle(
    connector: &Connector,
    wanted: &[TopicPlan],
    found: Vec<Checked>,
    again: bool,
    shutdown: &Shutdown,
) -> Result<(), End> {
    for (plan, found) in wanted.iter().zip(found) {
        match found {
            Checked::Good => {}
            Checked::Remarks(remarks) if !again => {
                for remark in remarks {
                    tracing::warn!(topic = %plan.topic, what = %remark.what, remedy = %remark.remedy, "a topic is not as planned");
                }
            }
            Checked::NotChecked { reason } if !again => {
                tracing::warn!(topic = %plan.topic, %reason, "the topic's settings are not told to us");
            }
            Checked::Remarks(_) | Checked::NotChecked { .. } => {}
            Checked::Missing => create(connector, plan, shutdown)?,
            Checked::Problems(problems) => return Err(End::Halt(ConnectorError::Topics(problems))),
        }
    }
    Ok(())
}

/// Asks the cluster about topics. librdkafka waits for an answer without looking up, so a shutdown does not wait for it.
fn ask<T: Send + 'static>(
    connector: &Connector,
    plans: &[TopicPlan],
    shutdown: &Shutdown,
    question: fn(&Properties, &[TopicPlan]) -> Result<T, TopicError>,
) -> Result<Result<T, TopicError>, End> {
    let (kafka, plans) = (connector.kafka.clone(), plans.to_vec());
    match shutdown.unless_asked(move || question(&kafka, &plans)) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(End::Stopped),
        Err(error) => Err(End::retry(error)),
    }
}

fn create(connector: &Connector, plan: &TopicPlan, shutdown: &Shutdown) -> Result<(), End> {
    let created = ask(connector, std::slice::from_ref(plan), shutdown, |kafka, plans| {
        plans.iter().map(|plan| topics::create(kafka, plan, TIMEOUT)).collect::<Result<Vec<_>, _>>()
    })?;
    match created.map_err(topic_end)?.pop() {
        Some(Created::NotSupported { reason }) => Err(End::Retry(format!(
            "the topic {} is not there, and this cluster cannot be asked to make it ({reason})",
            plan.topic
        ))),
        _ => {
            tracing::info!(topic = %plan.topic, "topic made");
            Ok(())
        }
    }
}

fn topic_end(error: TopicError) -> End {
    if error.disposition() == bridge_kafka::Disposition::Retry {
        End::retry(error)
    } else {
        End::Halt(error.into())
    }
}

/// Compares the topics again and again while a life runs: a setting that is changed under it loses records in silence.
pub(crate) fn watch(life: &Life<'_>) {
    let TopicSettings { check, check_ms, .. } = life.connector.topics;
    if !check {
        return;
    }
    let wanted = wanted(life.connector, life.plans);
    let mut looked = Instant::now();
    while !life.is_over() && !life.is_stopping() {
        std::thread::sleep(LOOK);
        if looked.elapsed() < Duration::from_millis(check_ms) {
            continue;
        }
        looked = Instant::now();
        let asked = ask(life.connector, &wanted, life.shutdown, |kafka, plans| {
            topics::check_all(kafka, plans, WATCH_TIMEOUT)
        });
        // Without an answer nothing is known; that Kafka is away is seen elsewhere.
        let Ok(Ok(found)) = asked else { continue };
        for found in found {
            match found {
                Checked::Problems(problems) => life.end(End::Halt(ConnectorError::Topics(problems))),
                // Whether it is gone for good the next life finds out, before it does anything.
                Checked::Missing => life.end(End::Retry("a topic is not there any more".to_owned())),
                _ => {}
            }
        }
    }
}
