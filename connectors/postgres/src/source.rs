//! A PostgreSQL database as a source.

use crate::catalog;
use crate::claim::{
    Streaming, Walsender, installed, is_held_by_another, lock, lsn, lsn_text, place, slot_state, unavailable,
    unlock,
};
use crate::gauge::SlotGauge;
use crate::replication::{Broken, Finder, Flow, POLL_ROWS_MAX, Step, end_of};
use crate::server::Server;
use crate::shape::Installed;
use bridge_event::{At, Incarnation, Token};
use bridge_pgwire::Fault;
use bridge_pgwire::Session;
use connectors_source::{
    Capture, Claimant, Gauge, Polled, Recognised, SnapshotRows, Source, SourceError, Table,
};
use std::time::{Duration, Instant};

/// How far the server's log may run on while nothing of it is ours, before this is said.
const IDLE_BYTES_MAX: u64 = 1 << 20;
/// How long our own session may take to show that it is alive, before another takes its place.
const OWN_ANSWER: Duration = Duration::from_secs(5);
/// How long the server may take to say how far it is.
const WORD: Duration = Duration::from_secs(60);
/// As many equal words in a row say that a server has decoded all it can, even where its log ends inside a record.
const EQUAL_WORDS: u32 = 4;
/// A wait that is so short is for what gathers meanwhile, not for the first of it.
const MOMENT: Duration = Duration::from_millis(2);

/// A database under this process's claim.
pub struct PostgresSource {
    pub(crate) server: Server,
    pub(crate) who: Claimant,
    incarnation: Incarnation,
    pub(crate) ordinary: Session,
    /// `None` when it must be begun anew.
    streaming: Option<Streaming>,
    flow: Flow,
    /// Everything before this place may be forgotten by the slot.
    confirmed: u64,
    /// Our own questions that it has not answered.
    unanswered: u32,
    /// When the server was heard last, and when it was asked since.
    heard: (Instant, Option<Instant>),
    /// Another connector took the slot over.
    lost: bool,
}

impl std::fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSource")
            .field("server", &self.server)
            .field("confirmed", &self.confirmed)
            .finish_non_exhaustive()
    }
}

impl PostgresSource {
    /// Claims the slot for `tables`, which [`crate::create`] has prepared.
    ///
    /// Errors: [`SourceError::Claimed`] when another connector holds it, [`SourceError::NotCreated`] and
    /// [`SourceError::Drifted`] when what was prepared does not fit, [`SourceError::Missing`] when the slot is gone or
    /// invalidated.
    pub fn claim(server: &Server, tables: &[Table], who: &Claimant) -> Result<PostgresSource, SourceError> {
        Self::open(server, tables, who, false)
    }

    /// Claims the slot from a holder that hangs; its sessions are ended. Never part of a plain start.
    pub fn take_over(
        server: &Server,
        tables: &[Table],
        who: &Claimant,
    ) -> Result<PostgresSource, SourceError> {
        Self::open(server, tables, who, true)
    }

    fn open(
        server: &Server,
        tables: &[Table],
        who: &Claimant,
        take_over: bool,
    ) -> Result<PostgresSource, SourceError> {
        let mut ordinary = lock(server, who, take_over, None)?;
        if is_standby(&mut ordinary)? {
            return Err(SourceError::Unsuitable {
                what: "the server is a standby".to_owned(),
                remedy: "name the primary in [source] host".to_owned(),
            });
        }
        let prepared = prepared(&mut ordinary, server, tables)?;
        kept(&mut ordinary, server)?;
        let walsender = Walsender::open(server, who)?;
        let incarnation = identified(walsender.incarnation.clone(), &prepared.installed)?;
        let (streaming, confirmed) =
            Streaming::start(server, who, walsender, &mut ordinary, prepared.binary)?;
        Ok(PostgresSource {
            server: server.clone(),
            who: who.clone(),
            incarnation,
            ordinary,
            streaming: Some(streaming),
            flow: Flow::new(tables.to_vec(), prepared.installed, confirmed),
            confirmed,
            unanswered: 0,
            heard: (Instant::now(), None),
            lost: false,
        })
    }

