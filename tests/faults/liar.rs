//! A witness that lies: a small HTTP server in the place of an honest one, that answers what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server answers to `add-checkpoint`, and shows as the newest checkpoint that it has cosigned.
#[derive(Clone, Debug, Default)]
pub struct Lie {
    /// Status and body of the answer; none is silence.
    pub answer: Option<(u16, String)>,
    /// The checkpoint; none is 404.
    pub shown: Option<String>,
}

/// The server. It ends with this value.
pub struct Liar {
    lie: Arc<Mutex<Lie>>,
    stop: Arc<AtomicBool>,
    address: String,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    /// Listens where the witness should.
    pub fn listen(address: &str, lie: Lie) -> Liar {
        let listener = TcpListener::bind(address).unwrap();
        let (lie, stop) = (Arc::new(Mutex::new(lie)), Arc::new(AtomicBool::new(false)));
        let (told, stopped) = (Arc::clone(&lie), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (lie, stopped) = (told.lock().unwrap().clone(), Arc::clone(&stopped));
                std::thread::spawn(move || answer(stream, &lie, &stopped));
            }
        });
        Liar { lie, stop, address: address.to_owned(), thread: Some(thread) }
    }

    /// Lies otherwise from now on.
    pub fn tell(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // One more connection, so that it looks.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request, one answer. A client that goes away in the middle is no concern of a liar.
fn answer(stream: TcpStream, lie: &Lie, stopped: &AtomicBool) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length = line.strip_prefix("content-length:").and_then(|n| n.trim().parse().ok()).unwrap_or(length);
    }
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    let (status, body) = if first.starts_with("POST") {
        let Some(answer) = lie.answer.clone() else {
            while !stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return None;
        };
        answer
    } else {
        lie.shown.clone().map_or((404, String::new()), |shown| (200, shown))
    };
    let mut stream = stream;
    let length = body.len();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").ok()
}
