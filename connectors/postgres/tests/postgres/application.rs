//! An application's connection, written apart from the connector's own: simple queries, trust authentication.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// The port of the server that `deploy/dev/services.sh` starts when none runs.
pub(crate) fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let is_root = |folder: &&Path| folder.join("deploy/dev/services.sh").exists();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(is_root).unwrap();
        let major = std::env::var("PG").unwrap_or_else(|_| "18".to_owned());
        let up = Command::new(root.join("deploy/dev/services.sh"))
            .args(["up", "postgres"])
            .env("PG", major)
            .status();
        assert!(up.unwrap().success(), "deploy/dev/services.sh up postgres failed: its words are above");
        let state = std::fs::read_to_string(root.join("target/services/state")).unwrap();
        let line = state.lines().find_map(|line| line.strip_prefix("POSTGRES_PORT="));
        line.unwrap().parse().unwrap()
    })
}

pub(crate) struct Application {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Application {
    pub(crate) fn connect(port: u16, database: &str) -> Application {
        Application::connect_as(port, database, "postgres")
    }

    pub(crate) fn connect_as(port: u16, database: &str, user: &str) -> Application {
        Application::try_connect_as(port, database, user).unwrap()
    }

    /// The same for a server that may be away.
    pub(crate) fn try_connect(port: u16, database: &str) -> Result<Application, String> {
        Application::try_connect_as(port, database, "postgres")
    }

    fn try_connect_as(port: u16, database: &str, user: &str) -> Result<Application, String> {
        let writer = TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string())?;
        writer.set_nodelay(true).unwrap();
        let mut application = Application { reader: BufReader::new(writer.try_clone().unwrap()), writer };
        let mut body = vec![0, 3, 0, 0];
        body.extend_from_slice(
            format!("user\0{user}\0database\0{database}\0client_encoding\0UTF8\0\0").as_bytes(),
        );
        application.send(&[], &body)?;
        application.answer()?;
        Ok(application)
    }

    fn send(&mut self, tag: &[u8], body: &[u8]) -> Result<(), String> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.writer.write_all(&[tag, &length, body].concat()).map_err(|e| e.to_string())
    }

    /// Rows up to the server's "ready", or its refusal.
    fn answer(&mut self) -> Result<Vec<Vec<Option<String>>>, String> {
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            let mut head = [0; 5];
            self.reader.read_exact(&mut head).map_err(|e| e.to_string())?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            self.reader.read_exact(&mut body).map_err(|e| e.to_string())?;
            match head[0] {
                b'D' => rows.push(row(&body)),
                b'E' => {
                    let words = String::from_utf8_lossy(&body).replace('\0', " ");
                    if words.contains("FATAL") {
                        return Err(words);
                    }
                    refused = Some(words);
                }
                b'Z' => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    pub(crate) fn attempt(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
        self.send(b"Q", &[sql.as_bytes(), &[0]].concat())?;
        self.answer()
    }

    pub(crate) fn run(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let shown: String = sql.chars().take(300).collect();
        self.attempt(sql).unwrap_or_else(|e| panic!("{e}: {shown}"))
    }

    /// The one value of a query.
    pub(crate) fn value(&mut self, sql: &str) -> String {
        self.run(sql)[0][0].clone().unwrap_or_default()
    }
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    let mut at = 2;
    (0..count)
        .map(|_| {
            let length = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
            at += 4;
            let length = usize::try_from(length).ok()?;
            at += length;
            Some(String::from_utf8(body[at - length..at].to_vec()).unwrap())
        })
        .collect()
}