    /// What a broken connection means: another connector has the slot, or the server is away.
    pub(crate) fn broken(&mut self, fault: &Fault) -> SourceError {
        let connection = match fault {
            Fault::Lost(_) | Fault::Long(_) | Fault::Protocol(_) => true,
            Fault::Refused { code, .. } => code.starts_with("57P") || code.starts_with("08"),
        };
        if connection {
            self.streaming = None;
            if self.lost || is_held_by_another(&self.server, &self.who) {
                self.lost = true;
                return SourceError::ClaimLost;
            }
        }
        match fault {
            // The walsender decodes: what it refuses then is the slot's or the publication's own state.
            Fault::Refused { code, message } if code == "55000" || code == "58P01" => {
                SourceError::Missing { what: format!("the slot cannot be read on: {message}") }
            }
            Fault::Refused { code, message } if code == "42704" => {
                SourceError::NotCreated { what: message.clone() }
            }
            fault => unavailable(fault),
        }
    }

    /// Checks that the claim still holds.
    pub(crate) fn check_claim(&mut self) -> Result<(), SourceError> {
        if self.lost {
            return Err(SourceError::ClaimLost);
        }
        self.ordinary.query("SELECT 1").map(drop).map_err(|fault| self.broken(&fault))
    }

    /// Checks that a table's shape was accepted.
    pub(crate) fn accepts(&self, now: &crate::shape::Shape) -> Result<(), SourceError> {
        self.flow.installed.check(now)
    }

    /// Begins the stream anew where it ended, claiming again first when the lock's session is gone too.
    fn reconnect(&mut self) -> Result<(), SourceError> {
        if self.lost {
            return Err(SourceError::ClaimLost);
        }
        self.streaming = None;
        if self.ordinary.query_within("SELECT 1", OWN_ANSWER).is_err() {
            let gone = Some(self.ordinary.pid);
            self.ordinary = lock(&self.server, &self.who, false, gone).map_err(|error| match error {
                SourceError::Claimed { .. } => SourceError::ClaimLost,
                error => error,
            })?;
        }
        if is_standby(&mut self.ordinary)? {
            return Err(SourceError::Unavailable { what: "the server is a standby now".to_owned() });
        }
        let walsender = Walsender::open(&self.server, &self.who)?;
        self.check_server(&walsender.incarnation)?;
        let prepared = prepared(&mut self.ordinary, &self.server, &self.flow.tables)?;
        let kept = kept(&mut self.ordinary, &self.server)?;
        if kept > self.confirmed {
            return Err(SourceError::Missing {
                what: format!(
                    "the slot stands at {} and was acknowledged to {}: somebody else moved it",
                    lsn_text(kept),
                    lsn_text(self.confirmed)
                ),
            });
        }
        if identified(walsender.incarnation.clone(), &prepared.installed)? != self.incarnation {
            return Err(SourceError::Missing { what: "capture was created anew".to_owned() });
        }
        let (streaming, kept) =
            Streaming::start(&self.server, &self.who, walsender, &mut self.ordinary, prepared.binary)?;
        self.flow.installed = prepared.installed;
        self.flow.begin_at(kept);
        self.unanswered = 0;
        self.heard = (Instant::now(), None);
        self.streaming = Some(streaming);
        Ok(())
    }

    /// After a connection was lost: it is the same server, and it has not lost what it sent.
    fn check_server(&mut self, found: &Incarnation) -> Result<(), SourceError> {
        let known = &self.incarnation;
        if (&found.system, found.timeline) != (&known.system, known.timeline) {
            return Err(SourceError::Missing {
                what: format!(
                    "the server says that it is system {}, timeline {}, and it was system {}, timeline {}",
                    found.system, found.timeline, known.system, known.timeline
                ),
            });
        }
        let end = self.log_end().map_err(|fault| unavailable(&fault))?;
        let had = self.flow.seen();
        if end < had {
            return Err(SourceError::WentBack {
                what: format!("the server's log ends at {}, and it had {}", lsn_text(end), lsn_text(had)),
            });
        }
        Ok(())
    }

    fn replicate(&mut self, wait: Duration, out: &mut dyn Capture) -> Result<Polled, SourceError> {
        if self.streaming.is_none() {
            self.reconnect()?;
        }
        match self.follow(wait, out) {
            Ok(polled) => Ok(polled),
            Err(Broken::Stopped) => {
                self.streaming = None;
                self.flow.begin_again();
                Ok(Polled::Stopped)
            }
            Err(Broken::Failed(error)) => {
                self.streaming = None;
                self.flow.begin_again();
                Err(error)
            }
            Err(Broken::Lost(fault)) => {
                self.streaming = None;
                self.flow.begin_again();
                Err(self.broken(&fault))
            }
        }
    }

