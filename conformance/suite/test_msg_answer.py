"""Area MSG: what a message request is answered with."""

from __future__ import annotations

import pytest

from conformance.client.anthropic import as_tool, results_of, text
from conformance.client.http import at
from conformance.gateway import Capability
from conformance.upstream.tool_format import CUT_OFF, NO_NAME, SPOILED
from conformance.vocabulary.calls import TEMPTING
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.session import ABSENT, function, typed, user
from conformance.vocabulary.target import require_capability

SEARCH = as_tool(function("search_the_web", q={"type": "string"}))
CLOCK = as_tool(function("read_clock", zone={"type": "string"}))
SEARCHED = {"name": "search_the_web", "arguments": {"q": "weather"}}
CLOCKED = {"name": "read_clock", "arguments": {"zone": "UTC"}}
STOP_REASONS = [
    *("end_turn", "max_tokens", "stop_sequence", "tool_use"),
    *("pause_turn", "refusal", "model_context_window_exceeded"),
]


@pytest.mark.requirement(id="MSG-001")
def test_message_is_answered_as_a_message(session, upstream):
    """A message request is answered with status 200, as `application/json`, with an object whose `type` is `message`
    and whose `role` is `assistant`."""
    upstream.says("Hello")

    reply = session.message("Hi")

    expect(reply).status(200).is_json()
    expect([at(reply.completion, "type"), at(reply.completion, "role")]).equals(["message", "assistant"], "type, role")


@pytest.mark.requirement(id="MSG-002")
def test_message_ids_are_unique(session, upstream, streamed):
    """`id` of a message is a non-empty string that no other message carries."""
    for answer in ("One", "Two"):
        upstream.says(answer)

    ids = [session.message("Hi", stream=streamed).id for _ in range(2)]

    expect(ids).satisfies(lambda ids: all(ids) and ids[0] != ids[1], "two different non-empty strings", "the ids")


@pytest.mark.requirement(id="MSG-003")
def test_message_names_its_model(session, upstream, streamed):
    """`model` of a message is a non-empty string."""
    upstream.says("Hello")

    reply = session.message("Hi", stream=streamed)

    expect(reply.model).differs_from("", "model")


@pytest.mark.requirement(id="MSG-004")
@pytest.mark.parametrize("sampled", [" Hello,\n\n  you \n", "Grüezi \U0001f600 日本", "<b>&amp;</b>"])
def test_text_comes_back_in_a_block(session, upstream, streamed, sampled):
    """Sampled text comes back character for character, in one block of `type` `text`."""
    upstream.says(sampled)

    reply = session.message("Hi", stream=streamed)

    blocks = [(at(block, "type"), block.get("text")) for block in reply.content]
    expect(blocks).equals([("text", sampled)], "types and texts of the content blocks")


@pytest.mark.requirement(id="MSG-005")
@pytest.mark.parametrize(
    "step", [pytest.param({"text": ""}, id="end of turn"), pytest.param({"ids": []}, id="nothing")]
)
def test_message_without_text_has_an_empty_block(session, upstream, streamed, step):
    """An answer that says nothing has status 200 and one text block with the text `""`."""
    upstream.says(**step)

    reply = session.message("Hi", stream=streamed)

    blocks = [(at(block, "type"), block.get("text")) for block in reply.content]
    expect(blocks).equals([("text", "")], "types and texts of the content blocks")


@pytest.mark.requirement(id="MSG-006")
@pytest.mark.parametrize("tools", [pytest.param(ABSENT, id="no tools"), pytest.param([SEARCH], id="tools")])
def test_stop_reason_is_end_turn(session, upstream, target, streamed, tools):
    """`stop_reason` is `end_turn` when the upstream stopped by itself."""
    if tools is not ABSENT:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")

    reply = session.message("Hi", tools=tools, stream=streamed)

    expect(reply.finish_reason).equals("end_turn", "stop_reason")


@pytest.mark.requirement(id="MSG-007")
def test_stop_reason_is_max_tokens(session, upstream, streamed):
    """`stop_reason` is `max_tokens` when the upstream stopped for length."""
    upstream.says("Hello and", finish="length")

    reply = session.message("Hi", stream=streamed)

    expect(reply.finish_reason).equals("max_tokens", "stop_reason")


@pytest.mark.requirement(id="MSG-008")
@pytest.mark.parametrize("beside", [None, "I will look that up."], ids=["call", "text-and-call"])
def test_stop_reason_is_tool_use(session, upstream, streamed, beside):
    """`stop_reason` is `tool_use` when the answer has `tool_use` blocks and was not cut."""
    upstream.says(beside, tool_calls=[SEARCHED], finish="stop")

    reply = session.message("Hi", tools=[SEARCH], stream=streamed)

    expect(reply.finish_reason).equals("tool_use", "stop_reason")


@pytest.mark.requirement(id="MSG-009")
@pytest.mark.parametrize("reason", ["eos_token", "repetition", "matched_stop"])
def test_stop_reason_is_one_of_the_api(session, upstream, streamed, reason):
    """`stop_reason` is one of the API's values whatever reason the upstream reports for an answer that it ended."""
    upstream.says("Hello", finish=reason)

    reply = session.message("Hi", stream=streamed)

    expect(reply.finish_reason).is_one_of(STOP_REASONS, "stop_reason")


