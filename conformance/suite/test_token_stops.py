"""Area TOKEN: answers that a stop text ended. What was shown is less than what was sampled."""

from __future__ import annotations

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect
from conformance.vocabulary.stopped import STOPPED, WORD


@pytest.mark.requirement(id="TOKEN-035")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_ids_of_a_stopped_answer_are_exported_whole(session, upstream, streamed, case):
    """The ids of an answer that a stop text ended are exported as they were sampled, those of the stop text
    included."""
    upstream.says(case.text)
    session.chat("Hi", stop=list(case.stops), stream=streamed)

    expect(session.trajectories()).have_responses(upstream).have_full_masks()


@pytest.mark.requirement(id="TOKEN-036")
@pytest.mark.parametrize("case", STOPPED, ids=str)
def test_echo_of_a_stopped_answer_continues_its_trajectory(session, upstream, streamed, case):
    """An answer that a stop text ended, echoed as it was shown, continues its trajectory."""
    talk = Conversation(session, upstream, stop=list(case.stops), stream=streamed)
    talk.turn("Hi", "Hello")
    talk.turn("Tell me", case.text)
    talk.turn("And more", WORD.text)
    talk.turn("So?", "Fine")

    expect(session.trajectories()).count(1).are_verbatim(upstream).conserve(upstream)
