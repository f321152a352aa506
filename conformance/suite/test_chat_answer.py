"""Area CHAT: the answer to a chat completion."""

from __future__ import annotations

import time

import pytest

from conformance.client.http import at
from conformance.gateway import Capability
from conformance.vocabulary.expect import calls_made, expect
from conformance.vocabulary.session import ABSENT, assistant, function
from conformance.vocabulary.target import require_capability

ODD_TEXT = " \t\n Grüße, e\u0301, 日本語, \U0001f469\u200d\U0001f469\u200d\U0001f467\n\n  end \t"
CLOCK_TOLERANCE_S = 300


@pytest.mark.requirement(id="CHAT-001")
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_answer_is_a_chat_completion_object(session, upstream, reason):
    """`object` of the answer is `chat.completion`."""
    upstream.says("Hello", finish=reason)

    reply = session.chat("Hi")

    expect(at(reply.completion, "object")).equals("chat.completion", "object")


@pytest.mark.requirement(id="CHAT-002")
def test_answer_ids_are_unique(sessions, upstream, streamed):
    """`id` of the answer is a non-empty string that no other answer carries."""
    for text in ("One", "Two", "Three"):
        upstream.says(text)
    session, other = sessions.open(), sessions.open()

    replies = [
        session.chat("Hi", stream=streamed),
        session.chat("Hi", assistant("One"), "More", stream=streamed),
        other.chat("Hi", stream=streamed),
    ]

    ids = [reply.id for reply in replies]
    expect(ids).satisfies(lambda ids: all(ids) and len(set(ids)) == 3, "three different non-empty strings", "id")


@pytest.mark.requirement(id="CHAT-003")
def test_answer_created_is_now_in_unix_seconds(session, upstream, streamed):
    """`created` of the answer is an integer: the time of the request in Unix seconds."""
    upstream.says("Hello")

    created = at(session.chat("Hi", stream=streamed).completion, "created")

    now = int(time.time())
    expect(created).satisfies(
        lambda created: type(created) is int and abs(created - now) <= CLOCK_TOLERANCE_S,
        f"an integer within {CLOCK_TOLERANCE_S} of {now}",
        "created",
    )


@pytest.mark.requirement(id="CHAT-004")
@pytest.mark.parametrize("model", [pytest.param("kit", id="named"), pytest.param(ABSENT, id="absent")])
def test_answer_names_a_model(session, upstream, streamed, model):
    """`model` is a non-empty string in every answer, also in the answer to a request without `model`."""
    upstream.says("Hello")

    reply = session.chat("Hi", stream=streamed, model=model)

    expect(reply.model).differs_from("", "model")


@pytest.mark.requirement(id="CHAT-005")
def test_answer_has_one_choice_with_index_0(session, upstream, streamed):
    """An answer to a request without `n` has exactly one choice, whose `index` is 0."""
    upstream.says("Hello")

    reply = session.chat("Hi", stream=streamed)

    choices = at(reply.completion, "choices", kind=list)
    expect([at(choices, place, "index") for place in range(len(choices))]).equals([0], "the indexes of the choices")


@pytest.mark.requirement(id="CHAT-006")
@pytest.mark.parametrize("reason", ["stop", "length", "eos_token"])
def test_answer_role_is_assistant(session, upstream, reason):
    """`message.role` of the answer is `assistant`."""
    upstream.says("Hello", finish=reason)

    reply = session.chat("Hi")

    expect(at(reply.message, "role")).equals("assistant", "message.role")


@pytest.mark.requirement(id="CHAT-007")
def test_answer_content_is_the_sampled_text(session, upstream, streamed):
    """`message.content` is the sampled text character for character, with its leading and trailing blanks and its
    non-ASCII characters.
    """
    ids = upstream.tokenizer.encode(ODD_TEXT)
    upstream.says(ids=ids)

    reply = session.chat("Hi", stream=streamed)

    expect(reply.text).equals(upstream.tokenizer.decode(ids), "message.content")


@pytest.mark.requirement(id="CHAT-008")
@pytest.mark.parametrize("tools", [ABSENT, [function("search")]], ids=["no tools", "tools"])
def test_answer_content_lacks_the_end_of_turn_token(session, upstream, target, streamed, tools):
    """`message.content` does not contain the end-of-turn token's text when the model sampled that token."""
    if tools is not ABSENT:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")

    reply = session.chat("Hi", stream=streamed, tools=tools)

    expect(reply.text).lacks(upstream.tokenizer.end_of_turn_text, "message.content")


@pytest.mark.requirement(id="CHAT-009")
@pytest.mark.parametrize("tools", [ABSENT, [function("search")]], ids=["no tools", "tools"])
def test_answer_tool_calls_are_never_null(session, upstream, target, tools):
    """`message.tool_calls` of an answer without calls is absent or an empty array, never null."""
    if tools is not ABSENT:
        require_capability(target, Capability.TOOLS)
    upstream.says("Hello")

    reply = session.chat("Hi", tools=tools)

    expect(reply.message.get("tool_calls", [])).equals([], "message.tool_calls")


