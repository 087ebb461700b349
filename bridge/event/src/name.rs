//! Names: short, lower case, safe in a Kafka topic, a path and a metric label.

use std::fmt;
use std::str::FromStr;

/// Longest department, dataset, section or group name, in bytes. Two of them and `govbridge.` stay below Kafka's
/// 249 bytes of a topic name: 10 + 64 + 1 + 64 = 139.
const NAME_BYTES_MAX: usize = 64;

/// Longest origin, in bytes. It stands in every header, beacon and checkpoint.
const ORIGIN_BYTES_MAX: usize = 255;

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?} is not valid: {rule}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

const NAME_RULE: &str = "use 1 to 64 of a-z, 0-9 and '-', beginning with a letter";
const SECTION_RULE: &str = "use 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter";
const ORIGIN_RULE: &str = "use <domain>/<department>/<connector>: three parts of a-z, 0-9, '.' and '-', without a scheme, \
                           at most 255 bytes";

fn is_name(name: &str, underscore: bool) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || (underscore && b == b'_'))
}

fn is_origin(name: &str) -> bool {
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_alphanumeric())
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    };
    name.len() <= ORIGIN_BYTES_MAX && name.split('/').count() == 3 && name.split('/').all(part)
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            #[doc = concat!("The ", $kind, "'s name as text.")]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(NameError { kind: $kind, name: name.chars().take(80).collect(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name!(
    /// A department: it owns databases, keys and a log, or receives sections, or both.
    Department, "department", |n| is_name(n, false), NAME_RULE
);
name!(
    /// One shared table or view of a department; one Kafka topic.
    Dataset, "dataset", |n| is_name(n, false), NAME_RULE
);
name!(
    /// A group of columns with one audience.
    SectionName, "section", |n| is_name(n, true), SECTION_RULE
);
name!(
    /// A disclosure group inside a section: columns that can be shown to a third party without the others.
    GroupName, "group", |n| is_name(n, true), SECTION_RULE
);
name!(
    /// The identity of a connector's log, `<domain>/<department>/<connector>`; the first line of its checkpoints.
    Origin, "origin", is_origin, ORIGIN_RULE
);

/// One partition of a dataset: what is sequenced and chained.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// The department that sends.
    pub department: Department,
    /// Its dataset.
    pub dataset: Dataset,
    /// The partition, counted from 0.
    pub partition: crate::Partition,
}

impl StreamId {
    /// The Kafka topic of the stream's batches, fences and beacons: `govbridge.<department>.<dataset>`.
    pub fn topic(&self) -> String {
        format!("govbridge.{}.{}", self.department, self.dataset)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.department, self.dataset, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_path_or_a_topic_are_refused() {
        for bad in ["", "A", "1a", "a/b", "..", "a b", "a.b", "税务", "a\n", &"a".repeat(65)] {
            assert!(bad.parse::<Department>().is_err(), "{bad:?}");
            assert!(bad.parse::<SectionName>().is_err(), "{bad:?}");
        }
        assert!("social-security".parse::<Department>().is_ok());
        assert!("tax_id".parse::<Department>().is_err());
        assert!("tax_id".parse::<SectionName>().is_ok());
    }

    #[test]
    fn an_origin_has_three_parts_and_no_scheme() {
        assert!("gov.example/tax/main".parse::<Origin>().is_ok());
        for bad in [
            "gov.example/tax",
            "https://gov.example/tax/main",
            "gov.example//main",
            "gov.example/tax/a+b",
            "a/../c",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_stream_names_its_topic() {
        let stream = StreamId {
            department: "tax".parse().unwrap(),
            dataset: "payments".parse().unwrap(),
            partition: crate::Partition(0),
        };
        assert_eq!(stream.topic(), "govbridge.tax.payments");
        assert_eq!(stream.to_string(), "tax/payments/0");
    }
}
