//! How much of the server's log the slot holds, asked in a session of its own: it is asked most when everything else waits.

use crate::claim::unavailable;
use crate::server::Server;
use bridge_pgwire::{Fault, Session, literal};
use connectors_source::{Gauge, Retained, SourceError};
use std::time::Duration;

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A slot's hold on the log.
#[derive(Debug)]
pub(crate) struct SlotGauge {
    server: Server,
    /// Kept between two questions; made anew after a fault.
    session: Option<Session>,
}

impl SlotGauge {
    pub(crate) fn new(server: Server) -> SlotGauge {
        SlotGauge { server, session: None }
    }

    fn ask(&mut self) -> Result<Retained, Fault> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::open(&self.server.session(), false, "govbridge gauge")?),
        };
        // What may still be written before the slot is given up is NULL where it never is, and may be less than nothing.
        let sql = format!(
            "SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint, safe_wal_size \
               FROM pg_replication_slots WHERE slot_name = {}",
            literal(&self.server.slot)
        );
        let rows = session.query_within(&sql, ANSWER)?;
        let number = |at: usize| rows.first()?.get(at)?.as_ref()?.parse::<i64>().ok();
        let bytes = number(0).map_or(0, i64::unsigned_abs);
        Ok(Retained { bytes, limit: number(1).map(|left| bytes.saturating_add_signed(left)) })
    }
}

impl Gauge for SlotGauge {
    fn retained(&mut self) -> Result<Retained, SourceError> {
        let answer = self.ask();
        if answer.is_err() {
            self.session = None;
        }
        answer.map_err(|fault| unavailable(&fault))
    }
}
