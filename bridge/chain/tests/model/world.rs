//! The modelled world: a source, two partitions, a log, two processes, requests on their way; and what can happen next.

use bridge_chain::Place;
use bridge_chain::start::{Effect, Outcome, may_append};
use bridge_event::{At, Epoch, Kind, Offset};
use bridge_suite::Digest;

use crate::connector::{Process, Running, Starting};
use crate::flow::Flow;
use crate::script::{STREAMS, Script};
use crate::topic::{Frame, Once, Topic};

/// How much may happen.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) transactions: &'static [&'static str],
    pub(crate) batch_rows_max: usize,
    /// Starts of connectors, all processes together.
    pub(crate) starts: u8,
    /// Producers, all starts together; more than `starts` lets a start try its fences again.
    pub(crate) producers: u8,
    /// Whether a second process may start while the first is alive.
    pub(crate) two_alive: bool,
    /// Requests of a producer that is gone that may still arrive in a stream after a later fence. A producer's requests
    /// that arrive before that fence are not counted.
    pub(crate) late: u8,
    /// Requests that the broker loses, or appends and reports as failed.
    pub(crate) failures: u8,
    /// Beacons of each stream in each life, the first one included.
    pub(crate) beacons: u8,
    /// Whether a batch may be closed in the middle of a transaction before it is full.
    pub(crate) close_any_time: bool,
    /// Chunks of the snapshot that each stream begins with; 0 for none.
    pub(crate) chunks: [u64; STREAMS],
}

/// Requests of one producer for one stream, in order.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Queue {
    producer: u8,
    stream: usize,
    frames: Vec<Once<Frame>>,
}

/// A state of the world.
#[derive(Clone, Debug, Hash)]
pub(crate) struct World<F: Flow> {
    pub(crate) topics: [Once<Topic<F>>; STREAMS],
    /// The log: its newest epoch entry, and how many batches of each stream it holds. Which ones, follows: an append is
    /// checked against what readers accepted.
    pub(crate) newest: Epoch,
    pub(crate) logged: [usize; STREAMS],
    /// The log's `heads` file.
    pub(crate) heads: Once<[Place; STREAMS]>,
    /// What the source was acknowledged.
    pub(crate) acknowledged: u64,
    pub(crate) processes: [Process<F>; 2],
    queues: Vec<Queue>,
    pub(crate) starts: u8,
    pub(crate) producers: u8,
    failures: u8,
    late: u8,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start(usize),
    Crash(usize),
    /// A request arrives and is reported.
    Land(usize),
    /// A request arrives and is reported as failed.
    LandButFail(usize),
    /// A request is lost.
    Lose(usize),
    Locate(usize, Choice),
    Adopt(usize),
    Capture(usize),
    Seal(usize, usize),
    Beacon(usize, usize),
    Append(usize, usize),
    Acknowledge(usize),
    Keepalive(usize),
}

/// Where a start begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Heads,
    NewestBeacon,
    OldestBeacon,
    Beginning,
}

type Next<F> = Result<World<F>, String>;

impl<F: Flow> World<F> {
    pub(crate) fn new(bounds: &Bounds) -> World<F> {
        World {
            topics: [Once::new(Topic::new()), Once::new(Topic::new())],
            newest: Epoch(0),
            logged: [0; STREAMS],
            heads: Once::new([Place::START; STREAMS]),
            acknowledged: 0,
            processes: [Process::Dead, Process::Dead],
            queues: Vec::new(),
            starts: bounds.starts,
            producers: 0,
            failures: bounds.failures,
            late: bounds.late,
        }
    }

    /// Everything that can happen now.
    pub(crate) fn actions(&self, script: &Script, bounds: &Bounds) -> Vec<Action> {
        let mut actions = Vec::new();
        for slot in 0..self.processes.len() {
            self.process_actions(slot, script, bounds, &mut actions);
        }
        for (index, queue) in self.queues.iter().enumerate() {
            actions.push(Action::Land(index));
            let alive = self.owner(queue.producer).is_some();
            if alive && self.failures > 0 {
                actions.extend([Action::LandButFail(index), Action::Lose(index)]);
            }
            if !alive && queue.frames.len() > 1 {
                actions.push(Action::Lose(index));
            }
        }
        actions
    }

