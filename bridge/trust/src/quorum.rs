//! The arithmetic of witnesses.
//!
//! A log's owner has no say about its own log, so n counts the checking witnesses of the other departments. Two
//! quorums of q among n witnesses share at least 2q - n of them. When that is more than the f that may lie, an honest
//! one stands in both, and it signs one history only: no two readers are shown different ones.

use crate::{Problem, Terms};

pub(crate) fn judge(terms: &Terms, problems: &mut Vec<Problem>) {
    let Some(votes) = terms.policy else { return };
    for log in &terms.logs {
        let witnesses = u32::try_from(terms.counted(log).count()).unwrap_or(u32::MAX);
        let (quorum, liars, origin) = (votes.quorum, votes.liars, log.origin.clone());
        if quorum > witnesses {
            problems.push(Problem::Unreachable { origin, quorum, witnesses });
        } else if !stands(quorum, witnesses, liars) {
            problems.push(Problem::Quorum { origin, quorum, witnesses, liars });
        }
    }
}

/// Whether 2q - n > f.
fn stands(quorum: u32, witnesses: u32, liars: u32) -> bool {
    2 * u64::from(quorum) > u64::from(witnesses) + u64::from(liars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_quorums_share_more_than_the_liars() {
        assert!(stands(3, 4, 1));
        assert!(!stands(3, 4, 2));
        assert!(stands(2, 3, 0));
        assert!(!stands(2, 3, 1));
        assert!(stands(3, 3, 2));
        assert!(!stands(0, 0, 0));
        assert!(!stands(u32::MAX, u32::MAX, u32::MAX));
    }
}
