//! A connection's bytes: read in big gulps, framed without a copy.
//!
//! Most of what a row costs the server is one `send` and one wake-up of its reader. While much comes, the kernel wakes us
//! for 256 KiB at once (`SO_RCVLOWAT`) or after two milliseconds; otherwise for the first byte, unless whoever asks would
//! do nothing with it for the next moment.

use crate::low_water;
use crate::server::Server;
use crate::tls::{self, Encrypted, SslMode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much should wait before a busy reader is woken.
const GULP_BYTES: usize = 256 << 10;
/// The buffer; it holds two gulps.
const INBOX_BYTES: usize = 2 * GULP_BYTES;
/// The longest message: a row of 64 MiB as text (bytea doubles), before and after.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// How long a gulp may gather.
const GATHER: Duration = Duration::from_millis(2);
/// What comes in that time when gulps are worth waiting for.
const GATHERED_BYTES: usize = 8 << 10;
/// How long a connection attempt and a write may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What went wrong on a connection.
#[derive(Debug)]
pub enum Fault {
    /// The connection could not be made, or broke.
    Lost(String),
    /// The server refused.
    Refused {
        /// SQLSTATE.
        code: String,
        /// The first line.
        message: String,
    },
    /// A row takes so many bytes, which is over the limit.
    Long(usize),
    /// The server said what the protocol does not allow.
    Protocol(&'static str),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Lost(what) => write!(f, "{what}"),
            Fault::Refused { code, message } => write!(f, "{message} (SQLSTATE {code})"),
            Fault::Long(bytes) => {
                write!(f, "a row of {bytes} bytes, and at most {MESSAGE_BYTES_MAX} are taken")
            }
            Fault::Protocol(what) => write!(f, "the server does not follow its protocol: {what}"),
        }
    }
}

fn lost(error: &std::io::Error) -> Fault {
    if error.kind() == ErrorKind::PermissionDenied {
        return tls::refused(format!("the server does not believe this side's certificate: {error}"));
    }
    Fault::Lost(format!("the connection to the server broke: {error}"))
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// What is said, and the socket to wait on.
    Tls(Encrypted, TcpStream),
}

impl Stream {
    fn connect(server: &Server) -> Result<Stream, Fault> {
        let failed = |error: std::io::Error| {
            Fault::Lost(format!("{} port {} does not answer: {error}", server.host, server.port))
        };
        let plain = server.tls.mode == SslMode::Disable;
        if server.host.starts_with('/') {
            if !plain {
                let message = "a Unix socket has no TLS: leave sslmode out".to_owned();
                return Err(Fault::Refused { code: "28000".to_owned(), message });
            }
            let path = format!("{}/.s.PGSQL.{}", server.host, server.port);
            return UnixStream::connect(path).map(Stream::Unix).map_err(failed);
        }
        let mut last = std::io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (server.host.as_str(), server.port).to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    if plain {
                        return Ok(Stream::Tcp(stream));
                    }
                    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
                    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
                    let socket = stream.try_clone().map_err(failed)?;
                    return Ok(Stream::Tls(Encrypted::begin(server, stream)?, socket));
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    fn set_nonblocking(&self) -> std::io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_nonblocking(true),
            Stream::Unix(stream) => stream.set_nonblocking(true),
            Stream::Tls(stream, _) => stream.set_nonblocking(),
        }
    }

    fn try_clone(&self) -> std::io::Result<Stream> {
        Ok(match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
            Stream::Tls(stream, socket) => Stream::Tls(stream.clone(), socket.try_clone()?),
        })
    }

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
            Stream::Tls(stream, _) => stream.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tls(stream, _) => stream.write(bytes),
        }
    }

    fn wait(&self, flags: PollFlags, wait: Duration) -> Result<(), Fault> {
        if let Stream::Tls(stream, _) = self
            && flags.contains(PollFlags::IN)
            && stream.has_waiting()
        {
            return Ok(());
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(self, flags)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(lost(&error.into())),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tls(_, socket) => socket.as_fd(),
        }
    }
}

/// The writing half, which another thread may share.
#[derive(Clone, Debug)]
pub struct Pen(Arc<Mutex<Stream>>);

impl Pen {
    /// Writes all of it, waiting for the server as long as it takes another breath within [`PATIENCE`].
    pub fn write(&self, mut bytes: &[u8]) -> Result<(), Fault> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + PATIENCE;
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(0) => return Err(Fault::Lost("the server closed the connection".to_owned())),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                    stream.wait(PollFlags::OUT, Duration::from_millis(100))?;
                }
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    pen: Pen,
    inbox: Vec<u8>,
    /// What was read and not taken stands here.
    filled: Range<usize>,
    /// Whether so much comes that gulps are worth waiting for.
    busy: bool,
    /// How much came since when, while that is being found out.
    pace: (usize, Instant),
    low_water: usize,
}

impl Socket {
    /// Connects; nothing is said yet.
    pub fn connect(server: &Server) -> Result<Socket, Fault> {
        let stream = Stream::connect(server)?;
        stream.set_nonblocking().map_err(|error| lost(&error))?;
        let pen = Pen(Arc::new(Mutex::new(stream.try_clone().map_err(|error| lost(&error))?)));
        Ok(Socket {
            stream,
            pen,
            inbox: vec![0; 16 << 10],
            filled: 0..0,
            busy: false,
            pace: (0, Instant::now()),
            low_water: 1,
        })
    }

    /// The writing half.
    pub fn pen(&self) -> &Pen {
        &self.pen
    }

