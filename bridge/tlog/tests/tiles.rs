//! A log of 600 entries whose tiles another implementation wrote (Tessera): ours are the same, byte for byte.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use bridge_suite::Digest;
use bridge_tlog::{
    Bundle, Frontier, Tile, TileError, TileReadError, TileReader, append_entry, bundles_for,
    consistency_proof, inclusion_proof, leaf_hash, tiles_for, tree_root, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;

fn entry(index: u64) -> Vec<u8> {
    format!("event digest {index:04}").into_bytes()
}

/// What a log writes: for each tile and bundle path its content, kept for every size at which it wrote.
fn write_log(sizes: &[u64]) -> BTreeMap<String, Vec<u8>> {
    let mut tree = Frontier::new();
    let mut hashes: BTreeMap<u8, Vec<Digest>> = BTreeMap::new();
    let mut files = BTreeMap::new();
    let mut old = 0;
    for &size in sizes {
        for index in old..size {
            let leaf = leaf_hash(&entry(index));
            hashes.entry(0).or_default().push(leaf);
            for node in tree.append(leaf).unwrap().iter().filter(|node| node.level % 8 == 0) {
                hashes.entry(node.level / 8).or_default().push(node.hash);
            }
        }
        for tile in tiles_for(old, size) {
            let first = usize::try_from(tile.index()).unwrap() * 256;
            let part = &hashes[&tile.level()][first..first + usize::from(tile.width())];
            files.insert(tile.path(), part.iter().flat_map(|hash| hash.0).collect());
        }
        for bundle in bundles_for(old, size) {
            let mut content = Vec::new();
            for index in 0..u64::from(bundle.width()) {
                append_entry(&mut content, &entry(bundle.index() * 256 + index)).unwrap();
            }
            files.insert(bundle.path(), content);
        }
        old = size;
    }
    files
}

fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for found in fs::read_dir(&folder).unwrap() {
            let path = found.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn tiles_of_600_entries_are_those_of_another_implementation() {
    let theirs =
        files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/c2sp/tiles-600"));
    let ours = write_log(&[600]);
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert_eq!(ours.len(), 7);
    for (path, content) in &ours {
        assert!(*content == theirs[path], "{path} differs");
    }
    let reader = TileReader::new(600, |tile: &Tile| Ok::<_, Infallible>(theirs[&tile.path()].as_slice()));
    // The root that the cosigned checkpoint of the same log names.
    let signed =
        base64::engine::general_purpose::STANDARD.decode("u7Y/+/6kPssq4Bm8y9lwaU/WAO1UXEJMxgH7a3jmlck=");
    assert_eq!(tree_root(600, &reader).unwrap().0, *signed.unwrap());
    for (path, content) in theirs.iter().filter(|(path, _)| path.starts_with("tile/entries/")) {
        let bundle = Bundle::parse(path).unwrap();
        for (place, found) in (0u64..).zip(bundle.entries(content).unwrap()) {
            assert_eq!(found, entry(bundle.index() * 256 + place));
        }
    }
}

#[test]
fn a_log_that_grew_in_steps_has_the_tiles_of_one_that_did_not() {
    let steps: Vec<u64> = (0..=700).step_by(7).collect();
    let grown = write_log(&steps);
    for (path, content) in write_log(&[700]) {
        assert_eq!(grown[&path], content, "{path}");
    }
}

#[test]
fn proofs_from_tiles_hold_for_a_log_of_three_levels() {
    let sizes = [1, 255, 256, 257, 600, 65_535, 65_536, 65_537, 70_000];
    let files = write_log(&sizes);
    let reads = Cell::new(0);
    for size in sizes {
        let reader = TileReader::new(size, |tile: &Tile| {
            reads.set(reads.get() + 1);
            files.get(&tile.path()).ok_or("no such tile")
        });
        let root = tree_root(size, &reader).unwrap();
        for index in [0, 1, 254, 255, 256, 4_242, 65_535, 69_999].into_iter().filter(|index| *index < size) {
            let proof = inclusion_proof(index, size, &reader).unwrap();
            assert_eq!(verify_inclusion(&leaf_hash(&entry(index)), index, size, &root, &proof), Ok(()));
        }
        for old in sizes.into_iter().filter(|old| *old <= size) {
            let old_root = tree_root(old, &reader).unwrap();
            let proof = consistency_proof(old, size, &reader).unwrap();
            assert_eq!(verify_consistency(old, &old_root, size, &root, &proof), Ok(()), "{old} to {size}");
        }
    }
    assert!(reads.get() > 0);
}

#[test]
fn a_reader_says_which_tile_is_missing_or_wrong() {
    let missing = TileReader::new(600, |_: &Tile| Err::<Vec<u8>, _>("gone"));
    let tile = Tile::new(0, 2, 88).unwrap();
    let error = tree_root(600, &missing).unwrap_err();
    assert_eq!(error.to_string(), "a hash of the tree cannot be read");
    let fetch = bridge_tlog::HashReader::hash(&missing, 3, 64).unwrap_err();
    assert_eq!(fetch, TileReadError::Fetch { tile, source: "gone" });
    let outside = bridge_tlog::HashReader::hash(&missing, 0, 600).unwrap_err();
    assert_eq!(outside, TileReadError::NotInTree { level: 0, index: 600, size: 600 });
    let short = TileReader::new(600, |_: &Tile| Ok::<_, Infallible>(vec![0; 32]));
    let length = bridge_tlog::HashReader::hash(&short, 0, 599).unwrap_err();
    assert_eq!(length, TileReadError::Tile(TileError::Length { tile, wanted: 88 * 32, found: 32 }));
}

proptest! {
    #[test]
    fn a_path_is_read_only_as_it_is_written(level in 0..64u8, index in any::<u64>(), width in 1..=256u16) {
        let tile = Tile::new(level, index, width).unwrap();
        prop_assert_eq!(Tile::parse(&tile.path()), Ok(tile));
        let bundle = Bundle::new(index, width).unwrap();
        prop_assert_eq!(Bundle::parse(&bundle.path()), Ok(bundle));
    }

    #[test]
    fn any_text_is_a_path_in_its_own_spelling_or_refused(path in "(tile/)?[0-9a-z/.x]{0,40}") {
        if let Ok(tile) = Tile::parse(&path) {
            prop_assert_eq!(tile.path(), path.clone());
        }
        if let Ok(bundle) = Bundle::parse(&path) {
            prop_assert_eq!(bundle.path(), path);
        }
    }

    #[test]
    fn a_bundle_of_any_bytes_is_read_whole_or_refused(
        content in prop::collection::vec(any::<u8>(), 0..600), width in 1..=256u16
    ) {
        let bundle = Bundle::new(0, width).unwrap();
        if let Ok(entries) = bundle.entries(&content) {
            let mut again = Vec::new();
            for entry in entries {
                append_entry(&mut again, entry).unwrap();
            }
            prop_assert_eq!(again, content);
        }
    }

    #[test]
    fn every_subtree_of_a_tree_is_in_a_tile_of_it(size in 1..1u64 << 62, level in 0..62u8, place in any::<u64>()) {
        let subtrees = size >> level;
        prop_assert_eq!(Tile::holding(level, subtrees, size), None);
        if subtrees > 0 {
            let tile = Tile::holding(level, place % subtrees, size).unwrap();
            let hashes = size >> (8 * u32::from(tile.level()));
            prop_assert!(tile.is_full() || tile.index() * 256 + u64::from(tile.width()) == hashes);
            let content = vec![7; tile.bytes()];
            prop_assert!(tile.hash(&content, level, place % subtrees).is_ok());
        }
    }
}
