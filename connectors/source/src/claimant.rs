//! Who claims a source.

use bridge_event::UnixMicros;

/// Who claims a source; what another claimant is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The process's number on its host.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// When it claimed, by its clock.
    pub since: UnixMicros,
}

impl Claimant {
    /// This process, on this host, from `now` on.
    pub fn here(now: UnixMicros) -> Claimant {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Claimant { pid: std::process::id(), host: host.trim().to_owned(), since: now }
    }

    /// All three in one line without control characters, the time in seconds; of the host at most so many bytes.
    pub fn line(&self, host_bytes_max: usize) -> String {
        let host: String = self.host.chars().filter(char::is_ascii_graphic).take(host_bytes_max).collect();
        format!("{} on {host} since {}", self.pid, self.since.0.div_euclid(1_000_000))
    }
}
