//! Configuration: one TOML file for each process, with environment variables over it.
//!
//! `GOVBRIDGE__<SECTION>__<KEY>` replaces a key of the file: `GOVBRIDGE__HTTP__LISTEN=0.0.0.0:7101`. In `[kafka]` an
//! underscore stands for the dot of librdkafka's names: `GOVBRIDGE__KAFKA__SASL_PASSWORD`. A value that begins with `[`
//! or `{` is read as TOML, so lists can be given too. Relative paths are relative to the file's folder, wherever they
//! stand. The environment is read here and nowhere else.

use crate::exit::Refusal;
use crate::output;
use bridge_suite::Digest;
use config::{Config, ConfigError, File, FileFormat, Map, Source, Value, ValueKind};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, SeqAccess, Visitor};
use std::fmt::{self, Display};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const PREFIX: &str = "GOVBRIDGE__";

/// The section whose keys have dots in their names.
const KAFKA: &str = "kafka";

/// The versions of the trust file, and how the first is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustSection {
    /// The trust file; a list of its versions, the oldest first, once there are several.
    #[serde(deserialize_with = "one_or_more")]
    pub(crate) file: Vec<PathBuf>,
    /// SHA-256 of version 1's signed text, in lower hex, as its root holders published it.
    #[serde(deserialize_with = "parsed")]
    pub(crate) pin: Digest,
    /// A file that this process makes and keeps: the newest version that it has seen. It never goes back behind it.
    pub(crate) state: PathBuf,
}

/// Where a process is asked how it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSection {
    /// Address and port; port 0 takes a free one, which the log names.
    pub(crate) listen: String,
}

impl HttpSection {
    /// Binds the address.
    pub(crate) fn bind(&self) -> anyhow::Result<TcpListener> {
        let refused = |error: std::io::Error| {
            let what = format!("CFG008: {} cannot be listened on: {error}", self.listen);
            let refusal = match error.kind() {
                ErrorKind::InvalidInput => Refusal::usage(what)
                    .remedy("write address and port under http.listen, such as \"127.0.0.1:7101\""),
                _ => Refusal::unavailable(what)
                    .remedy("end the process that has the port, or set another address under http.listen"),
            };
            refusal.code("CFG008")
        };
        let listener = TcpListener::bind(&self.listen).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        tracing::info!(%address, "listening");
        Ok(listener)
    }

    /// Binds the address for the runtime that this is called in.
    pub(crate) fn listener(&self) -> anyhow::Result<tokio::net::TcpListener> {
        let listener = self.bind()?;
        let taken = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
        taken.map_err(|error| Refusal::unavailable(format!("CFG008: {error}")).code("CFG008").into())
    }
}

/// The folder of a configuration file: what its relative paths start from, and how its keys are named to a person.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    own: PathBuf,
    file: PathBuf,
    environment: Environment,
}

impl Folder {
    /// A path of the configuration as this process can open it.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.own.join(path)
    }

    /// Several.
    pub(crate) fn paths(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        paths.iter().map(|path| self.path(path)).collect()
    }

    /// What was done with the value of a key. A refusal says where the value stands.
    pub(crate) fn of_key<T>(&self, key: &str, done: anyhow::Result<T>) -> anyhow::Result<T> {
        let place = match self.environment.variable(key) {
            Some(variable) => format!("the environment variable {variable}"),
            None => format!("{}: {key}", self.file.display()),
        };
        done.map_err(|error| match error.downcast::<Refusal>() {
            Ok(refusal) => refusal.placed(&place).into(),
            Err(other) => other,
        })
    }
}

/// Reads a process's configuration. `command` is named in the remedies.
pub(crate) fn load<S: DeserializeOwned>(path: &Path, command: &str) -> anyhow::Result<(S, Folder)> {
    let bytes = output::read(path, FILE_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Refusal::usage(format!("CFG001: {} is not UTF-8 text", path.display())).code("CFG001")
    })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let environment = Environment::of_process()?;
    let settings =
        read(&text, environment.clone()).map_err(|error| refusal(&error, path, &environment, command))?;
    Ok((settings, Folder { own: folder, file: path.to_owned(), environment }))
}

