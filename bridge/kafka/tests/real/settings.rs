//! Topics made with the right settings, and refused with the wrong ones.

use bridge_kafka::Properties;
use bridge_kafka::topics::{self, Checked, Created, Plan, Problem};

use crate::broker::{PASSWORD, PATIENCE};
use crate::{made, operator, plan, shared};

fn check(topic: &str) -> Checked {
    topics::check(&operator(), &plan(topic), PATIENCE).unwrap()
}

#[test]
fn a_topic_that_was_made_here_has_every_setting_that_was_planned() {
    assert_eq!(check("settings.made"), Checked::Missing);
    made("settings.made");
    assert_eq!(check("settings.made"), Checked::Good);
    let words = ["--describe", "--entity-type", "topics", "--entity-name", "settings.made"];
    let told = shared().tool("kafka.admin.ConfigCommand", &words);
    for setting in [
        "cleanup.policy=delete",
        "retention.ms=-1",
        "retention.bytes=-1",
        "max.message.bytes=8454144",
        "min.insync.replicas=1",
        "unclean.leader.election.enable=false",
        "compression.type=producer",
        "message.timestamp.type=LogAppendTime",
    ] {
        assert!(told.contains(setting), "{setting} is not in {told}");
    }
    assert_eq!(topics::create(&operator(), &plan("settings.made"), PATIENCE).unwrap(), Created::AlreadyThere);
}

#[test]
fn a_topic_that_could_lose_records_is_refused_by_setting_value_and_command() {
    made("settings.bad");
    let all = "cleanup.policy=[compact,delete],max.message.bytes=1048588,retention.ms=3600000,retention.bytes=1000000,unclean.leader.election.enable=true";
    shared().set("settings.bad", all);
    let Checked::Problems(problems) = check("settings.bad") else { panic!("nothing is wrong") };
    for (name, value, wanted) in [
        ("cleanup.policy", "compact,delete", "delete"),
        ("max.message.bytes", "1048588", "8454144"),
        ("retention.ms", "3600000", "-1"),
        ("retention.bytes", "1000000", "-1"),
        ("unclean.leader.election.enable", "true", "false"),
    ] {
        let told = problems.iter().find(|problem| problem.what.starts_with(name)).unwrap();
        assert!(told.what.contains(value) && told.what.ends_with(wanted), "{told:?}");
        let command = format!("--entity-name settings.bad --add-config {name}={wanted}");
        assert!(told.remedy.contains("kafka-configs.sh") && told.remedy.contains(&command), "{told:?}");
    }
    assert_eq!(problems.len(), 5, "{problems:?}");
    // Kept long enough is kept long enough.
    shared().set("settings.bad", "cleanup.policy=delete,max.message.bytes=9000000,retention.bytes=-1,unclean.leader.election.enable=false");
    let short = Plan::of_dataset("settings.bad", 1, 1, Some(3_600_000));
    assert_eq!(topics::check(&operator(), &short, PATIENCE).unwrap(), Checked::Good);
}

fn problems(plan: &Plan) -> Vec<Problem> {
    match topics::check(&operator(), plan, PATIENCE).unwrap() {
        Checked::Problems(problems) | Checked::Remarks(problems) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn partitions_are_counted_and_replicas_are_remarked_upon() {
    made("settings.counts");
    let two = problems(&Plan::of_dataset("settings.counts", 2, 1, None));
    assert!(two[0].what.contains("1 partitions") && two.len() == 1, "{two:?}");
    // One node cannot have what a cluster has: that is said, and the demand for in-sync replicas is refused.
    let three = problems(&Plan::of_dataset("settings.counts", 1, 3, None));
    assert!(three.iter().any(|problem| problem.what.contains("min.insync.replicas is 1")), "{three:?}");
    shared().set("settings.counts", "min.insync.replicas=2,compression.type=gzip");
    let demanding = problems(&plan("settings.counts"));
    assert!(demanding[0].what.contains("each partition has 1 replicas"), "{demanding:?}");
    shared().set("settings.counts", "min.insync.replicas=1");
    let Checked::Remarks(remarks) = check("settings.counts") else { panic!("no remark") };
    assert!(remarks[0].what.starts_with("compression.type is gzip"), "{remarks:?}");
    let one_of_many =
        topics::check_all(&operator(), &[plan("settings.none"), plan("settings.counts")], PATIENCE);
    let kinds = one_of_many.unwrap();
    assert_eq!(kinds[0], Checked::Missing);
    assert!(matches!(kinds[1], Checked::Remarks(_)), "{kinds:?}");
}

#[test]
fn an_account_that_may_not_ask_for_settings_is_told_what_was_not_checked() {
    let broker = shared();
    made("settings.denied");
    let stranger = Properties::of_brokers(&broker.sasl())
        .and_then(|with| with.with("security.protocol", "sasl_plaintext"))
        .and_then(|with| with.with("sasl.mechanism", "SCRAM-SHA-256"))
        .and_then(|with| with.with("sasl.username", "stranger"))
        .and_then(|with| with.with("sasl.password", PASSWORD))
        .unwrap();
    // Without any right the topic does not even seem to be there, and it cannot be made.
    let hidden = topics::check(&stranger, &plan("settings.denied"), PATIENCE).unwrap();
    assert_eq!(hidden, Checked::Missing);
    let error = topics::create(&stranger, &plan("settings.denied"), PATIENCE).unwrap_err();
    assert_eq!(error.code(), "PUB009");
    let text = error.to_string();
    assert!(text.contains("kafka-topics.sh") && text.contains("--config cleanup.policy=delete"), "{text}");
    broker.allow("stranger", &["--operation", "Describe", "--topic", "settings.denied"]);
    let deadline = std::time::Instant::now() + PATIENCE;
    let reason = loop {
        // An ACL takes effect a moment after it was made.
        match topics::check(&stranger, &plan("settings.denied"), PATIENCE).unwrap() {
            Checked::NotChecked { reason } => break reason,
            other => assert!(std::time::Instant::now() < deadline, "{other:?}"),
        }
    };
    assert!(reason.contains("not checked: cleanup.policy, compression.type, max.message.bytes"), "{reason}");
}
