//! A grant that opens another section while everything runs.

use std::path::Path;

use crate::process::repository;
use crate::reckoning::{Stage, refused};
use crate::running::{FIRST, quorum};
use crate::server::Server;
use crate::tables::Tables;

/// The contract in a folder of the scene, where the department can amend it.
fn own_contract(stage: &Stage) -> std::path::PathBuf {
    let (from, to) = (repository().join("schemas/tax/payments"), stage.scene.tax().join("payments"));
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(&from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let config = stage.scene.tax().join("connector.toml");
    edit(&config, &format!("{:?}", from.display().to_string()), "\"payments\"");
    to
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// The next revision of the contract, in which social security may open the amounts.
fn grant(contract: &Path) {
    let path = contract.join("contract.toml");
    edit(&path, "revision = 1", "revision = 2");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(
        "\n[[grant]]\nsection = \"amount\"\nrecipient = \"social-security\"\npurpose = \"test\"\nlegal_basis = \"test\"\n\
         start = 2025-01-01T00:00:00+08:00\n",
    );
    std::fs::write(path, text).unwrap();
}

/// One word a row: the number, and the amount where there is one.
const AMOUNTS: &str = "SELECT string_agg(concat_ws(' ', payment_id, coalesce(amount::text, '-')), ', ' ORDER BY payment_id) \
                       FROM govbridge.tax__payments WHERE payment_id >= 1000000";

#[test]
fn a_section_that_a_grant_opens_gets_its_columns_and_older_rows_fill_as_they_change() {
    let server = Server::start();
    let stage = Stage::new(&["payments"]);
    let contract = own_contract(&stage);
    let _witnesses = quorum(&stage);
    let mut connector = stage.scene.connector();
    connector.healthy();
    // One role owns its tables, the other one may only write into them.
    let own = Tables::new(&server, "social-security", "own");
    server.application("postgres").run("ALTER DATABASE own OWNER TO plain");
    own.configure(&stage, &server, "plain", "host = \"127.0.0.1\"\n");
    own.created(&stage);
    let theirs = Tables::new(&server, "social-security", "theirs");
    theirs.configure(&stage, &server, "postgres", "host = \"127.0.0.1\"\n");
    theirs.created(&stage);
    server.application("theirs").run(
        "GRANT USAGE ON SCHEMA govbridge TO plain; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA govbridge TO plain",
    );
    own.configure(&stage, &server, "plain", "host = \"127.0.0.1\"\n");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'govbridge' AND table_name = 'tax__payments' \
                   AND column_name IN ('amount', 'late_fee')";
    assert_eq!(server.application("own").value(columns), "0", "the section is not granted yet");
    let mut subscriber = stage.scene.subscriber("social-security");
    stage.scene.pay(FIRST..FIRST + 2);
    own.until_equal(&stage, &server, &mut subscriber);

    // The grant is a new revision; the subscriber is not told and not started again.
    assert_eq!(connector.stop().0.code(), Some(0));
    grant(&contract);
    let mut connector = stage.scene.connector();
    connector.healthy();
    stage.scene.pay(FIRST + 2..FIRST + 4);
    let change = format!("UPDATE payments SET tax_kind = 'vat' WHERE payment_id = {FIRST}");
    stage.scene.application().execute_batch(&change).unwrap();
    own.until_equal(&stage, &server, &mut subscriber);
    let wanted = "1000000 12.30, 1000001 -, 1000002 12.30, 1000003 12.30";
    subscriber.until("the amounts are there", || server.application("own").value(AMOUNTS) == wanted);
    assert_eq!(server.application("own").value(columns), "2");

    assert_eq!(subscriber.stop().0.code(), Some(0));

    // Who may not alter the table halts with the statement; the owner runs it, and nothing is lost.
    theirs.configure(&stage, &server, "plain", "host = \"127.0.0.1\"\n");
    let said = refused(stage.scene.subscriber("social-security"), 2, "DEL031");
    // The last words are for people: as they stand, over several lines.
    let statement = said.rsplit("have the owner run: ").next().unwrap();
    let statement = &statement[..statement.find("; see docs").unwrap()];
    assert!(statement.starts_with("ALTER TABLE") && !statement.contains("GRANT"), "{statement}");
    server.application("theirs").run(statement);
    let mut subscriber = stage.scene.subscriber("social-security");
    theirs.until_equal(&stage, &server, &mut subscriber);
    subscriber.until("the amounts are there", || server.application("theirs").value(AMOUNTS) == wanted);
    assert_eq!(subscriber.stop().0.code(), Some(0));
    assert_eq!(connector.stop().0.code(), Some(0));
}
