//! How often the same code is logged: whoever can write to a topic must not be able to fill this machine's log as well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Lines of one code within a window; what comes after them is counted, and the count is told at the window's end.
const LINES_MAX: u64 = 20;

const WINDOW: Duration = Duration::from_secs(60);

/// Findings of this window, by code.
#[derive(Debug)]
pub(crate) struct Quiet {
    begun: Instant,
    said: BTreeMap<&'static str, u64>,
}

impl Quiet {
    pub(crate) fn new(now: Instant) -> Quiet {
        Quiet { begun: now, said: BTreeMap::new() }
    }

    /// Whether one more finding of this code has a line of its own.
    pub(crate) fn allows(&mut self, code: &'static str) -> bool {
        let said = self.said.entry(code).or_default();
        *said = said.saturating_add(1);
        *said <= LINES_MAX
    }

    /// At a window's end: the codes of which some had no line, and of how many. Empty before.
    pub(crate) fn untold(&mut self, now: Instant) -> Vec<(&'static str, u64)> {
        if now.saturating_duration_since(self.begun) < WINDOW {
            return Vec::new();
        }
        self.begun = now;
        let said = std::mem::take(&mut self.said);
        said.into_iter()
            .filter(|(_, said)| *said > LINES_MAX)
            .map(|(code, said)| (code, said - LINES_MAX))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_code_gets_a_few_lines_and_a_count() {
        let begun = Instant::now();
        let mut quiet = Quiet::new(begun);
        let told = (0..1000).filter(|_| quiet.allows("VER001")).count();
        assert_eq!(told, 20);
        assert!(quiet.allows("VER011"), "another code has its own lines");
        assert_eq!(quiet.untold(begun + WINDOW / 2), []);
        assert_eq!(quiet.untold(begun + WINDOW), [("VER001", 980)]);
        assert!(quiet.allows("VER001"), "a new window");
    }
}
