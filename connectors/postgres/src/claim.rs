//! The claim: one connector holds a slot at a time.
//!
//! Two things make it. An advisory lock of an ordinary session, named after the slot, keeps the place while the stream is
//! begun anew. And the slot itself: the server lets one walsender have it (`START_REPLICATION ... 0/0`), so what a taken-over
//! holder still says of its place reaches nobody. Both end with the holder's connections, also by `kill -9`.

use crate::server::Server;
use crate::shape::Installed;
use bridge_event::{At, Incarnation, Token, UnixMicros};
use bridge_pgwire::{ANSWER, Session};
use bridge_pgwire::{Fault, Pen};
use bridge_pgwire::{literal, quoted};
use connectors_source::{Claimant, SourceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The first half of the advisory lock's key: "gbrg". The second is the slot's name.
const LOCK_CLASS: i32 = 0x6762_7267;
/// How long a claimant waits for a holder whose connection is just ending.
const ENDING: Duration = Duration::from_secs(2);
/// How long a slot may stay active after its reader is gone.
const SLOT_ENDING: Duration = Duration::from_secs(20);
/// The least and the most that a server may be silent after it was asked.
const SILENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How often at most the server hears from us while nothing else is said.
const PULSE_MAX: Duration = Duration::from_secs(10);

/// What the server's activity view shows of a claimant: at most 63 bytes.
pub(crate) fn name(who: &Claimant) -> String {
    format!("govbridge {}", who.line(16))
}

/// The slot as the server's view has it.
pub(crate) struct SlotState {
    pub(crate) plugin: String,
    pub(crate) database: String,
    pub(crate) active_pid: Option<String>,
    pub(crate) confirmed: u64,
    pub(crate) status: String,
    /// Why the server invalidated it (17 on), empty where it does not say.
    pub(crate) reason: String,
    pub(crate) temporary: bool,
}

/// A place of the write-ahead log as the server writes it.
pub(crate) fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let (high, low) = (u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?);
    (high <= u64::from(u32::MAX) && low <= u64::from(u32::MAX)).then_some(high << 32 | low)
}

/// The same as text.
pub(crate) fn lsn_text(place: u64) -> String {
    format!("{:X}/{:X}", place >> 32, place & u64::from(u32::MAX))
}

/// Everything up to `confirmed` (exclusive) is done: the place after the last such commit.
pub(crate) fn place(confirmed: u64) -> At {
    confirmed.checked_sub(1).map_or(At::START, At::end_of)
}

pub(crate) fn unavailable(fault: &Fault) -> SourceError {
    match fault {
        Fault::Refused { code, message } if code.starts_with("28") => SourceError::Unsuitable {
            what: format!("the server refuses the role: {message}"),
            remedy: "correct user and password of [source], or pg_hba.conf".to_owned(),
        },
        Fault::Refused { code, message } if code == "42501" => SourceError::Unsuitable {
            what: format!("the role may not: {message}"),
            remedy: "give it REPLICATION and SELECT on the shared tables".to_owned(),
        },
        Fault::Refused { code, message } if code == "3D000" => SourceError::Unsuitable {
            what: message.clone(),
            remedy: "correct database of [source]".to_owned(),
        },
        Fault::Refused { code, message } if code == "53400" => SourceError::Unsuitable {
            what: message.clone(),
            remedy: "raise max_replication_slots, or drop a slot that nobody reads: a connector needs its own and, while a \
                     snapshot begins, another"
                .to_owned(),
        },
        // Not the connection, and not a moment's want: the server fails at its own log or memory, and would do so again.
        Fault::Refused { code, message } if code.starts_with("XX") => SourceError::Storage {
            what: format!(
                "{message} (SQLSTATE {code}); an `invalid memory alloc request size` is mended by PostgreSQL's newest minor \
                 release, or the row is too large for the server to send"
            ),
        },
        Fault::Long(bytes) => SourceError::Unreadable {
            what: format!("a row takes {bytes} bytes on the wire, and at most 256 MiB are taken"),
        },
        fault => SourceError::Unavailable { what: fault.to_string() },
    }
}

/// Looks the slot up, `None` when there is none.
pub(crate) fn slot_state(session: &mut Session, slot: &str) -> Result<Option<SlotState>, Fault> {
    let rows = session.query(&format!(
        "SELECT plugin, database, active_pid, confirmed_flush_lsn, wal_status, temporary, \
                to_jsonb(s) ->> 'invalidation_reason' \
           FROM pg_replication_slots s WHERE slot_name = {}",
        literal(slot)
    ))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text = |at: usize| row.get(at).cloned().flatten();
    Ok(Some(SlotState {
        plugin: text(0).unwrap_or_default(),
        database: text(1).unwrap_or_default(),
        active_pid: text(2),
        confirmed: text(3).and_then(|t| lsn(&t)).unwrap_or(0),
        status: text(4).unwrap_or_default(),
        temporary: text(5).is_some_and(|t| t == "t"),
        reason: text(6).unwrap_or_default(),
    }))
}