    fn process_actions(&self, slot: usize, script: &Script, bounds: &Bounds, actions: &mut Vec<Action>) {
        let other_alive = !matches!(self.processes[1 - slot], Process::Dead);
        match &self.processes[slot] {
            Process::Dead => {
                // A process that dies for good while nothing else lives ends the run.
                let both_dead_second_slot = slot == 1 && !other_alive;
                if self.starts > 0 && (bounds.two_alive || !other_alive) && !both_dead_second_slot {
                    actions.push(Action::Start(slot));
                }
                return;
            }
            Process::Starting(starting) => match starting.effect {
                Effect::Locate { stream } => {
                    actions
                        .extend(self.choices(stream).into_iter().map(|choice| Action::Locate(slot, choice)));
                }
                Effect::Append { .. } => actions.push(Action::Adopt(slot)),
                _ => {}
            },
            Process::Running(running) => {
                if running.can_capture(script) {
                    actions.push(Action::Capture(slot));
                }
                if !F::KEEPALIVE_NEEDS_CLOSED && running.inside(script).is_some() {
                    actions.push(Action::Keepalive(slot));
                }
                for stream in 0..STREAMS {
                    if running.can_seal(stream, bounds.close_any_time, script) {
                        actions.push(Action::Seal(slot, stream));
                    }
                    let again = running.said[stream] != Some(running.say(stream));
                    if again && running.beacons[stream] < bounds.beacons {
                        actions.push(Action::Beacon(slot, stream));
                    }
                    if running.outgoing[stream].to_append().is_some() {
                        actions.push(Action::Append(slot, stream));
                    }
                }
                if running.cuts.clone().acknowledge().is_some() {
                    actions.push(Action::Acknowledge(slot));
                }
            }
        }
        if self.starts > 0 || other_alive {
            actions.push(Action::Crash(slot));
        }
    }

    /// Different places that a start can know of.
    fn choices(&self, stream: usize) -> Vec<Choice> {
        let mut places = Vec::new();
        let mut choices = Vec::new();
        for choice in [Choice::Heads, Choice::NewestBeacon, Choice::OldestBeacon, Choice::Beginning] {
            let Some(place) = self.place(stream, choice) else { continue };
            if !places.contains(&place) {
                places.push(place);
                choices.push(choice);
            }
        }
        choices
    }

    pub(crate) fn place(&self, stream: usize, choice: Choice) -> Option<Place> {
        let mut beacons = self.topics[stream].records.iter().filter_map(|record| match **record {
            Frame::Beacon { place, .. } => Some(place),
            _ => None,
        });
        match choice {
            Choice::Heads => Some(self.heads[stream]),
            Choice::NewestBeacon => beacons.next_back(),
            Choice::OldestBeacon => beacons.next(),
            Choice::Beginning => Some(Place::START),
        }
    }

    /// The process that still uses the producer.
    fn owner(&self, producer: u8) -> Option<usize> {
        self.processes.iter().position(|process| match process {
            Process::Dead => false,
            Process::Starting(starting) => {
                starting.producer == producer && matches!(starting.effect, Effect::WriteFences { .. })
            }
            Process::Running(running) => running.producer == producer,
        })
    }

    /// The world after an action, or the invariant that it breaks.
    pub(crate) fn after(&self, action: Action, script: &Script, bounds: &Bounds) -> Next<F> {
        let mut world = self.clone();
        match action {
            Action::Start(slot) => world.start(slot, script)?,
            Action::Crash(slot) => world.processes[slot] = Process::Dead,
            Action::Land(queue) => world.land(queue, true, script, bounds)?,
            Action::LandButFail(queue) => {
                world.failures -= 1;
                world.land(queue, false, script, bounds)?;
            }
            Action::Lose(queue) => world.lose(queue, script, bounds)?,
            Action::Locate(slot, choice) => world.located(slot, choice, script)?,
            Action::Adopt(slot) => world.adopt(slot, script)?,
            Action::Append(slot, stream) => world.append(slot, stream)?,
            Action::Acknowledge(slot) => world.acknowledge(slot, script)?,
            Action::Capture(slot) => world.running(slot, |running| {
                running.capture(script)?;
                // Between two decisions nothing else depends on how far the capture is.
                while !bounds.close_any_time
                    && running.inside(script).is_some()
                    && running.can_capture(script)
                    && F::KEEPALIVE_NEEDS_CLOSED
                    && (0..STREAMS).all(|stream| !running.can_seal(stream, false, script))
                {
                    running.capture(script)?;
                }
                Ok(())
            })?,
            Action::Keepalive(slot) => world.running(slot, |running| {
                if let Some(commit) = running.inside(script) {
                    let open = running.transaction_open(script);
                    let _counts = running.cuts.keepalive(At::end_of(commit), open);
                }
                Ok(())
            })?,
            Action::Seal(slot, stream) => {
                let mut sealed = None;
                world.running(slot, |running| {
                    sealed = Some((running.producer, running.seal(stream, script)?));
                    Ok(())
                })?;
                world.send(stream, sealed);
            }
            Action::Beacon(slot, stream) => world.beacon(slot, stream)?,
        }
        world.expire();
        world.drained(script)?;
        Ok(world)
    }

