"""What is suspicious about trajectories of which nobody has a record."""

from __future__ import annotations

from conformance.gateway import Trajectory
from conformance.oracles.unrecorded import duplicates


def test_a_generation_that_two_branches_train_is_told_where_it_comes_again():
    shared = Trajectory([1, 2], [3, 4], [1, 1])
    (found,) = duplicates([shared, Trajectory([1, 2], [3, 4, 5, 6], [1, 1, 0, 1])])
    assert found.where == "trajectory 1, response_mask[0:2]"
    assert found.actual == "2 ids that are trainable at trajectory 0, response_mask[0:2] as well"


def test_an_answer_is_not_the_continuation_that_came_out_equal():
    whole, continued = Trajectory([1, 2], [3, 4], [1, 1]), Trajectory([1, 2, 3], [4], [1])
    assert duplicates([whole, continued]) == []
