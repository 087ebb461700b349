//! A session: startup, authentication, queries. The same for an ordinary connection and for a walsender.

use crate::bytes::Reader;
use crate::scram::{Scram, ScramError};
use crate::server::Server;
use crate::socket::{Fault, Socket};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long an ordinary answer may take.
pub const ANSWER: Duration = Duration::from_secs(60);

/// The settings that change how a value looks as text, and those by which a server ends a session that waits. The
/// startup message says them, so neither a role's nor a database's own settings change them.
const PINNED: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "3"),
    ("lc_monetary", "C"),
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// One row of a query, each value as text.
pub type Row = Vec<Option<String>>;

/// A connection that is ready for queries.
#[derive(Debug)]
pub struct Session {
    /// The connection: a walsender's stream is read from it directly.
    pub socket: Socket,
    /// The server's process.
    pub pid: i32,
}

impl Session {
    /// Connects. `replication` makes it a walsender of the database; `name` is what the server's activity view shows.
    pub fn open(server: &Server, replication: bool, name: &str) -> Result<Session, Fault> {
        let socket = Socket::connect(server)?;
        let mut parameters: Vec<(&str, &str)> =
            vec![("user", &server.user), ("database", &server.database), ("application_name", name)];
        if replication {
            parameters.push(("replication", "database"));
        }
        let mut body = vec![0, 3, 0, 0];
        for (key, value) in parameters.iter().chain(PINNED) {
            put_text(&mut body, key);
            put_text(&mut body, value);
        }
        body.push(0);
        socket.pen().write(&with_length(None, &body))?;
        let mut session = Session { socket, pid: 0 };
        session.start(server)?;
        Ok(session)
    }

    /// Answers the server until it is ready.
    fn start(&mut self, server: &Server) -> Result<(), Fault> {
        let until = Instant::now() + ANSWER;
        let mut scram: Option<Scram<'_>> = None;
        loop {
            let (tag, range) = self.socket.take(until)?;
            let body = self.socket.bytes(&range);
            match tag {
                b'R' => {
                    if let Some(answer) = answer(body, server, &mut scram)? {
                        self.socket.pen().write(&with_length(Some(b'p'), &answer))?;
                    }
                }
                b'K' => self.pid = Reader::new(body).i32().unwrap_or(0),
                b'E' => return Err(refusal(body)),
                b'Z' => return Ok(()),
                b'S' | b'N' | b'v' => {}
                _ => return Err(Fault::Protocol("a message that no start has")),
            }
        }
    }

    /// Runs a command or several, and gives the rows of the last one that has some.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>, Fault> {
        self.query_within(sql, ANSWER)
    }

    /// The same, for what may take longer than [`ANSWER`].
    pub fn query_within(&mut self, sql: &str, patience: Duration) -> Result<Vec<Row>, Fault> {
        self.send(b'Q', sql)?;
        let until = Instant::now() + patience;
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            let (tag, range) = self.socket.take(until)?;
            let body = self.socket.bytes(&range);
            match tag {
                b'T' => rows.clear(),
                b'D' => rows.push(text_row(body)?),
                b'E' => {
                    let refusal = refusal(body);
                    if is_fatal(&refusal) {
                        return Err(refusal);
                    }
                    refused = Some(refusal);
                }
                b'Z' => return refused.map_or(Ok(rows), Err),
                b'C' | b'I' | b'N' | b'S' | b'A' => {}
                _ => return Err(Fault::Protocol("an answer that no query has")),
            }
        }
    }

    /// Sends a message that is one text.
    pub fn send(&self, tag: u8, text: &str) -> Result<(), Fault> {
        let mut body = Vec::with_capacity(text.len() + 1);
        put_text(&mut body, text);
        self.socket.pen().write(&with_length(Some(tag), &body))
    }

    /// Begins a query whose columns come each in its format, `true` for binary. [`Session::next_row`] gives its rows.
    pub fn begin_rows(&mut self, sql: &str, binary: &[bool]) -> Result<(), Fault> {
        let mut parse = Vec::new();
        put_text(&mut parse, "");
        put_text(&mut parse, sql);
        parse.extend_from_slice(&[0, 0]);
        let mut bind = vec![0, 0, 0, 0, 0, 0];
        bind.extend_from_slice(&u16::try_from(binary.len()).unwrap_or(u16::MAX).to_be_bytes());
        for column in binary {
            bind.extend_from_slice(&u16::from(*column).to_be_bytes());
        }
        let mut all = with_length(Some(b'P'), &parse);
        all.extend_from_slice(&with_length(Some(b'B'), &bind));
        all.extend_from_slice(&with_length(Some(b'E'), &[0, 0, 0, 0, 0]));
        all.extend_from_slice(&with_length(Some(b'S'), &[]));
        self.socket.pen().write(&all)
    }

    /// The next row of [`Session::begin_rows`] (where its body stands), `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<Range<usize>>, Fault> {
        let mut refused = None;
        loop {
            let (tag, range) = self.socket.take(Instant::now() + ANSWER)?;
            match tag {
                b'D' => return Ok(Some(range)),
                b'E' => {
                    let refusal = refusal(self.socket.bytes(&range));
                    if is_fatal(&refusal) {
                        return Err(refusal);
                    }
                    refused = Some(refusal);
                }
                b'Z' => return refused.map_or(Ok(None), Err),
                b'1' | b'2' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
                _ => return Err(Fault::Protocol("an answer that no query has")),
            }
        }
    }
}

