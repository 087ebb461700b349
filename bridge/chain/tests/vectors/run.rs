//! One run: frames handed to the shipped machine one after the other, and what it says.

use bridge_chain::{Facts, Input, Last, Machine, Mark, Open, SnapshotPlace, State, Step};
use bridge_event::{Epoch, Generation, IncarnationNumber, Kind, Sequence};
use bridge_suite::{Digest, sha256};
use serde_json::{Value, json};

/// The steps that are reported, with their codes.
pub(crate) const CODES: [(&str, &str); 14] = [
    ("unfenced", "CHA001"),
    ("fork", "CHA002"),
    ("broken-chain", "CHA003"),
    ("loss", "CHA004"),
    ("position-back", "CHA005"),
    ("position-moved", "CHA006"),
    ("open-mismatch", "CHA007"),
    ("incarnation-changed", "CHA008"),
    ("row-broken", "CHA009"),
    ("snapshot-broken", "CHA014"),
    ("late", "CHA010"),
    ("duplicate", "CHA011"),
    ("old", "CHA012"),
    ("ahead", "CHA013"),
];

/// A run with everything that happened in it.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    about: &'static str,
    begin: State,
    machine: Machine,
    /// The epoch and incarnation that the next batches are of.
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: IncarnationNumber,
    steps: Vec<Value>,
}

/// The digest of what a word stands for.
pub(crate) fn digest(word: &str) -> Digest {
    sha256(&[b"govbridge chain vector ", word.as_bytes()])
}

pub(crate) fn genesis() -> Digest {
    digest("genesis")
}

/// A row's place.
pub(crate) fn mark(commit: u64, ordinal: u64) -> Mark {
    Mark { commit, ordinal, fragment: 0 }
}

impl Run {
    /// A run from the stream's beginning.
    pub(crate) fn new(name: &'static str, about: &'static str) -> Run {
        Run::from(name, about, State::START)
    }

    /// A run from a state.
    pub(crate) fn from(name: &'static str, about: &'static str, begin: State) -> Run {
        let machine = Machine::from_state(genesis(), begin);
        let (epoch, incarnation) = (begin.fenced, IncarnationNumber(begin.last.incarnation.0.max(1)));
        Run { name, about, begin, machine, epoch, incarnation, steps: Vec::new() }
    }

    pub(crate) fn about(&self) -> &str {
        self.about
    }

    pub(crate) fn steps(&self) -> &[Value] {
        &self.steps
    }

    pub(crate) fn state(&self) -> &State {
        self.machine.state()
    }

    /// What the next batch has: kind stream, one whole transaction of one row, at the commit after the last one.
    pub(crate) fn next(&self) -> Facts {
        let State { head, last, open, .. } = *self.state();
        let sequence = self.machine.next_sequence().unwrap_or(Sequence(u64::MAX));
        let row = match open {
            Some(Open { commit }) => mark(commit, last.mark.ordinal.saturating_add(1)),
            None => mark(last.mark.commit + 1, 1),
        };
        Facts {
            epoch: self.epoch,
            sequence,
            digest: digest(&format!("batch {sequence} of epoch {}", self.epoch)),
            previous: head.map_or(genesis(), |(_, digest)| digest),
            kind: Kind::Stream,
            incarnation: self.incarnation,
            first: row,
            last: row,
            rows: 1,
            continues: open.is_some(),
            leaves_open: false,
            begun: u64::from(open.is_none()),
            ended: 1,
            snapshot: None,
            lost: Vec::new(),
            lost_previous: Digest::ZERO,
            voids: Vec::new(),
        }
    }

    /// Hands a frame over and holds the machine to what it must say.
    fn take(&mut self, input: &Input, shown: Value, expected: &str) {
        let step: Step = self.machine.step(input);
        assert_eq!(step.name(), expected, "{}, step {}", self.name, self.steps.len());
        let code = CODES.iter().find(|(name, _)| *name == step.name()).map(|(_, code)| *code);
        let mut shown = shown;
        shown["step"] = step.name().into();
        shown["code"] = code.into();
        shown["state"] = show_state(self.machine.state());
        self.steps.push(shown);
    }

    pub(crate) fn fence(&mut self, epoch: u64, expected: &str) {
        self.take(&Input::Fence { epoch: Epoch(epoch) }, json!({ "fence": { "epoch": epoch } }), expected);
        if expected == "fenced" {
            self.epoch = Epoch(epoch);
        }
    }

    pub(crate) fn beacon(&mut self, head: Option<(u64, Digest)>, expected: &str) {
        let head = head.map(|(sequence, digest)| (Sequence(sequence), digest));
        let shown = json!({ "beacon": { "epoch": self.epoch.0, "head": head.map(show_reference) } });
        self.take(&Input::Beacon { epoch: self.epoch, head }, shown, expected);
    }

    /// A beacon of the machine's own head.
    pub(crate) fn beacon_of_head(&mut self) {
        let head = self.state().head.map(|(sequence, digest)| (sequence.0, digest));
        self.beacon(head, "beacon-seen");
    }

