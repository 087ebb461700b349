//! Checkpoints: signed when there is something new, cosigned by the witnesses, told to every stream in a beacon.

use crate::beacon::Published;
use crate::life::{End, Life, held};
use crate::outside::Point;
use std::time::{Duration, Instant};

/// Runs until the life is over or its capturing has ended.
pub(crate) fn run(life: &Life<'_>) {
    let mut last: Option<(u64, Instant)> = None;
    while !life.is_over() && !life.capture_ended() {
        let size = life.log(|log| log.size());
        let interval = match last {
            Some((told, _)) if told == size => life.intervals().idle_ms,
            _ => life.intervals().checkpoint_ms,
        };
        let due = last.is_none_or(|(_, at)| at.elapsed() >= Duration::from_millis(interval));
        if due {
            last = Some((size, Instant::now()));
            if let Err(end) = make(life) {
                life.end(end);
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Signs a checkpoint over all entries, asks the witnesses, and publishes it with what they gave.
pub(crate) fn make(life: &Life<'_>) -> Result<(), End> {
    let _one_at_a_time = held(&life.checkpointing);
    let signed = life.log(|log| log.sign_checkpoint(&life.connector.log_signer)).map_err(End::from_log)?;
    life.at(Point::AfterCheckpoint);
    let size = signed.checkpoint().size;
    life.log(|log| log.publish(&signed)).map_err(End::from_log)?;
    life.metrics().checkpoint(size, 0, false);
    life.publish_checkpoint(Published { size, note: signed.note().format() });
    Ok(())
}