fn read<S: DeserializeOwned>(text: &str, environment: Environment) -> Result<S, ConfigError> {
    let file = File::from_str(text, FileFormat::Toml);
    Config::builder().add_source(file).add_source(environment).build()?.try_deserialize()
}

/// The variables that replace keys, by the path of their key.
#[derive(Clone, Debug, Default)]
struct Environment(Vec<(Vec<String>, String)>);

impl Environment {
    fn of_process() -> anyhow::Result<Environment> {
        let mut found = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let Some(value) = value.to_str() else {
                let what = format!("CFG004: the environment variable {name} is not UTF-8 text");
                return Err(Refusal::usage(what).remedy("correct or unset it").code("CFG004").into());
            };
            found.push((name.to_owned(), value.to_owned()));
        }
        found.sort();
        Ok(Environment::of(found))
    }

    fn of(variables: Vec<(String, String)>) -> Environment {
        let keys = variables.into_iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(PREFIX)?.to_lowercase();
            let mut parts: Vec<String> = key.splitn(3, "__").map(str::to_owned).collect();
            if parts.first().is_some_and(|section| section == KAFKA) {
                let rest = parts.drain(1..).collect::<Vec<_>>().join(".").replace('_', ".");
                parts.push(rest);
            }
            Some((parts, value))
        });
        Environment(keys.collect())
    }

    /// The variable that gave a key, in the words of an error: `trust.pin`.
    fn variable(&self, key: &str) -> Option<String> {
        let (parts, _) = self.0.iter().find(|(parts, _)| {
            let own = parts.join(".");
            key == own || key.strip_prefix(&own).is_some_and(|rest| rest.starts_with(['.', '[']))
        })?;
        Some(name_of(parts))
    }

    /// The variables that gave keys of a section, when an error is about the section as a whole.
    fn variables_of(&self, section: &str) -> Vec<String> {
        let of_section =
            |parts: &[String]| parts.len() > 1 && parts.first().is_some_and(|own| own == section);
        self.0.iter().filter(|(parts, _)| of_section(parts)).map(|(parts, _)| name_of(parts)).collect()
    }
}

fn name_of(parts: &[String]) -> String {
    format!("{PREFIX}{}", parts.join("__").replace('.', "_").to_uppercase())
}

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut sections: Map<String, Value> = Map::new();
        for (parts, text) in &self.0 {
            let Some((first, rest)) = parts.split_first() else { continue };
            // From the innermost key outwards; what comes later is merged into what is there.
            let mut value = value_of(text)?;
            for part in rest.iter().rev() {
                let table: Map<String, Value> = Map::from_iter([(part.clone(), value)]);
                value = Value::new(None, ValueKind::Table(table));
            }
            match (sections.get_mut(first).map(|there| &mut there.kind), value.kind) {
                (Some(ValueKind::Table(there)), ValueKind::Table(more)) => there.extend(more),
                (_, kind) => drop(sections.insert(first.clone(), Value::new(None, kind))),
            }
        }
        Ok(sections)
    }
}

/// A variable's value: TOML when it begins as a list or a table, else the text.
fn value_of(text: &str) -> Result<Value, ConfigError> {
    if !text.starts_with(['[', '{']) {
        return Ok(Value::from(text));
    }
    let file = File::from_str(&format!("value = {text}"), FileFormat::Toml);
    Config::builder().add_source(file).build()?.get("value")
}

/// What is wrong, where it stands, what to do.
fn refusal(error: &ConfigError, path: &Path, environment: &Environment, command: &str) -> Refusal {
    let Wrong { code, key, what } = wrong(error);
    let place = match key.as_deref().and_then(|key| environment.variable(key)) {
        Some(variable) => format!("the environment variable {variable}"),
        None => {
            let variables = key.as_deref().map(|key| environment.variables_of(key)).unwrap_or_default();
            let or = if variables.is_empty() {
                String::new()
            } else {
                format!(" or the environment's {}", variables.join(", "))
            };
            format!("{}{or}", path.display())
        }
    };
    let field = key.map(|key| format!("{key}: ")).unwrap_or_default();
    Refusal::usage(format!("{code}: {place}: {field}{what}"))
        .remedy(format!("correct it; `govbridge {command} --example` shows every key with its meaning"))
        .code(code)
}