    /// The next whole message that was read already: its tag, and where its body stands until the next [`Socket::fill`].
    pub fn next_message(&mut self) -> Result<Option<(u8, Range<usize>)>, Fault> {
        let waiting = self.inbox.get(self.filled.clone()).unwrap_or_default();
        let Some(([tag, length @ ..], rest)) = waiting.split_first_chunk::<5>() else { return Ok(None) };
        let length = body_bytes(*tag, *length)?;
        if rest.len() < length {
            return Ok(None);
        }
        let body = self.filled.start + 5..self.filled.start + 5 + length;
        self.filled.start = body.end;
        Ok(Some((*tag, body)))
    }

    /// The bytes of a message.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.inbox.get(range.clone()).unwrap_or_default()
    }

    /// Reads what comes in the next moment, two milliseconds at most; says whether anything came. A reader for whom a byte
    /// more makes no difference before then is woken once for all of it, and not for each message.
    pub fn gather(&mut self, moment: Duration) -> Result<bool, Fault> {
        self.make_room()?;
        self.wake_at(GULP_BYTES);
        self.stream.wait(PollFlags::IN, moment.min(GATHER))?;
        let read = self.read()?;
        self.keep_pace(read);
        Ok(read > 0)
    }

    /// Reads what there is, waiting at most `wait` for the first of it; says whether anything came.
    pub fn fill(&mut self, wait: Duration) -> Result<bool, Fault> {
        self.make_room()?;
        if self.busy {
            self.wake_at(GULP_BYTES);
            self.stream.wait(PollFlags::IN, GATHER)?;
            let read = self.read()?;
            self.busy = read >= GATHERED_BYTES;
            if read > 0 {
                return Ok(true);
            }
        }
        self.wake_at(1);
        let mut read = self.read()?;
        if read == 0 && !wait.is_zero() {
            self.stream.wait(PollFlags::IN, wait)?;
            read = self.read()?;
        }
        self.keep_pace(read);
        Ok(read > 0)
    }

    fn keep_pace(&mut self, read: usize) {
        self.pace.0 += read;
        if self.pace.1.elapsed() >= GATHER {
            self.busy = self.pace.0 >= GATHERED_BYTES;
            self.pace = (0, Instant::now());
        }
    }

    fn wake_at(&mut self, bytes: usize) {
        // What TLS has read already the kernel does not count.
        if self.low_water != bytes && !matches!(self.stream, Stream::Tls(..)) {
            low_water::set(self.stream.as_fd(), i32::try_from(bytes).unwrap_or(1));
            self.low_water = bytes;
        }
    }

    fn read(&mut self) -> Result<usize, Fault> {
        let mut total = 0;
        while let Some(room) = self.inbox.get_mut(self.filled.end..).filter(|room| !room.is_empty()) {
            match self.stream.read(room) {
                // What the server said before it closed is read first: it may say why.
                Ok(0) if total > 0 => break,
                Ok(0) => return Err(Fault::Lost("the server closed the connection".to_owned())),
                Ok(read) => {
                    self.filled.end += read;
                    total += read;
                    if total >= GULP_BYTES {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(total)
    }

    /// Moves what waits to the front, and makes the buffer as large as the message that is coming.
    fn make_room(&mut self) -> Result<(), Fault> {
        self.inbox.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let wanted = match self.inbox.first_chunk() {
            Some::<&[u8; 5]>([tag, length @ ..]) if self.filled.len() >= 5 => body_bytes(*tag, *length)? + 5,
            _ => 0,
        };
        let size = if wanted > INBOX_BYTES { wanted + GULP_BYTES } else { INBOX_BYTES };
        if self.inbox.len() < size {
            // A large message is read as it comes: no more than twice what is there is reserved.
            let grown = size.min(self.inbox.len().saturating_mul(2)).max(INBOX_BYTES);
            self.inbox.resize(grown, 0);
        } else if self.inbox.len() > 2 * size && self.filled.len() < INBOX_BYTES {
            self.inbox.truncate(size);
            self.inbox.shrink_to_fit();
        }
        Ok(())
    }

    /// The next message, waiting for it until `until`.
    pub fn take(&mut self, until: Instant) -> Result<(u8, Range<usize>), Fault> {
        loop {
            if let Some(frame) = self.next_message()? {
                return Ok(frame);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Fault::Lost("the server does not answer".to_owned()));
            }
            self.fill(left)?;
        }
    }
}

/// A message's length includes its own four bytes. Only a row, or what a stream or a copy sends, may honestly be too long.
fn body_bytes(tag: u8, length: [u8; 4]) -> Result<usize, Fault> {
    let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    match bytes.checked_sub(4) {
        None => Err(Fault::Protocol("a message without a length")),
        Some(body) if body > MESSAGE_BYTES_MAX && matches!(tag, b'd' | b'D') => Err(Fault::Long(body)),
        Some(body) if body > MESSAGE_BYTES_MAX => Err(Fault::Protocol("a message over 256 MiB")),
        Some(body) => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_over_the_limit_is_told_from_a_server_that_is_no_postgresql() {
        let length = |body: usize| u32::try_from(body + 4).unwrap().to_be_bytes();
        assert_eq!(body_bytes(b'd', length(MESSAGE_BYTES_MAX)).unwrap(), MESSAGE_BYTES_MAX);
        for tag in [b'd', b'D'] {
            let fault = body_bytes(tag, length(MESSAGE_BYTES_MAX + 1)).unwrap_err();
            assert!(matches!(fault, Fault::Long(bytes) if bytes == MESSAGE_BYTES_MAX + 1));
        }
        assert!(matches!(body_bytes(b'H', *b"TTP/"), Err(Fault::Protocol(_))));
        assert!(matches!(body_bytes(b'd', [0, 0, 0, 3]), Err(Fault::Protocol(_))));
    }
}
