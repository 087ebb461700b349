"""Log entries over their vectors."""

from __future__ import annotations

import pytest

from .. import log_entry, sealed_batch
from ..finding import Refused
from .vectors import expectation, frame, has_each_file_once, reader, split_cases

GOOD, FAILURES = split_cases("log-entry")
TYPES = {
    "good-epoch": 1,
    "good-batch": 2,
    "good-batch-of-a-snapshot": 2,
    "good-batch-first": 2,
    "good-key-record": 3,
    "good-rewrap": 4,
    "good-contract": 5,
    "good-incarnation": 6,
    "good-mark": 7,
    "good-trust": 8,
}
# The frames that the entries of the types 3 to 6 hold in full.
FRAMES = {
    "good-key-record": ("key-record", "good-amount"),
    "good-rewrap": ("rewrap", "good"),
    "good-contract": ("contract-record", "good"),
    "good-incarnation": ("incarnation-record", "good"),
}


def test_no_vector_is_missing() -> None:
    assert has_each_file_once("log-entry")
    assert set(GOOD) == set(TYPES)
    assert len(FAILURES) >= 16


@pytest.mark.parametrize("name", GOOD)
def test_a_good_entry_is_read(name: str) -> None:
    entry = log_entry.decode(frame("log-entry", name))
    assert expectation("log-entry", name)["expect"] == []
    assert entry.number == TYPES[name]
    if name in FRAMES:
        assert entry.fields["record"] == frame(*FRAMES[name])


def test_the_batch_entry_is_that_of_its_header() -> None:
    batch = sealed_batch.verify(frame("sealed-batch", "good"), reader()[0])
    entry = log_entry.decode(frame("log-entry", "good-batch"))
    assert log_entry.batch_entry_differences(entry.fields, batch.header, batch.digest) == []
    assert entry.fields["previous_index"] == 12
    assert log_entry.decode(frame("log-entry", "good-batch-first")).fields["previous_index"] == -1


def test_the_other_entries_say_what_their_vectors_say() -> None:
    epoch = log_entry.decode(frame("log-entry", "good-epoch")).fields
    assert epoch["epoch"] == 3
    mark = log_entry.decode(frame("log-entry", "good-mark")).fields
    assert [stream["head"] is None for stream in mark["streams"]] == [False, True]
    assert log_entry.decode(frame("log-entry", "good-trust")).fields["version"] == 4


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_refused_with_its_codes(name: str) -> None:
    with pytest.raises(Refused) as refused:
        log_entry.decode(frame("log-entry", name))
    assert refused.value.codes == sorted(expectation("log-entry", name)["expect"])