/// What is wrong with one key.
struct Wrong {
    code: String,
    key: Option<String>,
    what: String,
}

fn wrong(error: &ConfigError) -> Wrong {
    let of = |code: &str, key: Option<String>, what: String| Wrong { code: code.to_owned(), key, what };
    match error {
        ConfigError::FileParse { cause, .. } => of("CFG001", None, syntax(&cause.to_string())),
        ConfigError::NotFound(key) => of("CFG003", Some(key.clone()), "this key is missing".to_owned()),
        ConfigError::Type { unexpected, expected, key, .. } => {
            // What was found is not shown: it may be a secret in the wrong place.
            let found = match unexpected.to_string().split(' ').next() {
                Some(word @ ("sequence" | "map" | "unit")) => format!(", not a {word}"),
                _ => String::new(),
            };
            of("CFG004", key.clone(), format!("this must be {expected}{found}"))
        }
        ConfigError::At { error, key, .. } => {
            let inner = wrong(error);
            let joined = match (key.clone(), inner.key) {
                (Some(outer), Some(inner)) => Some(format!("{outer}.{inner}")),
                (outer, inner) => outer.or(inner),
            };
            Wrong { key: joined, ..inner }
        }
        ConfigError::Message(message) => of_message(message),
        other => of("CFG004", None, other.to_string()),
    }
}

/// serde's words, made those of this program.
fn of_message(message: &str) -> Wrong {
    let quoted = |text: &str| text.split('`').nth(1).map(str::to_owned);
    if message.starts_with("unknown field") {
        let known = message.split_once(", ").map(|(_, known)| known).unwrap_or_default();
        let known = known.trim_start_matches("expected ").trim_start_matches("one of ");
        let what = format!("there is no such key here; the keys are {known}");
        return Wrong { code: "CFG002".to_owned(), key: quoted(message), what };
    }
    if let Some((_, word)) = message.split_once("does not have variant constructor ") {
        let what = format!("{word:?} is not one of the words that may stand here");
        return Wrong { code: "CFG004".to_owned(), key: None, what };
    }
    match crate::exit::code_at_start(message) {
        Some(code) => {
            let what = message.get(code.len() + 1..).unwrap_or_default().trim_start().to_owned();
            Wrong { code: code.to_owned(), key: None, what }
        }
        None => Wrong { code: "CFG004".to_owned(), key: None, what: message.to_owned() },
    }
}

/// The TOML reader's first and last line: the place and the reason, without the line itself, which may hold a secret.
fn syntax(cause: &str) -> String {
    let mut lines = cause.lines().filter(|line| !line.trim().is_empty());
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back());
    match last {
        Some(last) => format!("{first}: {last}"),
        None => first.to_owned(),
    }
}

/// A value that is written as text.
pub(crate) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(source: D) -> Result<T, D::Error> {
    String::deserialize(source)?.parse().map_err(D::Error::custom)
}

