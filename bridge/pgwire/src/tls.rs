//! TLS with a server: the request before the startup message, who is believed, and one stream that two may use.

use crate::server::Server;
use crate::socket::Fault;
use openssl::ssl::{
    ErrorCode, HandshakeError, SslConnector, SslFiletype, SslMethod, SslStream, SslVerifyMode, SslVersion,
};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// What asks a server for TLS: its length and its number (PostgreSQL, section 54.7, SSLRequest).
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How far a server has to prove who it is. The words are libpq's; `allow` and `prefer` are not offered, because whoever stands
/// in between chooses plain text then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Plain text.
    Disable,
    /// Encrypted with whoever answers.
    Require,
    /// A certificate of one of the roots, whatever its name.
    VerifyCa,
    /// A certificate of one of the roots for this host's name.
    VerifyFull,
}

impl SslMode {
    /// What a host gets that nobody said anything about: plain text on this machine, proof everywhere else.
    #[must_use]
    pub fn of_host(host: &str) -> SslMode {
        let loopback = host.parse::<std::net::IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
        if host.starts_with('/') || loopback { SslMode::Disable } else { SslMode::VerifyFull }
    }
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(word: &str) -> Result<SslMode, String> {
        match word {
            "disable" => Ok(SslMode::Disable),
            "require" => Ok(SslMode::Require),
            "verify-ca" => Ok(SslMode::VerifyCa),
            "verify-full" => Ok(SslMode::VerifyFull),
            _ => Err(format!("{word:?} is none of disable, require, verify-ca, verify-full")),
        }
    }
}

/// How a session is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// How far the server has to prove who it is.
    pub mode: SslMode,
    /// The roots, PEM; a mode that verifies needs them.
    pub root: Option<PathBuf>,
    /// The client's certificate with its chain, and its key, PEM.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// What a host gets that nobody said anything about.
    #[must_use]
    pub fn of_host(host: &str) -> Tls {
        Tls { mode: SslMode::of_host(host), root: None, own: None }
    }
}

/// A stream that its reader and its writer share.
#[derive(Clone, Debug)]
pub(crate) struct Encrypted(Arc<Mutex<SslStream<TcpStream>>>);

impl Encrypted {
    /// Asks the server for TLS, and shakes hands. The stream blocks, with its time limits.
    pub(crate) fn begin(server: &Server, mut stream: TcpStream) -> Result<Encrypted, Fault> {
        let lost = |error: Error| Fault::Lost(format!("the connection to the server broke: {error}"));
        stream.write_all(&REQUEST).map_err(lost)?;
        // One byte and no more: what follows it in plain text is nobody's.
        let mut answer = [0];
        stream.read_exact(&mut answer).map_err(lost)?;
        if answer != *b"S" {
            return Err(refused("the server does not offer TLS".to_owned()));
        }
        let failed = |error: openssl::error::ErrorStack| refused(error.to_string());
        let Tls { mode, root, own } = &server.tls;
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(failed)?;
        let verifies = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
        match root {
            Some(root) => builder.set_ca_file(root).map_err(|error| {
                refused(format!("sslrootcert {} cannot be read: {error}", root.display()))
            })?,
            None if verifies => return Err(refused("sslrootcert names no file with the roots".to_owned())),
            None => {}
        }
        if !verifies {
            builder.set_verify(SslVerifyMode::NONE);
        }
        if let Some((certificate, key)) = own {
            let named = |error: openssl::error::ErrorStack| {
                refused(format!("{} with {}: {error}", certificate.display(), key.display()))
            };
            builder.set_certificate_chain_file(certificate).map_err(named)?;
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(named)?;
            builder.check_private_key().map_err(named)?;
        }
        let mut configured = builder.build().configure().map_err(failed)?;
        configured.set_verify_hostname(*mode == SslMode::VerifyFull);
        match configured.connect(&server.host, stream) {
            Ok(stream) => Ok(Encrypted(Arc::new(Mutex::new(stream)))),
            Err(HandshakeError::Failure(middle)) => {
                let verdict = middle.ssl().verify_result();
                let proof = if verdict == openssl::x509::X509VerifyResult::OK {
                    String::new()
                } else {
                    format!(", its certificate is not believed: {verdict}")
                };
                Err(refused(format!("no TLS with {}{proof} ({})", server.host, middle.error())))
            }
            Err(error) => Err(Fault::Lost(format!("the server does not shake hands: {error}"))),
        }
    }

    pub(crate) fn set_nonblocking(&self) -> std::io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_ref().set_nonblocking(true)
    }

    /// Whether bytes wait here that the kernel does not know of.
    pub(crate) fn has_waiting(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ssl().pending() > 0
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ssl_read(into).or_else(of_ssl)
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ssl_write(bytes).or_else(of_ssl)
    }
}

pub(crate) fn refused(what: String) -> Fault {
    let message = format!("TLS: {what}; check sslmode, sslrootcert, sslcert and sslkey");
    Fault::Refused { code: "28000".to_owned(), message }
}

fn of_ssl(error: openssl::ssl::Error) -> std::io::Result<usize> {
    match error.code() {
        ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => Err(ErrorKind::WouldBlock.into()),
        ErrorCode::ZERO_RETURN => Ok(0),
        _ if is_of_our_certificate(&error) => Err(Error::new(ErrorKind::PermissionDenied, error)),
        _ => Err(error.into_io_error().unwrap_or_else(Error::other)),
    }
}

/// With TLS 1.3 a server says only after the handshake that it does not believe a client's certificate.
fn is_of_our_certificate(error: &openssl::ssl::Error) -> bool {
    let reasons = error.ssl_error().into_iter().flat_map(|stack| stack.errors());
    reasons.filter_map(openssl::error::Error::reason).any(|reason| {
        reason.contains("alert") && (reason.contains("certificate") || reason.contains("unknown ca"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_has_to_prove_who_it_is_unless_told_otherwise() {
        for here in ["/run/postgresql", "localhost", "127.0.0.1", "127.8.8.8", "::1"] {
            assert_eq!(SslMode::of_host(here), SslMode::Disable, "{here}");
        }
        for there in ["db.gov.example", "10.0.0.1", "localhost.gov.example"] {
            assert_eq!(SslMode::of_host(there), SslMode::VerifyFull, "{there}");
        }
        assert_eq!("verify-ca".parse(), Ok(SslMode::VerifyCa));
        for word in ["prefer", "allow", "Require", ""] {
            assert!(word.parse::<SslMode>().is_err(), "{word}");
        }
    }
}
