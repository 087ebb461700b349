//! Other people's inclusion and consistency proofs, every file of them, and proofs made from trees of all small sizes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use bridge_suite::{Digest, sha256};
use bridge_tlog::{
    EMPTY_ROOT, Frontier, HashReader, ProofError, ProveError, TREE_SIZE_MAX, consistency_proof,
    inclusion_proof, leaf_hash, tree_root, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

fn vector_files(folder: &str) -> Vec<PathBuf> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/rfc6962/testdata").join(folder);
    let mut folders = vec![root];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

fn bytes(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn digest(text: &str) -> Option<Digest> {
    Digest::try_from(bytes(text).as_slice()).ok()
}

/// Some hashes of the vectors are words ("don't care") or rubbish: any digest that is equal where they are equal.
fn any_digest(text: &str) -> Digest {
    digest(text).unwrap_or_else(|| sha256(&[b"not 32 bytes", &bytes(text)]))
}

fn digests(proof: &Option<Vec<String>>) -> Vec<Digest> {
    proof.iter().flatten().map(|hash| any_digest(hash)).collect()
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct InclusionVector {
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConsistencyVector {
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[test]
fn every_inclusion_vector_has_its_verdict() {
    let (mut accepted, mut refused, mut no_hashes) = (0, 0, 0);
    for path in vector_files("inclusion") {
        let vector: InclusionVector = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (Some(leaf), Some(root)) = (digest(&vector.leaf_hash), digest(&vector.root)) else {
            // A hash of another length than 32 bytes is no digest and so never gets to the verifier.
            assert!(vector.want_err, "{}", path.display());
            no_hashes += 1;
            continue;
        };
        let verdict =
            verify_inclusion(&leaf, vector.leaf_idx, vector.tree_size, &root, &digests(&vector.proof));
        assert_eq!(verdict.is_err(), vector.want_err, "{}: {verdict:?}", path.display());
        if verdict.is_ok() { accepted += 1 } else { refused += 1 }
    }
    assert_eq!((accepted, refused, no_hashes), (6, 76, 16));
}

#[test]
fn every_consistency_vector_has_its_verdict() {
    let (mut accepted, mut refused) = (0, 0);
    for path in vector_files("consistency") {
        let vector: ConsistencyVector = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let verdict = verify_consistency(
            vector.size1,
            &any_digest(&vector.root1),
            vector.size2,
            &any_digest(&vector.root2),
            &digests(&vector.proof),
        );
        assert_eq!(verdict.is_err(), vector.want_err, "{}: {verdict:?}", path.display());
        if verdict.is_ok() { accepted += 1 } else { refused += 1 }
    }
    assert_eq!((accepted, refused), (6, 92));
}

/// A tree in memory, with the roots of all its sizes.
struct Memory {
    leaves: Vec<Digest>,
    roots: Vec<Digest>,
    nodes: BTreeMap<(u8, u64), Digest>,
}

impl Memory {
    fn grow(size: u64) -> Self {
        let mut tree = Frontier::new();
        let mut memory = Self { leaves: Vec::new(), roots: vec![tree.root()], nodes: BTreeMap::new() };
        for i in 0..size {
            let leaf = leaf_hash(format!("entry {i}").as_bytes());
            memory.nodes.insert((0, i), leaf);
            for node in tree.append(leaf).unwrap() {
                memory.nodes.insert((node.level, node.index), node.hash);
            }
            memory.leaves.push(leaf);
            memory.roots.push(tree.root());
        }
        memory
    }

    fn leaf(&self, index: u64) -> &Digest {
        &self.leaves[usize::try_from(index).unwrap()]
    }

    fn root(&self, size: u64) -> &Digest {
        &self.roots[usize::try_from(size).unwrap()]
    }

    fn includes(&self, index: u64, size: u64, proof: &[Digest]) -> Result<(), ProofError> {
        verify_inclusion(self.leaf(index), index, size, self.root(size), proof)
    }

    fn extends(&self, old: u64, new: u64, proof: &[Digest]) -> Result<(), ProofError> {
        verify_consistency(old, self.root(old), new, self.root(new), proof)
    }
}

impl HashReader for Memory {
    type Error = (u8, u64);

    fn hash(&self, level: u8, index: u64) -> Result<Digest, Self::Error> {
        self.nodes.get(&(level, index)).copied().ok_or((level, index))
    }
}

/// The definition of RFC 6962 section 2.1, to the letter.
fn root_by_definition(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            sha256(&[&[1], root_by_definition(left).as_bytes(), root_by_definition(right).as_bytes()])
        }
    }
}

#[test]
fn roots_follow_the_definition_at_every_size() {
    let memory = Memory::grow(300);
    for size in 0..=300u64 {
        let by_definition = root_by_definition(&memory.leaves[..usize::try_from(size).unwrap()]);
        assert_eq!(tree_root(size, &memory), Ok(by_definition));
        assert_eq!(*memory.root(size), by_definition);
        assert_eq!(Frontier::read(size, &memory).unwrap().root(), by_definition);
    }
}

#[test]
fn every_entry_of_every_small_tree_is_proved() {
    let memory = Memory::grow(130);
    for size in 1..=130 {
        for index in 0..size {
            let proof = inclusion_proof(index, size, &memory).unwrap();
            assert_eq!(memory.includes(index, size, &proof), Ok(()), "{index} in {size}");
            // The same path for another entry or another size is refused.
            let other = (index + 1) % size;
            if other != index {
                let swapped = verify_inclusion(memory.leaf(index), other, size, memory.root(size), &proof);
                assert!(swapped.is_err(), "{index} as {other} in {size}");
            }
            let larger = verify_inclusion(memory.leaf(index), index, size + 1, memory.root(size), &proof);
            // Sizes are not in the hashes: a path can be the right one for a tree of another size with this root.
            assert!(larger.is_err() || inclusion_proof(index, size + 1, &Zero).unwrap().len() == proof.len());
        }
    }
}

/// A tree of equal hashes; only the length of its proofs means something.
struct Zero;

impl HashReader for Zero {
    type Error = Infallible;

    fn hash(&self, _: u8, _: u64) -> Result<Digest, Infallible> {
        Ok(EMPTY_ROOT)
    }
}

#[test]
fn every_pair_of_small_trees_is_proved_consistent() {
    let memory = Memory::grow(130);
    for new in 1..=130 {
        for old in 1..=new {
            let proof = consistency_proof(old, new, &memory).unwrap();
            assert_eq!(memory.extends(old, new, &proof), Ok(()), "{old} to {new}");
            if old < new {
                let forked = verify_consistency(old, memory.root(new), new, memory.root(new), &proof);
                assert!(forked.is_err(), "{old} to {new}");
                let forked = verify_consistency(old, memory.root(old), new, memory.root(old), &proof);
                assert!(forked.is_err(), "{old} to {new}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_small_proof_is_refused() {
    let memory = Memory::grow(20);
    for new in 1..=20 {
        for other in 0..new {
            let inclusion = inclusion_proof(other, new, &memory).unwrap();
            each_flipped_bit(&inclusion, |proof| assert!(memory.includes(other, new, proof).is_err()));
            let consistency = consistency_proof(other, new, &memory).unwrap();
            each_flipped_bit(&consistency, |proof| assert!(memory.extends(other, new, proof).is_err()));
        }
    }
}

fn each_flipped_bit(proof: &[Digest], check: impl Fn(&[Digest])) {
    let mut flipped = proof.to_vec();
    for hash in 0..proof.len() {
        for bit in 0..256 {
            flipped[hash].0[bit / 8] ^= 1 << (bit % 8);
            check(&flipped);
            flipped[hash].0[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_longer_or_shorter_proof_is_refused() {
    let memory = Memory::grow(70);
    for (old, new) in [(1, 2), (3, 7), (4, 8), (6, 8), (33, 70), (64, 70)] {
        let proof = consistency_proof(old, new, &memory).unwrap();
        let path = inclusion_proof(old, new, &memory).unwrap();
        for extra in [EMPTY_ROOT, *memory.root(old), *memory.root(new)] {
            for at in [0, proof.len()] {
                let mut longer = proof.clone();
                longer.insert(at, extra);
                assert!(memory.extends(old, new, &longer).is_err());
            }
            let mut longer = path.clone();
            longer.push(extra);
            if old < new {
                assert_eq!(memory.includes(old, new, &longer), Err(ProofError::Length(longer.len())));
            }
        }
        assert!(memory.extends(old, new, &proof[1..]).is_err());
        assert!(memory.extends(old, new, &proof[..proof.len() - 1]).is_err());
    }
}

#[test]
fn what_cannot_be_proved_has_its_own_error() {
    let memory = Memory::grow(4);
    let root = *memory.root(4);
    assert_eq!(inclusion_proof(4, 4, &memory), Err(ProveError::OutsideTree { index: 4, size: 4 }));
    assert_eq!(inclusion_proof(3, 5, &memory), Err(ProveError::Read((0, 4))));
    assert_eq!(consistency_proof(5, 4, &memory), Err(ProveError::OldAboveNew { old: 5, new: 4 }));
    assert_eq!(consistency_proof(0, 4, &memory), Ok(vec![]));
    assert_eq!(consistency_proof(4, 4, &memory), Ok(vec![]));
    let huge = TREE_SIZE_MAX + 1;
    assert_eq!(tree_root(huge, &memory), Err(ProveError::TooLarge(huge)));
    assert_eq!(inclusion_proof(0, huge, &memory), Err(ProveError::TooLarge(huge)));
    assert_eq!(consistency_proof(0, huge, &memory), Err(ProveError::TooLarge(huge)));
    assert_eq!(verify_inclusion(&root, 0, huge, &root, &[]), Err(ProofError::TooLarge(huge)));
    assert_eq!(verify_consistency(1, &root, huge, &root, &[]), Err(ProofError::TooLarge(huge)));
    assert_eq!(verify_consistency(0, &EMPTY_ROOT, 4, &root, &[]), Err(ProofError::NothingToProve));
    assert_eq!(verify_consistency(4, &root, 4, &root, &[root]), Err(ProofError::Length(1)));
    assert_eq!(verify_consistency(4, &root, 4, &EMPTY_ROOT, &[]), Err(ProofError::WrongRoot));
    assert_eq!(
        verify_inclusion(&root, 0, 0, &EMPTY_ROOT, &[]),
        Err(ProofError::OutsideTree { index: 0, size: 0 })
    );
    let long = vec![root; 64];
    assert_eq!(verify_inclusion(&root, 0, TREE_SIZE_MAX, &root, &long), Err(ProofError::Length(64)));
}

#[test]
fn the_largest_tree_has_proofs_of_at_most_63_hashes() {
    assert_eq!(inclusion_proof(TREE_SIZE_MAX - 1, TREE_SIZE_MAX, &Zero).unwrap().len(), 62);
    assert_eq!(consistency_proof(TREE_SIZE_MAX - 1, TREE_SIZE_MAX, &Zero).unwrap().len(), 63);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn proofs_from_a_larger_tree_hold_until_a_bit_flips(
        new in 131..3_000u64, place in any::<prop::sample::Index>(), hash in any::<prop::sample::Index>(), bit in 0..256usize
    ) {
        thread_local!(static MEMORY: Memory = Memory::grow(3_000));
        MEMORY.with(|memory| {
            let old = 1 + place.index(usize::try_from(new).unwrap() - 1) as u64;
            let mut path = inclusion_proof(old, new, memory).unwrap();
            prop_assert_eq!(memory.includes(old, new, &path), Ok(()));
            let flipped = hash.index(path.len());
            path[flipped].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(memory.includes(old, new, &path), Err(ProofError::WrongRoot));

            let mut proof = consistency_proof(old, new, memory).unwrap();
            prop_assert_eq!(memory.extends(old, new, &proof), Ok(()));
            let flipped = hash.index(proof.len());
            proof[flipped].0[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(memory.extends(old, new, &proof), Err(ProofError::WrongRoot));
            Ok(())
        })?;
    }

    #[test]
    fn a_made_up_proof_is_refused_without_a_panic(
        leaf in any::<[u8; 32]>(), index in any::<u64>(), size in any::<u64>(), root in any::<[u8; 32]>(),
        hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70)
    ) {
        let proof: Vec<Digest> = hashes.into_iter().map(Digest).collect();
        prop_assert!(verify_inclusion(&Digest(leaf), index, size, &Digest(root), &proof).is_err());
        prop_assert!(verify_consistency(index, &Digest(leaf), size, &Digest(root), &proof).is_err());
        let (index, size) = (index % TREE_SIZE_MAX, size % TREE_SIZE_MAX);
        prop_assert!(verify_inclusion(&Digest(leaf), index, size, &Digest(root), &proof).is_err());
        prop_assert!(verify_consistency(index, &Digest(leaf), size, &Digest(root), &proof).is_err());
    }
}
