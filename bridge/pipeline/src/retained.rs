//! What the source keeps for this connector's sake: measured and told while everything else may stand still.

use crate::life::Life;
use connectors_source::{Gauge, Retained};
use std::time::{Duration, Instant};

/// How often the source is asked.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How often the end of a life is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Hundredths of the source's limit at which an operator is told.
const ALARMS: [u64; 2] = [50, 80];

/// Asks until the life ends. A source that does not answer is seen elsewhere.
pub(crate) fn watch(life: &Life<'_>, mut gauge: Box<dyn Gauge + '_>) {
    let mut asked: Option<Instant> = None;
    let mut told = 0;
    while !life.is_over() && !life.is_stopping() {
        if asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            std::thread::sleep(LOOK);
            continue;
        }
        asked = Some(Instant::now());
        let Ok(retained) = gauge.retained() else { continue };
        life.metrics().retained(retained);
        let reached = reached(retained);
        if reached > told
            && let Retained { bytes, limit: Some(limit) } = retained
        {
            tracing::warn!(
                bytes,
                limit,
                "CAP024: the source keeps {reached} % of what it would keep of its log for this connector, and gives the slot up \
                 beyond that; see docs/errors/CAP024.md"
            );
        }
        told = reached;
    }
}

/// The highest alarm that is reached, 0 for none.
fn reached(Retained { bytes, limit }: Retained) -> u64 {
    let Some(limit) = limit else { return 0 };
    let passed = |alarm: &u64| u128::from(bytes) * 100 >= u128::from(limit) * u128::from(*alarm);
    ALARMS.into_iter().rfind(passed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_at_half_and_at_four_fifths_of_a_limit() {
        let at = |bytes, limit| reached(Retained { bytes, limit });
        assert_eq!(
            [at(49, Some(100)), at(50, Some(100)), at(79, Some(100)), at(80, Some(100))],
            [0, 50, 50, 80]
        );
        assert_eq!([at(u64::MAX, Some(u64::MAX)), at(u64::MAX, None), at(0, Some(1))], [80, 0, 0]);
    }
}
