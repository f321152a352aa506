"""Which recorded generation ids are taken for, where more than one could be meant or none stands there as it was."""

from __future__ import annotations

import pytest

from conformance.gateway import Trajectory
from conformance.oracles.evidence import Evidence
from conformance.oracles.token_truth import Generation, conservation, judge, verbatim

PROMPT = [1, 2]
NOBODY = "mask 1 on ids that the upstream returned, and nowhere else"


def test_ids_are_those_of_the_calls_whose_context_stands_there():
    """An answer was cut for length and continued; elsewhere the same ids were sampled in one go."""
    cut, continued = Generation(PROMPT, [20]), Generation([*PROMPT, 20], [21])
    elsewhere = Generation([7], [20, 21])
    exported = [Trajectory(PROMPT, [20, 21], [1, 1]), Trajectory([7], [20, 21], [1, 1])]
    assert judge(exported, [cut, continued, elsewhere]) == []


def test_of_generations_with_one_context_the_first_counts_though_it_is_as_long_as_the_run():
    """The answer that was sampled whole is kept; that which was then sampled in two pieces was given up."""
    whole, cut, continued = Generation(PROMPT, [20, 21]), Generation(PROMPT, [20]), Generation([*PROMPT, 20], [21])
    assert conservation([Trajectory(PROMPT, [20, 21], [1, 1])], [whole, cut, continued], {1, 2}) == []


def test_no_place_of_a_run_is_searched_twice(monkeypatch):
    """Else a run that no chain of generations explains would take exponential time."""
    steps, searched = Evidence._steps, []

    def noted(self, track, start, end):
        assert start not in searched
        searched.append(start)
        return steps(self, track, start, end)

    monkeypatch.setattr(Evidence, "_steps", noted)
    calls = [Generation(PROMPT, [20]), Generation(PROMPT, [20, 20])]
    ((_, segments),) = Evidence([Trajectory(PROMPT, [20] * 30 + [9], [1] * 31)], calls).segments
    assert [one.end - one.start for one in segments if not one.calls] == [1]
    assert len(searched) == 31


def blamed(response, mask, generation, prompt=(1, 8)):
    (found,) = verbatim([Trajectory(list(prompt), response, mask)], [Generation(PROMPT, generation)])
    return found


def test_a_generation_is_recognised_by_its_ids_where_its_context_is_wrong_too():
    around = blamed([50, 51, 20, 21, 22, 52], [1] * 6, [20, 21, 22])
    assert around.expected.startswith("the 3 ids that call 0 returned, ")
    assert around.hint == "mask 1 on 2 ids before the generation: is the generation prompt counted as sampled?"
    inside = blamed([20, 21, 22], [0, 1, 0], [20, 21, 22])
    assert inside.expected.startswith("the 3 ids that call 0 returned, ")
    assert blamed([50, 51], [1, 1], [20, 21, 22]).expected == NOBODY


@pytest.mark.parametrize(("distance", "expected"), [(64, "the 2 ids that call 0 returned"), (65, NOBODY)])
def test_a_mask_is_meant_for_a_generation_that_is_near(distance, expected):
    found = blamed([60] * distance + [70], [0] * distance + [1], [20, 21], PROMPT)
    assert found.expected.partition(", [")[0] == expected
