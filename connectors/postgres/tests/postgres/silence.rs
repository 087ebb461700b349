//! A network that swallows everything without a word.

use crate::bench::{Register, claimant, words};
use connectors_postgres::{PostgresSource, Server};
use connectors_source::Source;
use connectors_source::conformance::{Recorder, read};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Forwards to a server; what was connected before `swallow` is kept open and hears nothing any more.
struct Network {
    port: u16,
    swallow: Arc<std::sync::Mutex<Arc<AtomicBool>>>,
}

impl Network {
    fn before(server: u16) -> Network {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let swallow = Arc::new(std::sync::Mutex::new(Arc::new(AtomicBool::new(false))));
        let current = Arc::clone(&swallow);
        std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let swallowed = Arc::clone(&current.lock().unwrap());
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to, swallowed) =
                        (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&swallowed));
                    std::thread::spawn(move || forward(from, to, &swallowed));
                }
            }
        });
        Network { port, swallow }
    }

    fn swallow(&self) {
        let mut current = self.swallow.lock().unwrap();
        current.store(true, Ordering::SeqCst);
        *current = Arc::new(AtomicBool::new(false));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, swallowed: &AtomicBool) {
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            // An end is swallowed too: neither side learns that the other is gone.
            Ok(0) | Err(_) if swallowed.load(Ordering::SeqCst) => {
                std::thread::sleep(Duration::from_secs(3600))
            }
            Ok(0) | Err(_) => break,
            Ok(_) if swallowed.load(Ordering::SeqCst) => {}
            Ok(read) => {
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// P10: no error, no data, no end. The source notices by its own question, and takes its place back from its own old sessions.
#[test]
fn a_connection_that_is_gone_without_a_word_is_noticed_and_made_again() {
    let register = Register::of("CREATE TABLE t (id int PRIMARY KEY)", &["id"], &["id"]);
    let mut application = register.application();
    application.run(&format!("ALTER DATABASE {} SET wal_sender_timeout = '10s'", register.server.database));
    let network = Network::before(register.server.port);
    let server = Server { port: network.port, ..register.server.clone() };
    let mut source = PostgresSource::claim(&server, &register.tables, &claimant()).unwrap();
    application.run("INSERT INTO t VALUES (1)");
    let mut recorder = Recorder::default();
    let at = read(&mut source, &mut recorder);
    source.acknowledge(at).unwrap();
    network.swallow();
    application.run("INSERT INTO t VALUES (2)");
    let began = Instant::now();
    let error = loop {
        match source.poll(Duration::from_millis(50), &mut recorder) {
            Err(error) => break error,
            Ok(_) => assert!(began.elapsed() < Duration::from_secs(60), "the silence is not noticed"),
        }
    };
    assert_eq!(error.code(), "CAP001", "{error}");
    source.rewind().unwrap();
    read(&mut source, &mut recorder);
    let changes: Vec<String> = recorder.taken.iter().flat_map(|t| &t.changes).map(words).collect();
    assert_eq!(changes, ["insert 0 [1]", "insert 0 [2]"]);
    assert!(began.elapsed() < Duration::from_secs(90));
}
