//! What a trust file says, read and judged: every key parsed, every rule checked, and nobody's signature looked at.

use crate::content::{Content, DepartmentLines, LogLines, SigningLines, WitnessLines};
use crate::{Problem, Warning, quorum};
use bridge_event::{Department, LogIndex, Origin};
use bridge_suite::{Digest, KeyLine, PublicHalf, PublicKey, RecipientPublicKey, Role};
use bridge_tlog::{SignatureKind, VerifierKey};
use std::collections::{BTreeMap, BTreeSet};

/// Longest title or address, in bytes.
const WORDS_BYTES_MAX: usize = 512;

const NAMES_REMEDY: &str = "correct the line, or add it again with `govbridge trust add`";
const DEPARTMENT_REMEDY: &str = "add the department first, with `govbridge trust add department`";

/// What a trust file says. The type promises that the rules hold within the file; that the root keys signed it,
/// [`crate::Trust`] promises.
#[derive(Debug, Clone)]
pub struct Terms {
    pub(crate) domain: String,
    pub(crate) version: u64,
    pub(crate) previous: Option<Digest>,
    pub(crate) threshold: u32,
    pub(crate) roots: Vec<VerifierKey>,
    pub(crate) departments: Vec<Member>,
    pub(crate) logs: Vec<Log>,
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) policy: Option<Votes>,
}

/// A department with its keys.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: Department,
    /// Its name for people.
    pub title: String,
    /// Its signing keys, each with the part of a log for which it may sign.
    pub signing: Vec<SigningTerm>,
    /// Its recipient keys, the oldest first; the last one is the one to wrap for.
    pub recipients: Vec<RecipientPublicKey>,
    /// Its operators' keys: they sign a GAP or a RETRACT.
    pub operators: Vec<PublicKey>,
}

/// A signing key and the entries for which it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first index for which the key is valid.
    pub from: LogIndex,
    /// The first index for which it is no longer valid, if it ever ended.
    pub until: Option<LogIndex>,
}

impl Validity {
    /// Whether an entry at this index may carry the key's signature.
    pub fn covers(&self, index: LogIndex) -> bool {
        self.from <= index && self.until.is_none_or(|until| index < until)
    }
}

/// A department's signing key.
#[derive(Debug, Clone)]
pub struct SigningTerm {
    /// The key.
    pub key: PublicKey,
    /// The log whose batches it signs.
    pub origin: Origin,
    /// The entries of that log for which it is valid.
    pub valid: Validity,
}

/// A connector's log.
#[derive(Debug, Clone)]
pub struct Log {
    /// Its identity; the name of its key.
    pub origin: Origin,
    /// Whose log it is.
    pub department: Department,
    /// The key of its checkpoints.
    pub key: VerifierKey,
    /// Where its tiles are served.
    pub url: String,
}

/// A witness.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its name; the name of its key.
    pub name: String,
    /// Who runs it.
    pub department: Department,
    /// The key of its cosignatures.
    pub key: VerifierKey,
    /// Where checkpoints are submitted to it.
    pub url: String,
    /// Whether it reads the entries before it cosigns. Only checking witnesses count.
    pub checking: bool,
}

/// How many witnesses must cosign, and how many of them may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Cosignatures that make a checkpoint witnessed.
    pub quorum: u32,
    /// Witnesses that may sign two histories without two readers being shown different ones.
    pub liars: u32,
}

impl Terms {
    /// Reads a trust file's text, without its signatures.
    ///
    /// # Errors
    /// All problems that the text has.
    pub fn parse(text: &str) -> Result<Terms, Vec<Problem>> {
        let content = Content::parse(text).map_err(|problem| vec![problem])?;
        Terms::of(&content)
    }