    fn follow(&mut self, wait: Duration, out: &mut dyn Capture) -> Result<Polled, Broken> {
        let until = Instant::now() + wait;
        // The server's log as it ends now; asked only when nothing came and nobody waits.
        let mut end: Option<u64> = None;
        let mut words = Words::default();
        loop {
            let given = self.drain(out, &mut words)?;
            if given > 0 {
                return Ok(Polled::Delivered);
            }
            if end.is_some_and(|end| self.flow.complete >= end) || words.equal >= EQUAL_WORDS {
                return Ok(Polled::Idle { at: self.idle_at() });
            }
            let left = until.saturating_duration_since(Instant::now());
            let Some(streaming) = self.streaming.as_mut() else {
                return Err(Fault::Protocol("no stream").into());
            };
            // Whoever waits for so short a time has rows already, and does nothing with more of them before.
            let socket = &mut streaming.session.socket;
            let soon = !wait.is_zero() && wait <= MOMENT;
            if end.is_none() && if soon { socket.gather(left) } else { socket.fill(left) }? {
                self.heard = (Instant::now(), None);
                continue;
            }
            self.mind_silence()?;
            if !wait.is_zero() {
                if Instant::now() < until {
                    continue;
                }
                // Inside a transaction more is on its way.
                if !self.flow.is_between() {
                    return Ok(Polled::Delivered);
                }
                return Ok(Polled::Idle { at: self.idle_at() });
            }
            self.ask(&mut end, &mut words)?;
        }
    }

    /// A connection that is gone without a word looks like an idle one: the server is asked, and must answer.
    fn mind_silence(&mut self) -> Result<(), Fault> {
        let Some(streaming) = &self.streaming else { return Ok(()) };
        let (heard, asked) = self.heard;
        match asked {
            Some(asked) if asked.elapsed() >= streaming.patience => {
                Err(Fault::Lost("the server is silent, though it was asked".to_owned()))
            }
            None if heard.elapsed() >= streaming.patience / 2 => {
                self.heard.1 = Some(Instant::now());
                self.unanswered = self.unanswered.saturating_add(1);
                streaming.say(self.flow.complete, self.flow.done(self.confirmed), true)
            }
            _ => Ok(()),
        }
    }

    /// Takes every message that was read; says how many rows it gave.
    fn drain(&mut self, out: &mut dyn Capture, words: &mut Words) -> Result<u64, Broken> {
        let Some(streaming) = self.streaming.as_mut() else { return Ok(0) };
        let (mut given, mut asked) = (0, false);
        while given < POLL_ROWS_MAX {
            let Some((tag, range)) = streaming.session.socket.next_message()? else { break };
            let body = streaming.session.socket.bytes(&range);
            match self.flow.take(tag, body, &mut self.ordinary, out)? {
                Step::Rows(rows) => given += rows,
                Step::Alive { place, asks } => {
                    self.unanswered = self.unanswered.saturating_sub(1);
                    // Answers to older questions come in one burst, and say nothing of what was decoded between them.
                    if self.unanswered == 0 {
                        words.hear(place);
                    }
                    if asks {
                        streaming.say(self.flow.complete, self.flow.done(self.confirmed), false)?;
                        asked = true;
                    }
                }
            }
        }
        if asked {
            // A server that shuts down ends ordinary sessions first, and then waits until this one has acknowledged everything,
            // which may be long: it is let go instead.
            self.ordinary.query("SELECT 1")?;
        }
        Ok(given)
    }

    /// Asks the server how far it is, and waits for its word or for rows.
    fn ask(&mut self, end: &mut Option<u64>, words: &mut Words) -> Result<(), Broken> {
        if end.is_none() {
            *end = Some(self.log_end()?);
            if end.is_some_and(|end| self.flow.complete >= end) {
                return Ok(());
            }
        } else {
            std::thread::sleep(words.pause());
        }
        let Some(streaming) = self.streaming.as_mut() else { return Ok(()) };
        if self.unanswered == 0 {
            self.unanswered = 1;
            streaming.say(self.flow.complete, self.flow.done(self.confirmed), true)?;
        }
        if streaming.session.socket.fill(WORD)? {
            Ok(())
        } else {
            Err(Fault::Lost("the server does not say how far it is".to_owned()).into())
        }
    }

