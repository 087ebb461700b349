//! TLS and logins, and what a person is told when they are refused.

use std::time::Duration;

use bridge_event::Disposition;
use bridge_kafka::topics;
use bridge_kafka::{Fetcher, Properties, PropertiesError};

use crate::broker::PASSWORD;
use crate::{fetch, fill, made, plan, reader, shared};

fn configured(bootstrap: &str, settings: &[(&str, &str)]) -> Properties {
    let of_brokers = Properties::of_brokers(bootstrap).unwrap();
    settings.iter().fold(of_brokers, |properties, (name, value)| properties.with(name, value).unwrap())
}

fn login(mechanism: &'static str, password: &'static str) -> [(&'static str, &'static str); 3] {
    [("sasl.mechanism", mechanism), ("sasl.username", "tax"), ("sasl.password", password)]
}

#[test]
fn every_way_of_protection_that_librdkafka_has_a_name_for_carries_frames() {
    let broker = shared();
    made("tls.passes");
    let ca = broker.ca();
    let (certificate, key) = (broker.path("tax.crt"), broker.path("tax.key"));
    let mut ways = vec![
        (broker.tls(), vec![("security.protocol", "ssl"), ("ssl.ca.location", ca.as_str())]),
        (
            broker.mutual(),
            vec![
                ("security.protocol", "ssl"),
                ("ssl.ca.location", &ca),
                ("ssl.certificate.location", certificate.to_str().unwrap()),
                ("ssl.key.location", key.to_str().unwrap()),
            ],
        ),
    ];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = login(mechanism, PASSWORD);
        ways.push((broker.sasl(), [&[("security.protocol", "sasl_plaintext")], &login[..]].concat()));
        let tls = [("security.protocol", "sasl_ssl"), ("ssl.ca.location", ca.as_str())];
        ways.push((broker.sasl_tls(), [&tls[..], &login[..]].concat()));
    }
    let mut count = 0;
    // The first way has no name: whoever is nobody may do nothing here, but the test's own listener lets him.
    for (bootstrap, settings) in ways {
        let properties = configured(&bootstrap, &settings);
        fill(&properties, "tls.passes", 2);
        count += 2;
        let fetched = fetch(&mut reader(&properties, "tls.passes", 0), count);
        assert_eq!(fetched.last().unwrap().bytes, 1u64.to_be_bytes(), "{settings:?}");
    }
    assert_eq!(count, 16);
}

/// What a reader and an administrator are told.
fn refused(properties: &Properties, code: &str, setting: &str) {
    let fetcher = Fetcher::new(properties).unwrap();
    let wait = Duration::from_secs(if code == "PUB015" { 5 } else { 90 });
    let fetch = fetcher.bounds("tls.refused", crate::ZERO, wait).unwrap_err();
    let topic = topics::check(properties, &plan("tls.refused"), wait).unwrap_err();
    for (found, text, disposition) in [
        (fetch.code(), fetch.to_string(), fetch.disposition()),
        (topic.code(), topic.to_string(), topic.disposition()),
    ] {
        // A port that hangs up may be a broker that is just stopping: that is tried again.
        let expected = if code == "PUB015" { Disposition::Retry } else { Disposition::Halt };
        assert_eq!((found, disposition), (code, expected), "{text}");
        assert!(text.starts_with(code) && text.contains(setting), "{text}");
        assert!(!text.contains(PASSWORD) && !text.contains("not-the-password"), "{text}");
    }
    let shown = format!("{properties:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("not-the-password"), "{shown}");
}

#[test]
fn a_broker_whose_certificate_nobody_here_signed_is_refused_by_the_settings_name() {
    let broker = shared();
    let ca = broker.foreign_ca();
    let tls = configured(&broker.tls(), &[("security.protocol", "ssl"), ("ssl.ca.location", &ca)]);
    refused(&tls, "PUB013", "ssl.ca.location");
}

#[test]
fn a_client_certificate_that_is_missing_or_a_strangers_is_refused_by_the_settings_name() {
    let broker = shared();
    let ca = broker.ca();
    let none = configured(&broker.mutual(), &[("security.protocol", "ssl"), ("ssl.ca.location", &ca)]);
    refused(&none, "PUB013", "ssl.certificate.location");
    let (certificate, key) = (broker.path("impostor.crt"), broker.path("impostor.key"));
    let foreign = none
        .with("ssl.certificate.location", certificate.to_str().unwrap())
        .and_then(|with| with.with("ssl.key.location", key.to_str().unwrap()))
        .unwrap();
    refused(&foreign, "PUB013", "ssl.certificate.location");
}

#[test]
fn a_wrong_password_is_refused_by_the_settings_name_and_is_not_told() {
    let broker = shared();
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = login(mechanism, "not-the-password");
        let settings = [&[("security.protocol", "sasl_plaintext")], &login[..]].concat();
        refused(&configured(&broker.sasl(), &settings), "PUB014", "sasl.password");
    }
    let unknown = configured(
        &broker.sasl(),
        &[&[("security.protocol", "sasl_plaintext")], &login("GSSAPI", "not-the-password")[..]].concat(),
    );
    // Kerberos is not built in; what librdkafka does not have it says at once.
    let error = Fetcher::new(&unknown).err().unwrap();
    assert!(matches!(error, PropertiesError::NotUnderstood { .. }), "{error}");
}

#[test]
fn a_port_that_speaks_another_protocol_is_refused_by_the_settings_name() {
    let broker = shared();
    let ca = broker.ca();
    refused(&configured(&broker.tls(), &[]), "PUB015", "security.protocol");
    refused(
        &configured(&broker.plain(), &[("security.protocol", "ssl"), ("ssl.ca.location", &ca)]),
        "PUB015",
        "security.protocol",
    );
    refused(&configured(&broker.sasl(), &[]), "PUB015", "security.protocol");
}

#[test]
fn a_certificate_file_that_is_not_there_is_named_at_once() {
    let settings = [("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere/ca.crt")];
    let error = Fetcher::new(&configured("127.0.0.1:1", &settings)).err().unwrap();
    assert_eq!(error.code(), "PUB011");
    assert!(error.to_string().contains("ssl.ca.location"), "{error}");
}