    pub(crate) fn of(content: &Content) -> Result<Terms, Vec<Problem>> {
        let mut reader = Reader { domain: content.domain.clone(), ..Reader::default() };
        let previous = reader.succession(content);
        let roots = reader.roots(content);
        let departments: Vec<Member> =
            content.departments.iter().filter_map(|d| reader.department(d)).collect();
        let logs: Vec<Log> = content.logs.iter().filter_map(|l| reader.log(l)).collect();
        let witnesses: Vec<Witness> = content.witnesses.iter().filter_map(|w| reader.witness(w)).collect();
        let policy = content.policy.map(|p| Votes { quorum: p.quorum, liars: p.liars });
        let terms = Terms {
            domain: content.domain.clone(),
            version: content.version,
            previous,
            threshold: content.threshold,
            roots,
            departments,
            logs,
            witnesses,
            policy,
        };
        // Witnesses that could not be read would only make the quorum look wrong as well.
        if reader.problems.is_empty() {
            quorum::judge(&terms, &mut reader.problems);
        }
        if reader.problems.is_empty() { Ok(terms) } else { Err(reader.problems) }
    }

    /// The domain: the first part of every origin in the file.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The version, from 1.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The digest of the version before; none for version 1.
    pub fn previous(&self) -> Option<Digest> {
        self.previous
    }

    /// How many root keys must sign the next version (and, of version 1, this one).
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The root keys that sign the next version.
    pub fn roots(&self) -> &[VerifierKey] {
        &self.roots
    }

    /// The departments, in the file's order.
    pub fn departments(&self) -> &[Member] {
        &self.departments
    }

    /// One department.
    pub fn department(&self, name: &Department) -> Option<&Member> {
        self.departments.iter().find(|member| member.name == *name)
    }

    /// The logs, in the file's order.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// The log of an origin.
    pub fn log(&self, origin: &Origin) -> Option<&Log> {
        self.logs.iter().find(|log| log.origin == *origin)
    }

    /// The witnesses, in the file's order.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// How many witnesses must cosign; none when the file has no `[policy]`.
    pub fn votes(&self) -> Option<Votes> {
        self.policy
    }

    /// The witnesses that count for a log: checking ones that the log's owner does not run.
    pub fn counted(&self, log: &Log) -> impl Iterator<Item = &Witness> {
        let owner = log.department.clone();
        self.witnesses.iter().filter(move |witness| witness.checking && witness.department != owner)
    }

    /// What is allowed and deserves a second look.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        match self.policy {
            Some(votes) if votes.liars == 0 => warnings.push(Warning::NoLiars),
            None if !self.logs.is_empty() => warnings.push(Warning::NoPolicy),
            _ => {}
        }
        if self.threshold == 1 {
            warnings.push(Warning::OneRootEnough);
        } else if usize::try_from(self.threshold) == Ok(self.roots.len()) {
            warnings.push(Warning::EveryRootNeeded(self.threshold));
        }
        for member in &self.departments {
            self.warn_of_department(member, &mut warnings);
        }
        for log in &self.logs {
            let signer = self
                .department(&log.department)
                .is_some_and(|m| m.signing.iter().any(|s| s.origin == log.origin));
            if !signer {
                warnings.push(Warning::NoSigner(log.origin.clone()));
            }
        }
        let silent = self.witnesses.iter().filter(|witness| !witness.checking);
        warnings.extend(silent.map(|witness| Warning::NotChecking(witness.name.clone())));
        warnings
    }

    fn warn_of_department(&self, member: &Member, warnings: &mut Vec<Warning>) {
        for term in &member.signing {
            if self.log(&term.origin).is_none() {
                let (department, origin) = (member.name.clone(), term.origin.clone());
                warnings.push(Warning::NoLog { department, origin });
            }
        }
        if member.signing.is_empty() {
            return;
        }
        if member.recipients.is_empty() {
            warnings.push(Warning::NoRecipient(member.name.clone()));
        }
        if member.operators.is_empty() {
            warnings.push(Warning::NoOperator(member.name.clone()));
        }
    }
}

/// Reads the lines one after the other and keeps what is wrong with them.
#[derive(Default)]
struct Reader {
    domain: String,
    problems: Vec<Problem>,
    /// Every key's bytes, and where they stand. A key in two roles has two ids, so the bytes are compared.
    keys: BTreeMap<[u8; 32], String>,
    /// Names that stand once only, with their kind before them.
    names: BTreeSet<String>,
}