    /// The end of the server's log, as far as it is on disk.
    fn log_end(&mut self) -> Result<u64, Fault> {
        let rows = self.ordinary.query("SELECT pg_current_wal_flush_lsn()")?;
        let text = rows.first().and_then(|r| r.first().cloned().flatten()).unwrap_or_default();
        lsn(&text).ok_or(Fault::Protocol("the log's end is no place"))
    }

    /// What an idle source says of itself: its last commit, or, once much of the log that is not ours has gone by, the end of that.
    fn idle_at(&self) -> At {
        let ours = self.confirmed.max(self.flow.delivered);
        if self.flow.complete.saturating_sub(ours) >= IDLE_BYTES_MAX {
            return self.reached();
        }
        place(self.confirmed).max(end_of(self.flow.delivered))
    }

    /// Everything up to here was delivered or is not ours: what a slot may let go of, so that idle tables hold no log back.
    fn reached(&self) -> At {
        place(self.confirmed.max(self.flow.complete)).max(end_of(self.flow.delivered))
    }

    /// Reads the stream ahead until it is at or beyond a commit; begins it anew afterwards.
    fn look_ahead(&mut self, commit: u64) -> Result<Option<Token>, SourceError> {
        let (delivered, complete) = (self.flow.delivered, self.flow.complete);
        let history = self.flow.history.clone();
        self.flow.begin_again();
        self.streaming = None;
        let mut finder = Finder { commit, found: None, passed: false };
        self.flow.delivered = self.confirmed.saturating_sub(1);
        loop {
            match self.replicate(Duration::ZERO, &mut finder) {
                Ok(Polled::Delivered) => {}
                Ok(Polled::Stopped | Polled::Idle { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        self.flow.rewind(self.confirmed);
        (self.flow.delivered, self.flow.complete, self.flow.history) = (delivered, complete, history);
        self.streaming = None;
        Ok(finder.found)
    }
}

/// What the server said about how far it is.
#[derive(Debug, Default)]
struct Words {
    last: Option<u64>,
    equal: u32,
}

impl Words {
    fn hear(&mut self, place: u64) {
        self.equal = if self.last == Some(place) { self.equal + 1 } else { 0 };
        self.last = Some(place);
    }

    fn pause(&self) -> Duration {
        Duration::from_millis(if self.equal == 0 { 0 } else { 1 << self.equal.min(6) })
    }
}

/// What `--create` prepared, and whether every shared column's binary form is understood.
struct Prepared {
    installed: Installed,
    binary: bool,
}

/// Checks that publication and tables are as they were prepared.
fn prepared(session: &mut Session, server: &Server, tables: &[Table]) -> Result<Prepared, SourceError> {
    let publication = &server.publication;
    let found = installed(session, publication).map_err(|f| unavailable(&f))?;
    let not_created = |what: String| SourceError::NotCreated { what };
    let installed =
        found.ok_or_else(|| not_created(format!("there is no publication {publication}")))?.ok_or_else(
            || not_created(format!("the comment of publication {publication} is not what --create wrote")),
        )?;
    let mut binary = true;
    for table in tables {
        let found = catalog::find(session, &table.name).map_err(|f| unavailable(&f))?;
        let found = found.ok_or_else(|| not_created(format!("there is no table {}", table.name)))?;
        installed.check(&found.shape(&table.name))?;
        for column in &table.columns {
            let known = found
                .column(column)
                .ok_or_else(|| not_created(format!("table {} has no column {column}", table.name)))?;
            binary &= known.typed.kind.has_binary();
        }
    }
    crate::preflight::published(session, server, tables)?;
    Ok(Prepared { installed, binary })
}

/// The slot's kept place; the slot must be there, ours in kind, and whole.
fn kept(session: &mut Session, server: &Server) -> Result<u64, SourceError> {
    let slot = &server.slot;
    let state = slot_state(session, slot).map_err(|f| unavailable(&f))?;
    let state = state.ok_or_else(|| SourceError::Missing {
        what: format!("slot {slot} is gone: what was committed since it was dropped is in no log"),
    })?;
    if state.plugin != "pgoutput" || state.temporary || state.database != server.database {
        return Err(SourceError::NotCreated {
            what: format!("slot {slot} is not a lasting pgoutput slot of database {}", server.database),
        });
    }
    if state.status == "lost" {
        let why = match state.reason.as_str() {
            "" | "wal_removed" => "the server removed log that was not captured yet (max_slot_wal_keep_size)",
            "idle_timeout" => "nobody read it for longer than idle_replication_slot_timeout",
            other => other,
        };
        return Err(SourceError::Missing { what: format!("slot {slot} is invalidated: {why}") });
    }
    Ok(state.confirmed)
}

fn is_standby(session: &mut Session) -> Result<bool, SourceError> {
    let rows = session.query("SELECT pg_is_in_recovery()").map_err(|f| unavailable(&f))?;
    Ok(rows.first().and_then(|row| row.first().cloned().flatten()).is_some_and(|t| t == "t"))
}

fn identified(incarnation: Incarnation, installed: &Installed) -> Result<Incarnation, SourceError> {
    let consistent_point = Token::new(installed.capture.clone().into_bytes())
        .map_err(|error| SourceError::Storage { what: error.to_string() })?;
    Ok(Incarnation { consistent_point, ..incarnation })
}

impl Source for PostgresSource {
    fn tables(&self) -> &[Table] {
        &self.flow.tables
    }

    fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    fn acknowledged(&self) -> At {
        place(self.confirmed)
    }

    fn newest(&mut self) -> Result<At, SourceError> {
        self.check_claim()?;
        let end = self.log_end().map_err(|fault| self.broken(&fault))?;
        Ok(place(end).max(self.reached()))
    }

    fn recognises(&mut self, at: At, token: &Token) -> Result<Recognised, SourceError> {
        let told = |known: &Token| if known == token { Recognised::Same } else { Recognised::Different };
        if at.commit == 0 {
            return Ok(Recognised::Same);
        }
        if let Some(known) = self.flow.history.token_of(at.commit) {
            return Ok(told(known));
        }
        if at.commit < self.confirmed {
            return Ok(Recognised::Forgotten);
        }
        if self.newest()?.commit < at.commit {
            return Ok(Recognised::Different);
        }
        // A snapshot stands right before a place, where no commit is: there is none to be compared.
        if token.as_bytes() == lsn_text(at.commit.saturating_add(1)).as_bytes() {
            return Ok(Recognised::Same);
        }
        Ok(self.look_ahead(at.commit)?.map_or(Recognised::Different, |known| told(&known)))
    }

    fn snapshot(&mut self, tables: &[usize], out: &mut dyn SnapshotRows) -> Result<Option<At>, SourceError> {
        self.check_claim()?;
        crate::snapshot::read(self, tables, out)
    }

    fn gauge(&self) -> Option<Box<dyn Gauge>> {
        Some(Box::new(SlotGauge::new(self.server.clone())))
    }

    fn poll(&mut self, wait: Duration, out: &mut dyn Capture) -> Result<Polled, SourceError> {
        if self.lost {
            return Err(SourceError::ClaimLost);
        }
        self.replicate(wait, out)
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        if self.lost {
            return Err(SourceError::ClaimLost);
        }
        self.flow.rewind(self.confirmed);
        self.reconnect()
    }

    fn acknowledge(&mut self, through: At) -> Result<(), SourceError> {
        self.check_claim()?;
        let refused = |what: &str| Err(SourceError::NotDelivered { through, what: what.to_owned() });
        let reached = if through.ordinal == u64::MAX {
            if end_of(through.commit) > self.reached() {
                return refused("the transaction was not delivered whole");
            }
            through.commit
        } else {
            if end_of(through.commit) > self.reached() && through.commit > self.flow.begun() {
                return refused("no transaction of that place was delivered");
            }
            through.commit.saturating_sub(1)
        };
        let boundary = if reached >= self.flow.delivered {
            // What lies behind the last commit of ours holds nothing of ours, as far as the server has decoded.
            reached.min(self.flow.delivered.max(self.flow.complete.saturating_sub(1)))
        } else {
            self.flow.boundary(reached)
        };
        if boundary >= self.confirmed {
            self.confirmed = boundary + 1;
            self.flow.history.forget_before(boundary);
            let told = match &self.streaming {
                Some(streaming) => streaming.say(self.flow.complete, self.flow.done(self.confirmed), false),
                None => Ok(()),
            };
            told.map_err(|fault| self.broken(&fault))?;
        }
        Ok(())
    }
}

impl Drop for PostgresSource {
    fn drop(&mut self) {
        self.streaming = None;
        if !self.lost {
            unlock(&mut self.ordinary, &self.server.slot);
        }
    }
}
