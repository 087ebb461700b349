//! Layouts: which columns of which table a changelog row holds, as `create` wrote it down.

use crate::file::{broken, unsigned};
use connectors_source::SourceError;
use rusqlite::{Connection, OptionalExtension};

/// The format of the tables that `create` installs; `docs/spec/changelog.md`.
pub(crate) const FORMAT: i64 = 1;

/// Most columns of one table that can be shared: two states of them fit SQLite's default limit of 2,000 columns.
pub(crate) const COLUMNS_MAX: usize = 900;

/// A column of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) key: bool,
}

/// A table and its shared columns. A changed list of columns is a new layout; rows of the old one keep theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) number: i64,
    pub(crate) table: String,
    /// Whether the triggers write it now.
    pub(crate) current: bool,
    pub(crate) columns: Vec<Column>,
}

/// What `create` has installed in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Installed {
    /// The file's identity, a UUID in text.
    pub(crate) system: String,
    /// How many times capture began: it rises when triggers were found missing.
    pub(crate) capture: u64,
    /// The changelog id after which this capture is whole.
    pub(crate) since: u64,
    pub(crate) layouts: Vec<Layout>,
}

impl Installed {
    /// Reads what is installed; `None` when nothing is.
    pub(crate) fn read(connection: &Connection) -> Result<Option<Installed>, SourceError> {
        let tables: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'govbridge_source'",
                [],
                |r| r.get(0),
            )
            .map_err(broken)?;
        if tables == 0 {
            return Ok(None);
        }
        let row: Option<(i64, String, i64, i64)> = connection
            .query_row("SELECT format, system, capture, since FROM govbridge_source", [], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
            })
            .optional()
            .map_err(broken)?;
        let Some((format, system, capture, since)) = row else {
            return Err(SourceError::NotCreated { what: "govbridge_source is empty".to_owned() });
        };
        if format != FORMAT {
            return Err(SourceError::NotCreated {
                what: format!("its changelog has format {format}, this program reads format {FORMAT}"),
            });
        }
        let layouts = layouts(connection).map_err(broken)?;
        Ok(Some(Installed { system, capture: unsigned(capture)?, since: unsigned(since)?, layouts }))
    }

    /// The layout that a table's triggers write now.
    pub(crate) fn current(&self, table: &str) -> Option<&Layout> {
        self.layouts.iter().find(|l| l.current && l.table == table)
    }
}

fn layouts(connection: &Connection) -> rusqlite::Result<Vec<Layout>> {
    let mut layouts: Vec<Layout> = connection
        .prepare("SELECT layout, name, current FROM govbridge_layout ORDER BY layout")?
        .query_map([], |row| {
            Ok(Layout { number: row.get(0)?, table: row.get(1)?, current: row.get(2)?, columns: Vec::new() })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut columns =
        connection.prepare("SELECT name, is_key FROM govbridge_column WHERE layout = ?1 ORDER BY place")?;
    for layout in &mut layouts {
        layout.columns = columns
            .query_map([layout.number], |row| Ok(Column { name: row.get(0)?, key: row.get(1)? }))?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(layouts)
}
