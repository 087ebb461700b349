"""The chain of one stream (docs/spec/chain.md): what each verified frame is, in the order of the partition."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .beacon import Beacon
from .fence import Fence
from .finding import refuse
from .sealed_batch import Batch

Mark = tuple[int, int, int]
Reference = tuple[int, bytes]
Snapshot = tuple[int, int, bool]

NOWHERE: Mark = (0, 0, 0)
END = 2**64 - 1
LAST_FRAGMENT = 2**32 - 1
AT_HAND = 1024
CODES = {
    "unfenced": "CHA001",
    "fork": "CHA002",
    "broken-chain": "CHA003",
    "loss": "CHA004",
    "position-back": "CHA005",
    "position-moved": "CHA006",
    "open-mismatch": "CHA007",
    "incarnation-changed": "CHA008",
    "row-broken": "CHA009",
    "snapshot-broken": "CHA014",
    "late": "CHA010",
    "duplicate": "CHA011",
    "old": "CHA012",
    "ahead": "CHA013",
}
DROPPED = {"late", "duplicate", "old", "ahead"}


@dataclass(frozen=True)
class State:
    """Section 1: where a stream stands right before a record."""

    epoch: int = 0
    head: Reference | None = None
    incarnation: int = 0
    last: Mark = NOWHERE
    open: int | None = None
    snapshot: Snapshot | None = None


@dataclass(frozen=True)
class Facts:
    """What the chain needs of a batch."""

    epoch: int
    sequence: int
    digest: bytes
    previous: bytes
    kind: str
    incarnation: int
    first: Mark
    last: Mark
    rows: int
    continues: bool
    leaves_open: bool
    begun: int
    ended: int
    snapshot: Snapshot | None
    lost: tuple[Reference, ...]
    lost_previous: bytes
    voids: tuple[int, ...]

    @property
    def is_notice(self) -> bool:
        """Whether it is a GAP or RETRACT."""
        return self.kind in ("gap", "retract")


class Machine:
    """Sections 3 to 5: the state, the digests at hand, and what each frame is."""

    def __init__(self, genesis: bytes, state: State = State()) -> None:
        self.genesis = genesis
        self.state = state
        self.at_hand: dict[int, bytes] = dict([state.head]) if state.head else {}

    def fence(self, epoch: int) -> str:
        """A fence."""
        if epoch <= self.state.epoch:
            return "late"
        self.state = replace(self.state, epoch=epoch)
        return "fenced"

    def beacon(self, epoch: int, head: Reference | None) -> str:
        """A beacon and the head that it names."""
        decided = self._epoch(epoch)
        if decided:
            return decided
        if head is None:
            return "beacon-seen"
        if self.state.head is None or head[0] > self.state.head[0]:
            return "loss"
        known = self.at_hand.get(head[0])
        if known is None:
            return "old"
        return "beacon-seen" if known == head[1] else "fork"

    def batch(self, facts: Facts) -> str:
        """A batch; it becomes the head when it is accepted."""
        decided = (
            self._epoch(facts.epoch)
            or self._sequence(facts)
            or self._source(facts)
            or self._transactions(facts)
            or self._snapshot(facts)
            or self._position(facts)
        )
        if decided:
            return decided
        self._accept(facts)
        return "accepted"

    def _epoch(self, epoch: int) -> str | None:
        if epoch < self.state.epoch:
            return "late"
        return "unfenced" if epoch > self.state.epoch or epoch == 0 else None

    def _next(self) -> tuple[int, bytes]:
        """The next sequence and previous digest; the sequence after the last one is never met."""
        head = self.state.head
        return (0, self.genesis) if head is None else (head[0] + 1, head[1])

    def _sequence(self, facts: Facts) -> str | None:
        following, previous = self._next()
        if facts.sequence < following:
            known = self.at_hand.get(facts.sequence)
            if known is None:
                return "old"
            return "duplicate" if known == facts.digest else "fork"
        if facts.sequence == following:
            return None if facts.previous == previous else "broken-chain"
        return self._lost(facts, following, previous)

    @staticmethod
    def _lost(facts: Facts, following: int, previous: bytes) -> str | None:
        sequences = [sequence for sequence, _ in facts.lost]
        dense = all(b == a + 1 for a, b in zip(sequences, sequences[1:], strict=False))
        reaches = bool(sequences) and facts.lost[-1] == (facts.sequence - 1, facts.previous)
        if facts.kind != "gap" or not dense or not reaches or following not in sequences:
            return "ahead"
        index = sequences.index(following)
        if index == 0:
            return None if facts.lost_previous == previous else "broken-chain"
        return None if facts.lost[index - 1][1] == previous else "fork"

    def _source(self, facts: Facts) -> str | None:
        state = self.state
        if state.head is None or facts.incarnation == state.incarnation:
            return None
        raises = facts.is_notice and facts.incarnation > state.incarnation
        return None if raises else "incarnation-changed"

    def _transactions(self, facts: Facts) -> str | None:
        now_open = self.state.open
        if facts.kind in ("stream", "schema"):
            continued = facts.first[0] if facts.continues else None
            opens_nothing = facts.rows or facts.continues or not facts.leaves_open
            counts = facts.begun + facts.continues == facts.ended + facts.leaves_open
            follows = continued == now_open and opens_nothing and counts
        else:
            follows = not facts.continues and not facts.leaves_open
            allowed = facts.voids if facts.is_notice else ()
            follows = follows and (now_open is None or now_open in allowed)
        return None if follows else "open-mismatch"

    def _snapshot(self, facts: Facts) -> str | None:
        before = self.state.snapshot
        if facts.kind == "snapshot":
            follows = facts.snapshot is not None and self._part(facts.snapshot)
        elif before is not None and not before[2]:
            follows = facts.is_notice or (facts.kind == "schema" and not facts.rows)
        else:
            follows = True
        return None if follows else "snapshot-broken"

    def _part(self, part: Snapshot) -> bool:
        generation, chunk, _ = part
        if self.state.snapshot is None:
            known = generation == 1 if self.state.head is None else generation >= 1
            return known and chunk == 0
        before, last_chunk, ended = self.state.snapshot
        if generation == before:
            return not ended and chunk == last_chunk + 1
        return generation == before + 1 and chunk == 0

    def _position(self, facts: Facts) -> str | None:
        same = self.state.head is not None and facts.incarnation == self.state.incarnation
        last = self.state.last if same else None
        first_is_last = facts.first == facts.last
        if facts.kind in ("stream", "schema"):
            if not facts.rows:
                if not first_is_last or last not in (None, facts.last):
                    return "position-moved"
                return "row-broken" if _goes_on(last) else None
            if _breaks_a_row(last, facts.first):
                return "row-broken"
            after = last is None or facts.first[:2] > last[:2] or _is_next_fragment(last, facts.first)
            return None if after and facts.first <= facts.last else "position-back"
        if facts.kind == "snapshot":
            continues = facts.snapshot is not None and facts.snapshot[1] > 0
            stays = not continues or (last is not None and facts.last[:2] == last[:2])
            if not first_is_last or facts.last[1] != END or not stays:
                return "position-moved"
            if _breaks_a_row(last if continues else None, facts.first):
                return "row-broken"
            return None if last is None or facts.last[:2] >= last[:2] else "position-back"
        return None if last is None or facts.last >= last else "position-back"

    def _accept(self, facts: Facts) -> None:
        if facts.sequence != self._next()[0]:
            self.at_hand.clear()
        self.at_hand[facts.sequence] = facts.digest
        self.at_hand.pop(facts.sequence - AT_HAND, None)
        snapshot = facts.snapshot if facts.kind == "snapshot" else self.state.snapshot
        self.state = State(
            self.state.epoch,
            (facts.sequence, facts.digest),
            facts.incarnation,
            facts.last,
            facts.last[0] if facts.leaves_open else None,
            None if facts.kind == "gap" else snapshot,
        )


@dataclass
class Counts:
    """What was read of a stream."""

    fences: int = 0
    batches: int = 0
    beacons: int = 0
    late: int = 0
    again: int = 0
    ahead: int = 0


@dataclass
class Chain:
    """One stream of verified frames, read from its beginning, record by record."""

    machine: Machine
    counts: Counts = field(default_factory=Counts)
    accepted: dict[int, Batch] = field(default_factory=dict)
    _before: list[tuple[int, State]] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The state after the last record."""
        return self.machine.state

    def fence(self, offset: int, fence: Fence) -> None:
        """An epoch begins, or a fence comes late."""
        self._remember(offset)
        self._judge(self.machine.fence(fence.fields["epoch"]), "a fence")

    def batch(self, offset: int, batch: Batch) -> bool:
        """Whether the batch is the next one; False when it is dropped."""
        self._remember(offset)
        step = self.machine.batch(facts_of(batch))
        sequence = batch.header["sequence"]
        if step == "old":
            # Everything accepted is kept here, so nothing stays untold (section 6).
            known = self.accepted.get(sequence)
            if known is not None:
                step = "duplicate" if known.digest == batch.digest else "fork"
        if self._judge(step, f"batch {sequence}"):
            self.accepted[sequence] = batch
            return True
        return False

    def beacon(self, offset: int, beacon: Beacon) -> bool:
        """Whether the beacon counts; False when it is late."""
        self._remember(offset)
        fields = beacon.fields
        head = fields["head"]
        named = head and (head["sequence"], head["digest"])
        if not self._judge(self.machine.beacon(fields["epoch"], named), "a beacon"):
            return False
        known = head and self.accepted.get(head["sequence"])
        if known and _mark(head["last"]) != _mark(known.header["last"]):
            raise refuse("VER032", f"another last position than that of batch {head['sequence']}")
        self._place(offset, fields["place"])
        return True

    def _judge(self, step: str, what: str) -> bool:
        """Counts what is dropped, and raises what halts."""
        if step in CODES and step not in DROPPED:
            raise refuse(CODES[step], f"{what} is {step}")
        counter = {
            "fenced": "fences",
            "accepted": "batches",
            "beacon-seen": "beacons",
            "late": "late",
            "ahead": "ahead",
        }.get(step, "again")
        setattr(self.counts, counter, getattr(self.counts, counter) + 1)
        return step not in DROPPED

    def _remember(self, offset: int) -> None:
        if self._before and offset <= self._before[-1][0]:
            raise ValueError(f"offset {offset} after {self._before[-1][0]}")
        self._before.append((offset, self.state))

    def _place(self, offset: int, place: dict[str, Any]) -> None:
        """The place must be the state right before the first record at or after its offset."""
        if place["offset"] > offset:
            raise refuse("VER032", f"a place at {place['offset']} in a beacon at {offset}")
        was = next((state for at, state in self._before if at >= place["offset"]), self.state)
        said = state_of(place)
        if said.head is None:
            # Before a head the incarnation and the last position mean nothing.
            said = replace(said, incarnation=was.incarnation, last=was.last)
        if said != was:
            raise refuse("VER032", f"a place at {place['offset']} says {said}, where the stream is {was}")


