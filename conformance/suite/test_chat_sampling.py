"""Area CHAT: what of a request reaches the upstream as a sampling parameter."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.gateway import Capability
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.lengths import LONG
from conformance.vocabulary.session import function

SHAPING = (
    *("temperature", "top_p", "top_k", "min_p", "stop"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)
"""What makes the sampled distribution another one than the policy's."""

ENVELOPE = ("messages", "tools", "tool_choice", "stream_options", "response_format")


@pytest.mark.requirement(id="CHAT-029")
@pytest.mark.parametrize(("name", "value"), [("temperature", 0.3), ("temperature", 1.7), ("top_p", 0.85)])
def test_sampling_values_reach_the_upstream(session, upstream, name, value):
    """`temperature` and `top_p` of the request reach the upstream unchanged."""
    upstream.says("Hello")

    session.chat("Hi", **{name: value})

    [call] = calls_made(upstream)
    expect(call.sampling.get(name)).equals(value, f"{name} at the upstream")


@pytest.mark.requirement(id="CHAT-030")
def test_temperature_0_reaches_the_upstream(session, upstream):
    """A sampling value of 0 (`temperature: 0`) reaches the upstream as 0."""
    upstream.says("Hello")

    session.chat("Hi", temperature=0)

    [call] = calls_made(upstream)
    expect(call.sampling.get("temperature")).equals(0, "temperature at the upstream")


@pytest.mark.requirement(id="CHAT-031")
def test_max_tokens_reaches_the_upstream(session, upstream, streamed):
    """`max_tokens` of the request reaches the upstream as the limit of the generation."""
    upstream.says("Hello")

    session.chat("Hi", max_tokens=7, stream=streamed)

    [call] = calls_made(upstream)
    expect(call.max_tokens).equals(7, "the limit of the generation at the upstream")


@pytest.mark.requirement(id="CHAT-032")
def test_max_completion_tokens_reaches_the_upstream(session, upstream):
    """`max_completion_tokens` reaches the upstream as the limit of the generation, like `max_tokens`."""
    upstream.says("Hello")

    session.chat("Hi", max_completion_tokens=7)

    [call] = calls_made(upstream)
    expect(call.max_tokens).equals(7, "the limit of the generation at the upstream")


@pytest.mark.requirement(id="CHAT-033")
@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "16"], ids=repr)
def test_max_tokens_that_is_no_positive_integer_is_refused(session, upstream, limit):
    """A `max_tokens` that is not a positive integer (0, negative, fraction, boolean, string) is refused, and nothing is
    generated for it.
    """
    upstream.says("Hello")

    reply = session.chat("Hi", max_tokens=limit)

    expect(reply).is_refused()
    generated = [call for call in upstream.calls if call.outcome == "answered"]
    expect(len(generated)).equals(0, "generations")


@pytest.mark.requirement(id="CHAT-034")
@pytest.mark.parametrize("stop", ["END", ["END"], ["END", "\n\n"]], ids=["text", "list of one", "list of two"])
def test_stop_reaches_the_upstream(session, upstream, stop):
    """`stop` reaches the upstream with the same stop texts, given as one string or as a list."""
    upstream.says("Hello")

    session.chat("Hi", stop=stop)

    [call] = calls_made(upstream)
    received = call.sampling.get("stop")
    texts = [received] if isinstance(received, str) else received
    expect(texts).equals([stop] if isinstance(stop, str) else stop, "the stop texts at the upstream")


@pytest.mark.requirement(id="CHAT-035")
def test_no_sampling_value_is_invented(session, upstream):
    """A request without sampling values leads to an upstream call without `temperature`, `top_p`, `top_k`, penalties
    and `stop`.
    """
    upstream.says("Hello")

    session.chat("Hi")

    [call] = calls_made(upstream)
    invented = {name: call.sampling[name] for name in SHAPING if call.sampling.get(name) is not None}
    expect(invented).equals({}, "sampling values at the upstream")


@pytest.mark.requirement(id="CHAT-036")
def test_chat_envelope_stays_away_from_a_token_upstream(session, upstream, check, streamed):
    """Fields of the chat envelope (`messages`, `tools`, `tool_choice`, `stream_options`, `response_format`) never reach
    a token upstream.
    """
    upstream.says("Hello")
    fields: dict[str, Any] = {"stream_options": {"include_usage": True}} if streamed else {}
    if Capability.TOOLS in check.declaration.capabilities:
        fields.update(tools=[function("search")], tool_choice="auto")

    session.chat("Hi", stream=streamed, **fields)

    [call] = calls_made(upstream)
    expect([name for name in ENVELOPE if name in call.fields]).equals([], "fields of the chat envelope at the upstream")


@pytest.mark.requirement(id="CHAT-120")
@pytest.mark.parametrize("limit", [{}, {"max_tokens": None}], ids=["absent", "null"])
def test_request_without_a_limit_is_not_cut(session, upstream, streamed, limit):
    """A request without `max_tokens`, or with null, is answered with all that the model says and `finish_reason`
    `stop`: no default of the engine cuts it.
    """
    upstream.says(LONG, obeys_limits=True)

    reply = session.chat("Count.", stream=streamed, **limit)

    expect(reply.text).equals(LONG, "the text of the answer")
    expect(reply.finish_reason).equals("stop", "finish_reason")