impl Reader {
    fn succession(&mut self, content: &Content) -> Option<Digest> {
        let mut complain = |what: &str| self.problems.push(Problem::Succession(what.to_owned()));
        match (content.version, &content.previous) {
            (0, _) => complain("version is 0, and versions begin at 1"),
            (1, Some(_)) => complain("version 1 has no version before it, and `previous` is given"),
            (1, None) => {}
            (_, None) => complain("a version after 1 must name the one before it in `previous`"),
            (_, Some(_)) => {}
        }
        let origin = format!("{}/department/connector", content.domain);
        if origin.parse::<Origin>().is_err() {
            self.name(
                "domain",
                format!("{:?} is not a domain", content.domain),
                "use a-z, 0-9, '.' and '-', such as gov.example",
            );
        }
        let previous = content.previous.as_ref()?;
        match previous.parse() {
            Ok(digest) => Some(digest),
            Err(_) => {
                self.problems
                    .push(Problem::Succession("`previous` is not 64 hex characters of a SHA-256".to_owned()));
                None
            }
        }
    }

    fn roots(&mut self, content: &Content) -> Vec<VerifierKey> {
        let mut roots = Vec::new();
        for line in &content.roots {
            let place = format!("root {}", line.key.split('+').next().unwrap_or_default());
            let Some(key) = self.verifier(&place, &line.key, SignatureKind::Ed25519) else { continue };
            // A note's signatures are found by name.
            if self.once("root", key.name(), &place) {
                roots.push(key);
            }
        }
        let met = usize::try_from(content.threshold).is_ok_and(|k| k >= 1 && k <= content.roots.len());
        if !met {
            self.problems
                .push(Problem::Threshold { threshold: content.threshold, roots: content.roots.len() });
        }
        roots
    }

    fn department(&mut self, lines: &DepartmentLines) -> Option<Member> {
        let place = format!("department {}", lines.name);
        let name: Department = self.parsed(&place, lines.name.parse())?;
        self.once("department", &lines.name, &place);
        self.words(&place, "title", &lines.title);
        let signing = lines.signing.iter().filter_map(|line| self.signing(&name, line)).collect();
        let recipients = lines
            .recipient
            .iter()
            .filter_map(|line| match self.line(&name, Role::Recipient, &line.key)? {
                PublicHalf::Recipient(key) => Some(key),
                PublicHalf::Verifying(_) => None,
            })
            .collect();
        let operators = lines
            .operator
            .iter()
            .filter_map(|line| match self.line(&name, Role::Operator, &line.key)? {
                PublicHalf::Verifying(key) => Some(key),
                PublicHalf::Recipient(_) => None,
            })
            .collect();
        Some(Member { name, title: lines.title.clone(), signing, recipients, operators })
    }

    fn signing(&mut self, department: &Department, lines: &SigningLines) -> Option<SigningTerm> {
        let place = format!("department {department}, signing key for {}", lines.origin);
        let key = self.line(department, Role::Signing, &lines.key);
        let origin = self.origin(&place, &lines.origin, department);
        let valid = Validity { from: LogIndex(lines.from_index), until: lines.until_index.map(LogIndex) };
        if let Some(until) = valid.until
            && valid.from >= until
        {
            self.problems.push(Problem::Range { place, from: valid.from, until });
        }
        let Some(PublicHalf::Verifying(key)) = key else { return None };
        Some(SigningTerm { key, origin: origin?, valid })
    }

    fn log(&mut self, lines: &LogLines) -> Option<Log> {
        let place = format!("log {}", lines.origin);
        self.once("log", &lines.origin, &place);
        self.words(&place, "url", &lines.url);
        let department = self.member(&place, &lines.department);
        let key = self.verifier(&place, &lines.vkey, SignatureKind::Ed25519);
        if let Some(key) = &key
            && key.name() != lines.origin
        {
            self.key(
                &place,
                format!("the vkey's name is {:?}, and a log's key is named by its origin", key.name()),
            );
        }
        let department = department?;
        let origin = self.origin(&place, &lines.origin, &department)?;
        Some(Log { origin, department, key: key?, url: lines.url.clone() })
    }

