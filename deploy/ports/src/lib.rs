//! Ports of this machine for the processes of a trial or a test, reserved before the processes are started.
//!
//! *In scope*: a TCP port on 127.0.0.1 that stays free until the process that it is meant for listens on it.
//! *Out of scope*: production, where a configuration file names each address.
//!
//! A port that the system gave out a moment ago may become the near end of somebody's connection before the process
//! that it was meant for listens on it. Ports here lie below the range that the system gives out, so that no connection
//! takes them; and the UDP port of the same number is held as long as the reservation lives, so that no other trial or
//! test on this machine reserves the same one. The system lets go of it when the holder ends, however it ends.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// The lowest port that is tried; below it stand the ports of well-known services.
const LOWEST: u16 = 10_240;

/// The end of the range where the system does not say where its own begins (Linux's own default).
const HIGHEST: u16 = 32_768;

/// A port of 127.0.0.1, reserved while this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Never read or written: the reservation.
    _held: UdpSocket,
}

impl Port {
    /// Reserves a port.
    ///
    /// # Errors
    /// `AddrInUse` when all of them are taken.
    pub fn reserve() -> io::Result<Port> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let range = LOWEST..system_range_begin().max(LOWEST + 1);
        let width = range.end - range.start;
        // Processes begin at different places, so that they seldom meet.
        let own = u16::try_from(std::process::id().wrapping_mul(37) % u32::from(width)).unwrap_or_default();
        for _ in 0..width {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % width;
            let number = range.start
                + u16::try_from((u32::from(own) + u32::from(step)) % u32::from(width)).unwrap_or_default();
            if let Some(port) = Port::try_reserve(number) {
                return Ok(port);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "no port of 127.0.0.1 is free below the system's own range",
        ))
    }

    /// Reserves this port unless somebody has reserved it or listens on it.
    fn try_reserve(number: u16) -> Option<Port> {
        let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Port { number, _held: held })
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// The first port that the system gives out by itself.
fn system_range_begin() -> u16 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let begin = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
    // A range that reaches down to the well-known ports leaves nothing below it; then a port of it must do.
    begin.filter(|begin| *begin > LOWEST).unwrap_or(HIGHEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends by panicking")]
    use super::*;

    #[test]
    fn a_reserved_port_is_given_once_and_can_be_listened_on() {
        let first = Port::reserve().unwrap();
        let second = Port::reserve().unwrap();
        assert_ne!(first.number(), second.number());
        assert!(Port::try_reserve(first.number()).is_none());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first.number())).unwrap();
        assert_eq!(listener.local_addr().unwrap().port(), first.number());
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_reserved() {
        let port = Port::reserve().unwrap();
        let number = port.number();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        drop(port);
        assert!(Port::try_reserve(number).is_none());
    }

    #[test]
    fn the_system_gives_no_reserved_port_to_a_connection() {
        let reserved = Port::reserve().unwrap().number();
        let given = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        assert!(reserved < system_range_begin() && given >= system_range_begin(), "{reserved} {given}");
    }
}
