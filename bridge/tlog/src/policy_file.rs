//! The text of a policy (C2SP tlog-policy).
//!
//! ```text
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<k> <member>...
//! quorum <witness or group>|none
//! ```
//!
//! Names are used on lines below their definition only, so that no group can contain itself. A name stands in at most
//! one group, so that a witness counts once.

use std::collections::BTreeMap;

use crate::key::{KeyError, NoteKeyId, SignatureKind, VerifierKey};
use crate::line;
use crate::policy::{Policy, PolicyGroup, PolicyLog, PolicyWitness};

/// Longest policy, in bytes: 1,024 lines of 256.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;

/// The quorum that needs no witness; no witness or group is called so.
const NONE: &str = "none";

/// A text that is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The policy is too long.
    #[error("a policy of {0} bytes is above the limit of {POLICY_BYTES_MAX}: split it")]
    TooLong(usize),
    /// A line is wrong.
    #[error("policy, line {line}: {fault}")]
    Line {
        /// Number of the line, counted from 1.
        line: usize,
        /// What is wrong with it.
        fault: PolicyFault,
    },
    /// No line says what the quorum is.
    #[error(
        "the policy has no quorum line: add `quorum <witness or group>`, or `quorum none` to need no witness"
    )]
    NoQuorum,
}

/// What is wrong with a line of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The line has bytes that a policy cannot have.
    #[error("it is not plain text; use UTF-8, tabs and spaces")]
    NotText,
    /// The last line is cut off.
    #[error("its line end is missing; end it, or fetch the file again")]
    Unended,
    /// The first word is none of the four.
    #[error("{0:?} begins no line; use log, witness, group, quorum or #")]
    Word(String),
    /// The line has too few or too many words.
    #[error("the form is `{0}`")]
    Form(&'static str),
    /// The key is not one.
    #[error(transparent)]
    Key(KeyError),
    /// The key is of the wrong kind.
    #[error("the key of {name} is not a {wanted}'s; use one of type 0x{kind:02x}")]
    KeyKind {
        /// Name of the key.
        name: String,
        /// `log` or `witness`.
        wanted: &'static str,
        /// The type that is needed.
        kind: u8,
    },
    /// The key is already there.
    #[error("the key of {name} already stands on line {first}; name each key once")]
    DuplicateKey {
        /// Name of the key.
        name: String,
        /// The line that has the key.
        first: usize,
    },
    /// The name is already there.
    #[error("{name:?} is already defined on line {first}; use another name")]
    DuplicateName {
        /// The name.
        name: String,
        /// The line that defines it.
        first: usize,
    },
    /// The name is reserved.
    #[error("`none` is no witness and no group; use another name")]
    Reserved,
    /// No line defines the name.
    #[error("{0:?} is not defined; define it on a line above")]
    Unknown(String),
    /// The name is defined too late.
    #[error(
        "{name:?} is defined on line {line} only; define it on a line above, a group cannot contain itself"
    )]
    Later {
        /// The name.
        name: String,
        /// The line that defines it.
        line: usize,
    },
    /// The group contains itself.
    #[error("group {0:?} contains itself; take it out of its members")]
    Cycle(String),
    /// The name stands in two groups, or twice in one.
    #[error("{name:?} is already a member of the group on line {first}; a name stands in one group, once")]
    SecondGroup {
        /// The name.
        name: String,
        /// The line of the first group.
        first: usize,
    },
    /// The threshold is not possible.
    #[error(
        "{threshold:?} of {members} members is not possible; use all, any, or a number from 1 to {members}"
    )]
    Threshold {
        /// What the line says.
        threshold: String,
        /// How many members it has.
        members: usize,
    },
    /// The quorum is already said.
    #[error("the quorum is already given on line {0}; keep one of them")]
    SecondQuorum(usize),
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The text is not a policy; the error names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(bytes.len()));
        }
        let mut lines = Vec::new();
        for (number, bytes) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            let words = words(bytes).map_err(|fault| PolicyError::Line { line: number, fault })?;
            lines.push((number, words));
        }
        let mut draft = Draft::default();
        for (number, words) in &lines {
            if let ["witness" | "group", name, ..] = words.as_slice() {
                draft.definitions.entry(name).or_insert(*number);
            }
        }
        for (number, words) in &lines {
            draft.read(*number, words).map_err(|fault| PolicyError::Line { line: *number, fault })?;
        }
        let (_, quorum) = draft.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self { logs: draft.logs, witnesses: draft.witnesses, groups: draft.groups, quorum })
    }
}

/// The words of a line; none when it is empty or a comment.
fn words(line: &[u8]) -> Result<Vec<&str>, PolicyFault> {
    let line = line.strip_suffix(b"\n").ok_or(PolicyFault::Unended)?;
    if line.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err(PolicyFault::NotText);
    }
    let start = line.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if matches!(start, None | Some(b'#')) {
        return Ok(Vec::new());
    }
    // Comments may be in any encoding; names and keys are compared as bytes, and as such UTF-8 does not change them.
    let line = std::str::from_utf8(line).map_err(|_| PolicyFault::NotText)?;
    Ok(line.split([' ', '\t']).filter(|word| !word.is_empty()).collect())
}

