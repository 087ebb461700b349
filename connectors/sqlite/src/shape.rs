//! What a table at the source looks like now.

use crate::file::broken;
use connectors_source::SourceError;
use rusqlite::{Connection, OptionalExtension};

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The declared type, as it was written.
    pub(crate) declared: String,
    pub(crate) not_null: bool,
    /// Its place in the primary key, from 1; 0 when it is none of it.
    pub(crate) key_place: i64,
}

/// One column of a unique index, with the collation that it compares by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) name: String,
    pub(crate) collation: String,
}

/// One rule by which two rows of a table exclude each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unique {
    /// No two rows agree in these columns.
    Columns {
        columns: Vec<Compared>,
        /// Only for rows that a WHERE clause names.
        partial: bool,
    },
    /// The hidden row number of a table that gives it no name.
    Rowid,
    /// An index on an expression, which a trigger cannot repeat.
    Expression { index: String },
}

/// What stands under a name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Table,
    View,
    Virtual,
}

/// A table as the file describes it.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) sort: Sort,
    pub(crate) columns: Vec<Column>,
    pub(crate) unique: Vec<Unique>,
}

const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

impl Shape {
    /// Reads a table's shape; `None` when nothing has that name.
    pub(crate) fn read(connection: &Connection, table: &str) -> Result<Option<Shape>, SourceError> {
        let listed: Option<(String, bool)> = connection
            .query_row(
                "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
                [table],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(broken)?;
        let Some((sort, without_rowid)) = listed else { return Ok(None) };
        let sort = match sort.as_str() {
            "table" => Sort::Table,
            "view" => Sort::View,
            _ => Sort::Virtual,
        };
        let columns = columns(connection, table).map_err(broken)?;
        let mut unique = indexes(connection, table).map_err(broken)?;
        let keyed_by_index = unique.iter().any(|u| u.0);
        let mut rules: Vec<Unique> = unique.drain(..).map(|u| u.1).collect();
        if sort == Sort::Table && !without_rowid {
            let alias: Vec<Compared> = columns
                .iter()
                .filter(|c| c.key_place > 0)
                .map(|c| Compared { name: c.name.clone(), collation: "BINARY".to_owned() })
                .collect();
            let hidden = !columns.iter().any(|c| ROWID_NAMES.contains(&c.name.to_ascii_lowercase().as_str()));
            if !alias.is_empty() && !keyed_by_index {
                rules.insert(0, Unique::Columns { columns: alias, partial: false });
            } else if hidden {
                rules.push(Unique::Rowid);
            }
        }
        Ok(Some(Shape { sort, columns, unique: rules }))
    }

    /// A column by its exact name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The rule that makes these columns identify a row, its columns in the order of `key`.
    pub(crate) fn identity(&self, key: &[String]) -> Option<Vec<Compared>> {
        self.unique.iter().find_map(|unique| match unique {
            Unique::Columns { columns, partial: false } if columns.len() == key.len() => {
                key.iter().map(|name| columns.iter().find(|c| &c.name == name).cloned()).collect()
            }
            _ => None,
        })
    }
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    // Hidden 1 is a virtual table's; 2 and 3 are generated columns, which can be shared like others.
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
    )?;
    let rows = statement.query_map([table], |row| {
        Ok(Column { name: row.get(0)?, declared: row.get(1)?, not_null: row.get(2)?, key_place: row.get(3)? })
    })?;
    rows.collect()
}

/// Each unique index, and whether it is the primary key's.
fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(bool, Unique)>> {
    let mut list = connection.prepare(
        "SELECT name, origin, partial FROM pragma_index_list(?1) WHERE \"unique\" = 1 ORDER BY name",
    )?;
    let named: Vec<(String, String, bool)> = list
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut parts =
        connection.prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno")?;
    let mut unique = Vec::with_capacity(named.len());
    for (index, origin, partial) in named {
        let columns: Vec<(Option<String>, String)> = parts
            .query_map([&index], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let columns: Option<Vec<Compared>> = columns
            .into_iter()
            .map(|(name, collation)| name.map(|name| Compared { name, collation }))
            .collect();
        let rule = match columns {
            Some(columns) => Unique::Columns { columns, partial },
            None => Unique::Expression { index },
        };
        unique.push((origin == "pk", rule));
    }
    Ok(unique)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(sql: &str) -> Shape {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        Shape::read(&connection, "t").unwrap().unwrap()
    }

    fn by(columns: &[(&str, &str)]) -> Unique {
        let columns = columns
            .iter()
            .map(|(name, collation)| Compared {
                name: (*name).to_owned(),
                collation: (*collation).to_owned(),
            })
            .collect();
        Unique::Columns { columns, partial: false }
    }

    #[test]
    fn a_row_number_with_a_name_is_the_key() {
        let shape = shape("CREATE TABLE t(a, id INTEGER PRIMARY KEY, e TEXT COLLATE NOCASE UNIQUE)");
        assert_eq!(shape.unique, [by(&[("id", "BINARY")]), by(&[("e", "NOCASE")])]);
        assert!(shape.identity(&["id".to_owned()]).is_some());
        assert!(shape.identity(&["a".to_owned()]).is_none());
    }

    #[test]
    fn a_hidden_row_number_excludes_too() {
        let shape = shape("CREATE TABLE t(a TEXT PRIMARY KEY, b)");
        assert_eq!(shape.unique, [by(&[("a", "BINARY")]), Unique::Rowid]);
    }

    #[test]
    fn a_table_without_row_numbers_has_its_key_only() {
        let shape = shape("CREATE TABLE t(a TEXT, b INTEGER, PRIMARY KEY(b, a)) WITHOUT ROWID");
        assert_eq!(shape.unique, [by(&[("b", "BINARY"), ("a", "BINARY")])]);
        let key = shape.identity(&["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(key[0].name, "a");
    }

    #[test]
    fn an_index_on_an_expression_is_seen() {
        let shape = shape("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX i ON t(lower(a))");
        assert!(shape.unique.contains(&Unique::Expression { index: "i".to_owned() }));
    }

    #[test]
    fn a_partial_index_does_not_identify() {
        let shape =
            shape("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE UNIQUE INDEX i ON t(a) WHERE a > 1");
        assert!(shape.identity(&["a".to_owned()]).is_none());
    }
}
