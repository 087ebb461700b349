//! A province that the tests share: three departments and an auditor, with keys from known seeds.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use bridge_event::{Department, LogIndex, Origin};
use bridge_suite::{KeyLine, PrivateHalf, PublicHalf, Role, Secret, SigningKey, sha256};
use bridge_tlog::{Note, NoteSigner, SignatureKind, VerifierKey};
use bridge_trust::{Draft, Place};

pub const DEPARTMENTS: [(&str, &str); 3] =
    [("social-security", "人力资源和社会保障局"), ("tax", "税务局"), ("education", "教育局")];

pub fn seed(what: &str) -> [u8; 32] {
    sha256(&[b"govbridge/v1/vector/", what.as_bytes()]).0
}

pub fn department(name: &str) -> Department {
    name.parse().unwrap()
}

pub fn origin(name: &str) -> Origin {
    format!("gov.example/{name}/main").parse().unwrap()
}

pub fn line(role: Role, what: &str, name: &str) -> KeyLine {
    let half = PrivateHalf::from_seed(role, &Secret::new(seed(what)));
    KeyLine::new(name, half.public()).unwrap()
}

pub fn signing(name: &str) -> KeyLine {
    line(Role::Signing, &format!("signing/{name}"), name)
}

pub fn recipient(name: &str) -> KeyLine {
    line(Role::Recipient, &format!("recipient/{name}"), name)
}

pub fn public(line: &KeyLine) -> [u8; 32] {
    match line.key() {
        PublicHalf::Verifying(key) => key.bytes(),
        PublicHalf::Recipient(key) => key.bytes(),
    }
}

pub fn vkey(kind: SignatureKind, role: Role, what: &str, name: &str) -> String {
    let key = SigningKey::from_seed(role, seed(what));
    VerifierKey::new(name, kind, &key.public().bytes()).unwrap().to_string()
}

pub fn log_vkey(name: &str) -> String {
    vkey(SignatureKind::Ed25519, Role::Log, &format!("log/{name}"), origin(name).as_str())
}

pub fn witness_name(name: &str) -> String {
    format!("{name}.gov.example/w1")
}

pub fn witness_vkey(name: &str) -> String {
    vkey(SignatureKind::CosignatureV1, Role::Witness, &format!("witness/{name}"), &witness_name(name))
}

pub fn root_name(who: &str) -> String {
    format!("gov.example/root/{who}")
}

pub fn root_vkey(who: &str) -> String {
    vkey(SignatureKind::Ed25519, Role::Root, &format!("root/{who}"), &root_name(who))
}

pub fn root(who: &str) -> NoteSigner {
    NoteSigner::root(&root_name(who), SigningKey::from_seed(Role::Root, seed(&format!("root/{who}"))))
        .unwrap()
}

/// Version 1: roots a, b and c with threshold 2; every department with its keys, log and witness; an auditor's witness.
pub fn first() -> Draft {
    let mut draft = Draft::first("gov.example", 2, &[root_vkey("a"), root_vkey("b"), root_vkey("c")]);
    for (name, title) in DEPARTMENTS {
        let who = department(name);
        draft.add_department(&who, title).unwrap();
        draft.add_signing(&who, &signing(name).to_string(), &origin(name), LogIndex(0)).unwrap();
        draft.add_recipient(&who, &recipient(name).to_string()).unwrap();
        draft
            .add_operator(&who, &line(Role::Operator, &format!("operator/{name}"), name).to_string())
            .unwrap();
        let url = format!("https://log.{name}.gov.example/");
        draft.add_log(&origin(name), Place { department: &who, vkey: &log_vkey(name), url: &url }).unwrap();
    }
    draft.add_department(&department("audit"), "审计局").unwrap();
    for name in ["social-security", "tax", "education", "audit"] {
        let url = format!("https://witness.{name}.gov.example/");
        let place = Place { department: &department(name), vkey: &witness_vkey(name), url: &url };
        draft.add_witness(&witness_name(name), place, true).unwrap();
    }
    draft.set_policy(3, 1);
    draft
}

/// Signs any text, also one that no honest tool would sign.
pub fn sign(text: &str, roots: &[&str]) -> String {
    let signatures = roots.iter().map(|who| root(who).sign(text).unwrap()).collect();
    Note::new(text, signatures).unwrap().format()
}
