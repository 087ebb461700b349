//! A witness that is killed, away, lies, or forgets.

use std::path::Path;

use bridge_suite::{Digest, KeyFile, PrivateHalf, Role, SigningKey};
use bridge_tlog::{Checkpoint, NoteSigner, SignedCheckpoint};

use crate::liar::{Liar, Lie};
use crate::process::{ORIGIN, Process, metric};
use crate::reckoning::{has_page, killed_by, refused};
use crate::running::{FAULT, Running};

/// What the connector has said so far.
fn said(running: &Running) -> String {
    std::fs::read_to_string(running.stage.scene.tax().join("connector.err")).unwrap()
}

/// Waits until the connector says a code of this witness.
fn until_said(running: &Running, connector: &mut Process, from: usize, code: &str, witness: &str) {
    has_page(code);
    connector.until(&format!("{code} of {witness}"), || {
        said(running)[from..].lines().any(|line| line.contains(code) && line.contains(witness))
    });
}

#[test]
fn witnesses_that_are_away_or_killed_in_a_write_hold_nothing_back_but_the_level() {
    let mut running = Running::after_the_snapshot(&[]);
    let mut connector = running.connector();
    let address = connector.healthy();
    running.all_arrives();
    // Each durable write of a witness's state.
    let education = running.witnesses.pop().unwrap();
    education.kill();
    for fate in ["killed:1", "killed:2"] {
        let fault = format!("disk-witness-state-{fate}");
        killed_by(running.stage.scene.witness_with("education", &[(FAULT, &fault)]), &fault);
    }
    for fate in ["lost:1", "reported:1", "full:2"] {
        let fault = format!("disk-witness-state-{fate}");
        let said = refused(running.stage.scene.witness_with("education", &[(FAULT, &fault)]), 3, "WIT024");
        assert!(said.contains("the fault switch spoils this write"), "{fault} did not fire: {said}");
    }
    // Without it there is no quorum: a reader that wants witnesses waits, another one goes on and says at which level.
    let from = said(&running).len();
    until_said(&running, &mut connector, from, "WIT001", "education");
    connector.until("the quorum is lost", || metric(&address, "govbridge_append_quorum") == 0);
    let scene = &running.stage.scene;
    scene.make_subscriber("social-security", "level = \"logged\"");
    let mut logged = scene.subscriber("social-security");
    let waits = scene.rows("audit").len();
    let newest = running.stage.source().into_keys().max().unwrap();
    logged.until("the newest row is delivered at the level logged", || {
        let rows = scene.rows("social-security");
        rows.iter().any(|line| {
            line.contains(&format!("\"payment_id\":{newest},")) && line.contains("\"level\":\"logged\"")
        })
    });
    let address = connector.healthy();
    let newest = format!("\"payment_id\":{newest},");
    assert!(!scene.rows("audit").iter().skip(waits).any(|line| line.contains(&newest)), "the auditor waits");
    assert_eq!(logged.stop().0.code(), Some(0));
    // It comes back, and everything is witnessed.
    running.witnesses.push(running.stage.scene.witness("education"));
    connector.until("the quorum is there", || metric(&address, "govbridge_append_quorum") == 1);
    running.all_arrives();
    let received = running.reckon_with(connector);
    assert_eq!(received.levels.into_iter().collect::<Vec<_>>(), ["witnessed"]);
}

#[test]
fn a_witness_that_forgets_is_led_on_from_where_it_stands_and_one_without_state_does_not_start() {
    let mut running = Running::after_the_snapshot(&[]);
    let mut connector = running.connector();
    let address = connector.healthy();
    running.all_arrives();
    let folder = running.stage.scene.folder().join("witness-education");
    let (state, copy) = (folder.join("state"), folder.join("copy"));
    running.witnesses.pop().unwrap().kill();
    copy_folder(&state, &copy);
    running.witnesses.push(running.stage.scene.witness("education"));
    running.application.as_ref().unwrap().goes_on(30);
    running.all_arrives();
    running.witnesses.pop().unwrap().kill();
    let newest = cosigned(&state);
    std::fs::remove_dir_all(&state).unwrap();
    refused(running.stage.scene.witness("education"), 2, "WIT010");
    copy_folder(&copy, &state);
    assert!(cosigned(&state) < newest, "it has forgotten something");
    let mut education = running.stage.scene.witness("education");
    let own = education.healthy();
    education.until("it cosigns beyond what it had forgotten", || {
        metric(&own, "govbridge_witness_cosigned_entries") > newest
    });
    running.witnesses.push(education);
    connector.until("the quorum is there", || metric(&address, "govbridge_append_quorum") == 1);
    // A state that was damaged is not one.
    running.witnesses.remove(0).kill();
    let audit = running.stage.scene.folder().join("witness-audit/state/logs");
    let file = std::fs::read_dir(&audit).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&file, damaged).unwrap();
    refused(running.stage.scene.witness("audit"), 1, "WIT013");
    std::fs::write(&file, whole).unwrap();
    running.witnesses.push(running.stage.scene.witness("audit"));
    running.all_arrives();
    running.reckon_with(connector);
}

