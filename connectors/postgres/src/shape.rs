//! What a table looked like when capture was created, and what it looks like now.
//!
//! `--create` writes the shapes that it accepted into the publication's comment; nothing else is written into the
//! department's database. A relation of the stream must fit one of them: an added column goes on, anything else halts.
//!
//! ```text
//! govbridge 1 <capture>                        one word for each creation of the slot
//! table <TAB> schema.name <TAB> identity       d (primary key), i (an index), f (whole row)
//! column <TAB> name <TAB> type <TAB> 0|1       1: part of the replica identity
//! ```

use connectors_source::SourceError;

const MAGIC: &str = "govbridge 1 ";

/// A column as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// With its modifier: `numeric(12,2)`.
    pub(crate) type_name: String,
    /// Whether it is part of the replica identity.
    pub(crate) identity: bool,
}

/// A table as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `schema.name`.
    pub(crate) table: String,
    /// `d`, `i`, `f` or `n`, as `pg_class.relreplident` has it.
    pub(crate) identity: char,
    pub(crate) columns: Vec<Column>,
}

/// What `--create` wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// A word for this creation of the slot: another one is another incarnation.
    pub(crate) capture: String,
    /// The accepted shapes, oldest first; a table may have several.
    pub(crate) shapes: Vec<Shape>,
}

impl Installed {
    /// As the publication's comment holds it.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}{}\n", self.capture);
        for shape in &self.shapes {
            text.push_str(&format!("table\t{}\t{}\n", shielded(&shape.table), shape.identity));
            for column in &shape.columns {
                let (name, kind) = (shielded(&column.name), shielded(&column.type_name));
                text.push_str(&format!("column\t{name}\t{kind}\t{}\n", u8::from(column.identity)));
            }
        }
        text
    }

    /// Reads a publication's comment, `None` when it is not ours.
    pub(crate) fn from_text(text: &str) -> Option<Installed> {
        let mut lines = text.lines();
        let capture = lines.next()?.strip_prefix(MAGIC)?.to_owned();
        let mut shapes: Vec<Shape> = Vec::new();
        for line in lines {
            let mut fields = line.split('\t');
            match (fields.next(), fields.next(), fields.next(), fields.next(), fields.next()) {
                (Some("table"), Some(table), Some(identity), None, None) => shapes.push(Shape {
                    table: unshielded(table),
                    identity: identity.chars().next()?,
                    columns: Vec::new(),
                }),
                (Some("column"), Some(name), Some(kind), Some(identity @ ("0" | "1")), None) => {
                    shapes.last_mut()?.columns.push(Column {
                        name: unshielded(name),
                        type_name: unshielded(kind),
                        identity: identity == "1",
                    });
                }
                _ => return None,
            }
        }
        Some(Installed { capture, shapes })
    }

    /// Checks that a table, as it is now or as the stream says it was, fits a shape that was accepted.
    pub(crate) fn check(&self, now: &Shape) -> Result<(), SourceError> {
        let mut differs = None;
        for shape in self.shapes.iter().rev().filter(|s| s.table == now.table) {
            match difference(shape, now) {
                None => return Ok(()),
                Some(what) => differs = differs.or(Some(what)),
            }
        }
        Err(SourceError::Drifted {
            table: now.table.clone(),
            what: differs.unwrap_or_else(|| "capture was not created for it".to_owned()),
            remedy: "put it back as it was; or, if the change is meant, make the contract follow it and run `govbridge \
                     connector --create`, which accepts the table as it is now"
                .to_owned(),
        })
    }
}

/// What keeps `now` from being `accepted` with, perhaps, more columns.
fn difference(accepted: &Shape, now: &Shape) -> Option<String> {
    if accepted.identity != now.identity {
        return Some(format!(
            "its replica identity is now {}, it was {}",
            identity_word(now.identity),
            identity_word(accepted.identity)
        ));
    }
    for column in &accepted.columns {
        let name = &column.name;
        let Some(there) = now.columns.iter().find(|c| c.name == *name) else {
            return Some(format!("column {name} is gone: it was dropped or renamed"));
        };
        if there.type_name != column.type_name {
            return Some(format!("column {name} is now {}, it was {}", there.type_name, column.type_name));
        }
        if there.identity != column.identity {
            return Some(format!("column {name} joined or left the replica identity"));
        }
    }
    let key = |shape: &Shape| shape.columns.iter().filter(|c| c.identity).count();
    (now.identity != 'f' && key(accepted) != key(now))
        .then(|| "a column joined the replica identity".to_owned())
}

pub(crate) fn identity_word(identity: char) -> &'static str {
    match identity {
        'd' => "DEFAULT (the primary key)",
        'i' => "an index",
        'f' => "FULL",
        _ => "NOTHING",
    }
}

fn shielded(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn unshielded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        out.push(match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            (other, false) => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(identity: char, columns: &[(&str, &str, bool)]) -> Shape {
        let columns = columns
            .iter()
            .map(|(n, t, i)| Column { name: (*n).to_owned(), type_name: (*t).to_owned(), identity: *i })
            .collect();
        Shape { table: "public.t".to_owned(), identity, columns }
    }

    fn installed() -> Installed {
        let shape = shape('d', &[("id", "bigint", true), ("a\t\\n\n", "numeric(12,2)", false)]);
        Installed { capture: "abc".to_owned(), shapes: vec![shape] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(Installed::from_text(&installed().to_text()), Some(installed()));
        for other in
            ["", "something", "govbridge 2 x\n", "govbridge 1 x\ncolumn\ta\tb\t1\n", "govbridge 1 x\nrow\n"]
        {
            assert_eq!(Installed::from_text(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_added_column_goes_on_and_every_other_change_halts() {
        let installed = Installed {
            capture: String::new(),
            shapes: vec![shape('d', &[("id", "bigint", true), ("a", "text", false)])],
        };
        let check = |identity, columns: &[(&str, &str, bool)]| installed.check(&shape(identity, columns));
        assert!(check('d', &[("id", "bigint", true), ("a", "text", false)]).is_ok());
        assert!(check('d', &[("b", "text", false), ("a", "text", false), ("id", "bigint", true)]).is_ok());
        for (identity, columns) in [
            ('f', &[("id", "bigint", true), ("a", "text", false)][..]),
            ('d', &[("id", "bigint", true)]),
            ('d', &[("id", "bigint", true), ("b", "text", false)]),
            ('d', &[("id", "integer", true), ("a", "text", false)]),
            ('d', &[("id", "bigint", false), ("a", "text", true)]),
            ('d', &[("id", "bigint", true), ("a", "text", false), ("b", "text", true)]),
        ] {
            let error = check(identity, columns).unwrap_err();
            assert_eq!(error.code(), "CAP006", "{error}");
        }
    }
}
