//! A subscriber in mode `source`: it merges both streams by commit and delivers whole transactions up to the least
//! resolved position. It is killed at random and goes on from its progress; its sink must hold the source's
//! transactions, each once, in order. It changes nothing, so it reads what a run of the world left behind.

use bridge_chain::{Input, Machine, Mark, Place, Step};
use bridge_event::Offset;
use bridge_suite::Digest;

use crate::explore::Random;
use crate::flow::Flow;
use crate::script::{STREAMS, Script};
use crate::topic::Frame;
use crate::world::World;

/// One stream, as far as the subscriber has read it.
struct Reading<F: Flow> {
    machine: Machine<F>,
    offset: usize,
    resolved: u64,
    /// Accepted rows that are not delivered, each with the place before its batch.
    rows: Vec<(Mark, Place)>,
}

impl<F: Flow> Reading<F> {
    fn new(place: Place) -> Reading<F> {
        let machine = Machine::ruled(Digest::ZERO, place.state);
        Reading { machine, offset: usize::try_from(place.offset.0).unwrap(), resolved: 0, rows: Vec::new() }
    }

    fn place(&self) -> Place {
        Place { offset: Offset(i64::try_from(self.offset).unwrap()), state: *self.machine.state() }
    }

    fn read(&mut self, frame: &Frame, delivered: u64) -> Result<(), String> {
        let before = self.place();
        self.offset += 1;
        let input: Input = frame.input();
        match (self.machine.step(&input), frame) {
            (Step::Halt(finding), _) => {
                return Err(format!("false alarm: a subscriber halts with {finding}"));
            }
            (Step::Accepted, Frame::Batch { rows, resolved, .. }) => {
                self.rows.extend(rows.iter().filter(|row| row.commit > delivered).map(|row| (*row, before)));
                self.resolved = self.resolved.max(*resolved);
            }
            (Step::BeaconSeen, Frame::Beacon { resolved, .. }) => {
                self.resolved = self.resolved.max(*resolved)
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the sink stores in one write. A resolved position is not among it: with a place before the beacon that said it,
/// it would speak of rows that are still to be read again.
#[derive(Clone, Copy)]
struct Progress {
    /// In each stream the place before the first undelivered row.
    places: [Place; STREAMS],
    delivered: u64,
}

/// Runs a subscriber over a world's partitions; returns how often it was killed.
pub(crate) fn subscribe<F: Flow>(
    world: &World<F>,
    script: &Script,
    random: &mut Random,
) -> Result<usize, String> {
    let mut sink: Vec<Vec<Mark>> = Vec::new();
    let mut progress = Progress { places: [Place::START; STREAMS], delivered: 0 };
    let mut readings: [Reading<F>; STREAMS] = progress.places.map(Reading::new);
    let mut delivered = 0;
    let mut kills = 0;
    loop {
        let open: Vec<usize> =
            (0..STREAMS).filter(|s| readings[*s].offset < world.topics[*s].records.len()).collect();
        if open.is_empty() {
            // What a kill forgot of resolved positions, the next beacons say again.
            readings
                .iter_mut()
                .zip(&world.topics)
                .for_each(|(reading, topic)| reading.resolved = topic.resolved);
            deliver(&mut readings, &mut sink, &mut delivered);
            break;
        }
        if random.below(12) == 0 && kills < 40 {
            kills += 1;
            readings = progress.places.map(Reading::new);
            delivered = progress.delivered;
            continue;
        }
        let stream = open[random.below(open.len())];
        let offset = readings[stream].offset;
        readings[stream].read(&world.topics[stream].records[offset], delivered)?;
        if deliver(&mut readings, &mut sink, &mut delivered) {
            let places =
                [0, 1].map(|s: usize| readings[s].rows.first().map_or(readings[s].place(), |(_, p)| *p));
            progress = Progress { places, delivered };
        }
    }
    for (index, transaction) in sink.iter().enumerate() {
        let commit = u64::try_from(index).unwrap() + 1;
        let expected: Vec<Mark> =
            script.rows.iter().flatten().copied().filter(|row| row.commit == commit).collect();
        if *transaction != expected {
            return Err(format!(
                "exactly once: a subscriber delivers transaction {commit} as {transaction:?}"
            ));
        }
    }
    let resolved = world.topics.iter().map(|topic| topic.resolved).min().unwrap_or(0);
    if u64::try_from(sink.len()).unwrap() != resolved {
        return Err(format!("exactly once: a subscriber delivers {} of {resolved} transactions", sink.len()));
    }
    Ok(kills)
}

/// Delivers whole transactions up to the least resolved position; says whether there were any.
fn deliver<F: Flow>(
    readings: &mut [Reading<F>; STREAMS],
    sink: &mut Vec<Vec<Mark>>,
    delivered: &mut u64,
) -> bool {
    let before = *delivered;
    let least = readings.iter().map(|reading| reading.resolved).min().unwrap_or(0);
    while *delivered < least {
        *delivered += 1;
        let mut transaction: Vec<Mark> = Vec::new();
        for reading in readings.iter_mut() {
            transaction
                .extend(reading.rows.iter().map(|(row, _)| *row).filter(|row| row.commit == *delivered));
            reading.rows.retain(|(row, _)| row.commit > *delivered);
        }
        sink.push(transaction);
    }
    *delivered > before
}