/// What `--create` wrote, `None` when there is no publication of that name.
pub(crate) fn installed(
    session: &mut Session,
    publication: &str,
) -> Result<Option<Option<Installed>>, Fault> {
    let rows = session.query(&format!(
        "SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = {}",
        literal(publication)
    ))?;
    Ok(rows.first().map(|row| row.first().cloned().flatten().and_then(|text| Installed::from_text(&text))))
}

/// The advisory lock's key.
fn lock_key(slot: &str) -> String {
    format!("{LOCK_CLASS}, hashtext({})", literal(slot))
}

/// Who holds the slot's lock: the server's process and its name.
fn lock_holder(session: &mut Session, slot: &str) -> Result<Option<(String, String)>, Fault> {
    let rows = session.query(&format!(
        "SELECT l.pid, coalesce(a.application_name, '') FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {LOCK_CLASS} AND l.objsubid = 2 \
           AND l.objid = (hashtext({})::bigint & 4294967295)::oid \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        literal(slot)
    ))?;
    Ok(rows.first().map(|row| {
        let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        (text(0), text(1))
    }))
}

fn is_locked(session: &mut Session, slot: &str) -> Result<bool, Fault> {
    let rows = session.query(&format!("SELECT pg_try_advisory_lock({})", lock_key(slot)))?;
    Ok(rows.first().and_then(|r| r.first().cloned().flatten()).is_some_and(|t| t == "t"))
}

