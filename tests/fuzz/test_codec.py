"""The codec on random conversations: what is appended token by token is what the template renders in that place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.fixtures import fixture_path
from reference_gateway.codec.chat_template import TemplateRefused
from reference_gateway.codec.directory import read_directory
from reference_gateway.codec.template import TemplateCodec
from tests.fuzz.documents import JSON, TEXT

WORDS = TEXT | st.lists(st.sampled_from(["<|im_start|>", "<|im_end|>", "<tool_call>", "\n", " ", "a"])).map("".join)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=2)
CALLS = st.lists(
    st.builds(
        lambda name, given: {"id": "call_1", "type": "function", "function": {"name": name, "arguments": given}},
        TEXT,
        ARGUMENTS,
    ),
    min_size=1,
    max_size=2,
)
USER = st.builds(lambda content: {"role": "user", "content": content}, WORDS)
ANSWER = st.builds(lambda content: {"role": "assistant", "content": content}, WORDS)
CALLING = st.builds(lambda message, calls: {**message, "tool_calls": calls}, ANSWER, CALLS)
RESULT = st.builds(lambda content: {"role": "tool", "tool_call_id": "call_1", "content": content}, WORDS)
EARLIER = st.lists(st.tuples(USER, ANSWER).map(list), max_size=2).map(
    lambda pairs: [one for pair in pairs for one in pair]
)
TOOLS = st.none() | st.lists(
    st.builds(
        lambda name, schema: {"type": "function", "function": {"name": name, "parameters": schema}}, TEXT, ARGUMENTS
    ),
    min_size=1,
    max_size=2,
)


@pytest.fixture(scope="module", params=["chatml", "chars"])
def codec(request: pytest.FixtureRequest) -> TemplateCodec:
    return TemplateCodec(read_directory(fixture_path(request.param)), tool_parser="hermes")


@given(EARLIER, USER, CALLING | ANSWER, st.lists(RESULT, max_size=2), st.lists(USER, max_size=1), TOOLS)
def test_what_is_appended_is_what_the_full_render_has(codec, earlier, question, answer, results, more, tools):
    history, suffix = [*earlier, question, answer], [*(results if "tool_calls" in answer else []), *more]
    try:
        whole = codec.encode([*history, *suffix], tools, {})
        appended = codec.encode_suffix(history, suffix, tools, {}, None)
    except TemplateRefused:
        return
    if suffix and appended is not None:
        assert whole[-len(appended) :] == appended


@given(st.lists(st.integers(0, 400), max_size=30), TOOLS)
def test_whatever_was_sampled_is_a_message(codec, ids, tools):
    message = codec.decode(ids, tools)
    assert message["role"] == "assistant"
    assert isinstance(message["content"], str)
    assert all(isinstance(call["function"]["arguments"], dict) for call in message.get("tool_calls", ()))


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_text_of_a_client_never_becomes_a_control_token(codec, texts):
    plain = codec.encode([{"role": "user", "content": "a"} for _ in texts], None, {})
    said = codec.encode([{"role": "user", "content": text} for text in texts], None, {})
    control = codec.vocabulary.control_ids
    assert [one for one in said if one in control] == [one for one in plain if one in control]