    fn running(
        &mut self,
        slot: usize,
        act: impl FnOnce(&mut Running<F>) -> Result<(), String>,
    ) -> Result<(), String> {
        if let Process::Running(running) = &self.processes[slot] {
            let mut running = Running::clone(running);
            act(&mut running)?;
            self.processes[slot] = Process::Running(Once::new(running));
        }
        Ok(())
    }

    pub(crate) fn beacon(&mut self, slot: usize, stream: usize) -> Result<(), String> {
        let mut beacon = None;
        self.running(slot, |running| {
            beacon = Some((running.producer, running.beacon(stream)));
            Ok(())
        })?;
        self.send(stream, beacon);
        Ok(())
    }

    pub(crate) fn send(&mut self, stream: usize, request: Option<(u8, Once<Frame>)>) {
        let Some((producer, frame)) = request else { return };
        match self.queues.iter_mut().find(|queue| queue.producer == producer && queue.stream == stream) {
            Some(queue) => queue.frames.push(frame),
            None => {
                self.queues.push(Queue { producer, stream, frames: vec![frame] });
                self.queues.sort_by_key(|queue| (queue.producer, queue.stream));
            }
        }
    }

    fn take(&mut self, index: usize) -> (u8, usize, Once<Frame>) {
        let queue = &mut self.queues[index];
        let (producer, stream, frame) = (queue.producer, queue.stream, queue.frames.remove(0));
        if queue.frames.is_empty() {
            self.queues.remove(index);
        }
        (producer, stream, frame)
    }

    fn land(&mut self, index: usize, reported: bool, script: &Script, bounds: &Bounds) -> Result<(), String> {
        let (producer, stream, frame) = self.take(index);
        let offset = self.topics[stream].records.len();
        let epoch = frame.epoch();
        if self.owner(producer).is_none() && epoch < self.topics[stream].state().fenced {
            self.late -= 1;
        }
        let mut topic = Topic::clone(&self.topics[stream]);
        topic.push(stream, frame.clone(), script, self.logged[stream])?;
        self.topics[stream] = Once::new(topic);
        match self.owner(producer) {
            Some(slot) if reported => self.reported(slot, stream, &frame, offset, script),
            Some(slot) => self.failed(slot, script, bounds),
            None => Ok(()),
        }
    }

    /// Drops the requests that could only be late, as far as the bounds allow no more of them.
    fn expire(&mut self) {
        let mut queues = std::mem::take(&mut self.queues);
        queues.retain_mut(|queue| {
            let epoch = queue.frames[0].epoch();
            if self.owner(queue.producer).is_none() && epoch < self.topics[queue.stream].state().fenced {
                queue.frames.truncate(usize::from(self.late));
            }
            !queue.frames.is_empty()
        });
        self.queues = queues;
    }

    fn lose(&mut self, index: usize, script: &Script, bounds: &Bounds) -> Result<(), String> {
        let (producer, ..) = self.take(index);
        match self.owner(producer) {
            Some(slot) => {
                self.failures -= 1;
                self.failed(slot, script, bounds)
            }
            None => Ok(()),
        }
    }

    fn reported(
        &mut self,
        slot: usize,
        stream: usize,
        frame: &Once<Frame>,
        offset: usize,
        script: &Script,
    ) -> Result<(), String> {
        if let Process::Starting(starting) = &self.processes[slot] {
            let mut starting = Starting::clone(starting);
            starting.fences[stream] = Some(Offset(i64::try_from(offset).unwrap()));
            let every = starting.fences.iter().all(Option::is_some);
            let fences = starting.fences.to_vec();
            self.processes[slot] = Process::Starting(Once::new(starting));
            return if every { self.drive(slot, Outcome::Fenced { fences }, script) } else { Ok(()) };
        }
        self.running(slot, |running| running.acknowledged(stream, frame, offset))
    }

