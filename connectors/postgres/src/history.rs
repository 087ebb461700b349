//! The commits that were delivered, while something may still ask for them.
//!
//! ```text
//!   floor            forgotten | known: each delivered commit with its token, and no other of ours
//!   ---------------------------+------------------------------------------------------> log
//! ```
//!
//! A server that was restored from a copy has the same identity, and other transactions in the places of those that it lost.
//! They would be passed over as delivered already: so each that is passed over must be one that stands here.

use bridge_event::Token;
use std::collections::VecDeque;

/// Commits that are remembered while they wait for their acknowledgement.
const COMMITS_MAX: usize = 65_536;

/// Delivered commits with their tokens, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Every commit from here on that was delivered stands in `commits`.
    floor: u64,
    commits: VecDeque<(u64, Token)>,
}

impl History {
    /// Nothing was delivered, and nothing is known of what stands before `floor`.
    pub(crate) fn new(floor: u64) -> History {
        History { floor, commits: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, commit: u64, token: Token) {
        if self.commits.len() >= COMMITS_MAX {
            self.pop();
        }
        self.commits.push_back((commit, token));
    }

    fn pop(&mut self) {
        if let Some((commit, _)) = self.commits.pop_front() {
            self.floor = self.floor.max(commit.saturating_add(1));
        }
    }

    /// The token of a delivered commit that is still remembered.
    pub(crate) fn token_of(&self, commit: u64) -> Option<&Token> {
        self.commits.iter().rev().find(|(known, _)| *known == commit).map(|(_, token)| token)
    }

    /// The newest delivered commit at or before a place, as far as it is remembered.
    pub(crate) fn newest_at(&self, place: u64) -> Option<u64> {
        self.commits.iter().rev().find(|(commit, _)| *commit <= place).map(|(commit, _)| *commit)
    }

    /// Whether a transaction of ours can be one that was delivered, as far as is known.
    pub(crate) fn agrees(&self, commit: u64, token: &Token) -> bool {
        commit < self.floor || self.token_of(commit) == Some(token)
    }

    /// Forgets what stands before an acknowledged commit, which itself is kept.
    pub(crate) fn forget_before(&mut self, commit: u64) {
        while self.commits.front().is_some_and(|(known, _)| *known < commit) {
            self.pop();
        }
    }

    /// What was delivered from `place` on counts as not delivered.
    pub(crate) fn rewind(&mut self, place: u64) {
        self.commits.retain(|(commit, _)| *commit < place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(word: &str) -> Token {
        Token::new(word.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_commit_that_is_known_to_be_another_or_none_does_not_agree() {
        let mut history = History::new(10);
        history.push(20, token("a"));
        history.push(30, token("b"));
        assert!(history.agrees(20, &token("a")) && history.agrees(30, &token("b")));
        assert!(!history.agrees(20, &token("b")) && !history.agrees(25, &token("a")));
        assert!(!history.agrees(12, &token("a")), "nothing of ours was there");
        assert!(history.agrees(9, &token("a")), "before the claim nothing is known");
    }

    #[test]
    fn what_is_forgotten_says_nothing_and_what_was_never_there_stays_known() {
        let mut history = History::new(10);
        for commit in [20, 30, 40] {
            history.push(commit, token("a"));
        }
        history.forget_before(30);
        assert!(history.agrees(20, &token("x")) && !history.agrees(21, &token("x")));
        assert_eq!(history.newest_at(35), Some(30));
        history.forget_before(100);
        assert!(history.agrees(40, &token("x")) && !history.agrees(41, &token("x")));
        assert_eq!(history.newest_at(100), None);
        for commit in 200..200 + 70_000 {
            history.push(commit, token("a"));
        }
        assert!(history.agrees(200, &token("x")) && !history.agrees(70_000, &token("x")));
    }
}
