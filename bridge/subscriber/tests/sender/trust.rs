//! The trust file of the sender and its readers.

use std::sync::Arc;

use bridge_event::{Department, LogIndex, Origin};
use bridge_suite::{Role, sha256};
use bridge_tlog::NoteSigner;
use bridge_trust::{Anchor, Ballot, Draft, Trust};

use super::log::{log_signer, witness};
use super::{ORIGIN, key, line};

/// tax sends; health and audit receive; tax, health and audit run witnesses, two of the others' make a quorum.
pub fn trust() -> Arc<Trust> {
    trust_with(|_| {})
}

/// The same, changed before it is signed.
pub fn trust_with(change: impl FnOnce(&mut Draft)) -> Arc<Trust> {
    let root = NoteSigner::root("gov.example/root", key(Role::Root, "root")).unwrap();
    let mut draft = Draft::first("gov.example", 1, &[root.verifier().to_string()]);
    let origin: Origin = ORIGIN.parse().unwrap();
    for name in ["tax", "health", "audit", "school"] {
        let who: Department = name.parse().unwrap();
        draft.add_department(&who, name).unwrap();
        draft.add_recipient(&who, &line(Role::Recipient, &format!("recipient/{name}"), name)).unwrap();
    }
    let tax: Department = "tax".parse().unwrap();
    draft.add_signing(&tax, &line(Role::Signing, "signing", "tax"), &origin, LogIndex(0)).unwrap();
    draft.add_operator(&tax, &line(Role::Operator, "operator", "tax")).unwrap();
    let place =
        bridge_trust::Place { department: &tax, vkey: &log_signer().verifier().to_string(), url: "/nowhere" };
    draft.add_log(&origin, place).unwrap();
    for name in ["tax", "health", "audit"] {
        let signer = witness(name);
        let (who, vkey) = (name.parse().unwrap(), signer.verifier().to_string());
        let place = bridge_trust::Place { department: &who, vkey: &vkey, url: "/nowhere" };
        draft.add_witness(signer.verifier().name(), place, true).unwrap();
    }
    draft.set_policy(2, 1);
    change(&mut draft);
    let text = draft.text().unwrap();
    let note = Ballot::open(text.as_bytes(), None).unwrap().sign(&root).unwrap();
    Arc::new(Trust::verify(note.as_bytes(), Anchor::Pinned(sha256(&[text.as_bytes()]))).unwrap())
}
