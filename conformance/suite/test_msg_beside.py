"""Area MSG: what there is beside the route of messages, and what clients probe."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool
from conformance.client.http import at
from conformance.vocabulary.expect import expect
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import ABSENT, assistant, function, user

SEARCH = as_tool(function("search", q={"type": "string"}))


def count_tokens(session, *messages, **fields):
    """The answer of the route that counts tokens, which a gateway need not have."""
    body = session.message_body(*(messages or ["How long is this?"]), max_tokens=ABSENT, **fields)
    reply = session.send_message(body, path="/v1/messages/count_tokens")
    if reply.status == 404:
        raise NotApplicable("the gateway has no route that counts tokens")
    return reply


@pytest.mark.requirement(id="MSG-061")
@pytest.mark.parametrize("history", [(), (assistant("Hello"), user("How are you?"))], ids=["message", "conversation"])
def test_tokens_are_counted(session, history):
    """`POST /v1/messages/count_tokens` is answered with a positive integer `input_tokens`, or with status 404 and the
    Anthropic error envelope."""
    body = session.message_body("Hi", *history, max_tokens=ABSENT)

    reply = session.send_message(body, path="/v1/messages/count_tokens")

    expect(reply).status(200, 404)
    if reply.status == 404:
        expect(reply).has_anthropic_envelope()
        return
    expect(at(reply.json(), "input_tokens")).satisfies(
        lambda count: type(count) is int and count > 0, "a positive integer", "input_tokens"
    )


@pytest.mark.requirement(id="MSG-062")
def test_counted_tokens_are_those_of_the_message(session, upstream):
    """The `input_tokens` that are counted for a request are those of its answer."""
    upstream.says("Hello")
    fields = {"system": "Be brief.", "tools": [SEARCH]}
    counted = at(count_tokens(session, **fields).json(), "input_tokens")

    answer = session.message("How long is this?", **fields)

    expect(counted).equals(at(answer.usage, "input_tokens"), "input_tokens that were counted")


@pytest.mark.requirement(id="MSG-062")
def test_counted_tokens_of_a_later_turn_are_those_of_its_message(session, upstream):
    """The `input_tokens` that are counted for a request are those of its answer."""
    upstream.says("Hello")
    upstream.says("Longer")
    first = session.message("How long is this?")
    later = ["How long is this?", first.message, "And this?"]
    counted = at(count_tokens(session, *later).json(), "input_tokens")

    answer = session.message(*later)

    expect(counted).equals(at(answer.usage, "input_tokens"), "input_tokens that were counted for a later turn")


@pytest.mark.requirement(id="MSG-063")
def test_counting_is_no_turn(session, upstream):
    """Counting tokens calls no upstream and leaves no trajectory."""
    upstream.says("Hello")

    count_tokens(session)

    expect([call for call in upstream.calls if call.outcome == "answered"]).equals([], "upstream calls")
    expect(session.trajectories()).count(0)


@pytest.mark.requirement(id="MSG-064")
def test_models_are_listed(session):
    """`GET /v1/models` is answered with a list of models, each with an `id` and a `display_name`, or with status 404
    and an error envelope."""
    reply = session.send_message(method="GET", path="/v1/models")

    expect(reply).status(200, 404)
    if reply.status == 404:
        expect(reply).has_error_envelope()
        return
    models = at(reply.json(), "data", kind=list)
    names = [at(models, place, field, kind=str) for place in range(len(models)) for field in ("id", "display_name")]
    expect(names).lacks("", "ids and names of models")


@pytest.mark.requirement(id="MSG-065")
@pytest.mark.parametrize("path", ["", "/", "/v1/messages"])
def test_head_probe_of_the_anthropic_url_is_harmless(session, upstream, path):
    """A HEAD request for the Anthropic base URL or its messages route is answered with a status below 500, and the next
    message is served."""
    upstream.says("Hello")

    reply = session.send_message(method="HEAD", path=path)

    expect(reply.status).satisfies(lambda status: status < 500, "below 500", "status")
    expect(session.message("Hi")).status(200)
