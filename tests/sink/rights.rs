//! A role that proves who it is, and one that lacks a right.

use crate::process::Process;
use crate::reckoning::{Stage, refused};
use crate::running::{FIRST, quorum};
use crate::server::Server;
use crate::tables::Tables;

/// A stage whose connector has sent its snapshot.
fn sent() -> (Stage, Vec<Process>, Process) {
    let stage = Stage::new(&["payments"]);
    let witnesses = quorum(&stage);
    let mut connector = stage.scene.connector();
    connector.healthy();
    (stage, witnesses, connector)
}

#[test]
fn a_subscriber_delivers_over_tls_with_a_certificate_of_its_own_and_is_refused_without() {
    let server = Server::start();
    let (stage, _witnesses, _connector) = sent();
    let tables = Tables::new(&server, "audit", "received");
    server.application("postgres").run("GRANT CREATE ON DATABASE received TO proven");
    let file = |name: &str| server.path(name).display().to_string();
    let words = |host: &str, root: &str, own: &str| {
        let own = match own {
            "" => String::new(),
            own => format!(
                "sslcert = \"{}\"\nsslkey = \"{}\"\n",
                file(&format!("{own}.crt")),
                file(&format!("{own}.key"))
            ),
        };
        format!("host = \"{host}\"\nsslmode = \"verify-full\"\nsslrootcert = \"{}\"\n{own}", file(root))
    };
    let good = words("localhost", "ca.crt", "proven");
    tables.configure(&stage, &server, "proven", &good);
    tables.created(&stage);
    // Each of them is named, and nothing is delivered: the server's certificate, its name, our own one, none of ours.
    for (wrong, told) in [
        (words("localhost", "foreign.crt", "proven"), "sslrootcert"),
        (words("127.0.0.1", "ca.crt", "proven"), "sslrootcert"),
        (words("localhost", "ca.crt", "impostor"), "DEL031"),
        (words("localhost", "ca.crt", ""), "DEL031"),
    ] {
        tables.configure(&stage, &server, "proven", &wrong);
        let said = refused(stage.scene.subscriber("audit"), 2, "DEL031");
        assert!(said.contains(told), "{wrong}\n{said}");
    }
    tables.configure(&stage, &server, "proven", &good);
    let mut auditor = stage.scene.subscriber("audit");
    tables.until_equal(&stage, &server, &mut auditor);
    stage.scene.pay(FIRST..FIRST + 20);
    tables.until_equal(&stage, &server, &mut auditor);
    let sessions = "SELECT string_agg(DISTINCT concat_ws(' ', ssl, version, client_dn), ', ') FROM pg_stat_ssl JOIN pg_stat_activity \
                    USING (pid) WHERE usename = 'proven'";
    assert_eq!(server.application("postgres").value(sessions), "t TLSv1.3 /CN=proven");
    assert_eq!(auditor.stop().0.code(), Some(0));
}

#[test]
fn a_role_without_a_right_is_told_the_grant_and_goes_on_after_it() {
    let server = Server::start();
    let (stage, _witnesses, _connector) = sent();
    let tables = Tables::new(&server, "audit", "received");
    // The statement of the message, as the DBA runs it.
    let run_grant = |said: &str| {
        let line = said.lines().rfind(|line| line.contains("DEL031") && line.contains("GRANT ")).unwrap();
        let statement = line.split("DBA run: ").nth(1).unwrap();
        let end = statement.find("; see docs").unwrap();
        let statement = statement[..end].replace("\\\"", "\"");
        server.application("received").run(&statement);
        statement
    };
    tables.configure(&stage, &server, "plain", "host = \"127.0.0.1\"\n");
    // It may make nothing.
    let said = refused(tables.create(&stage), 2, "DEL031");
    assert_eq!(run_grant(&said), "GRANT CREATE ON DATABASE \"received\" TO \"plain\"");
    tables.created(&stage);
    let mut auditor = stage.scene.subscriber("audit");
    tables.until_equal(&stage, &server, &mut auditor);
    // Somebody else owns the tables from now on, while it runs and after.
    let mut dba = server.application("received");
    dba.run("REASSIGN OWNED BY plain TO postgres");
    stage.scene.pay(FIRST..FIRST + 5);
    let said = refused(auditor, 2, "DEL031");
    let all = "GRANT USAGE ON SCHEMA \"govbridge\" TO \"plain\"; \
               GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"govbridge\" TO \"plain\"";
    assert_eq!(run_grant(&said), all);
    dba.run("REVOKE INSERT ON govbridge.tax__payments FROM plain");
    let said = refused(stage.scene.subscriber("audit"), 2, "DEL031");
    assert!(said.contains("tax__payments"), "{said}");
    assert_eq!(run_grant(&said), all);
    dba.run("REVOKE TEMPORARY ON DATABASE received FROM PUBLIC");
    let said = refused(stage.scene.subscriber("audit"), 2, "DEL031");
    assert_eq!(run_grant(&said), "GRANT TEMPORARY ON DATABASE \"received\" TO \"plain\"");
    let mut auditor = stage.scene.subscriber("audit");
    tables.until_equal(&stage, &server, &mut auditor);
    assert_eq!(auditor.stop().0.code(), Some(0));
}
