"""What reads the wire, in both packages, on what nobody sends: a refusal of its own kind, or a reading that is JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import anthropic, anthropic_stream, chat, responses, sse
from conformance.oracles.stream_check import WIRES, check
from reference_gateway.codec.parsers import PARSERS
from reference_gateway.wire import anthropic_messages, invocations, openai_chat, openai_responses
from reference_gateway.wire.base import Policy, RequestRefused
from reference_gateway.wire.json_body import read_object
from reference_gateway.wire.responses_items import lower
from tests.fuzz.documents import TEXT, bodies
from tests.fuzz.test_gateway import CHAT, CONVERSATION, MESSAGES, RESPONSES

POLICIES = [Policy(), Policy(media=True, template_kwargs=True)]


def responded(body: dict[str, Any], _: Any, policy: Policy) -> list[Any]:
    request = openai_responses.parse(body, {}, policy, [], lambda item_id: None)
    return lower(request.items, lambda item_id: None)


def conversed(body: dict[str, Any], _: Any, policy: Policy) -> Any:
    return openai_responses.read_conversation(body, lambda item_id: None, policy.media)


READERS: list[tuple[Any, Callable[..., Any]]] = [
    (CHAT, lambda *given: openai_chat.parse(*given).turn),
    (MESSAGES, lambda *given: anthropic_messages.parse(*given).turn),
    (RESPONSES, responded),
    (CONVERSATION, conversed),
]


def status_of(read: Callable[[], object]) -> int:
    """With what it is refused; 200 when it is read."""
    try:
        read()
    except RequestRefused as refusal:
        return refusal.status
    return 200


@given(st.data())
def test_any_request_is_read_or_refused(data):
    document, read = data.draw(st.sampled_from(READERS))
    body, policy = data.draw(bodies(document)), data.draw(st.sampled_from(POLICIES))
    assert status_of(lambda: read(read_object(body), {}, policy)) < 500
    assert status_of(lambda: invocations.parse(body)) in (200, 400, 422)


SCRAPS = st.sampled_from(
    [
        *[
            "<tool_call>",
            "</tool_call>",
            '{"name": "f", "arguments": {}}',
            "[f(a=",
            ")]",
            "<function=f>",
            "</function>",
        ],
        *["<parameter=a>", "</parameter>", "[TOOL_CALLS]", "[ARGS]", "<arg_key>a</arg_key>", "<arg_value>", "\\", "\n"],
        *["</arg_value>", "<|python_tag|>", '{"name": "f", "parameters": {"a": 1}}', "{", "}", '"', "__import__('os')"],
    ]
)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}}]


@given(st.sampled_from(sorted(PARSERS)), st.lists(SCRAPS | TEXT, max_size=12).map("".join))
def test_a_parser_of_calls_never_raises(parser, text):
    rest, calls = PARSERS[parser](text, TOOLS)
    assert calls or rest == text
    assert all(isinstance(call["function"]["arguments"], dict) for call in calls)
    json.dumps(calls).encode()


FRAMES = st.sampled_from(
    [
        b'data: {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0}]}}]}\n\n',
        b'event: content_block_start\ndata: {"type": "content_block_start", "index": 0, "content_block": {}}\n\n',
        b'event: response.output_item.added\ndata: {"type": "response.output_item.added", "item": {}}\n\n',
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"data: 5\r\n\r\n",
        b"\xef\xbb\xbf",
    ]
)


@given(st.lists(FRAMES | st.binary(max_size=6), max_size=8).map(b"".join))
def test_any_stream_is_judged_and_read(body):
    for wire in WIRES:
        for one in check(body, wire):
            str(one.violation).encode()
            assert one.line >= 1
    events = sse.parse(body)
    for assembled in (chat.assemble(events), anthropic_stream.assemble(events), responses.assemble(events)):
        json.dumps(assembled).encode()
    anthropic.message(anthropic_stream.assemble(events))
