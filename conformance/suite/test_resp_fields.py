"""Area RESP: fields and items that change what a response is are honoured, or refused by name."""

from __future__ import annotations

import pytest

from conformance.client.responses import call, flat, item, output, results_of
from conformance.gateway import Capability
from conformance.vocabulary import asked as published
from conformance.vocabulary.asked import expect_heard_or_refused, expect_named, expect_told_or_refused
from conformance.vocabulary.expect import REFUSED, expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.target import require_capability

SEARCH = flat(published.SEARCH)
TWICE = [{"name": "search", "arguments": {"q": "weather"}}, {"name": "search", "arguments": {"q": "news"}}]
NOTE = "The build is red."
PART_TEXTS = ("First part.", "Second part.", "Third part.")
PARTS = [{"type": "input_text", "text": part_text} for part_text in PART_TEXTS]
SAID = [{"type": "output_text", "text": part_text, "annotations": []} for part_text in PART_TEXTS]


@pytest.mark.requirement(id="RESP-160")
@pytest.mark.parametrize("field", published.RESPONSES, ids=str)
def test_field_of_a_response_is_honoured_or_refused(session, upstream, target, streamed, field):
    """A field of a request for a response whose value changes the response is honoured, or the request is refused with
    the field named, on the first turn and on later ones, streamed and not."""
    if field.tools:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")
    first = session.respond("Hi")
    for step in field.says:
        upstream.says(**step)

    reply = session.respond("More", previous_response_id=first.id, stream=streamed, **field.fields)

    expect_heard_or_refused(field, reply, upstream)


@pytest.mark.requirement(id="RESP-161")
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"text": {"format": {"type": "text"}}}, id="text.format"),
        pytest.param({"parallel_tool_calls": True}, id="parallel_tool_calls"),
        pytest.param({"truncation": "disabled"}, id="truncation"),
        pytest.param({"background": False}, id="background"),
        pytest.param({"top_logprobs": 0}, id="top_logprobs"),
        pytest.param({"tool_choice": "auto"}, id="tool_choice"),
        pytest.param({"service_tier": "auto"}, id="service_tier"),
        pytest.param({"include": ["reasoning.encrypted_content"]}, id="include"),
    ],
)
def test_documented_default_of_a_response_is_accepted(session, upstream, fields):
    """A field whose value is the default that the API documents (`text.format` of the type `text`, `truncation`
    disabled, `background` false ...) is accepted."""
    upstream.says("Hello")

    reply = session.respond("Hi", **fields)

    expect(reply).status(200)


@pytest.mark.requirement(id="RESP-162")
def test_one_call_of_a_response_where_one_is_asked_for(session, upstream, streamed):
    """With `parallel_tool_calls` false a response has one function call at most, or the request is refused with the
    field named."""
    upstream.says("Hello")
    upstream.says("I will look.", tool_calls=TWICE)
    first = session.respond("Hi", tools=[SEARCH])

    reply = session.respond(
        "Look it up", previous_response_id=first.id, tools=[SEARCH], parallel_tool_calls=False, stream=streamed
    )

    if reply.status in REFUSED:
        expect_named(reply, "parallel_tool_calls")
        return
    expect(reply).status(200)
    expect([function_call.get("name") for function_call in reply.tool_calls]).equals(
        ["search"], "calls of the response"
    )


@pytest.mark.requirement(id="RESP-163")
def test_call_of_a_response_that_was_shown_continues(session, upstream):
    """Behind a call of several that was shown alone, its output continues the trajectory, whose ids are all that were
    sampled."""
    fields = {"tools": [SEARCH], "parallel_tool_calls": False}
    upstream.says("I will look.", tool_calls=TWICE)
    first = session.respond("Look it up", **fields)
    if first.status in REFUSED:
        raise NotApplicable("the gateway refuses `parallel_tool_calls: false`")
    upstream.says("It is sunny.")
    session.respond(results_of(first, "sunny"), previous_response_id=first.id, **fields)

    expect(session.trajectories()).count(1).are_verbatim(upstream).have_true_context(upstream)


@pytest.mark.requirement(id="RESP-164")
@pytest.mark.parametrize(
    ("items", "texts", "names"),
    [
        pytest.param([item("user", PARTS)], PART_TEXTS, ("content",), id="parts of a user"),
        pytest.param([item("assistant", SAID), item("user", "So?")], PART_TEXTS, ("content",), id="parts of an answer"),
        pytest.param(
            [item("assistant", [{"type": "refusal", "refusal": NOTE}]), item("user", "Why?")],
            (NOTE,),
            ("type", "content"),
            id="refusal",
        ),
        pytest.param([call("search"), output(PARTS)], PART_TEXTS, ("output",), id="parts of an output"),
        pytest.param(
            [
                {"type": "custom_tool_call", "call_id": "call_0", "name": "patch", "input": "a"},
                {"type": "custom_tool_call_output", "call_id": "call_0", "output": NOTE},
            ],
            (NOTE,),
            ("type", "custom_tool_call"),
            id="custom_tool_call",
        ),
        pytest.param(
            [
                {
                    "type": "code_interpreter_call",
                    "id": "ci_0",
                    "container_id": "c",
                    "code": "1",
                    "status": "completed",
                    "outputs": [{"type": "logs", "logs": NOTE}],
                },
                item("user", "So?"),
            ],
            (NOTE,),
            ("type", "code_interpreter_call"),
            id="code_interpreter_call",
        ),
    ],
)
def test_what_an_item_says_is_told_or_refused(session, upstream, items, texts, names):
    """What an item of an accepted request says is in the context, whatever its type; otherwise the request is refused
    with that named."""
    upstream.says("Hello")
    upstream.says("Fine")
    first = session.respond("Hi")

    reply = session.respond(items, previous_response_id=first.id)

    expect_told_or_refused(reply, upstream, texts, *names)