/// The size of the newest checkpoint in a witness's state.
fn cosigned(state: &Path) -> u64 {
    let file = std::fs::read_dir(state.join("logs")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    let after = text.split(&format!("{ORIGIN}\\n")).nth(1).unwrap();
    after.split("\\n").next().unwrap().parse().unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target)
        } else {
            assert!(std::fs::copy(&path, &target).is_ok())
        }
    }
}

/// A signing key out of a scene's key file.
fn key(path: &Path) -> SigningKey {
    match KeyFile::decode(&std::fs::read_to_string(path).unwrap(), None).unwrap().into_key() {
        PrivateHalf::Signing(key) => key,
        PrivateHalf::Recipient(_) => panic!("{} is a recipient's", path.display()),
    }
}

/// A checkpoint of another history.
fn forged(size: u64, key: SigningKey) -> String {
    let signer = NoteSigner::log(ORIGIN, key).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root: Digest([7; 32]) };
    SignedCheckpoint::sign(checkpoint, &signer).unwrap().note().format()
}

#[test]
fn a_lying_witness_is_told_by_name_and_believed_only_with_our_own_signature() {
    let mut running = Running::after_the_snapshot(&[]);
    running.witnesses.pop().unwrap().kill();
    running.witnesses.push(running.stage.scene.witness("social-security"));
    let folder = running.stage.scene.folder().to_owned();
    let config = std::fs::read_to_string(folder.join("witness-education/witness.toml")).unwrap();
    let address = config.split("listen = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let liar = Liar::listen(&address, Lie::default());
    let name = "gov.example/education/witness";
    let stranger = || SigningKey::from_seed(Role::Log, [9; 32]);
    let answers = |status: u16, body: &str| Lie { answer: Some((status, body.to_owned())), shown: None };

    let mut connector = running.connector();
    connector.healthy();
    let other_key = NoteSigner::witness(name, SigningKey::from_seed(Role::Witness, [8; 32])).unwrap();
    let not_its_own = other_key.cosign(&format!("{ORIGIN}\n5\nAAAA\n"), 1).unwrap();
    let lies = [
        ("WIT001", Lie::default()),
        ("WIT001", answers(500, "broken")),
        ("WIT002", answers(404, "no such log")),
        ("WIT003", answers(200, "yes, I cosign")),
        ("WIT003", answers(200, &bridge_tlog::format_cosignatures(&[not_its_own]))),
        ("WIT003", answers(409, "99999999\n")),
        ("WIT003", answers(302, "elsewhere")),
        ("WIT006", answers(422, "I do not like it")),
        ("WIT003", Lie { answer: Some((422, String::new())), shown: Some(forged(5, stranger())) }),
        ("WIT003", Lie { answer: Some((422, String::new())), shown: Some("no note".to_owned()) }),
    ];
    for (code, lie) in lies {
        let from = said(&running).len();
        liar.tell(lie);
        until_said(&running, &mut connector, from, code, name);
        running.all_arrives();
    }
    // Under our own key it is no lie that the witness could have made: nothing more is published.
    let own = || key(&folder.join("keys/tax-log.key"));
    liar.tell(Lie { answer: Some((422, String::new())), shown: Some(forged(5, own())) });
    let said = refused(connector, 1, "STA025");
    assert!(said.contains("WIT004"), "{said}");
    has_page("WIT004");
    // Nor does a connector start when its key has signed more than its log holds.
    liar.tell(Lie { answer: Some((500, String::new())), shown: Some(forged(1 << 40, own())) });
    refused(running.connector(), 1, "STA001");
    drop(liar);
    running.witnesses.push(running.stage.scene.witness("education"));
    running.reckon();
}