/// Opens the session that holds the lock. A holder that is ending is waited for; one that hangs is ended by `take_over`.
/// `gone` is a session of our own that does not answer: the server may not know it yet.
pub(crate) fn lock(
    server: &Server,
    who: &Claimant,
    take_over: bool,
    gone: Option<i32>,
) -> Result<Session, SourceError> {
    let mut session = Session::open(&server.session(), false, &name(who)).map_err(|f| unavailable(&f))?;
    let until = Instant::now() + if take_over { ANSWER } else { ENDING };
    loop {
        if is_locked(&mut session, &server.slot).map_err(|f| unavailable(&f))? {
            return Ok(session);
        }
        let holder = lock_holder(&mut session, &server.slot).map_err(|f| unavailable(&f))?;
        if let Some((pid, _)) = &holder
            && (take_over || gone.is_some_and(|gone| *pid == gone.to_string()))
        {
            terminate(&mut session, pid).map_err(|f| unavailable(&f))?;
        }
        if Instant::now() > until {
            let (pid, name) = holder.unwrap_or_default();
            return Err(SourceError::Claimed { holder: format!("{name} (the server's process {pid})") });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(session: &mut Session, pid: &str) -> Result<(), Fault> {
    let Ok(pid) = pid.parse::<i32>() else { return Ok(()) };
    session.query(&format!("SELECT pg_terminate_backend({pid})")).map(|_| ())
}

/// After a connection broke: whether somebody else holds the slot now.
pub(crate) fn is_held_by_another(server: &Server, who: &Claimant) -> bool {
    let look = || -> Result<bool, Fault> {
        let mut session = Session::open(&server.session(), false, &name(who))?;
        Ok(lock_holder(&mut session, &server.slot)?.is_some_and(|(_, holder)| holder != name(who)))
    };
    look().unwrap_or(false)
}

/// Gives the lock back before the session ends, so that the next claimant need not wait for the server to notice.
pub(crate) fn unlock(session: &mut Session, slot: &str) {
    // When it fails the session is gone, and the lock with it.
    let _ = session.query_within(&format!("SELECT pg_advisory_unlock({})", lock_key(slot)), ENDING);
}

/// The stream: a walsender that has the slot.
#[derive(Debug)]
pub(crate) struct Streaming {
    pub(crate) session: Session,
    /// How long the server may be silent: as long as it waits for us.
    pub(crate) patience: Duration,
    pulse: Pulse,
}

/// A walsender that has no slot yet.
pub(crate) struct Walsender {
    session: Session,
    /// Who the server says it is, but for the creation of capture.
    pub(crate) incarnation: Incarnation,
    timeout: Duration,
}

impl Walsender {
    /// Opens one, and asks the server who it is.
    pub(crate) fn open(server: &Server, who: &Claimant) -> Result<Walsender, SourceError> {
        let mut session = Session::open(&server.session(), true, &name(who)).map_err(|f| unavailable(&f))?;
        let incarnation = identify(&mut session, server).map_err(|f| unavailable(&f))?;
        let timeout = session.query("SHOW wal_sender_timeout").map_err(|f| unavailable(&f))?;
        let timeout = timeout.first().and_then(|r| r.first().cloned().flatten());
        Ok(Walsender { session, incarnation, timeout: timeout_of(timeout.as_deref().unwrap_or("0")) })
    }
}

impl Streaming {
    /// Begins the stream at the slot's own place, which it gives too. A walsender of a connection that is gone is waited
    /// for, and ended.
    pub(crate) fn start(
        server: &Server,
        who: &Claimant,
        walsender: Walsender,
        ordinary: &mut Session,
        binary: bool,
    ) -> Result<(Streaming, u64), SourceError> {
        let Walsender { mut session, timeout, .. } = walsender;
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {}, binary '{binary}')",
            quoted(&server.slot),
            bridge_pgwire::literal(&quoted(&server.publication)).trim_start_matches('E')
        );
        let until = Instant::now() + SLOT_ENDING;
        while let Err(fault) = begin(&mut session, &command) {
            match &fault {
                Fault::Refused { code, .. } if code == "55006" => {
                    let state = slot_state(ordinary, &server.slot).map_err(|f| unavailable(&f))?;
                    let pid = state.and_then(|s| s.active_pid);
                    let held = holder_of(ordinary, pid.as_deref()).map_err(|f| unavailable(&f))?;
                    let ours = held.as_deref().is_some_and(is_claimant);
                    if let (true, Some(pid)) = (ours, &pid) {
                        terminate(ordinary, pid).map_err(|f| unavailable(&f))?;
                    }
                    // A process without a session has just ended, and lets go of the slot by itself.
                    if Instant::now() > until || (!ours && held.is_some()) {
                        let (pid, held) = (pid.unwrap_or_default(), held.unwrap_or_default());
                        return Err(SourceError::Claimed {
                            holder: format!("{held} (the server's process {pid})"),
                        });
                    }
                    std::thread::sleep(Duration::from_millis(10));
                }
                Fault::Refused { code, message } if code == "55000" || code == "58P01" => {
                    return Err(SourceError::Missing {
                        what: format!("the slot cannot be read on: {message}"),
                    });
                }
                Fault::Refused { code, message } if code == "42704" => {
                    return Err(SourceError::NotCreated { what: message.clone() });
                }
                fault => return Err(unavailable(fault)),
            }
        }
        // What an earlier walsender still heard may have moved the slot until now.
        let kept =
            slot_state(ordinary, &server.slot).map_err(|f| unavailable(&f))?.map_or(0, |s| s.confirmed);
        let pulse = Pulse::start(session.socket.pen().clone(), pulse_every(timeout), kept, who.since);
        let patience = if timeout.is_zero() { SILENCE.1 } else { timeout.clamp(SILENCE.0, SILENCE.1) };
        Ok((Streaming { session, patience, pulse }, kept))
    }

    /// Says how far everything was received and is done, and whether the server should answer.
    pub(crate) fn say(&self, received: u64, done: u64, answer: bool) -> Result<(), Fault> {
        self.pulse.said.received.fetch_max(received, Ordering::SeqCst);
        self.pulse.said.done.fetch_max(done, Ordering::SeqCst);
        self.pulse.said.write(answer)
    }
}

/// The name of a process's session, `None` when there is no such session any more.
fn holder_of(ordinary: &mut Session, pid: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(pid) = pid.and_then(|p| p.parse::<i32>().ok()) else { return Ok(None) };
    let rows = ordinary.query(&format!("SELECT application_name FROM pg_stat_activity WHERE pid = {pid}"))?;
    Ok(rows.first().map(|row| row.first().cloned().flatten().unwrap_or_default()))
}

/// Whether a session's name is a claimant's: what `--create` waits for is not ended.
fn is_claimant(name: &str) -> bool {
    name.strip_prefix("govbridge ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn begin(session: &mut Session, command: &str) -> Result<(), Fault> {
    session.send(b'Q', command)?;
    let until = Instant::now() + ANSWER;
    let mut refused = None;
    loop {
        let (tag, range) = session.socket.take(until)?;
        match tag {
            b'W' => return Ok(()),
            b'E' => refused = Some(bridge_pgwire::refusal(session.socket.bytes(&range))),
            b'Z' => return Err(refused.unwrap_or(Fault::Protocol("no stream, and no reason"))),
            _ => {}
        }
    }
}

/// Who the server says it is.
fn identify(session: &mut Session, server: &Server) -> Result<Incarnation, Fault> {
    let rows = session.query("IDENTIFY_SYSTEM")?;
    let row = rows.first().ok_or(Fault::Protocol("IDENTIFY_SYSTEM gave no row"))?;
    let text = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    Ok(Incarnation {
        engine: "postgresql".to_owned(),
        system: text(0),
        timeline: text(1).parse().unwrap_or(0),
        database: server.database.clone(),
        slot: server.slot.clone(),
        consistent_point: Token::default(),
    })
}

/// The server's patience, which is `0` (for ever) or a number with a unit.
fn timeout_of(timeout: &str) -> Duration {
    let digits = timeout.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = timeout.split_at(digits);
    let number: u64 = number.parse().unwrap_or(0);
    match unit {
        "ms" | "" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_secs(number.saturating_mul(60)),
        _ => Duration::from_secs(number.saturating_mul(3600)),
    }
}

/// A third of the server's patience.
fn pulse_every(patience: Duration) -> Duration {
    if patience.is_zero() { PULSE_MAX } else { (patience / 3).min(PULSE_MAX) }
}

/// What the server was told.
#[derive(Debug)]
struct Said {
    pen: Pen,
    received: AtomicU64,
    done: AtomicU64,
    /// The claimant's clock when the stream began, and since when that is.
    began: (UnixMicros, Instant),
}

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Said {
    /// Sends a standby status update.
    fn write(&self, answer: bool) -> Result<(), Fault> {
        let (received, done) = (self.received.load(Ordering::SeqCst), self.done.load(Ordering::SeqCst));
        let elapsed = i64::try_from(self.began.1.elapsed().as_micros()).unwrap_or(0);
        let clock = self.began.0.0.saturating_add(elapsed).saturating_sub(EPOCH_MICROS);
        let mut body = vec![b'r'];
        for place in [received.max(done), done, done] {
            body.extend_from_slice(&place.to_be_bytes());
        }
        body.extend_from_slice(&clock.to_be_bytes());
        body.push(u8::from(answer));
        self.pen.write(&bridge_pgwire::with_length(Some(b'd'), &body))
    }
}

/// Speaks to the server while the path is blocked: a thread of its own, which ends with this.
#[derive(Debug)]
struct Pulse {
    said: Arc<Said>,
    stop: Option<Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Pulse {
    fn start(pen: Pen, every: Duration, confirmed: u64, since: UnixMicros) -> Pulse {
        let said = Arc::new(Said {
            pen,
            received: AtomicU64::new(confirmed),
            done: AtomicU64::new(confirmed),
            began: (since, Instant::now()),
        });
        let (stop, stopped) = channel();
        let speaker = Arc::clone(&said);
        let thread = std::thread::Builder::new().name("postgres-pulse".to_owned()).spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if speaker.write(false).is_err() {
                    break;
                }
            }
        });
        Pulse { said, stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its end says nothing that is not known.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_the_log_is_read_as_it_is_written() {
        for place in [0, 1, 0x016B_3748, u64::MAX, 1 << 32] {
            assert_eq!(lsn(&lsn_text(place)), Some(place));
        }
        for bad in ["", "1", "/", "1/G", "1/100000000", "0/0/0"] {
            assert_eq!(lsn(bad), None, "{bad}");
        }
    }

    /// P17, F16: what a new attempt meets again is not tried again.
    #[test]
    fn a_fault_that_comes_again_halts_and_says_what_to_do() {
        let refused = |code: &str, message: &str| {
            unavailable(&Fault::Refused { code: code.to_owned(), message: message.to_owned() })
        };
        for (error, code, word) in [
            (
                refused("XX000", "invalid memory alloc request size 1095000000"),
                "CAP012",
                "newest minor release",
            ),
            (refused("53400", "all replication slots are in use"), "CAP005", "max_replication_slots"),
            (refused("42501", "permission denied to start WAL sender"), "CAP005", "REPLICATION"),
            (unavailable(&Fault::Long(300 << 20)), "CAP009", "256 MiB"),
            (refused("57P03", "the database system is starting up"), "CAP001", "tried again"),
            (refused("53300", "sorry, too many clients already"), "CAP001", "tried again"),
        ] {
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn the_pulse_is_a_third_of_the_servers_patience() {
        assert_eq!(pulse_every(timeout_of("1min")), Duration::from_secs(10));
        assert_eq!(pulse_every(timeout_of("6s")), Duration::from_secs(2));
        assert_eq!(pulse_every(timeout_of("1500ms")), Duration::from_millis(500));
        assert_eq!(pulse_every(timeout_of("0")), Duration::from_secs(10));
    }

    #[test]
    fn a_claimants_name_fits_the_servers_view() {
        let who = Claimant { pid: u32::MAX, host: "h".repeat(200), since: UnixMicros(i64::MAX) };
        assert!(name(&who).len() <= 63, "{}", name(&who).len());
        assert!(is_claimant(&name(&who)) && !is_claimant("govbridge --create"));
    }
}
