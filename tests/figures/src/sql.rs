//! An application's connection to PostgreSQL: simple queries, trust authentication. Written apart from the connector's
//! own, so that what is compared does not come through what is measured.

use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

/// One row, each value as text.
pub(crate) type Row = Vec<Option<String>>;

/// A connection.
#[derive(Debug)]
pub(crate) struct Sql {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Sql {
    /// Connects to a database of the server on this port.
    pub(crate) fn connect(port: u16, database: &str) -> Result<Sql> {
        let writer = TcpStream::connect(("127.0.0.1", port)).context("PostgreSQL does not answer")?;
        writer.set_nodelay(true)?;
        let reader = BufReader::with_capacity(1 << 16, writer.try_clone()?);
        let mut sql = Sql { reader, writer };
        let mut body = vec![0, 3, 0, 0];
        body.extend_from_slice(
            format!("user\0postgres\0database\0{database}\0client_encoding\0UTF8\0\0").as_bytes(),
        );
        sql.send(&[], &body)?;
        sql.answer(&mut |_| Ok(()))?;
        Ok(sql)
    }

    fn send(&mut self, tag: &[u8], body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4)?.to_be_bytes();
        self.writer.write_all(&[tag, &length, body].concat()).context("the connection to PostgreSQL broke")
    }

    /// Reads up to the server's "ready".
    fn answer(&mut self, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let mut refused = None;
        loop {
            let mut head = [0; 5];
            self.reader.read_exact(&mut head).context("the connection to PostgreSQL broke")?;
            let [tag, length @ ..] = head;
            let length = usize::try_from(u32::from_be_bytes(length))?;
            let mut body = vec![0; length.checked_sub(4).context("a message without a length")?];
            self.reader.read_exact(&mut body)?;
            match tag {
                b'D' => each(row(&body)?)?,
                b'E' => {
                    let words = String::from_utf8_lossy(&body).replace('\0', " ");
                    if words.contains("FATAL") {
                        bail!("PostgreSQL: {words}");
                    }
                    refused = Some(words);
                }
                b'Z' => return refused.map_or(Ok(()), |words| Err(anyhow!("PostgreSQL: {words}"))),
                _ => {}
            }
        }
    }

    /// Runs a command or several; gives all their rows.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.each(sql, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Runs a query and hands on its rows one by one.
    pub(crate) fn each(&mut self, sql: &str, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        self.send(b"Q", &[sql.as_bytes(), &[0]].concat())?;
        self.answer(each).with_context(|| sql.chars().take(200).collect::<String>())
    }

    /// The one value of a query.
    pub(crate) fn value(&mut self, sql: &str) -> Result<String> {
        let rows = self.run(sql)?;
        Ok(rows.into_iter().flatten().next().flatten().unwrap_or_default())
    }
}

fn row(body: &[u8]) -> Result<Row> {
    let odd = "a row that ends early";
    let (count, mut rest) = body.split_first_chunk::<2>().context(odd)?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>().context(odd)?;
        rest = after;
        row.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => None,
            Ok(length) => {
                let (value, after) = rest.split_at_checked(length).context(odd)?;
                rest = after;
                Some(String::from_utf8(value.to_vec())?)
            }
        });
    }
    Ok(row)
}
