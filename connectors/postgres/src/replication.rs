//! The stream: whole transactions from the slot, one message at a time.
//!
//! ```text
//!   socket -> message -> B: a transaction is open      I U D T: rows, handed on while the message stands in the buffer
//!                        C: it was given whole         k: how far the server has decoded
//! ```
//!
//! The server sends a transaction after its commit, in commit order; nothing of it is kept here. After a restart it sends
//! again from the slot's place, and whole transactions that were delivered already are passed over by their commit.

use crate::catalog;
use crate::claim::lsn_text;
use crate::decode::{Mapper, ODD, Relation, Workspace};
use crate::history::History;
use crate::shape::Installed;
use bridge_event::{At, Change, Operation, Token, Transaction, UnixMicros};
use bridge_pgwire::Fault;
use bridge_pgwire::Reader;
use bridge_pgwire::{Session, refusal};
use connectors_source::{Capture, SourceError, Stop, Table};
use std::collections::HashMap;

/// Rows that one poll gives at most, about.
pub(crate) const POLL_ROWS_MAX: u64 = 4096;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Why giving rows ended early.
#[derive(Debug)]
pub(crate) enum Broken {
    Stopped,
    Failed(SourceError),
    Lost(Fault),
}

impl From<Stop> for Broken {
    fn from(_: Stop) -> Broken {
        Broken::Stopped
    }
}

impl From<SourceError> for Broken {
    fn from(error: SourceError) -> Broken {
        Broken::Failed(error)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Broken {
        Broken::Lost(fault)
    }
}

/// A transaction of which something may have been given.
#[derive(Clone, Debug)]
struct Open {
    transaction: Transaction,
    token: Token,
    begun: bool,
    index: u64,
    /// Delivered already: passed over.
    passed: bool,
    /// Passed over, and known to be the one that was delivered.
    agreed: bool,
}

/// What a message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many rows were given.
    Rows(u64),
    /// The server has decoded everything before this place; whether it asks for a word.
    Alive {
        /// The place.
        place: u64,
        /// Whether it asks.
        asks: bool,
    },
}

/// What follows the messages of a stream.
pub(crate) struct Flow {
    pub(crate) tables: Vec<Table>,
    pub(crate) installed: Installed,
    mappers: HashMap<u32, Option<Mapper>>,
    space: Workspace,
    open: Option<Open>,
    /// The commit of the last transaction that was delivered, or passed.
    pub(crate) delivered: u64,
    /// The server has decoded everything before this place, and it was delivered.
    pub(crate) complete: u64,
    /// The farthest place that the server was seen at: rewinding does not bring it back.
    seen: u64,
    pub(crate) history: History,
    /// A delivered commit that the server must give again before anything newer.
    owed: Option<u64>,
}

impl Flow {
    pub(crate) fn new(tables: Vec<Table>, installed: Installed, confirmed: u64) -> Flow {
        Flow {
            tables,
            installed,
            mappers: HashMap::new(),
            space: Workspace::default(),
            open: None,
            delivered: confirmed.saturating_sub(1),
            complete: confirmed,
            seen: confirmed,
            history: History::new(confirmed),
            owed: None,
        }
    }

    /// A stream begins at the slot's place; what is delivered stays delivered.
    pub(crate) fn begin_again(&mut self) {
        self.mappers.clear();
        self.open = None;
    }

    /// The stream begins at this place: a delivered commit that stands there or later is given again, by the same server.
    pub(crate) fn begin_at(&mut self, place: u64) {
        self.begin_again();
        self.owed = self.history.newest_at(self.delivered).filter(|commit| *commit >= place);
    }

