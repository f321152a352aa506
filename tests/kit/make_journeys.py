"""Writes `conformance/vocabulary/journeys.csv`: situations with every crossing of values, in an order to walk them in.

python -m tests.kit.make_journeys
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator

from conformance.vocabulary.situations import (
    CALLED,
    DIMENSIONS,
    FAILED,
    JOURNEYS,
    TOLD,
    Crossing,
    Situation,
    completed,
    crossings,
    crossings_of,
)

ROWS = 6
"""Situations of a journey, at most. What brings them about comes between them."""
TOOLS_APART = ("odd values", "control text")
"""Tools that are the only ones of their journeys."""


def covering() -> list[Situation]:
    """Situations that have every crossing at least once: always the one with most of those that are missing.

    `allpairspy` gives up among so many values that are apart, with half of the pairs.
    """
    missing, situations = set(crossings()), []
    used = Counter[tuple[str, str]]()
    while missing:
        situation = fullest(dict(min(missing, key=sorted)), missing, used)
        situations.append(situation)
        missing -= crossings_of(dict(situation.values()))
        used.update(situation.values())
    return needed(situations)


def fullest(values: dict[str, str], missing: set[Crossing], used: Counter[tuple[str, str]]) -> Situation:
    """A situation with these values, each other one chosen for the missing crossings that it brings, then for being
    rare among those that are `used`."""
    while len(values) < len(DIMENSIONS):
        choices = [
            (
                (len(missing & crossings_of({**values, name: value})), -used[name, value]),
                name,
                value,
            )
            for name in DIMENSIONS
            if name not in values
            for value in DIMENSIONS[name]
            if completed({**values, name: value}) is not None
        ]
        _, name, value = max(choices, key=lambda choice: choice[0])
        values = {**values, name: value}
    return Situation(**values)


def needed(situations: list[Situation]) -> list[Situation]:
    """These without those whose crossings the others have."""
    kept = list(situations)
    for situation in reversed(situations):
        others = frozenset[Crossing]().union(
            *(crossings_of(dict(one.values())) for one in kept if one is not situation)
        )
        if crossings_of(dict(situation.values())) <= others:
            kept.remove(situation)
    return kept


def tools_of(situation: Situation) -> str:
    """By which tools a journey has: none, any, or those that are apart."""
    return situation.tools if situation.tools in (*TOOLS_APART, "none") else "any"


def leads_to(situation: Situation) -> set[str]:
    """Where the turn behind this one can stand without another in between."""
    if situation.tools in CALLED:
        return {"behind three results" if situation.tools == "five calls" else "behind a result"}
    ends = {"length": "behind a cut", "stop string": "behind a stop"} | dict.fromkeys(FAILED, "behind a failure")
    return {ends.get(situation.ending, "later"), "resumed"}


def walk(situations: Iterable[Situation]) -> Iterator[list[Situation]]:
    """Situations of one wire and one kind of tools, in journeys."""
    left = list(situations)
    while left:
        journey = [next((one for one in left if one.place == "first"), left[0])]
        left.remove(journey[0])
        while left and len(journey) < ROWS:
            places = leads_to(journey[-1])
            following = next((one for one in left if one.place in places and one.system == journey[-1].system), None)
            if following is None:
                following = next((one for one in left if one.place in places), None)
            if following is None:
                following = next((one for one in left if one.place not in {"first", *TOLD}), left[0])
            left.remove(following)
            journey.append(following)
        yield journey


def written() -> str:
    """The text of the file."""
    groups: dict[tuple[str, str], list[Situation]] = {}
    for situation in covering():
        groups.setdefault((situation.wire, tools_of(situation)), []).append(situation)
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["journey", *DIMENSIONS])
    for wire in DIMENSIONS["wire"]:
        number = 0
        for (of_wire, _), situations in sorted(groups.items()):
            for journey in walk(situations) if of_wire == wire else ():
                number += 1
                for situation in journey:
                    table.writerow([f"{wire} {number}", *(value for _, value in situation.values())])
    return file.getvalue()


if __name__ == "__main__":
    JOURNEYS.write_text(written(), "utf-8")