/// The server ends the session after these; no "ready" follows.
pub(crate) fn is_fatal(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused { code, .. } if code.starts_with("57P") || code.starts_with("08"))
}

/// What the client answers to a request for authentication.
fn answer<'a>(
    body: &[u8],
    server: &'a Server,
    scram: &mut Option<Scram<'a>>,
) -> Result<Option<Vec<u8>>, Fault> {
    let mut reader = Reader::new(body);
    let kind = reader.u32().ok_or(Fault::Protocol("an authentication without a kind"))?;
    let words = |reader: &Reader<'_>| String::from_utf8_lossy(reader.rest()).into_owned();
    let odd = |error: ScramError| Fault::Lost(format!("authentication failed: {}", error.0));
    match kind {
        0 => Ok(None),
        10 => {
            if !words(&reader).split('\0').any(|mechanism| mechanism == "SCRAM-SHA-256") {
                return Err(Fault::Protocol("an authentication without SCRAM-SHA-256"));
            }
            let password = server.password.as_ref().ok_or_else(|| Fault::Refused {
                code: "28P01".to_owned(),
                message: format!(
                    "the server asks for the password of {}, and none is configured",
                    server.user
                ),
            })?;
            let exchange = Scram::new(password, nonce()?);
            let first = exchange.first();
            *scram = Some(exchange);
            let mut answer = Vec::new();
            put_text(&mut answer, "SCRAM-SHA-256");
            answer.extend_from_slice(&u32::try_from(first.len()).unwrap_or(0).to_be_bytes());
            answer.extend_from_slice(first.as_bytes());
            Ok(Some(answer))
        }
        11 => {
            let exchange = scram.as_mut().ok_or(Fault::Protocol("SCRAM goes on before it began"))?;
            Ok(Some(exchange.last(&words(&reader)).map_err(odd)?.into_bytes()))
        }
        12 => {
            let exchange = scram.as_ref().ok_or(Fault::Protocol("SCRAM ends before it began"))?;
            exchange.check(&words(&reader)).map_err(odd)?;
            Ok(None)
        }
        _ => Err(Fault::Refused {
            code: "28000".to_owned(),
            message:
                "the server asks for an authentication other than SCRAM-SHA-256: set password_encryption to \
                      scram-sha-256, give the role its password again, and say scram-sha-256 in pg_hba.conf"
                    .to_owned(),
        }),
    }
}

fn nonce() -> Result<String, Fault> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).map_err(|error| Fault::Lost(format!("no randomness: {error}")))?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
}

/// A server's refusal: its code and first line. Detail and context may hold values and are left where they are.
pub fn refusal(body: &[u8]) -> Fault {
    let mut reader = Reader::new(body);
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(field) = reader.u8().filter(|f| *f != 0) {
        let Some(text) = reader.text() else { break };
        match field {
            b'C' => text.clone_into(&mut code),
            b'M' => message = text.chars().filter(|c| !c.is_control()).take(300).collect(),
            _ => {}
        }
    }
    Fault::Refused { code, message }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|b| *b != 0));
    out.push(0);
}

/// A frontend message; the startup message alone has no tag.
#[must_use]
pub fn with_length(tag: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(body.len() + 5);
    message.extend(tag);
    message.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(body);
    message
}

fn text_row(body: &[u8]) -> Result<Row, Fault> {
    let odd = Fault::Protocol("a row that ends early");
    let mut reader = Reader::new(body);
    let mut row = Vec::new();
    let Some(count) = reader.u16() else { return Err(odd) };
    for _ in 0..count {
        let Some(length) = reader.i32() else { return Err(odd) };
        row.push(match usize::try_from(length) {
            Err(_) => None,
            Ok(length) => match reader.take(length) {
                Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                None => return Err(odd),
            },
        });
    }
    Ok(row)
}