    /// The farthest place that the server was ever seen at: its log reaches there, unless it went back.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.max(self.complete)
    }

    /// How far the server may be told that everything is done: nothing, before it is known to be the one that sent it.
    pub(crate) fn done(&self, confirmed: u64) -> u64 {
        if self.owed.is_none() { confirmed } else { 0 }
    }

    /// The server has decoded what stands before `place`.
    fn settle(&mut self, place: u64) -> Result<(), Broken> {
        match self.owed {
            Some(commit) if place > commit => Err(went_back(commit).into()),
            _ => Ok(()),
        }
    }

    /// Everything after `confirmed` is delivered again.
    pub(crate) fn rewind(&mut self, confirmed: u64) {
        self.begin_again();
        self.delivered = confirmed.saturating_sub(1);
        self.seen = self.seen();
        self.complete = confirmed;
        self.history.rewind(confirmed);
    }

    /// Whether no transaction is open.
    pub(crate) fn is_between(&self) -> bool {
        self.open.is_none()
    }

    /// The newest commit of which something was given.
    pub(crate) fn begun(&self) -> u64 {
        self.open.as_ref().filter(|o| o.begun).map_or(self.delivered, |o| o.transaction.commit)
    }

    /// The newest delivered commit at or before a place, as far as it is remembered.
    pub(crate) fn boundary(&self, reached: u64) -> u64 {
        self.history.newest_at(reached).unwrap_or(reached.min(self.delivered))
    }

    /// Takes one message of the walsender.
    pub(crate) fn take(
        &mut self,
        tag: u8,
        body: &[u8],
        ordinary: &mut Session,
        out: &mut dyn Capture,
    ) -> Result<Step, Broken> {
        match (tag, body.first()) {
            (b'd', Some(b'w')) => {
                let message = body.get(25..).ok_or(Fault::Protocol(ODD))?;
                self.message(message, ordinary, out).map(Step::Rows)
            }
            (b'd', Some(b'k')) => {
                let mut reader = Reader::new(body);
                reader.u8();
                let (place, _, asks) = (reader.u64(), reader.u64(), reader.u8());
                let place = place.ok_or(Fault::Protocol(ODD))?;
                if self.open.is_none() {
                    self.settle(place)?;
                    self.complete = self.complete.max(place);
                }
                Ok(Step::Alive { place, asks: asks == Some(1) })
            }
            (b'E', _) => Err(refusal(body).into()),
            (b'N' | b'S', _) => Ok(Step::Rows(0)),
            (b'c', _) => Err(Fault::Lost("the server ended the stream".to_owned()).into()),
            _ => Err(Fault::Protocol("a message that no stream has").into()),
        }
    }

    fn message(
        &mut self,
        message: &[u8],
        ordinary: &mut Session,
        out: &mut dyn Capture,
    ) -> Result<u64, Broken> {
        let (tag, rest) = message.split_first().ok_or(Fault::Protocol(ODD))?;
        match tag {
            b'I' | b'U' | b'D' => self.rows(*tag, message, out),
            b'B' => self.begin(rest).map(|()| 0),
            b'C' => self.commit(rest, out).map(|()| 0),
            b'R' => self.relation(rest, ordinary).map(|()| 0),
            b'T' => self.truncate(rest, out),
            // Types (the catalog says more), origins, messages; an abort of what was never streamed (PostgreSQL 18).
            b'Y' | b'O' | b'M' | b'A' => Ok(0),
            _ => Err(Fault::Protocol(ODD).into()),
        }
    }

    fn begin(&mut self, body: &[u8]) -> Result<(), Broken> {
        let mut reader = Reader::new(body);
        let (Some(commit), Some(at), Some(number)) = (reader.u64(), reader.i64(), reader.u32()) else {
            return Err(Fault::Protocol(ODD).into());
        };
        if self.open.is_some() {
            return Err(Fault::Protocol("a transaction begins inside another").into());
        }
        let committed_at = UnixMicros(at.saturating_add(EPOCH_MICROS));
        let transaction = Transaction { number: number.into(), commit, committed_at };
        let token = format!("{} {number} {}", lsn_text(commit), committed_at.0);
        let token = Token::new(token.into_bytes()).map_err(|_| Fault::Protocol(ODD))?;
        let passed = commit <= self.delivered;
        self.settle(commit)?;
        self.open = Some(Open { transaction, token, begun: false, index: 0, passed, agreed: false });
        Ok(())
    }

    fn commit(&mut self, body: &[u8], out: &mut dyn Capture) -> Result<(), Broken> {
        let mut reader = Reader::new(body);
        reader.u8();
        let (commit, end) = (reader.u64(), reader.u64());
        let open = self.open.take().ok_or(Fault::Protocol("a commit without a begin"))?;
        let Some(end) = end.filter(|_| commit == Some(open.transaction.commit)) else {
            return Err(Fault::Protocol("a commit of another transaction").into());
        };
        if open.begun {
            if let Err(stop) = out.commit(&open.transaction) {
                self.open = Some(open);
                return Err(stop.into());
            }
            self.history.push(open.transaction.commit, open.token);
            self.delivered = open.transaction.commit;
        }
        self.complete = self.complete.max(end);
        Ok(())
    }

    fn relation(&mut self, body: &[u8], ordinary: &mut Session) -> Result<(), Broken> {
        let relation = Relation::read(body).ok_or(Fault::Protocol(ODD))?;
        let index = self.tables.iter().position(|t| {
            let (schema, name) = crate::server::schema_and_name(&t.name);
            relation.name.strip_prefix(schema).and_then(|r| r.strip_prefix('.')) == Some(name)
        });
        let Some((index, table)) = index.and_then(|i| self.tables.get(i).map(|t| (i, t))) else {
            self.mappers.insert(relation.id, None);
            return Ok(());
        };
        let wanted: Vec<(u32, i32)> =
            relation.columns.iter().map(|(_, oid, modifier, _)| (*oid, *modifier)).collect();
        let types = catalog::types(ordinary, &wanted)?;
        self.installed.check(&relation.shape(&types))?;
        let columns: Vec<_> = relation
            .columns
            .iter()
            .zip(&types)
            .map(|((name, _, _, identity), typed)| (name.clone(), typed.kind, *identity))
            .collect();
        self.mappers.insert(relation.id, Some(Mapper::new(index, table, relation.identity == 'f', &columns)));
        Ok(())
    }

    fn rows(&mut self, tag: u8, message: &[u8], out: &mut dyn Capture) -> Result<u64, Broken> {
        let Flow { mappers, space, open, history, owed, .. } = self;
        let open = open.as_mut().ok_or(Fault::Protocol("a row outside a transaction"))?;
        let id = message.get(1..5).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b));
        let mapper =
            id.and_then(|id| mappers.get(&id)).ok_or(Fault::Protocol("a row of an unknown relation"))?;
        let Some(mapper) = mapper else { return Ok(0) };
        if open.passed {
            return open.pass(history, owed).map(|()| 0);
        }
        open.begin(out)?;
        let first = open.index;
        mapper.changes(tag, message, space, |mut change| {
            change.index = open.index;
            open.index += 1;
            out.row(&change).map_err(Broken::from)
        })?;
        Ok(open.index - first)
    }

    fn truncate(&mut self, body: &[u8], out: &mut dyn Capture) -> Result<u64, Broken> {
        let Flow { mappers, open, history, owed, .. } = self;
        let open = open.as_mut().ok_or(Fault::Protocol("a truncate outside a transaction"))?;
        let mut reader = Reader::new(body);
        let (Some(count), Some(_)) = (reader.u32(), reader.u8()) else {
            return Err(Fault::Protocol(ODD).into());
        };
        let mut given = 0;
        for _ in 0..count {
            let id = reader.u32().ok_or(Fault::Protocol(ODD))?;
            let mapper = mappers.get(&id).ok_or(Fault::Protocol("a truncate of an unknown relation"))?;
            let Some(mapper) = mapper else { continue };
            if open.passed {
                open.pass(history, owed)?;
                continue;
            }
            open.begin(out)?;
            out.row(&Change {
                table: mapper.table,
                operation: Operation::Truncate,
                index: open.index,
                with_next: false,
                before: None,
                after: None,
            })?;
            open.index += 1;
            given += 1;
        }
        Ok(given)
    }
}