    /// A beacon that an earlier epoch's connector still had on its way.
    pub(crate) fn beacon_of_old_epoch(&mut self) {
        let head = self.state().head.map(|(sequence, digest)| (sequence.0, digest));
        self.beacon(head, "late");
    }

    pub(crate) fn batch(&mut self, facts: &Facts, expected: &str) {
        self.take(&Input::Batch(facts.clone()), json!({ "batch": show_batch(facts) }), expected);
    }

    /// The next batch, changed.
    pub(crate) fn next_with(&mut self, expected: &str, change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = self.next();
        change(&mut facts);
        self.batch(&facts, expected);
        facts
    }

    /// The next batch as it is, accepted.
    pub(crate) fn accepted(&mut self) -> Facts {
        self.next_with("accepted", |_| {})
    }

    /// A snapshot's batch as of the end of `commit`: whole rows, or a fragment of one.
    pub(crate) fn chunk_of(&self, commit: u64, place: (u64, u64, bool), fragment: u32) -> Facts {
        let (generation, chunk, last) = place;
        let mut facts = self.next();
        facts.kind = Kind::Snapshot;
        facts.first = Mark { fragment, ..Mark::end_of(commit) };
        facts.last = facts.first;
        (facts.continues, facts.begun, facts.ended) = (false, 0, 0);
        facts.snapshot = Some(SnapshotPlace { generation: Generation(generation), chunk, last });
        facts
    }

    /// A snapshot's batch of whole rows.
    pub(crate) fn chunk(&mut self, commit: u64, place: (u64, u64, bool), expected: &str) {
        let facts = self.chunk_of(commit, place, 0);
        self.batch(&facts, expected);
    }

    /// The next batch without rows: it ends what is open.
    pub(crate) fn rowless(&mut self, expected: &str, change: impl FnOnce(&mut Facts)) {
        let last = self.state().last.mark;
        self.next_with(expected, |facts| {
            (facts.first, facts.last, facts.rows, facts.begun) = (last, last, 0, 0);
            facts.ended = u64::from(facts.continues);
            change(facts);
        });
    }

    /// A GAP or RETRACT up to the end of `commit` that voids what is open.
    pub(crate) fn notice(
        &mut self,
        kind: Kind,
        commit: u64,
        expected: &str,
        change: impl FnOnce(&mut Facts),
    ) {
        let open = self.state().open;
        self.next_with(expected, |facts| {
            (facts.kind, facts.first, facts.last, facts.rows) =
                (kind, Mark::end_of(commit), Mark::end_of(commit), 0);
            (facts.continues, facts.begun, facts.ended) = (false, 0, 0);
            facts.voids = open.iter().map(|open| open.commit).collect();
            change(facts);
        });
    }

    /// The last step's code; `None` when the run ends well.
    pub(crate) fn expect(&self) -> Option<&'static str> {
        let last = self.steps.last().unwrap()["step"].as_str().unwrap();
        CODES.iter().find(|(name, _)| *name == last).map(|(_, code)| *code)
    }

    /// The file's text: one line for each step.
    pub(crate) fn text(&self) -> String {
        let expect: Vec<&str> = self.expect().into_iter().collect();
        let steps: Vec<String> = self.steps.iter().map(|step| format!("    {step}")).collect();
        format!(
            "{{\n  \"about\": {},\n  \"expect\": {},\n  \"genesis\": {},\n  \"begin\": {},\n  \"steps\": [\n{}\n  ]\n}}",
            json!(self.about),
            json!(expect),
            json!(genesis().to_string()),
            show_state(&self.begin),
            steps.join(",\n")
        )
    }
}

fn show_reference((sequence, digest): (Sequence, Digest)) -> Value {
    json!({ "sequence": sequence.0, "digest": digest.to_string() })
}

fn show_mark(mark: Mark) -> Value {
    json!([mark.commit, mark.ordinal, mark.fragment])
}

fn show_part(part: SnapshotPlace) -> Value {
    json!({ "generation": part.generation.0, "chunk": part.chunk, "last": part.last })
}

fn show_state(state: &State) -> Value {
    let State { fenced, head, last: Last { incarnation, mark }, open, snapshot } = *state;
    json!({
        "epoch": fenced.0,
        "head": head.map(show_reference),
        "incarnation": incarnation.0,
        "last": show_mark(mark),
        "open": open.map(|open| open.commit),
        "snapshot": snapshot.map(show_part),
    })
}

fn show_batch(facts: &Facts) -> Value {
    json!({
        "epoch": facts.epoch.0,
        "sequence": facts.sequence.0,
        "digest": facts.digest.to_string(),
        "previous": facts.previous.to_string(),
        "kind": facts.kind.as_str(),
        "incarnation": facts.incarnation.0,
        "first": show_mark(facts.first),
        "last": show_mark(facts.last),
        "rows": facts.rows,
        "continues": facts.continues,
        "leaves_open": facts.leaves_open,
        "transactions_begun": facts.begun,
        "transactions_ended": facts.ended,
        "snapshot": facts.snapshot.map(show_part),
        "lost": facts.lost.iter().copied().map(show_reference).collect::<Vec<_>>(),
        "lost_previous": facts.lost_previous.to_string(),
        "voids": facts.voids,
    })
}