@pytest.mark.requirement(id="MSG-010")
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_stop_sequence_is_present(session, upstream, streamed, finish):
    """`stop_sequence` is present, and null in an answer that no stop sequence ended."""
    upstream.says("Hello", finish=finish)

    reply = session.message("Hi", stream=streamed)

    expect(at(reply.completion, "stop_sequence")).equals(None, "stop_sequence")


@pytest.mark.requirement(id="MSG-011")
def test_input_tokens_count_the_context(session, upstream, streamed):
    """`usage.input_tokens` is the number of tokens in the context that the upstream received."""
    upstream.says("One")
    upstream.says("Two")

    first = session.message("Hi", stream=streamed)
    second = session.message("Hi", first.message, "More", stream=streamed)

    sizes = [len(call.context) for call in calls_made(upstream, 2)]
    counts = [at(reply.usage, "input_tokens") for reply in (first, second)]
    expect(counts).equals(sizes, "usage.input_tokens of two turns")


@pytest.mark.requirement(id="MSG-012")
def test_output_tokens_count_what_was_sampled(session, upstream, streamed):
    """`usage.output_tokens` is the number of tokens that the upstream sampled, the end-of-turn token included."""
    upstream.says("Hello, how are you?")

    reply = session.message("Hi", stream=streamed)

    [call] = calls_made(upstream)
    expect(at(reply.usage, "output_tokens")).equals(len(call.generation), "usage.output_tokens")


@pytest.mark.requirement(id="MSG-013")
def test_call_comes_back_as_a_tool_use_block(session, upstream, streamed):
    """A call of a declared tool comes back as a `tool_use` block with the tool's `name` and the generated arguments, as
    an object with their types, in `input`."""
    arguments = {"q": 'Wetter "heute" é\n', "count": 3, "part": 0.5, "exact": True, "since": None, "places": ["a", {}]}
    arguments |= TEMPTING
    upstream.says(tool_calls=[{"name": "search_the_web", "arguments": arguments}])

    reply = session.message(
        "Hi", tools=[CLOCK, as_tool(function("search_the_web", **typed(arguments)))], stream=streamed
    )

    calls = [(at(block, "name"), at(block, "input")) for block in reply.tool_calls]
    expect(calls).equals([("search_the_web", arguments)], "names and inputs of the tool_use blocks")


@pytest.mark.requirement(id="MSG-014")
def test_tool_use_ids_are_unique_in_a_conversation(session, upstream, streamed):
    """Each `tool_use` block has a non-empty string `id` that no other block of the conversation has."""
    upstream.says(tool_calls=[SEARCHED, SEARCHED])
    upstream.says(tool_calls=[SEARCHED])

    first = session.message("Hi", tools=[SEARCH], stream=streamed)
    results = user(results_of(first.message, "Nothing.", "Nothing."))
    second = session.message("Hi", first.message, results, tools=[SEARCH], stream=streamed)

    ids = [at(block, "id") for reply in (first, second) for block in reply.tool_calls]
    expect(ids).satisfies(
        lambda ids: all(isinstance(block_id, str) and block_id for block_id in ids) and len(set(ids)) == 3,
        "three different non-empty strings",
        "the ids of three calls in two answers",
    )


@pytest.mark.requirement(id="MSG-015")
def test_text_before_a_call_is_a_block_before_it(session, upstream, streamed):
    """Text beside a call stands in a text block in front of the `tool_use` block, with nothing of the call's markup."""
    upstream.says("I will look that up.", tool_calls=[SEARCHED])

    reply = session.message("Hi", tools=[SEARCH], stream=streamed)

    expect([at(block, "type") for block in reply.content]).equals(["text", "tool_use"], "types of the content blocks")
    expect(reply.text.strip()).equals("I will look that up.", "the text block without its outer blanks")


@pytest.mark.requirement(id="MSG-016")
def test_calls_of_a_message_keep_their_order(session, upstream, streamed):
    """Several calls of one message come back in the order in which they were generated."""
    upstream.says(tool_calls=[SEARCHED, CLOCKED, SEARCHED])

    reply = session.message("Hi", tools=[SEARCH, CLOCK], stream=streamed)

    names = [at(block, "name") for block in reply.tool_calls]
    expect(names).equals(["search_the_web", "read_clock", "search_the_web"], "the names of the calls")


@pytest.mark.requirement(id="MSG-017")
@pytest.mark.parametrize("fault", [SPOILED, CUT_OFF, NO_NAME])
def test_malformed_call_stays_a_text_block(session, upstream, streamed, fault):
    """A call whose markup or JSON is malformed comes back as text, with status 200."""
    miswritten = upstream.tool_format.miswritten[fault]
    upstream.says(miswritten.text)

    reply = session.message("Hi", tools=[SEARCH], stream=streamed)

    expect(reply).status(200)
    expect(reply.text).contains(miswritten.kept, "the text blocks")


@pytest.mark.requirement(id="MSG-018")
def test_text_like_a_call_stays_text_under_tool_choice_none(session, upstream, streamed):
    """With a `tool_choice` of `none` an answer has no `tool_use` block, whatever its text looks like."""
    upstream.says(tool_calls=[SEARCHED])

    reply = session.message(user([text("Hi")]), tools=[SEARCH], tool_choice={"type": "none"}, stream=streamed)

    expect(reply.tool_calls).equals([], "tool_use blocks")