    fn witness(&mut self, lines: &WitnessLines) -> Option<Witness> {
        let place = format!("witness {}", lines.name);
        self.once("witness", &lines.name, &place);
        self.words(&place, "url", &lines.url);
        let department = self.member(&place, &lines.department);
        let key = self.verifier(&place, &lines.vkey, SignatureKind::CosignatureV1);
        if let Some(key) = &key
            && key.name() != lines.name
        {
            self.key(
                &place,
                format!("the vkey's name is {:?}, and a witness bears the name of its key", key.name()),
            );
        }
        let department = department?;
        if lines.checking && !self.names.insert(format!("vote {department}")) {
            self.problems.push(Problem::TwoVotes(department.clone()));
        }
        Some(Witness {
            name: lines.name.clone(),
            department,
            key: key?,
            url: lines.url.clone(),
            checking: lines.checking,
        })
    }

    /// A key line of a department, in the role that its place asks for.
    fn line(&mut self, department: &Department, role: Role, text: &str) -> Option<PublicHalf> {
        let place = format!("department {department}, {role} key");
        let line: KeyLine = match text.parse() {
            Ok(line) => line,
            Err(error) => {
                self.key(&place, format!("{error}"));
                return None;
            }
        };
        if line.role() != role {
            self.key(&place, format!("the line is that of a {} key", line.role()));
            return None;
        }
        if line.name() != department.as_str() {
            self.key(&place, format!("the line is that of {:?}", line.name()));
            return None;
        }
        self.fresh(&place, line.key().bytes()).then(|| *line.key())
    }

    fn verifier(&mut self, place: &str, text: &str, kind: SignatureKind) -> Option<VerifierKey> {
        let key: VerifierKey = match text.parse() {
            Ok(key) => key,
            Err(error) => {
                self.key(place, format!("not a C2SP verifier key: {error}"));
                return None;
            }
        };
        if key.kind() != kind {
            self.key(
                place,
                "the vkey is of the other kind: logs and roots have type 0x01, witnesses type 0x04"
                    .to_owned(),
            );
            return None;
        }
        self.fresh(place, key.public_bytes()).then_some(key)
    }

    fn fresh(&mut self, place: &str, bytes: [u8; 32]) -> bool {
        if let Some(other) = self.keys.get(&bytes) {
            self.problems.push(Problem::KeyTwice { other: other.clone(), place: place.to_owned() });
            return false;
        }
        self.keys.insert(bytes, place.to_owned());
        true
    }

    fn member(&mut self, place: &str, name: &str) -> Option<Department> {
        let department: Department = self.parsed(place, name.parse())?;
        if !self.names.contains(&format!("department {name}")) {
            let what = format!("department {name} is not in this file");
            self.problems.push(Problem::Reference {
                place: place.to_owned(),
                what,
                remedy: DEPARTMENT_REMEDY,
            });
            return None;
        }
        Some(department)
    }

    fn origin(&mut self, place: &str, text: &str, department: &Department) -> Option<Origin> {
        let origin: Origin = self.parsed(place, text.parse())?;
        if !text.starts_with(&format!("{}/{department}/", self.domain)) {
            let what = format!("origin {text} does not begin with {}/{department}/", self.domain);
            let remedy =
                "an origin is <domain>/<department>/<connector>, of this file's domain and this department";
            self.problems.push(Problem::Reference { place: place.to_owned(), what, remedy });
            return None;
        }
        Some(origin)
    }

    fn parsed<T>(&mut self, place: &str, parsed: Result<T, bridge_event::NameError>) -> Option<T> {
        parsed.map_err(|error| self.name(place, error.to_string(), NAMES_REMEDY)).ok()
    }

    fn once(&mut self, kind: &str, name: &str, place: &str) -> bool {
        let first = self.names.insert(format!("{kind} {name}"));
        if !first {
            self.name(place, format!("this {kind} stands twice"), "leave one of the two");
        }
        first
    }

    fn words(&mut self, place: &str, field: &str, words: &str) {
        if words.is_empty() || words.len() > WORDS_BYTES_MAX || words.chars().any(char::is_control) {
            let what =
                format!("{field} is empty, longer than {WORDS_BYTES_MAX} bytes, or holds control characters");
            self.name(place, what, NAMES_REMEDY);
        }
    }

    fn name(&mut self, place: &str, what: String, remedy: &'static str) {
        self.problems.push(Problem::Name { place: place.to_owned(), what, remedy });
    }

    fn key(&mut self, place: &str, what: String) {
        self.problems.push(Problem::Key { place: place.to_owned(), what });
    }
}
