//! seal: rows -> one sealed batch: compressed, encrypted, Merkle-rooted, chained, signed once.

use bridge_envelope::BatchFrame;

use crate::province::province;

#[test]
fn no_value_of_a_row_stands_in_what_the_broker_holds() {
    let province = province();
    let numbers = province.numbers(1);
    let secret = "THE-ONLY-SUCH-NUMBER-9917";
    province.execute(&format!(
        "INSERT INTO payments VALUES ({}, '{secret}', '增值税', '2026-09-01', 'c', NULL, '1', NULL)",
        numbers.start
    ));
    assert_eq!(province.delivered("audit", &numbers, 1)[0]["after"]["taxpayer_no"], secret);
    let topics =
        ["govbridge.tax.payments", "govbridge.tax.taxpayers", "govbridge.keys", "govbridge.contracts"];
    let records: Vec<_> = topics.iter().flat_map(|topic| province.stage.records(topic)).collect();
    assert!(records.len() > 10);
    let holds = |record: &Vec<u8>| record.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
    assert!(!records.iter().any(holds));
}

#[test]
fn every_section_of_a_batch_has_a_root_and_a_key_of_its_own_and_the_length_says_little() {
    let province = province();
    let batches = province.stage.records("govbridge.tax.payments");
    let batches: Vec<_> = batches.iter().filter(|record| record.starts_with(b"GBB1")).collect();
    assert!(!batches.is_empty());
    for bytes in batches {
        let frame = BatchFrame::parse(bytes).unwrap();
        let blocks: Vec<_> = frame.blocks().collect();
        assert_eq!(
            blocks.iter().map(|block| block.name.as_str()).collect::<Vec<_>>(),
            ["settlement", "amount"]
        );
        assert_ne!(blocks[0].row_root, blocks[1].row_root);
        assert_ne!(blocks[0].key_record, blocks[1].key_record);
        assert_ne!(blocks[0].commitment, blocks[1].commitment);
        // Padded: at least 1024 bytes and the tag.
        assert!(blocks.iter().all(|block| block.ciphertext_bytes >= 1024 + 16));
    }
}
