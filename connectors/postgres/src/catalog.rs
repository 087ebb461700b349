//! What the server's catalog says of tables and types.

use crate::server::schema_and_name;
use crate::shape::{Column, Shape};
use crate::values::Kind;
use bridge_pgwire::Fault;
use bridge_pgwire::literal;
use bridge_pgwire::{Row, Session};

/// A type, its name with the modifier and how its bytes are read.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// A column in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) typed: Typed,
    pub(crate) not_null: bool,
    pub(crate) generated: bool,
    pub(crate) identity: bool,
}

/// A table in the catalog.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// `r`, `p` (partitioned), `v`, ...
    pub(crate) kind: String,
    /// `p`, `u` (unlogged), `t`.
    pub(crate) persistence: String,
    pub(crate) identity: char,
    /// Whether row-level security hides rows from this role.
    pub(crate) hides_rows: bool,
    pub(crate) readable: bool,
    /// Leaf partitions whose replica identity differs.
    pub(crate) odd_leaves: u64,
    pub(crate) columns: Vec<Listed>,
    /// The columns of each unique index without predicate or expression.
    pub(crate) unique: Vec<Vec<String>>,
}

impl Found {
    pub(crate) fn column(&self, name: &str) -> Option<&Listed> {
        self.columns.iter().find(|c| c.name == name)
    }

    pub(crate) fn shape(&self, table: &str) -> Shape {
        let (schema, name) = schema_and_name(table);
        let columns = self.columns.iter().filter(|c| !c.generated).map(|c| Column {
            name: c.name.clone(),
            type_name: c.typed.name.clone(),
            identity: c.identity,
        });
        Shape { table: format!("{schema}.{name}"), identity: self.identity, columns: columns.collect() }
    }
}

/// The base type of a type, behind all domains, as `number:is an enum`, and of an array also `:item's number:is an enum`.
const BASE: &str = "(WITH RECURSIVE b(oid, typtype, typbasetype) AS (\
     SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid = x.oid UNION ALL \
     SELECT t.oid, t.typtype, t.typbasetype FROM b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd') \
     SELECT b.oid::text || ':' || (b.typtype = 'e')::int || coalesce((\
        SELECT ':' || i.oid || ':' || (i.typtype = 'e')::int FROM pg_type a JOIN pg_type i ON i.oid = a.typelem \
         WHERE a.oid = b.oid AND a.typsend = 'array_send'::regproc), '') \
     FROM b WHERE b.typtype <> 'd')";

fn typed(name: Option<&String>, base: Option<&String>) -> Typed {
    let mut words = base.map(String::as_str).unwrap_or_default().split(':');
    let mut kind = || {
        let oid = words.next()?.parse().ok()?;
        Some(Kind::of(oid, words.next() == Some("1")))
    };
    let own = kind().unwrap_or(Kind::Other);
    let kind = kind().map_or(own, Kind::array_of);
    Typed { name: name.cloned().unwrap_or_default(), kind }
}

fn text(row: &Row, at: usize) -> Option<&String> {
    row.get(at).and_then(Option::as_ref)
}

fn truth(row: &Row, at: usize) -> bool {
    text(row, at).is_some_and(|t| t == "t")
}

fn word(row: &Row, at: usize) -> String {
    text(row, at).cloned().unwrap_or_default()
}

/// Looks a table up, `None` when there is none of that name.
pub(crate) fn find(session: &mut Session, table: &str) -> Result<Option<Found>, Fault> {
    let (schema, name) = schema_and_name(table);
    let head = session.query(&format!(
        "SELECT c.oid, c.relkind, c.relpersistence, c.relreplident, row_security_active(c.oid), \
                has_table_privilege(c.oid, 'SELECT'), \
                (SELECT count(*) FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid \
                  WHERE t.isleaf AND l.oid <> c.oid AND l.relreplident <> c.relreplident) \
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
          WHERE n.nspname = {} AND c.relname = {}",
        literal(schema),
        literal(name)
    ))?;
    let Some(head) = head.first() else { return Ok(None) };
    let oid = word(head, 0);
    let identity = word(head, 3).chars().next().unwrap_or('n');
    let columns = session.query(&format!(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), {BASE}, a.attnotnull, a.attgenerated <> '', \
                CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE coalesce(a.attnum = ANY (\
                  SELECT unnest(i.indkey) FROM pg_index i WHERE i.indrelid = c.oid AND \
                  CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END), false) END \
           FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid CROSS JOIN LATERAL (SELECT a.atttypid AS oid) x \
          WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    ))?;
    let unique = session.query(&format!(
        "SELECT string_agg(a.attname, chr(1)) FROM pg_index i JOIN pg_attribute a \
             ON a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) \
          WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL \
            AND i.indexprs IS NULL GROUP BY i.indexrelid"
    ))?;
    Ok(Some(Found {
        kind: word(head, 1),
        persistence: word(head, 2),
        identity,
        hides_rows: truth(head, 4),
        readable: truth(head, 5),
        odd_leaves: word(head, 6).parse().unwrap_or(0),
        columns: columns
            .iter()
            .map(|row| Listed {
                name: word(row, 0),
                typed: typed(text(row, 1), text(row, 2)),
                not_null: truth(row, 3),
                generated: truth(row, 4),
                identity: truth(row, 5),
            })
            .collect(),
        unique: unique.iter().map(|row| word(row, 0).split('\u{1}').map(str::to_owned).collect()).collect(),
    }))
}

/// The types that a relation of the stream names, by number and modifier.
pub(crate) fn types(session: &mut Session, wanted: &[(u32, i32)]) -> Result<Vec<Typed>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<String> = wanted
        .iter()
        .enumerate()
        .map(|(at, (oid, modifier))| format!("({at}, {oid}::oid, {modifier})"))
        .collect();
    let rows = session.query(&format!(
        "SELECT format_type(x.oid, x.modifier), {BASE} FROM (VALUES {}) AS x(at, oid, modifier) ORDER BY x.at",
        values.join(", ")
    ))?;
    if rows.len() != wanted.len() {
        return Err(Fault::Protocol("the catalog gave another number of types"));
    }
    Ok(rows.iter().map(|row| typed(text(row, 0), text(row, 1))).collect())
}