@pytest.mark.requirement(id="CHAT-010")
@pytest.mark.parametrize("end_of_turn", [True, False], ids=["end of turn", "stop sequence"])
def test_finish_reason_is_stop_when_the_upstream_stopped(session, upstream, streamed, end_of_turn):
    """`finish_reason` is `stop` when the upstream stopped by itself."""
    tokenizer = upstream.tokenizer
    upstream.says(ids=[*tokenizer.encode("Hello"), *([tokenizer.end_of_turn] if end_of_turn else [])], finish="stop")

    reply = session.chat("Hi", stream=streamed)

    expect(reply.finish_reason).equals("stop", "finish_reason")


@pytest.mark.requirement(id="CHAT-011")
def test_finish_reason_is_length_when_the_upstream_stopped_for_length(session, upstream, streamed):
    """`finish_reason` is `length` when the upstream stopped for length."""
    upstream.says("Hello and", finish="length")

    reply = session.chat("Hi", stream=streamed)

    expect(reply.finish_reason).equals("length", "finish_reason")


@pytest.mark.requirement(id="CHAT-012")
@pytest.mark.parametrize("reason", ["eos_token", "repetition", "matched_stop"])
def test_finish_reason_is_one_of_the_api(session, upstream, streamed, reason):
    """`finish_reason` is one of the API's values whatever reason the upstream reports for an answer that it ended."""
    upstream.says("Hello", finish=reason)

    reply = session.chat("Hi", stream=streamed)

    expect(reply.finish_reason).is_one_of(["stop", "length", "tool_calls", "content_filter"], "finish_reason")


@pytest.mark.requirement(id="CHAT-013")
def test_usage_adds_up(session, upstream):
    """`usage` has the non-negative integers `prompt_tokens`, `completion_tokens` and `total_tokens`, and the third is
    the sum of the others.
    """
    upstream.says("Hello")

    usage = session.chat("Hi").usage

    counts = [at(usage, f"{part}_tokens") for part in ("prompt", "completion", "total")]
    expect(counts).satisfies(
        lambda counts: (
            all(type(count) is int and count >= 0 for count in counts) and counts[0] + counts[1] == counts[2]
        ),
        "three integers from 0, the third the sum of the others",
        "prompt_tokens, completion_tokens, total_tokens",
    )


@pytest.mark.requirement(id="CHAT-014")
def test_usage_counts_the_context(session, upstream):
    """`usage.prompt_tokens` is the number of tokens in the context that the upstream received."""
    upstream.says("One")
    upstream.says("Two")

    replies = [session.chat("Hi"), session.chat("Hi", assistant("One"), "More")]

    sizes = [len(call.context) for call in calls_made(upstream, 2)]
    expect([at(reply.usage, "prompt_tokens") for reply in replies]).equals(sizes, "usage.prompt_tokens of two turns")


@pytest.mark.requirement(id="CHAT-015")
def test_usage_counts_what_was_sampled(session, upstream):
    """`usage.completion_tokens` is the number of tokens that the upstream sampled, the end-of-turn token included."""
    upstream.says("Hello, how are you?")

    reply = session.chat("Hi")

    [call] = calls_made(upstream)
    expect(at(reply.usage, "completion_tokens")).equals(len(call.generation), "usage.completion_tokens")


@pytest.mark.requirement(id="CHAT-016")
@pytest.mark.parametrize(
    "step", [pytest.param({"text": ""}, id="end of turn"), pytest.param({"ids": []}, id="nothing")]
)
def test_generation_without_text_is_an_empty_answer(session, upstream, streamed, step):
    """A generation without text is answered with status 200 and empty (or null) content."""
    upstream.says(**step)

    reply = session.chat("Hi", stream=streamed)

    expect(reply).status(200)
    expect(reply.text).equals("", "message.content")


@pytest.mark.requirement(id="CHAT-017")
@pytest.mark.parametrize("text", ["Hello", ""], ids=["text", "nothing"])
def test_answer_has_refusal_and_logprobs(session, upstream, text):
    """`message.refusal` and `choices[].logprobs` are present, null when there is nothing to say."""
    upstream.says(text)

    choice = at(session.chat("Hi").completion, "choices", 0, kind=dict)

    fields = {
        "refusal": choice.get("message", {}).get("refusal", "absent"),
        "logprobs": choice.get("logprobs", "absent"),
    }
    expect(fields).equals({"refusal": None, "logprobs": None}, "message.refusal and logprobs of the choice")


@pytest.mark.requirement(id="CHAT-018")
def test_answer_carries_no_engine_data(session, upstream, streamed):
    """An answer carries no token ids and no routing data of the engine that the client did not ask for."""
    upstream.says("Hello", token_ids="volunteer")  # noqa: S106
    upstream.says("Fine", token_ids="volunteer")  # noqa: S106

    first = session.chat("Hi", stream=streamed)
    later = session.chat("Hi", assistant("Hello"), "How are you?", stream=streamed)

    for reply in (first, later):
        expect(reply).has_no_engine_data()
