"""Area LOGP: the weight versions that took part in a trajectory."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect


@pytest.mark.requirement(id="LOGP-014")
@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        pytest.param([(3, 3), (4, 5)], (3, 5), id="pairs"),
        pytest.param([7, 6], (6, 7), id="numbers"),
        pytest.param([None, 4], (4, 4), id="first-unknown"),
        pytest.param([4, None], (4, 4), id="last-unknown"),
    ],
)
def test_trajectory_spans_its_weight_versions(session, upstream, streamed, versions, expected):
    """A trajectory has the lowest and the highest weight version that its generations report."""
    talk = Conversation(session, upstream, stream=streamed)
    for number, version in enumerate(versions):
        talk.turn(f"Question {number}", f"Answer {number}", weight_version=version)

    expect(talk.trajectories()).span_weight_versions(expected)


@pytest.mark.requirement(id="LOGP-015")
def test_trajectories_have_weight_versions_of_their_own(session, upstream):
    """Each trajectory of a session has weight versions of its own."""
    old, new = Conversation(session, upstream), Conversation(session, upstream)
    old.turn("Hi", "Hello", weight_version=1)
    new.turn("Something else", "What?", weight_version=5)
    new.turn("Nothing.", "Then not", weight_version=6)

    expect(session.trajectories()).span_weight_versions((1, 1), (5, 6))


@pytest.mark.requirement(id="LOGP-016")
def test_no_weight_version_is_made_up(session, upstream):
    """Where the upstream reports no weight version, a trajectory has none."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello")
    talk.turn("How are you?", "Fine")

    expect(session.trajectories()).span_weight_versions(None)


@pytest.mark.requirement(id="LOGP-017")
def test_replaced_answer_does_not_count_for_the_version(session, upstream):
    """The weight version of an answer that was replaced does not count for its trajectory."""
    talk = Conversation(session, upstream)
    talk.turn("Hi", "Hello", weight_version=3)
    talk.turn("How are you?", "Awful", weight_version=9)

    talk.back(1).turn("Wrong, try again.", "Fine", weight_version=4)

    expect(session.trajectories()).span_weight_versions((3, 4))
