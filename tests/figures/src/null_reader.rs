//! A reader with the connector's own socket and options that only receives: the limit of what any connector can reach.

use anyhow::{Context, Result, anyhow, bail};
use bridge_pgwire::{ANSWER, Fault, Server, Session, with_length};
use std::time::{Duration, Instant};

/// Standby status: received up to here, nothing done. The server asks for it, and ends a reader that says nothing.
fn status(place: u64) -> Vec<u8> {
    let mut body = vec![b'r'];
    for place in [place, 0, 0, 0] {
        body.extend_from_slice(&place.to_be_bytes());
    }
    body.push(0);
    with_length(Some(b'd'), &body)
}

fn failed(fault: Fault) -> anyhow::Error {
    anyhow!("{fault}")
}

/// Receives so many rows from a slot, whose publication has the same name.
pub(crate) fn run(port: u16, database: &str, slot: &str, rows: u64) -> Result<()> {
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port,
        database: database.to_owned(),
        user: "postgres".to_owned(),
        password: None,
        tls: bridge_pgwire::Tls::of_host("127.0.0.1"),
    };
    let mut session = Session::open(&server, true, "figures null-reader").map_err(failed)?;
    let command = format!(
        "START_REPLICATION SLOT \"{slot}\" LOGICAL 0/0 (proto_version '1', publication_names '{slot}', binary 'true')"
    );
    session.send(b'Q', &command).map_err(failed)?;
    let (mut received, mut last) = (0, Instant::now());
    while received < rows {
        while let Some((tag, range)) = session.socket.next_message().map_err(failed)? {
            let body = session.socket.bytes(&range);
            last = Instant::now();
            match (tag, body.first(), body.get(25)) {
                (b'd', Some(b'w'), Some(b'I')) => received += 1,
                (b'd', Some(b'k'), _) if body.get(17) == Some(&1) => {
                    let place = body
                        .get(1..9)
                        .and_then(|b| b.first_chunk())
                        .context("a keepalive without a place")?;
                    session.socket.pen().write(&status(u64::from_be_bytes(*place))).map_err(failed)?;
                }
                (b'E', ..) => bail!("the server refused: {}", bridge_pgwire::refusal(body)),
                _ => {}
            }
        }
        if last.elapsed() > ANSWER {
            bail!("{received} of {rows} rows came");
        }
        session.socket.fill(Duration::from_millis(50)).map_err(failed)?;
    }
    Ok(())
}