def state_of(place: dict[str, Any]) -> State:
    """The state that a beacon's place says."""
    head, part = place["head"], place["snapshot"]
    return State(
        place["epoch"],
        head and (head["sequence"], head["digest"]),
        place["incarnation"],
        _mark(place["last"]),
        place["open"],
        part and _part(part),
    )


def facts_of(batch: Batch) -> Facts:
    """What the chain needs, from the header of a verified batch."""
    header = batch.header
    notice = header["notice"] or {}
    part = header["snapshot"]
    return Facts(
        epoch=header["epoch"],
        sequence=header["sequence"],
        digest=batch.digest,
        previous=header["previous"],
        kind=header["kind"],
        incarnation=header["incarnation"],
        first=_mark(header["first"]),
        last=_mark(header["last"]),
        rows=header["row_events"] + header["truncates"],
        continues=header["continues"],
        leaves_open=header["leaves_open"],
        begun=header["transactions_begun"],
        ended=header["transactions_ended"],
        snapshot=part and _part(part),
        lost=tuple((lost["sequence"], lost["digest"]) for lost in notice.get("lost", [])),
        lost_previous=notice.get("lost_previous", bytes(32)),
        voids=tuple(notice.get("voids", [])),
    )


def _goes_on(position: Mark | None) -> bool:
    """Whether the position's row is not whole."""
    return position is not None and position[2] not in (0, LAST_FRAGMENT)


def _is_next_fragment(position: Mark | None, first: Mark) -> bool:
    if position is None or not _goes_on(position):
        return False
    return first[:2] == position[:2] and first[2] in (position[2] + 1, LAST_FRAGMENT)


def _breaks_a_row(last: Mark | None, first: Mark) -> bool:
    return not _is_next_fragment(last, first) and (_goes_on(last) or first[2] > 1)


def _part(part: dict[str, Any]) -> Snapshot:
    return part["generation"], part["chunk"], part["last"]


def _mark(position: dict[str, Any]) -> Mark:
    return position["commit"], position["ordinal"], position["fragment"]