/// A policy while its lines are read from the top.
#[derive(Default)]
struct Draft<'a> {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<PolicyGroup>,
    /// Line of the quorum, and what it says.
    quorum: Option<(usize, Option<String>)>,
    /// First line of the whole file that defines a name.
    definitions: BTreeMap<&'a str, usize>,
    /// Line above that defines a name.
    names: BTreeMap<&'a str, usize>,
    /// Line above that has a public key.
    publics: BTreeMap<[u8; 32], usize>,
    /// Line above that has a key of this name and id.
    ids: BTreeMap<(String, NoteKeyId), usize>,
    /// Line above of the group that has this member.
    members: BTreeMap<&'a str, usize>,
}

impl<'a> Draft<'a> {
    fn read(&mut self, number: usize, words: &[&'a str]) -> Result<(), PolicyFault> {
        match words {
            [] => Ok(()),
            ["log", key, url @ ..] if url.len() <= 1 => {
                let key = self.key(number, key, SignatureKind::Ed25519)?;
                self.logs.push(PolicyLog { key, url: url.first().map(|url| (*url).to_owned()) });
                Ok(())
            }
            ["log", ..] => Err(PolicyFault::Form("log <vkey> [<url>]")),
            ["witness", name, key, url @ ..] if url.len() <= 1 => {
                self.define(number, name)?;
                let key = self.key(number, key, SignatureKind::CosignatureV1)?;
                let url = url.first().map(|url| (*url).to_owned());
                self.witnesses.push(PolicyWitness { name: (*name).to_owned(), key, url });
                Ok(())
            }
            ["witness", ..] => Err(PolicyFault::Form("witness <name> <vkey> [<url>]")),
            ["group", name, threshold, members @ ..] if !members.is_empty() => {
                self.read_group(number, name, threshold, members)
            }
            ["group", ..] => Err(PolicyFault::Form("group <name> all|any|<k> <member>...")),
            ["quorum", name] => self.read_quorum(number, name),
            ["quorum", ..] => Err(PolicyFault::Form("quorum <witness or group>|none")),
            [word, ..] => Err(PolicyFault::Word(line::excerpt(word))),
        }
    }

    fn read_group(
        &mut self,
        number: usize,
        name: &'a str,
        threshold: &str,
        members: &[&'a str],
    ) -> Result<(), PolicyFault> {
        let enough = match threshold {
            "all" => Some(members.len()),
            "any" => Some(1),
            k => line::decimal(k).and_then(|k| usize::try_from(k).ok()),
        };
        let enough = enough.filter(|k| (1..=members.len()).contains(k)).ok_or_else(|| {
            PolicyFault::Threshold { threshold: line::excerpt(threshold), members: members.len() }
        })?;
        for member in members {
            if *member == name {
                return Err(PolicyFault::Cycle(line::excerpt(name)));
            }
            self.use_name(member)?;
            if let Some(first) = self.members.insert(member, number) {
                return Err(PolicyFault::SecondGroup { name: line::excerpt(member), first });
            }
        }
        self.define(number, name)?;
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups.push(PolicyGroup { name: name.to_owned(), threshold: enough, members });
        Ok(())
    }

    fn read_quorum(&mut self, number: usize, name: &str) -> Result<(), PolicyFault> {
        if let Some((first, _)) = self.quorum {
            return Err(PolicyFault::SecondQuorum(first));
        }
        let quorum = if name == NONE {
            None
        } else {
            self.use_name(name)?;
            Some(name.to_owned())
        };
        self.quorum = Some((number, quorum));
        Ok(())
    }

    /// Takes a new name.
    fn define(&mut self, number: usize, name: &'a str) -> Result<(), PolicyFault> {
        if name == NONE {
            return Err(PolicyFault::Reserved);
        }
        match self.names.insert(name, number) {
            Some(first) => Err(PolicyFault::DuplicateName { name: line::excerpt(name), first }),
            None => Ok(()),
        }
    }

    /// Refuses a name that no line above defines.
    fn use_name(&self, name: &str) -> Result<(), PolicyFault> {
        if self.names.contains_key(name) {
            return Ok(());
        }
        let name_text = line::excerpt(name);
        Err(match self.definitions.get(name) {
            _ if name == NONE => PolicyFault::Reserved,
            Some(line) => PolicyFault::Later { name: name_text, line: *line },
            None => PolicyFault::Unknown(name_text),
        })
    }

    /// Reads a key that no line above has, as a log's or a witness's: a log that is its own witness proves nothing.
    fn key(&mut self, number: usize, text: &str, wanted: SignatureKind) -> Result<VerifierKey, PolicyFault> {
        let key: VerifierKey = text.parse().map_err(PolicyFault::Key)?;
        let name = key.name().to_owned();
        if key.kind() != wanted {
            let who = match wanted {
                SignatureKind::Ed25519 => "log",
                SignatureKind::CosignatureV1 => "witness",
            };
            return Err(PolicyFault::KeyKind { name, wanted: who, kind: wanted.number() });
        }
        let same_public = self.publics.insert(key.public_bytes(), number);
        let same_id = self.ids.insert((name.clone(), key.id()), number);
        match same_public.or(same_id) {
            Some(first) => Err(PolicyFault::DuplicateKey { name, first }),
            None => Ok(key),
        }
    }
}
