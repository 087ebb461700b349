//! Who may read, and what a slot that is gone or moved means.

use crate::bench::{Register, claimant};
use connectors_postgres::{PostgresSource, Server, create};
use connectors_source::conformance::{Recorder, read};
use connectors_source::{Recognised, Source, SourceError};

fn register() -> Register {
    Register::of("CREATE TABLE t (id int PRIMARY KEY, a text)", &["id", "a"], &["id"])
}

#[test]
fn a_role_with_a_password_reads_without_being_a_superuser() {
    let register = register();
    let role = format!("r_{}", register.server.database);
    register.application().run(&format!(
        "SET password_encryption = 'scram-sha-256'; CREATE ROLE {role} LOGIN REPLICATION PASSWORD 'päss wörd'; GRANT SELECT ON t TO {role}"
    ));
    register.application().run("INSERT INTO t VALUES (1, 'x')");
    let server = Server { user: role.clone(), ..register.server.clone() };
    let mut source = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap();
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    assert_eq!(recorder.taken.len(), 1);
    source.acknowledge(at).unwrap();
    let mut snapshot = connectors_source::conformance::Snapshot::default();
    source.snapshot(&[0], &mut snapshot).unwrap();
    assert_eq!(snapshot.rows.len(), 1);
    drop(source);
    register.application().run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_slot_that_is_gone_halts_and_a_new_one_is_another_incarnation() {
    let register = register();
    let first = register.claim().unwrap().incarnation().clone();
    let drop_slot = format!("SELECT pg_drop_replication_slot('{}')", register.server.slot);
    let mut application = register.application();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while application.attempt(&drop_slot).is_err() {
        assert!(std::time::Instant::now() < until);
    }
    let error = register.claim().unwrap_err();
    assert!(matches!(error, SourceError::Missing { .. }), "{error}");
    let created = create(&register.server, "second", &register.tables).unwrap();
    assert!(created.slot_made && created.existed);
    let second = register.claim().unwrap().incarnation().clone();
    assert_ne!(first, second);
}

#[test]
fn a_slot_of_another_plugin_or_one_that_does_not_last_is_refused() {
    let register = register();
    let slot = format!("{}_x", register.server.slot);
    let mut application = register.application();
    application.run(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput', true)"));
    let server = Server { slot, ..register.server.clone() };
    let error = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap_err();
    assert!(matches!(error, SourceError::NotCreated { .. } | SourceError::Missing { .. }), "{error}");
}

#[test]
fn a_slot_that_somebody_else_reads_is_claimed() {
    let register = register();
    let _first = register.claim().unwrap();
    let started = std::time::Instant::now();
    let error = register.claim().unwrap_err();
    assert!(matches!(error, SourceError::Claimed { .. }), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(15));
}

#[test]
fn a_slot_that_another_program_reads_is_not_taken_from_it() {
    let register = register();
    let server = bridge_pgwire::Server {
        host: register.server.host.clone(),
        port: register.server.port,
        database: register.server.database.clone(),
        user: register.server.user.clone(),
        password: None,
        tls: register.server.tls.clone(),
    };
    let mut program = bridge_pgwire::Session::open(&server, true, "pg_recvlogical").unwrap();
    let slot = &register.server.slot;
    let options = "(proto_version '1', publication_names 'govbridge')";
    program.send(b'Q', &format!("START_REPLICATION SLOT {slot} LOGICAL 0/0 {options}")).unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while program.socket.take(until).unwrap().0 != b'W' {}
    for take in [PostgresSource::claim, PostgresSource::take_over] {
        let error = take(&register.server, &register.tables, &claimant()).unwrap_err();
        assert_eq!(error.code(), "CAP002", "{error}");
        assert!(error.to_string().contains("pg_recvlogical"), "{error}");
    }
    let reads = format!("SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'");
    assert_eq!(register.application().value(&reads), "t");
    drop(program);
    while register.claim().is_err() {
        assert!(std::time::Instant::now() < until);
    }
}

#[test]
fn a_role_without_replication_is_refused_with_its_remedy() {
    let register = register();
    let role = format!("r_{}", register.server.database);
    register.application().run(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON t TO {role}"));
    let server = Server { user: role.clone(), ..register.server.clone() };
    let error = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap_err();
    assert_eq!(error.code(), "CAP005", "{error}");
    assert!(error.to_string().contains("REPLICATION"), "{error}");
    register.application().run(&format!("ALTER ROLE {role} REPLICATION"));
    drop(PostgresSource::claim(&server, &register.tables, &claimant()).unwrap());
    register.application().run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_database_that_does_not_exist_and_a_port_that_does_not_answer_are_told_apart() {
    let register = register();
    let server = Server { database: "nowhere".to_owned(), ..register.server.clone() };
    let error = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap_err();
    assert_eq!(error.code(), "CAP005", "{error}");
    let server = Server { port: 1, ..register.server.clone() };
    let error = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap_err();
    assert_eq!(error.code(), "CAP001", "{error}");
}

#[test]
fn the_place_of_a_snapshot_is_not_taken_for_a_commit_that_vanished() {
    let register = register();
    let mut application = register.application();
    application.run("INSERT INTO t VALUES (1, 'x')");
    let mut source = register.claim().unwrap();
    let mut snapshot = connectors_source::conformance::Snapshot::default();
    source.snapshot(&[0], &mut snapshot).unwrap();
    let (at, token) = (snapshot.as_of.unwrap(), snapshot.token.clone().unwrap());
    drop(source);
    application.run("INSERT INTO t VALUES (2, 'y')");
    // Killed before anything was acknowledged: the slot stands before the snapshot's place.
    let mut source = register.claim().unwrap();
    assert!(source.acknowledged() < at);
    assert_eq!(source.recognises(at, &token).unwrap(), Recognised::Same);
    let mut recorder = Recorder::default();
    read(&mut source, &mut recorder);
    let commit = recorder.taken[0].transaction.end();
    drop(source);
    let mut source = register.claim().unwrap();
    assert_eq!(source.recognises(commit, &recorder.taken[0].token).unwrap(), Recognised::Same);
    assert_eq!(source.recognises(commit, &recorder.taken[1].token).unwrap(), Recognised::Different);
}
