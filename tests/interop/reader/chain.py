"""How frames of one stream follow each other: epochs by fences, dense sequences, chained digests.

The spec leaves the chain to the reader (docs/spec/sealed-batch.md section 4); these are the rules that its fields
and the pages of fence and beacon imply.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .beacon import Beacon
from .fence import Fence
from .finding import refuse
from .sealed_batch import Batch

Mark = tuple[int, int, int]


@dataclass(frozen=True)
class State:
    """Where a stream stands right before a record."""

    epoch: int = 0
    head: tuple[int, bytes] | None = None
    incarnation: int = 0
    last: Mark = (0, 0, 0)
    open: int | None = None
    # Right after a GAP or RETRACT: the next batch may be of another incarnation.
    noticed: bool = False


@dataclass
class Counts:
    """What was read of a stream."""

    fences: int = 0
    batches: int = 0
    beacons: int = 0
    late: int = 0
    again: int = 0


@dataclass
class Chain:
    """One stream, read from its beginning, record by record."""

    state: State = State()
    counts: Counts = field(default_factory=Counts)
    accepted: dict[int, Batch] = field(default_factory=dict)
    _before: list[tuple[int, State]] = field(default_factory=list)
    _rows_only: bool = True

    def fence(self, offset: int, fence: Fence) -> None:
        """An epoch begins, or a fence comes late."""
        self._remember(offset)
        epoch = fence.fields["epoch"]
        if epoch <= self.state.epoch:
            self.counts.late += 1
            return
        self.state = replace(self.state, epoch=epoch)
        self.counts.fences += 1

    def batch(self, offset: int, batch: Batch) -> bool:
        """Whether the batch is the next one; False when it is late or came before."""
        self._remember(offset)
        header, state = batch.header, self.state
        if self._is_late(header["epoch"]):
            return False
        sequence = header["sequence"]
        if sequence in self.accepted:
            if self.accepted[sequence].digest != batch.digest:
                raise refuse("CHA002", f"two batches {sequence}")
            self.counts.again += 1
            return False
        following = 0 if state.head is None else state.head[0] + 1
        if sequence != following:
            raise refuse("CHA004", f"batch {sequence} where {following} is next")
        if state.head is not None and header["previous"] != state.head[1]:
            raise refuse("CHA003", f"batch {sequence} follows another batch")
        self._source(header)
        if header["kind"] == "stream":
            self._position(header)
        else:
            self._rows_only = self._rows_only and header["kind"] == "schema"
        self._accept(batch)
        return True

    def beacon(self, offset: int, beacon: Beacon) -> bool:
        """Whether the beacon counts; False when it is late."""
        self._remember(offset)
        fields = beacon.fields
        if self._is_late(fields["epoch"]):
            return False
        head = fields["head"]
        if head is not None:
            self._known(head)
            if _mark(head["last"]) != _mark(self.accepted[head["sequence"]].header["last"]):
                raise refuse("VER032", f"another last position than that of batch {head['sequence']}")
        self._place(offset, fields["place"])
        self.counts.beacons += 1
        return True

    def _remember(self, offset: int) -> None:
        if self._before and offset <= self._before[-1][0]:
            raise ValueError(f"offset {offset} after {self._before[-1][0]}")
        self._before.append((offset, self.state))

    def _is_late(self, epoch: int) -> bool:
        if epoch > self.state.epoch:
            raise refuse("CHA001", f"no fence has opened epoch {epoch}")
        if epoch < self.state.epoch:
            self.counts.late += 1
            return True
        return False

    def _source(self, header: dict[str, Any]) -> None:
        """The source may change at a signed notice only."""
        state = self.state
        may_change = state.head is None or state.noticed or header["notice"] is not None
        if header["incarnation"] != state.incarnation and not may_change:
            raise refuse("CHA008", f"incarnation {header['incarnation']} after {state.incarnation}")

    def _position(self, header: dict[str, Any]) -> None:
        first, state = _mark(header["first"]), self.state
        rows = header["row_events"] + header["truncates"]
        is_same_source = header["incarnation"] == state.incarnation and state.head is not None
        if is_same_source and (first < state.last or (rows and first == state.last)):
            raise refuse("CHA005", f"position {first} after {state.last}")
        if header["continues"] != (state.open is not None):
            raise refuse("CHA007", "continues a transaction that is not open, or leaves one behind")
        if header["continues"] and first[0] != state.open:
            raise refuse("CHA007", f"continues commit {first[0]} where {state.open} is open")

    def _accept(self, batch: Batch) -> None:
        header = batch.header
        now_open = self.state.open
        if header["kind"] == "stream":
            now_open = header["last"]["commit"] if header["leaves_open"] else None
        elif header["notice"] is not None and now_open in header["notice"]["voids"]:
            now_open = None
        self.state = State(
            self.state.epoch,
            (header["sequence"], batch.digest),
            header["incarnation"],
            _mark(header["last"]),
            now_open,
            header["notice"] is not None,
        )
        self.accepted[header["sequence"]] = batch
        self.counts.batches += 1

    def _known(self, reference: dict[str, Any]) -> None:
        """The batch that a beacon names must be the one of the stream."""
        known = self.accepted.get(reference["sequence"])
        if known is None:
            raise refuse("CHA004", f"a beacon names batch {reference['sequence']}, which is not there")
        if known.digest != reference["digest"]:
            raise refuse("CHA002", f"a beacon names another batch {reference['sequence']}")

    def _place(self, offset: int, place: dict[str, Any]) -> None:
        """The place must be the state right before the first record at or after its offset."""
        if place["offset"] > offset:
            raise refuse("VER032", f"a place at {place['offset']} in a beacon at {offset}")
        state = next((state for at, state in self._before if at >= place["offset"]), self.state)
        head = place["head"] and (place["head"]["sequence"], place["head"]["digest"])
        said: tuple[Any, ...] = (place["epoch"], head)
        was: tuple[Any, ...] = (state.epoch, state.head)
        if self._rows_only and head is not None:
            said += place["incarnation"], _mark(place["last"]), place["open"]
            was += state.incarnation, state.last, state.open
        if said != was:
            raise refuse("VER032", f"a place at {place['offset']} says {said}, where the stream is {was}")


def _mark(position: dict[str, Any]) -> Mark:
    return position["commit"], position["ordinal"], position["fragment"]
