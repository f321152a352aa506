"""Area SHAPE: each kind of answer has the shape that the gateway's own repository pins."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import function

SEARCH = function("search", query={"type": "string"})
CALL = {"name": "search", "arguments": {"query": "weather"}}


@pytest.mark.requirement(id="SHAPE-001")
def test_plain_text_answer_has_its_shape(session, upstream, pinned):
    """The plain answer to a text turn has the pinned shape."""
    upstream.says("Hello")

    expect(session.chat("Hi")).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-002")
def test_plain_tool_call_has_its_shape(session, upstream, pinned):
    """The plain answer with a tool call has the pinned shape."""
    upstream.says(tool_calls=[CALL])

    expect(session.chat("Hi", tools=[SEARCH])).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-003")
def test_text_stream_has_its_shape(session, upstream, pinned):
    """The stream of a text turn has the pinned shape."""
    upstream.says("Hello")

    expect(session.chat("Hi", stream=True)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-004")
def test_tool_call_stream_has_its_shape(session, upstream, pinned):
    """The stream of a tool call has the pinned shape."""
    upstream.says(tool_calls=[CALL])

    expect(session.chat("Hi", tools=[SEARCH], stream=True)).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-005")
def test_refusal_has_its_shape(session, pinned):
    """The error for a refused chat request has the pinned shape."""
    expect(session.chat(messages=[])).has_shape(pinned)


@pytest.mark.requirement(id="SHAPE-006")
def test_state_has_its_shape(session, upstream, pinned):
    """The state of a session with one answered turn has the pinned shape."""
    upstream.says("Hello")
    session.chat("Hi")

    expect(session.state()).has_shape(pinned, "the session's state")


@pytest.mark.requirement(id="SHAPE-007")
def test_trajectory_has_its_shape(session, upstream, pinned):
    """An exported trajectory has the pinned shape."""
    upstream.says("Hello")
    session.chat("Hi")

    exported = [asdict(trajectory) for trajectory in session.trajectories()]
    expect(exported).has_shape(pinned, "the exported trajectories")