impl Open {
    /// A transaction begins with its first row: one without rows of these tables is not given.
    fn begin(&mut self, out: &mut dyn Capture) -> Result<(), Stop> {
        if !self.begun {
            out.begin(&self.transaction, &self.token)?;
            self.begun = true;
        }
        Ok(())
    }

    /// A transaction of ours that was delivered already is passed over, if it is that one.
    fn pass(&mut self, history: &History, owed: &mut Option<u64>) -> Result<(), Broken> {
        let commit = self.transaction.commit;
        if !self.agreed {
            if !history.agrees(commit, &self.token) {
                return Err(went_back(commit).into());
            }
            owed.take_if(|owed| *owed == commit);
            self.agreed = true;
        }
        Ok(())
    }
}

/// The server has another history than the one that was delivered.
fn went_back(commit: u64) -> SourceError {
    SourceError::WentBack {
        what: format!(
            "at {} the server no longer has the transaction that was delivered: it was restored from a copy",
            lsn_text(commit)
        ),
    }
}

/// Looks for one commit in what the slot still has, and takes no row.
pub(crate) struct Finder {
    pub(crate) commit: u64,
    pub(crate) found: Option<Token>,
    /// Whether the stream is beyond the commit.
    pub(crate) passed: bool,
}

impl Capture for Finder {
    fn begin(&mut self, transaction: &Transaction, token: &Token) -> Result<(), Stop> {
        if transaction.commit == self.commit {
            self.found = Some(token.clone());
        }
        self.passed = transaction.commit >= self.commit;
        if self.passed { Err(Stop) } else { Ok(()) }
    }

    fn row(&mut self, _: &Change<'_>) -> Result<(), Stop> {
        Ok(())
    }

    fn commit(&mut self, _: &Transaction) -> Result<(), Stop> {
        Ok(())
    }
}

/// The place after a commit, the start before any.
pub(crate) fn end_of(commit: u64) -> At {
    if commit == 0 { At::START } else { At::end_of(commit) }
}
