//! Breadth-first exploration over fingerprints of 64 bits: with five million states, two of them share one with a
//! probability of one in a million.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::flow::Flow;
use crate::script::Script;
use crate::topic::fingerprint;
use crate::world::{Action, Bounds, World};

/// Fingerprints are hashes already.
#[derive(Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints only");
    }
    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

/// What an exploration came to.
#[derive(Debug)]
pub(crate) struct Explored {
    /// Distinct states.
    pub(crate) states: usize,
    /// Steps between them.
    pub(crate) steps: usize,
    /// The longest of the shortest paths.
    pub(crate) depth: usize,
    /// Whether nothing was left out.
    pub(crate) exhausted: bool,
    /// The invariant that broke, and how.
    pub(crate) violation: Option<Violation>,
}

#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: String,
    pub(crate) path: Vec<Action>,
}

/// Explores every state within the bounds, up to `states_max`, or up to the first violation.
pub(crate) fn explore<F: Flow>(bounds: &Bounds, states_max: usize) -> Explored {
    let script = Script::new(bounds.transactions, bounds.batch_rows_max, bounds.chunks);
    let first: World<F> = World::new(bounds);
    // Each state's fingerprint, and the one that it was first reached from.
    let mut seen: HashMap<u64, u64, BuildHasherDefault<AsIs>> = HashMap::default();
    seen.insert(fingerprint(&first), 0);
    let mut frontier = vec![first];
    let mut explored = Explored { states: 1, steps: 0, depth: 0, exhausted: false, violation: None };
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for world in &frontier {
            let from = fingerprint(world);
            for action in world.actions(&script, bounds) {
                explored.steps += 1;
                let after = match world.after(action, &script, bounds) {
                    Ok(after) => after,
                    Err(invariant) => {
                        explored.states = seen.len();
                        let mut path = path::<F>(bounds, &script, &seen, from);
                        path.push(action);
                        explored.violation = Some(Violation { invariant, path });
                        return explored;
                    }
                };
                if let std::collections::hash_map::Entry::Vacant(entry) = seen.entry(fingerprint(&after)) {
                    entry.insert(from);
                    next.push(after);
                }
            }
            if seen.len() >= states_max {
                explored.states = seen.len();
                return explored;
            }
        }
        frontier = next;
        explored.depth += 1;
    }
    explored.states = seen.len();
    explored.exhausted = true;
    explored
}

/// The shortest path to a state, by running it again from the beginning.
fn path<F: Flow>(
    bounds: &Bounds,
    script: &Script,
    seen: &HashMap<u64, u64, BuildHasherDefault<AsIs>>,
    to: u64,
) -> Vec<Action> {
    let mut prints = vec![to];
    while let Some(from) = prints.last().and_then(|print| seen.get(print)).filter(|from| **from != 0) {
        prints.push(*from);
    }
    prints.reverse();
    let mut world: World<F> = World::new(bounds);
    let mut path = Vec::new();
    for print in &prints[1..] {
        let step = world.actions(script, bounds).into_iter().find_map(|action| {
            let after = world.after(action, script, bounds).ok()?;
            (fingerprint(&after) == *print).then_some((action, after))
        });
        let (action, after) = step.expect("the path was walked before");
        path.push(action);
        world = after;
    }
    path
}

/// A small generator of numbers from a seed (xorshift64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % u64::try_from(end).unwrap()).unwrap()
    }
}

/// A run of random steps until nothing can happen any more: its end and its length, or the violation.
pub(crate) fn walk<F: Flow>(bounds: &Bounds, random: &mut Random) -> Result<(World<F>, usize), Violation> {
    let script = Script::new(bounds.transactions, bounds.batch_rows_max, bounds.chunks);
    let mut world: World<F> = World::new(bounds);
    let mut path = Vec::new();
    loop {
        let actions = world.actions(&script, bounds);
        if actions.is_empty() {
            return Ok((world, path.len()));
        }
        // Crashes and failures are as rare as they have to be for the rest to happen at all.
        let rare = |action: &Action| {
            matches!(action, Action::Crash(_) | Action::Start(1) | Action::Lose(_) | Action::LandButFail(_))
        };
        let calm: Vec<Action> = actions.iter().copied().filter(|action| !rare(action)).collect();
        let choices = if calm.is_empty() || random.below(16) == 0 { &actions } else { &calm };
        let action = choices[random.below(choices.len())];
        path.push(action);
        world = match world.after(action, &script, bounds) {
            Ok(after) => after,
            Err(invariant) => return Err(Violation { invariant, path }),
        };
    }
}
