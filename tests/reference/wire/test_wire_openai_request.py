"""OpenAI chat bodies: what is accepted, what it means, and what each refusal says."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_gateway.types import Turn
from reference_gateway.wire import openai_chat
from reference_gateway.wire.base import Policy, RequestRefused, WireRequest

HI = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def parse(headers=None, policy=Policy(), **body) -> WireRequest:  # noqa: B008  (frozen)
    return openai_chat.parse({"messages": HI, **body}, headers or {}, policy)


def turn(**body) -> Turn:
    return parse(**body).turn


def refusal(**body) -> str:
    with pytest.raises(RequestRefused) as refused:
        parse(**body)
    assert refused.value.status == 400
    return str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("n", 2, "n=2 is not supported"),
        ("n", 0, "n=0 is not supported"),
        ("n", "1", "not supported"),
        ("n", True, "not supported"),
        ("response_format", "text", 'response_format="text" is not supported'),
        ("top_logprobs", 2, "top_logprobs=2 is not supported"),
        ("logprobs", 1, "logprobs must be true, false or null"),
        ("parallel_tool_calls", "no", "parallel_tool_calls must be true, false or null"),
        ("modalities", ["text", "audio"], "modalities is not supported"),
        ("web_search_options", {}, "web_search_options is not supported"),
        ("logit_bias", {"5": "x"}, "logit_bias must be an object of numbers"),
        (
            "continue_final_message",
            True,
            "continue_final_message=true is not supported with add_generation_prompt=true",
        ),
        ("add_generation_prompt", False, "with add_generation_prompt=false"),
        ("response_format", {"type": "json_object"}, "response_format is not supported"),
        ("functions", [{"name": "f"}], "functions is not supported"),
        ("tool_choice", "required", 'tool_choice="required" is not supported: nothing makes the model call; expected'),
        ("tool_choice", "any", 'expected "auto" or "none"'),
        (
            "tool_choice",
            {"type": "function", "function": {"name": "f"}},
            "tool_choice is not supported: nothing makes the model call",
        ),
        ("tool_choice", 5, "tool_choice=5 is not supported"),
        ("tools", {}, "tools must be a list"),
        ("tools", "f", "tools must be a list"),
        ("tools", [1], "tools[0] must be an object"),
        ("tools", [{"type": "function"}], "tools[0]"),
        ("tools", [{"function": {"name": "f", "parameters": []}}], "tools[0].function.parameters"),
        ("messages", None, "messages must be non-empty"),
        ("messages", [], "messages must be non-empty"),
        ("messages", "hi", "messages must be non-empty"),
        ("messages", [1], "messages[0] must be an object"),
        ("messages", [{"content": "x"}], "messages[0].role"),
        ("messages", [{"role": "", "content": "x"}], "messages[0].role"),
        ("messages", [*HI, {"role": 1}], "messages[1].role"),
        ("messages", [{"role": "user", "content": 5}], "Unsupported content type"),
        ("messages", [{"role": "user", "content": True}], "Unsupported content type"),
        ("messages", [{"role": "user", "content": [5]}], "messages[0].content[0]"),
        ("messages", [{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ("messages", [{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].type"),
        ("messages", [{"role": "user", "content": "x", "name": 1}], "message.name must be a string"),
        ("messages", [{"role": "assistant", "tool_calls": {}}], "tool_calls must be a list"),
        ("messages", [{"role": "assistant", "tool_calls": [1]}], "messages[0].tool_calls[0]"),
        ("messages", [{"role": "assistant", "tool_calls": [{"function": 1}]}], "messages[0].tool_calls[0]"),
        ("messages", [{"role": "assistant", "tool_calls": [{"function": {}}]}], "function.name must be a string"),
        ("messages", [{"role": "assistant", "reasoning_content": 1}], "messages[0].reasoning_content"),
        ("max_tokens", 0, "max_tokens must be a positive integer"),
        ("max_tokens", -1, "max_tokens must be a positive integer"),
        ("max_tokens", True, "max_tokens must be a positive integer"),
        ("max_tokens", 1.0, "max_tokens must be a positive integer"),
        ("max_tokens", "5", "max_tokens must be a positive integer"),
        ("max_completion_tokens", 0, "max_completion_tokens must be a positive integer"),
        ("temperature", "hot", "temperature must be a number"),
        ("top_p", True, "top_p must be a number"),
        ("top_k", 1.5, "top_k must be an integer"),
        ("stop", ["END", 7], "stop must be a string or a list of strings"),
        ("stream_options", 1, "stream_options must be an object"),
    ],
)
def test_refusals_name_the_field(field, value, says):
    assert says.lower() in refusal(**{field: value}).lower()


@pytest.mark.parametrize(
    "field",
    ["n", "response_format", "tool_choice", "tools", "max_tokens", "stop", "stream", "stream_options", "functions"],
)
def test_null_means_the_default(field):
    assert parse(**{field: None}) == parse()


def test_defaults_mean_nothing():
    plain = parse()
    assert parse(n=1, response_format={"type": "text"}, top_logprobs=0, functions=[], modalities=["text"]) == plain
    assert parse(parallel_tool_calls=True, logprobs=False, add_generation_prompt=True, function_call="auto") == plain


def test_an_answer_at_the_end_is_gone_on_with_where_that_is_asked():
    prefilled = [*HI, {"role": "assistant", "content": "1, 2,"}]
    goes_on = {"continue_final_message": True, "add_generation_prompt": False}
    assert not turn(messages=prefilled).continues_last
    assert turn(messages=prefilled, **goes_on).continues_last
    assert "not an assistant's" in refusal(messages=HI, **goes_on)
    called = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    assert "not just text" in refusal(messages=[*HI, called], **goes_on)


def test_unknown_fields_mean_nothing():
    assert parse(store=True, context_management={}, thinking={"a": 1}, prompt_cache_key="k", include=["x"]) == parse()


def test_only_the_allowlist_reaches_the_backend():
    penalties = {"presence_penalty": 1.5, "frequency_penalty": 0.5, "repetition_penalty": 1.1, "min_p": 0.1}
    sampling = {"temperature": 0.25, "top_k": 5, "stop": ["x"], "seed": 1, "logit_bias": {"5": -1}, **penalties}
    found = turn(**sampling, max_tokens=128, length_penalty=2)
    assert found.sampling == sampling
    assert found.max_tokens == 128


def test_log_probabilities_are_no_sampling_parameter():
    found = turn(logprobs=True, top_logprobs=0)
    assert (found.logprobs, found.sampling) == (True, {})


def test_the_configured_allowlist_replaces_the_default():
    policy = Policy(frozenset({"seed", "max_tokens"}))
    assert turn(policy=policy, temperature=1, seed=2, max_tokens=3).sampling == {"seed": 2}
    assert turn(policy=Policy(frozenset({"seed"})), max_tokens=0).max_tokens is None


def test_nothing_is_invented():
    found = turn()
    assert (found.sampling, found.max_tokens, found.tools, found.template_kwargs) == ({}, None, None, {})


def test_max_completion_tokens_is_max_tokens():
    assert turn(max_completion_tokens=7).max_tokens == 7
    assert turn(max_completion_tokens=7, max_tokens=9).max_tokens == 7
    assert turn(max_completion_tokens=None, max_tokens=9).max_tokens == 9


@pytest.mark.parametrize("choice", ["none", "None", "NONE"])
def test_tool_choice_none_hides_the_tools(choice):
    assert turn(tools=TOOLS, tool_choice=choice).tools is None


@pytest.mark.parametrize("choice", ["auto", "AUTO", None])
def test_tool_choice_auto_shows_the_tools(choice):
    assert turn(tools=TOOLS, tool_choice=choice).tools == TOOLS


def test_no_tools_are_no_tools():
    assert turn(tools=[]).tools is turn().tools is None


@pytest.mark.parametrize(
    ("stream", "streams"), [(True, True), ("true", False), (1, False), (None, False), (False, False)]
)
def test_only_json_true_streams(stream, streams):
    assert parse(stream=stream).stream is streams


@pytest.mark.parametrize(("model", "echoed"), [("m", "m"), (None, "unknown"), (5, "5")])
def test_model_is_echoed_as_text(model, echoed):
    assert parse(model=model).model == echoed


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("x", "x"),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}], "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ({"type": "text", "text": "a"}, "a"),
        ([{"type": "refusal", "refusal": "no"}], "no"),
    ],
)
def test_content_is_text(content, text):
    assert turn(messages=[{"role": "user", "content": content}]).messages == [{"role": "user", "content": text}]


def test_fields_of_an_echo_that_mean_nothing_are_left_out():
    echo = {"role": "assistant", "content": "x", "refusal": None, "annotations": [], "audio": None, "tool_calls": []}
    assert turn(messages=[*HI, echo]).messages[1] == {"role": "assistant", "content": "x"}


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        (None, {}),
        ("{", "{"),
        ("[1]", "[1]"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ('{"a": "\\ud83d\\ude42"}', {"a": "🙂"}),
        ("9" * 5000, "9" * 5000),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_arguments_are_an_object_where_they_can_be(arguments, read):
    call = {"id": 7, "function": {"name": "f", "arguments": arguments}}
    (message,) = turn(messages=[{"role": "assistant", "content": None, "tool_calls": [call]}]).messages
    assert message["tool_calls"] == [{"id": "7", "type": "function", "function": {"name": "f", "arguments": read}}]


def test_tool_messages_keep_name_and_call():
    message = {"role": "tool", "content": "r", "tool_call_id": 5, "name": "f"}
    assert turn(messages=[*HI, message]).messages[1] == {**message, "tool_call_id": "5"}


def test_a_request_is_left_as_it_was():
    message = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}], "refusal": None}
    body = {"messages": [dict(message)], "tools": TOOLS, "temperature": 1}
    openai_chat.parse(body, {}, Policy())
    assert body == {"messages": [message], "tools": TOOLS, "temperature": 1}


def test_retries_are_read_from_the_headers():
    found = parse({"idempotency-key": "k", "x-stainless-retry-count": "2"}).turn
    assert (found.idempotency_key, found.retry_count) == ("k", 2)
    for odd in ("", "-1", "x", "²", "9" * 5000):
        assert parse({"x-stainless-retry-count": odd}).turn.retry_count == 0


def test_template_kwargs_are_the_configuration_s_unless_requests_may_have_them():
    assert turn(chat_template_kwargs={"a": 1}).template_kwargs == {}
    assert turn(chat_template_kwargs=5).template_kwargs == {}
    open_policy = Policy(template_kwargs=True)
    assert turn(policy=open_policy, chat_template_kwargs={"a": 1}).template_kwargs == {"a": 1}
    assert "chat_template_kwargs must be an object" in refusal(policy=open_policy, chat_template_kwargs=5)
    assert "messages" in refusal(policy=open_policy, chat_template_kwargs={"messages": []})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["messages", "tools", "tool_choice", "n", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop"]
) | st.sampled_from(["temperature", "response_format", "model", "functions", "chat_template_kwargs"])
MESSAGE = st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id"]), JSON)


@settings(max_examples=100)
@given(st.dictionaries(FIELDS, JSON), st.lists(MESSAGE, max_size=2))
def test_any_json_is_parsed_or_refused(fields, messages):
    body = {"messages": [*HI, *messages], **fields}
    with suppress(RequestRefused):
        assert isinstance(openai_chat.parse(body, {}, Policy(template_kwargs=True)), WireRequest)


def test_calls_from_before_there_were_tools_are_calls_and_results():
    old = [
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"q": 1}'}},
        {"role": "function", "name": "f", "content": "r"},
    ]
    called, told = turn(messages=[*HI, *old]).messages[1:]
    [call] = called["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": {"q": 1}}
    assert told == {"role": "tool", "content": "r", "name": "f", "tool_call_id": call["id"]}


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ({"role": "assistant", "content": None, "refusal": "No."}, {"content": "No."}),
        ({"role": "assistant", "content": "So: ", "refusal": "no."}, {"content": "So: no."}),
        ({"role": "assistant", "content": "a", "refusal": None, "annotations": [1], "audio": None}, {"content": "a"}),
        ({"role": "assistant", "content": "a", "reasoning": "hm"}, {"content": "a", "reasoning_content": "hm"}),
        ({"role": "assistant", "content": "a", "function_call": None, "tool_calls": []}, {"content": "a"}),
    ],
)
def test_what_an_answer_says_is_kept(message, read):
    assert turn(messages=[*HI, message, *HI]).messages[1] == {"role": "assistant", **read}


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"role": "narrator", "content": "x"}, "messages[1].role"),
        ({"role": "function", "content": "x"}, "message.name must be a string (messages[1])"),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "messages[1].audio is not supported"),
        ({"role": "assistant", "refusal": 7}, "messages[1].refusal must be a string or null"),
        ({"role": "assistant", "reasoning": {}}, "messages[1].reasoning must be a string or null"),
        ({"role": "assistant", "function_call": "f"}, "messages[1].function_call must be an object"),
        ({"role": "assistant", "function_call": {}}, "messages[1].function_call.name must be a string"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[1].content[0].type 'input_audio'"),
    ],
)
def test_what_nobody_can_read_is_refused(message, says):
    assert says in refusal(messages=[*HI, message])


def test_one_message_has_calls_of_one_form():
    call = {"id": "1", "function": {"name": "f", "arguments": "{}"}}
    both = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "tool_calls": [call]}
    assert "function_call must be null beside tool_calls" in refusal(messages=[*HI, both])