    /// A delivery error: the producer is destroyed. A start goes back to its step 2, everything else starts again.
    fn failed(&mut self, slot: usize, script: &Script, bounds: &Bounds) -> Result<(), String> {
        match &self.processes[slot] {
            Process::Starting(starting) if self.producers < bounds.producers => {
                let fences = starting.fences.to_vec();
                self.drive(slot, Outcome::Fenced { fences }, script)
            }
            Process::Running(_) if self.starts > 0 => self.start(slot, script),
            _ => {
                self.processes[slot] = Process::Dead;
                Ok(())
            }
        }
    }

    fn append(&mut self, slot: usize, stream: usize) -> Result<(), String> {
        let Process::Running(running) = &self.processes[slot] else { return Ok(()) };
        if !may_append::<F>(self.newest, running.epoch) {
            self.processes[slot] = Process::Dead;
            return Ok(());
        }
        let facts = running.outgoing[stream].to_append().unwrap();
        let (sequence, digest) = (facts.sequence, facts.digest);
        self.log_batch(stream, digest)?;
        let mut moved = *self.heads;
        self.running(slot, |running| {
            moved[stream] = running.outgoing[stream].appended(sequence).map_err(|e| e.to_string())?;
            running.cuts.appended(stream, sequence);
            Ok(())
        })?;
        self.heads = Once::new(moved);
        Ok(())
    }

    /// The log's entries of a stream are exactly what its readers accept, in order.
    pub(crate) fn log_batch(&mut self, stream: usize, digest: Digest) -> Result<(), String> {
        if self.topics[stream].accepted.get(self.logged[stream]) != Some(&digest) {
            return Err(format!(
                "log = readers: the log's next entry of stream {stream} is not what readers accepted"
            ));
        }
        self.logged[stream] += 1;
        Ok(())
    }

    /// Nothing is acknowledged that is not in Kafka and in the log, whole, and resolved for readers.
    fn acknowledge(&mut self, slot: usize, script: &Script) -> Result<(), String> {
        let mut moved = None;
        self.running(slot, |running| {
            moved = running.cuts.acknowledge();
            Ok(())
        })?;
        let Some(At { commit, .. }) = moved else { return Ok(()) };
        for stream in 0..STREAMS {
            let topic = &self.topics[stream];
            let missing = script.rows[stream].get(topic.rows).is_some_and(|row| row.commit <= commit);
            let open = topic.state().open.is_some_and(|open| open.commit <= commit);
            if missing || open {
                return Err(format!("acknowledged: transaction {commit} is not whole in stream {stream}"));
            }
            let needed = script.rows[stream].iter().filter(|row| row.commit <= commit).count();
            let (rows, open) = self.in_log(stream, script);
            if rows < needed || open.is_some_and(|open| open <= commit) {
                return Err(format!(
                    "acknowledged: transaction {commit} is not in the log of stream {stream}"
                ));
            }
            if topic.said < commit {
                return Err(format!(
                    "acknowledged: Kafka does not say that stream {stream} is whole up to {commit}"
                ));
            }
        }
        self.acknowledged = self.acknowledged.max(commit);
        Ok(())
    }

    /// Rows that the log has of a stream, and the transaction that its last entry leaves open.
    fn in_log(&self, stream: usize, script: &Script) -> (usize, Option<u64>) {
        let topic = &self.topics[stream];
        let logged = &topic.accepted[..self.logged[stream]];
        topic.records.iter().fold((0, None), |(count, open), record| match &**record {
            Frame::Batch { facts, .. } if facts.kind == Kind::Snapshot => {
                let whole = logged.contains(&facts.digest) && facts.snapshot.is_some_and(|part| part.last);
                (if whole { script.rows_until(stream, facts.last.commit) } else { count }, open)
            }
            Frame::Batch { facts, rows, .. } if logged.contains(&facts.digest) => {
                (count + rows.len(), facts.leaves_open.then_some(facts.last.commit))
            }
            _ => (count, open),
        })
    }

    /// When the newest connector has captured, sealed and appended all there is, readers have all of it.
    fn drained(&self, script: &Script) -> Result<(), String> {
        for process in &self.processes {
            let Process::Running(running) = process else { continue };
            if running.epoch != self.newest || !running.drained(script) {
                continue;
            }
            for stream in 0..STREAMS {
                let topic = &self.topics[stream];
                if topic.rows != script.rows[stream].len() || topic.state().open.is_some() {
                    return Err(format!(
                        "exactly once: all is sent and readers of stream {stream} lack a part"
                    ));
                }
                if topic.accepted.len() != self.logged[stream] {
                    return Err(format!(
                        "log = readers: all is sent and the log lacks a batch of stream {stream}"
                    ));
                }
            }
        }
        Ok(())
    }
}
