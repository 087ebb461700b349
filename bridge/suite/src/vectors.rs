//! Other people's vectors, as tests read them.

use serde::Deserialize;

/// A file of Wycheproof, whatever its algorithm: what a test does not have is empty.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wycheproof {
    pub(crate) number_of_tests: usize,
    pub(crate) test_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) iv_size: usize,
    pub(crate) key_size: usize,
    pub(crate) tag_size: usize,
    pub(crate) public_key: PublicKeyOfGroup,
    pub(crate) tests: Vec<Vector>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct PublicKeyOfGroup {
    pub(crate) pk: Hex,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Vector {
    pub(crate) tc_id: usize,
    pub(crate) flags: Vec<String>,
    pub(crate) result: String,
    pub(crate) key: Hex,
    pub(crate) iv: Hex,
    pub(crate) aad: Hex,
    pub(crate) msg: Hex,
    pub(crate) ct: Hex,
    pub(crate) tag: Hex,
    pub(crate) sig: Hex,
    pub(crate) public: Hex,
    pub(crate) private: Hex,
    pub(crate) shared: Hex,
}

impl Vector {
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

/// A case of C2SP's CCTV for Ed25519.
#[derive(Deserialize)]
pub(crate) struct EdgeCase {
    pub(crate) number: usize,
    pub(crate) key: Hex,
    pub(crate) sig: Hex,
    pub(crate) msg: String,
    pub(crate) flags: Option<Vec<String>>,
}

/// Bytes that a file holds as hex.
#[derive(Deserialize, Default, Clone)]
#[serde(try_from = "String")]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        hex::decode(text).map(Hex)
    }
}

impl Hex {
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

pub(crate) fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

pub(crate) fn wycheproof(text: &str) -> Wycheproof {
    let file: Wycheproof = serde_json::from_str(text).unwrap();
    let tests: usize = file.test_groups.iter().map(|group| group.tests.len()).sum();
    assert_eq!(tests, file.number_of_tests, "the file was read in part");
    file
}