/// One path, or a list of at least one.
pub(crate) fn one_or_more<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<PathBuf>, D::Error> {
    struct Paths;

    impl<'de> Visitor<'de> for Paths {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path or a list of paths")
        }

        fn visit_str<E: serde::de::Error>(self, one: &str) -> Result<Vec<PathBuf>, E> {
            Ok(vec![PathBuf::from(one)])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<PathBuf>, A::Error> {
            let mut paths = Vec::new();
            while let Some(path) = list.next_element()? {
                paths.push(path);
            }
            if paths.is_empty() {
                return Err(A::Error::custom("the list is empty; name at least one path"));
            }
            Ok(paths)
        }
    }

    source.deserialize_any(Paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bridge_kafka::Properties;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        kafka: Properties,
        trust: TrustSection,
        #[serde(default, deserialize_with = "one_or_more")]
        contracts: Vec<PathBuf>,
    }

    const TEXT: &str = r#"
name = "a"
[kafka]
"bootstrap.servers" = "h:1"
"socket.keepalive.enable" = true
"retries" = 7
"linger.ms" = 0.5
[trust]
file = "t.note"
pin = "0000000000000000000000000000000000000000000000000000000000000000"
state = "seen"
"#;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    fn refused(text: &str, variables: &[(&str, &str)]) -> String {
        let environment = environment(variables);
        let error = read::<Sample>(text, environment.clone()).unwrap_err();
        refusal(&error, Path::new("c.toml"), &environment, "connector").to_string()
    }

    #[test]
    fn names_of_kafka_settings_keep_their_dots_and_values_may_be_numbers() {
        let sample: Sample = read(TEXT, Environment::default()).unwrap();
        let shown = format!("{:?}", sample.kafka);
        for setting in [
            r#""bootstrap.servers": "h:1""#,
            r#""retries": "7""#,
            r#""linger.ms": "0.5""#,
            r#"enable": "true""#,
        ] {
            assert!(shown.contains(setting), "{shown}");
        }
        assert_eq!((sample.name.as_str(), sample.trust.file), ("a", vec![PathBuf::from("t.note")]));
    }

    #[test]
    fn the_environment_stands_above_the_file() {
        let variables = [
            ("GOVBRIDGE__NAME", "b"),
            ("GOVBRIDGE__TRUST__FILE", r#"["1", "2"]"#),
            ("GOVBRIDGE__CONTRACTS", "one"),
            ("GOVBRIDGE__KAFKA__BOOTSTRAP_SERVERS", "other:2"),
            ("GOVBRIDGE__KAFKA__SASL_PASSWORD", "s3cret"),
            ("UNRELATED", "x"),
        ];
        let sample: Sample = read(TEXT, environment(&variables)).unwrap();
        assert_eq!(sample.name, "b");
        assert_eq!(sample.trust.file, [PathBuf::from("1"), PathBuf::from("2")]);
        assert_eq!(sample.trust.state, PathBuf::from("seen"), "the rest of the section stays");
        assert_eq!(sample.contracts, [PathBuf::from("one")]);
        let shown = format!("{:?}", sample.kafka);
        assert!(
            shown.contains("other:2") && shown.contains("sasl.password") && !shown.contains("s3cret"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_key() {
        let unknown = refused(&TEXT.replace("state =", "sate ="), &[]);
        assert!(
            unknown.starts_with("CFG002: c.toml: trust.sate: there is no such key here; the keys are `file`"),
            "{unknown}"
        );
        let missing = refused(&TEXT.replace("state = \"seen\"", ""), &[]);
        assert!(missing.starts_with("CFG003: c.toml: trust.state: this key is missing"), "{missing}");
        let digest = refused(&TEXT.replace("pin = \"00", "pin = \"0"), &[]);
        assert!(digest.starts_with("CFG004: c.toml: trust.pin: "), "{digest}");
        let kafka = refused(&TEXT.replace("\"retries\" = 7", "\"acks\" = 1"), &[]);
        assert!(kafka.starts_with("PUB010: c.toml: kafka: the Kafka setting acks=1 is refused"), "{kafka}");
        let variable = refused(TEXT, &[("GOVBRIDGE__TRUST__PIN", "x")]);
        assert!(
            variable.starts_with("CFG004: the environment variable GOVBRIDGE__TRUST__PIN: trust.pin: "),
            "{variable}"
        );
        let either = refused(TEXT, &[("GOVBRIDGE__HTTP__LISTEN", "x"), ("GOVBRIDGE__HTTP__MORE", "y")]);
        assert!(
            either.starts_with(
                "CFG002: c.toml or the environment's GOVBRIDGE__HTTP__LISTEN, GOVBRIDGE__HTTP__MORE: http: there is no such key"
            ),
            "{either}"
        );
        let stranger = refused(TEXT, &[("GOVBRIDGE__TRUST__PINN", "x")]);
        assert!(
            stranger.starts_with("CFG002: the environment variable GOVBRIDGE__TRUST__PINN: trust.pinn: "),
            "{stranger}"
        );
    }

    #[test]
    fn a_broken_line_is_named_and_not_shown() {
        let broken = refused("[kafka]\n\"sasl.password\" = s3cret\n", &[]);
        assert!(broken.starts_with("CFG001: c.toml: ") && broken.contains("line 2"), "{broken}");
        assert!(!broken.contains("s3cret"), "{broken}");
        let typed = refused("name = [\"s3cret\"]", &[]);
        assert!(!typed.contains("s3cret") && typed.contains("name: "), "{typed}");
    }
}
