"""Situations as data: every crossing of values is walked, and the file is what its maker writes."""

from __future__ import annotations

import pytest

from conformance.vocabulary.situations import (
    APART,
    DIMENSIONS,
    JOURNEYS,
    Crossing,
    Situation,
    agree,
    completed,
    crossings,
    crossings_of,
    journeys,
)
from tests.kit.make_journeys import ROWS, written

WALKED = [journey for wire in DIMENSIONS["wire"] for journey in journeys(wire)]
SITUATIONS = [situation for journey in WALKED for situation in journey.situations]


def test_every_crossing_is_walked() -> None:
    walked = frozenset[Crossing]().union(*(crossings_of(dict(situation.values())) for situation in SITUATIONS))
    assert crossings() - walked == frozenset()
    assert len(crossings()) > 1000


def test_each_value_goes_together_with_something() -> None:
    alive = {value for crossing in crossings() for value in crossing}
    assert alive == {(name, value) for name, values in DIMENSIONS.items() for value in values}


def test_no_pair_that_is_apart_is_walked() -> None:
    assert [situation for situation in SITUATIONS if not agree(dict(situation.values()))] == []


def test_journeys_are_short_and_over_one_wire() -> None:
    assert {len(journey.situations) <= ROWS for journey in WALKED} == {True}
    assert all(len({situation.wire for situation in journey.situations}) == 1 for journey in WALKED)
    assert len({journey.name for journey in WALKED}) == len(WALKED)


def test_the_file_is_what_its_maker_writes() -> None:
    assert JOURNEYS.read_text("utf-8") == written(), "stale: run python -m tests.kit.make_journeys"


@pytest.mark.parametrize("apart", APART, ids=lambda apart: f"{apart.one[0]} and {apart.other[0]}")
def test_what_is_apart_names_values_that_there_are(apart: object) -> None:
    for name, values in (apart.one, apart.other):  # type: ignore[attr-defined]
        assert values
        assert values <= DIMENSIONS[name].keys()


def test_a_situation_says_what_is_not_plain() -> None:
    plain = Situation("chat", "plain", "none", "first", "text", "none", "stop")
    assert str(plain) == "chat, place: first"
    told = Situation("messages", "streamed", "one call", "later", "text", "none", "429")
    assert str(told) == "messages, stream: streamed, tools: one call, place: later, ending: 429"


def test_values_that_are_apart_are_completed_to_nothing() -> None:
    assert completed({"wire": "invocations", "tools": "one call"}) is None
    situation = completed({"wire": "messages", "ending": "stop string"})
    assert situation is not None
    assert situation.field == "stop"
