//! Contracts: all problems at once, who is entitled when, what recipients see.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod sample;

use bridge_event::{SectionName, UnixMicros};
use proptest::prelude::*;
use schemas::{
    Compatibility, Contract, ContractFiles, FILES_BYTES_MAX, GRANTS_MAX, SECTIONS_MAX, compatible,
};
use std::path::Path;

fn insured_persons() -> ContractFiles {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("social-security/insured-persons");
    ["contract.toml", "identity.avsc", "participation.avsc"]
        .map(|name| (name, std::fs::read(folder.join(name)).unwrap()))
        .into_iter()
        .collect()
}

fn text(files: &ContractFiles, name: &str) -> String {
    String::from_utf8(files.bytes(name).unwrap().to_vec()).unwrap()
}

/// The files with one text put in place of another.
fn edited(files: &ContractFiles, name: &str, old: &str, new: &str) -> ContractFiles {
    let before = text(files, name);
    assert!(before.contains(old), "{old}");
    let mut files = files.clone();
    files.insert(name, before.replacen(old, new, 1));
    files
}

fn name(section: &str) -> SectionName {
    section.parse().unwrap()
}

#[test]
fn every_problem_is_told_at_once_in_the_order_of_the_lines() {
    let files = insured_persons();
    let files = edited(&files, "contract.toml", "revision = 1", "revision = 0");
    let files = edited(&files, "contract.toml", "class = \"general\"", "class = \"top\"");
    let files = edited(&files, "contract.toml", "recipient = \"audit\"", "recipient = \"Audit\"");
    let files = edited(&files, "identity.avsc", "\"birth_date\"", "\"born\"");
    let problems = Contract::parse(&files).unwrap_err();
    let codes: Vec<(&str, &str, usize)> =
        problems.iter().map(|p| (p.code, p.file.as_str(), p.line)).collect();
    let born = text(&files, "identity.avsc").lines().position(|l| l.contains("born")).unwrap() + 1;
    assert_eq!(codes.len(), 5, "{problems}");
    assert_eq!((codes[0].0, codes[1].0, codes[2].0), ("CON005", "CON005", "CON005"));
    assert!(codes[0].2 < codes[1].2 && codes[1].2 < codes[2].2);
    assert_eq!(&codes[3..], [("CON011", "identity.avsc", 1), ("CON011", "identity.avsc", born)]);
    let shown = problems.to_string();
    assert_eq!(shown.lines().count(), 5);
    assert!(shown.starts_with(
        "CON005 contract.toml:8 revision: revision = 0 is not allowed; write a number from 1 to"
    ));
}

#[test]
fn the_digests_are_of_the_exact_bytes() {
    let files = insured_persons();
    let contract = Contract::parse(&files).unwrap();
    assert_eq!(contract.bytes(), files.bytes("contract.toml").unwrap());
    assert_eq!(contract.digest(), bridge_suite::sha256(&[contract.bytes()]));
    let identity = contract.section(&name("identity")).unwrap();
    assert_eq!(identity.schema_digest(), bridge_suite::sha256(&[files.bytes("identity.avsc").unwrap()]));
    let commented = edited(&files, "contract.toml", "revision = 1", "revision = 1 # the first");
    assert_ne!(Contract::parse(&commented).unwrap().digest(), contract.digest());
    let record = ContractFiles::of_record(
        contract.bytes(),
        contract.sections().iter().map(|s| (s.name().as_str(), s.schema_bytes())),
    );
    assert_eq!(record, files);
}

