//! TLS against a real PostgreSQL, with a certificate authority that the test makes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test ends by panicking, and its files need not be durable"
)]

#[allow(dead_code, reason = "the connector's tests use all of it")]
#[path = "../../../connectors/postgres/tests/postgres/application.rs"]
mod application;

use application::{Application, port};
use bridge_pgwire::{Fault, Server, Session, SslMode, Tls};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use std::path::Path;
use std::time::{Duration, Instant};

type Pair = (PKey<Private>, X509);

/// A certificate for a name: its own authority, or signed by one.
fn certificate(name: &str, authority: Option<&Pair>) -> Pair {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut words = X509Name::builder().unwrap();
    words.append_entry_by_text("CN", name).unwrap();
    let words = words.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(if authority.is_some() { 2 } else { 1 }).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&words).unwrap();
    builder.set_issuer_name(authority.map_or(&*words, |(_, root)| root.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    match authority {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some((_, root)) => {
            let names =
                SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(Some(root), None));
            builder.append_extension(names.unwrap()).unwrap();
        }
    }
    builder.sign(authority.map_or(&key, |(key, _)| key), MessageDigest::sha256()).unwrap();
    (key, builder.build())
}

/// Gives the server a certificate, or takes TLS from it, and waits until it has noticed.
fn set_ssl(application: &mut Application, pair: Option<&Pair>) {
    if let Some((key, certificate)) = pair {
        for (name, pem) in [
            ("govbridge-test.key", key.private_key_to_pem_pkcs8().unwrap()),
            ("govbridge-test.crt", certificate.to_pem().unwrap()),
        ] {
            // The server writes its own file; what it writes has no mode but the server's own.
            let pem = String::from_utf8(pem).unwrap();
            let sql = format!(
                "DO $do$ BEGIN EXECUTE format($f$COPY (SELECT unnest(string_to_array('{}', E'\\n'))) TO PROGRAM %L$f$, \
                 format('umask 077; cat > %s/{name}', current_setting('data_directory'))); END $do$",
                pem.trim_end()
            );
            application.run(&sql);
        }
        application.run("ALTER SYSTEM SET ssl_cert_file = 'govbridge-test.crt'");
        application.run("ALTER SYSTEM SET ssl_key_file = 'govbridge-test.key'");
    }
    let wanted = if pair.is_some() { "on" } else { "off" };
    application.run(&format!("ALTER SYSTEM SET ssl = {wanted}"));
    application.run("SELECT pg_reload_conf()");
    let deadline = Instant::now() + Duration::from_secs(60);
    while Application::connect(port(), "postgres").value("SHOW ssl") != wanted {
        assert!(Instant::now() < deadline, "the server does not take ssl = {wanted}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn open(host: &str, mode: SslMode, root: Option<&Path>) -> Result<Session, Fault> {
    let server = Server {
        host: host.to_owned(),
        port: port(),
        database: "postgres".to_owned(),
        user: "postgres".to_owned(),
        password: None,
        tls: Tls { mode, root: root.map(Path::to_owned), own: None },
    };
    Session::open(&server, false, "tls test")
}

fn refused(outcome: Result<Session, Fault>, word: &str) {
    match outcome {
        Err(Fault::Refused { code, message }) => {
            assert_eq!(code, "28000");
            assert!(message.contains(word), "{message}");
        }
        other => panic!("{word}: {other:?}"),
    }
}

#[test]
fn a_server_is_believed_as_far_as_it_proves_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (root, other) = (certificate("root", None), certificate("another root", None));
    let own = certificate("localhost", Some(&root));
    let (roots, others) = (folder.path().join("root.pem"), folder.path().join("other.pem"));
    std::fs::write(&roots, root.1.to_pem().unwrap()).unwrap();
    std::fs::write(&others, other.1.to_pem().unwrap()).unwrap();
    let mut application = Application::connect(port(), "postgres");
    set_ssl(&mut application, None);
    // A server without TLS, or somebody who says that it has none.
    for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        refused(open("127.0.0.1", mode, Some(&roots)), "does not offer TLS");
    }
    assert!(open("127.0.0.1", SslMode::Disable, None).is_ok());
    set_ssl(&mut application, Some(&own));
    for (host, mode, root) in [
        ("127.0.0.1", SslMode::Disable, None),
        ("127.0.0.1", SslMode::Require, None),
        ("127.0.0.1", SslMode::VerifyCa, Some(&*roots)),
        ("localhost", SslMode::VerifyFull, Some(&*roots)),
    ] {
        let mut session = open(host, mode, root).unwrap();
        let rows = session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").unwrap();
        let encrypted = if mode == SslMode::Disable { "f" } else { "t" };
        assert_eq!(rows[0][0].as_deref(), Some(encrypted), "{mode:?}");
        // Several gulps of the reader, and more than the writer's socket takes at once.
        let rows = session.query("SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g").unwrap();
        assert_eq!(rows.len(), 3000);
        session.query("CREATE TEMPORARY TABLE t (a text)").unwrap();
        let lines = "many words of a line\n".repeat(100_000);
        session.copy_in("COPY pg_temp.t FROM STDIN", lines.as_bytes(), Duration::from_secs(60)).unwrap();
        let rows = session.query("SELECT count(*) FROM pg_temp.t").unwrap();
        assert_eq!(rows[0][0].as_deref(), Some("100000"));
    }
    refused(open("localhost", SslMode::VerifyFull, Some(&others)), "not believed");
    refused(open("127.0.0.1", SslMode::VerifyCa, Some(&others)), "not believed");
    // The certificate is for localhost, and this is an address.
    refused(open("127.0.0.1", SslMode::VerifyFull, Some(&roots)), "not believed");
    refused(open("localhost", SslMode::VerifyFull, None), "sslrootcert");
    refused(open("localhost", SslMode::VerifyFull, Some(&folder.path().join("none"))), "cannot be read");
    set_ssl(&mut application, None);
}