#[test]
fn a_grant_begins_with_its_start_and_is_over_at_its_end() {
    let contract = Contract::parse(&insured_persons()).unwrap();
    let section = name("identity");
    let grant = contract.grants().iter().find(|g| g.section == section && g.end.is_some()).unwrap();
    let (start, end) = (grant.start, grant.end.unwrap());
    let who = |at: i64| {
        contract
            .entitled(&section, UnixMicros(at))
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(who(start.0 - 1), "");
    assert_eq!(who(start.0), "audit tax");
    assert_eq!(who(end.0 - 1), "audit tax");
    assert_eq!(who(end.0), "tax");
    assert_eq!(contract.next_change(&section, UnixMicros(i64::MIN)), Some(start));
    assert_eq!(contract.next_change(&section, UnixMicros(start.0 - 1)), Some(start));
    assert_eq!(contract.next_change(&section, start), Some(end));
    assert_eq!(contract.next_change(&section, end), None);
    assert!(contract.entitled(&name("nothing"), start).is_empty());
    assert_eq!(contract.next_change(&name("nothing"), UnixMicros(i64::MIN)), None);
    // 2025-01-01T00:00:00+08:00
    assert_eq!(start, UnixMicros(1_735_660_800_000_000));
}

#[test]
fn two_grants_to_one_recipient_make_it_entitled_once() {
    let again = "[[grant]]\nsection = \"identity\"\nrecipient = \"tax\"\npurpose = \"另一目的\"\nlegal_basis = \"依据\"\n\
                 start = 2025-06-01T00:00:00Z\n\n[[grant]]";
    let contract = Contract::parse(&edited(&insured_persons(), "contract.toml", "[[grant]]", again)).unwrap();
    let at = UnixMicros(1_780_272_000_000_000);
    assert_eq!(contract.entitled(&name("identity"), at).len(), 2);
    assert_eq!(contract.what_recipients_see().sections.iter().filter(|s| s.recipient == "tax").count(), 3);
}

#[test]
fn what_recipients_see_is_told_before_anyone_signs() {
    let audience = Contract::parse(&insured_persons()).unwrap().what_recipients_see();
    let shown = audience.to_string();
    for words in [
        "every recipient of any section sees the key of every row:\n  person_no 个人编号 (general)\n",
        "education sees, besides the key:\n  participation 参保状态, from 2024-12-31T16:00:00Z until without an end",
        "    id_number 公民身份号码 (important)\n",
        "    legal basis: 《中华人民共和国审计法》",
        "columns that leave the database for no one: clerk_note\n",
    ] {
        let words = words.replace("until without", "without");
        assert!(shown.contains(&words), "{words}\nis not in\n{shown}");
    }
    let tax = shown.split("tax sees").nth(1).unwrap();
    assert!(tax.contains("identity 参保人身份信息") && tax.contains("participation 参保状态"));
    assert!(audience.ungranted.is_empty());
    let json = serde_json::to_value(&audience).unwrap();
    assert_eq!(json["sections"][0]["recipient"], "audit");
    assert_eq!(json["sections"][0]["columns"][0]["class"], "important");
}

#[test]
fn a_section_without_grants_is_told_as_such() {
    let files = insured_persons();
    let whole = text(&files, "contract.toml");
    let mut lonely = files.clone();
    lonely.insert("contract.toml", whole[..whole.find("[[grant]]").unwrap()].to_owned());
    let contract = Contract::parse(&lonely).unwrap();
    assert_eq!(contract.what_recipients_see().ungranted, ["identity", "participation"]);
    assert!(contract.what_recipients_see().to_string().contains("opened by no other department: identity"));
}

#[test]
fn limits_are_told_with_their_numbers() {
    let files = insured_persons();
    let grants =
        "[[grant]]\nsection = \"identity\"\nrecipient = \"tax\"\npurpose = \"p\"\nlegal_basis = \"l\"\n\
                  start = 2025-01-01T00:00:00Z\n"
            .repeat(GRANTS_MAX + 1);
    let mut many = files.clone();
    many.insert("contract.toml", text(&files, "contract.toml") + &grants);
    let problems = Contract::parse(&many).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
    assert!(problems.to_string().contains("declare at most 256"), "{problems}");

    let mut large = files.clone();
    large.insert("identity.avsc", text(&files, "identity.avsc") + &" ".repeat(FILES_BYTES_MAX));
    let problems = Contract::parse(&large).unwrap_err();
    assert!(problems.to_string().starts_with("CON014 contract.toml:1: the files have"), "{problems}");

    let names: Vec<String> = (0..=SECTIONS_MAX).map(|i| format!("s{i}")).collect();
    let columns: Vec<String> = names
        .iter()
        .map(|n| {
            format!("[[column]]\nname = \"c_{n}\"\ntitle = \"x\"\nclass = \"core\"\nsection = \"{n}\"\n")
        })
        .collect();
    let fields: Vec<Vec<(String, &str)>> =
        names.iter().map(|n| vec![(format!("c_{n}"), "\"int\"")]).collect();
    let fields: Vec<Vec<(&str, &str)>> =
        fields.iter().map(|f| f.iter().map(|(n, t)| (n.as_str(), *t)).collect()).collect();
    let sections: Vec<sample::SampleSection<'_>> =
        names.iter().zip(&fields).map(|(n, f)| (n.as_str(), "\"long\"", f.as_slice())).collect();
    let key = "[[column]]\nname = \"id\"\ntitle = \"x\"\nclass = \"general\"\n";
    let all = key.to_owned() + &columns.concat();
    let problems = Contract::parse(&sample::contract("key = [\"id\"]", &all, &sections)).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems}");
    assert!(problems.to_string().contains("declare at most 32"), "{problems}");
    let fewer = key.to_owned() + &columns[..SECTIONS_MAX].concat();
    sample::parse(&sample::contract("key = [\"id\"]", &fewer, &sections[..SECTIONS_MAX]));
}

#[test]
fn the_same_contract_may_follow_itself() {
    let contract = Contract::parse(&insured_persons()).unwrap();
    assert_eq!(compatible(&contract, &contract), Compatibility::Same);
    let every_type = sample::every_type();
    assert!(
        matches!(compatible(&contract, &every_type), Compatibility::Refused(problems) if problems.len() > 4)
    );
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(
        file in 0usize..3,
        place in any::<prop::sample::Index>(),
        cut in 0usize..40,
        put in proptest::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut files = insured_persons();
        let name = ["contract.toml", "identity.avsc", "participation.avsc"][file];
        let mut bytes = files.bytes(name).unwrap().to_vec();
        let start = place.index(bytes.len());
        let end = (start + cut).min(bytes.len());
        bytes.splice(start..end, put);
        files.insert(name, bytes);
        match Contract::parse(&files) {
            Ok(contract) => prop_assert_eq!(contract.bytes(), files.bytes("contract.toml").unwrap()),
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in &problems {
                    let lines = files.bytes(&problem.file).unwrap().iter().filter(|b| **b == b'\n').count() + 1;
                    prop_assert!((1..=lines).contains(&problem.line), "{}", problem);
                }
            }
        }
    }
}
