"""Anthropic bodies: what is accepted, what it means, and what each refusal says."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_gateway.types import Turn
from reference_gateway.wire import anthropic_messages
from reference_gateway.wire.anthropic_request import read_messages
from reference_gateway.wire.base import Policy, RequestRefused, WireRequest

HI = [{"role": "user", "content": "hi"}]
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
PIXEL_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
BILLING = "x-anthropic-billing-header: cc_version=2.1; cch=0a1b;"


def parse(headers=None, policy=Policy(), **body) -> WireRequest:  # noqa: B008  (frozen)
    return anthropic_messages.parse({"messages": HI, **body}, headers or {}, policy)


def turn(**body) -> Turn:
    return parse(**body).turn


def lowered(*messages: Any, system: Any = None, media: bool = False) -> list:
    return read_messages(system, list(messages), media)


def refusal(**body) -> str:
    with pytest.raises(RequestRefused) as refused:
        parse(**body)
    assert refused.value.status == 400
    return str(refused.value)


def user(*blocks: Any) -> dict:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Any) -> dict:
    return {"role": "assistant", "content": list(blocks)}


def text(said: str, **fields: Any) -> dict:
    return {"type": "text", "text": said, **fields}


def use(call_id: str = "toolu_1", **arguments: Any) -> dict:
    return {"type": "tool_use", "id": call_id, "name": "f", "input": arguments}


def result(content: Any, call_id: str = "toolu_1", **fields: Any) -> dict:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **fields}


def remind(said: Any) -> dict:
    return {"role": "system", "content": said}


def tag(said: str) -> str:
    return f"<system-reminder>\n{said}\n</system-reminder>"


def tool_message(content: str, call_id: str = "toolu_1") -> dict:
    return {"role": "tool", "content": content, "tool_call_id": call_id}


NOTE = {"type": "text", "media_type": "text/plain", "data": "low at six"}


def document(source, **fields):
    return {"type": "document", "source": source, **fields}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": None}, "messages must be non-empty"),
        ({"messages": []}, "messages must be non-empty"),
        ({"messages": "hi"}, "messages must be non-empty"),
        ({"messages": [remind("")]}, "only empty system messages"),
        ({"messages": [remind("")], "system": "Brief."}, "only empty system messages"),
        ({"messages": [1]}, "messages[0] must be an object"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "Unsupported message role: messages[0].role"),
        ({"messages": [{"content": "x"}]}, "Unsupported message role"),
        ({"messages": [*HI, {"role": "user"}]}, "messages[1].content must be a string or a non-empty list"),
        ({"messages": [user()]}, "messages[0].content must be a string or a non-empty list"),
        ({"messages": [user(7)]}, "messages[0].content[0] must be an object with a type"),
        ({"messages": [user({"text": "hi"})]}, "messages[0].content[0] must be an object with a type"),
        ({"messages": [user({"type": "text"})]}, "messages[0].content[0].text must be a string"),
        ({"messages": [user({"type": "audio"})]}, "messages[0].content[0].type 'audio' is not supported"),
        ({"messages": [user({"type": "document"})]}, "messages[0].content[0].source must be an object with a type"),
        ({"messages": [user(document({"type": "file", "file_id": "f"}))]}, "content[0].source.type is not supported"),
        ({"messages": [user(document({"type": "text"}))]}, "content[0].source.data must be a non-empty string"),
        ({"messages": [user(document(NOTE, title=7))]}, "content[0].title must be a string or null"),
        ({"messages": [user({"type": "search_result", "source": "s"})]}, "content[0].title must be a non-empty string"),
        ({"system": [document(NOTE)]}, "system[0].type 'document' is not supported: expected text"),
        ({"messages": [user(PIXEL)]}, "'image' is not supported: expected text or document or search_result"),
        ({"messages": [user({"type": "tool_result"})]}, "content[0].tool_use_id must be a non-empty string"),
        ({"messages": [user(result("x", ""))]}, "tool_use_id must be a non-empty string"),
        ({"messages": [user(result(7))]}, "messages[0].content[0].content must be a string or a list"),
        ({"messages": [user(result([7]))]}, "messages[0].content[0].content[0] must be an object with a type"),
        ({"messages": [*HI, {"role": "assistant"}]}, "messages[1].content must be a string or a list"),
        ({"messages": [*HI, assistant({"type": "server_tool_use", "id": "x"})]}, "'server_tool_use'"),
        ({"messages": [*HI, assistant({"type": "tool_use", "name": "f"})]}, "content[0].id must be a non-empty"),
        ({"messages": [*HI, assistant({"type": "tool_use", "id": "a"})]}, "content[0].name must be a non-empty"),
        ({"messages": [*HI, assistant({**use(), "input": "x"})]}, "content[0].input must be an object"),
        ({"system": 7}, "system must be a string or a list of text blocks"),
        ({"system": {"text": "x"}}, "system must be a string or a list of text blocks"),
        ({"system": [PIXEL]}, "system[0].type 'image' is not supported: expected text"),
        ({"messages": [*HI, remind(7)]}, "messages[1].content must be a string or a list of text blocks"),
        ({"tools": {}}, "tools must be a list"),
        ({"tools": [7]}, "tools[0] must be an object with a name"),
        ({"tools": [{"description": "x"}]}, "tools[0].name must be a non-empty string"),
        ({"tools": [{"name": "f", "description": 7}]}, "tools[0].description must be a string"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema must be an object"),
        ({"tool_choice": {"type": "any"}}, "tool_choice is not supported"),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice is not supported"),
        ({"tool_choice": "required"}, 'tool_choice="required" is not supported'),
        ({"tool_choice": 7}, "tool_choice=7 is not supported"),
        ({"tool_choice": {"type": ["auto"]}}, "tool_choice is not supported"),
        ({"stop_sequences": "END"}, "stop_sequences must be a list of strings"),
        ({"stop_sequences": [1]}, "stop_sequences must be a list of strings"),
        ({"max_tokens": 0}, "max_tokens must be a positive integer"),
        ({"max_tokens": True}, "max_tokens must be a positive integer"),
    ],
)
def test_refused(body, says):
    assert says in refusal(**body)


@pytest.mark.parametrize(
    ("system", "content"),
    [
        ("Brief.", "Brief."),
        ([text("Brief."), text(""), text("Kind.")], "Brief.\nKind."),
        (f"{BILLING}\nBrief.", "Brief."),
        (f"Brief.\n  {BILLING.upper()}\r\nKind.", "Brief.\nKind."),
        ([text(BILLING), text("Brief.", cache_control={"type": "ephemeral"})], "Brief."),
        ("Do not print x-anthropic-billing-header: ever.", "Do not print x-anthropic-billing-header: ever."),
    ],
)
def test_system_is_the_first_message(system, content):
    assert lowered(*HI, system=system) == [{"role": "system", "content": content}, *HI]


@pytest.mark.parametrize("system", [None, "", [], [text("")], BILLING, [text(BILLING)]])
def test_empty_system_is_no_message(system):
    assert lowered(*HI, system=system) == HI


def test_text_blocks_are_one_text():
    assert lowered(user(text("a"), text("b", citations=None))) == [{"role": "user", "content": "a\nb"}]
    said = lowered(*HI, assistant(text("a"), text(""), text("b")))
    assert said[1] == {"role": "assistant", "content": "a\nb"}
    assert lowered(*HI, assistant())[1] == {"role": "assistant", "content": ""}


def test_calls_and_results_are_those_of_the_chat_wire():
    messages = lowered(*HI, assistant(text("So:"), use(a=1)), user(text("x"), result("y"), text("z"), text("!")))
    function = {"name": "f", "arguments": {"a": 1}}
    assert messages[1:] == [
        {
            "role": "assistant",
            "content": "So:",
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
        },
        {"role": "user", "content": "x"},
        tool_message("y"),
        {"role": "user", "content": "z\n!"},
    ]


@pytest.mark.parametrize("content", [None, [], "", [text("")]])
def test_result_without_content_is_empty(content):
    assert lowered(user(result(content))) == [tool_message("")]
    assert lowered(user({"type": "tool_result", "tool_use_id": "toolu_1"})) == [tool_message("")]


def test_results_tell_of_failure():
    assert lowered(user(result([text("no"), text("file")], is_error=True))) == [tool_message("Error: no\nfile")]
    assert lowered(user(result("fine", is_error=False))) == [tool_message("fine")]


def test_images_keep_their_place():
    url = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    url_part = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
    assert lowered(user(text("a"), PIXEL, text("b"), url), media=True) == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, PIXEL_PART, {"type": "text", "text": "b"}, url_part],
        }
    ]
    assert lowered(user(PIXEL), remind("r"), media=True) == [
        {"role": "user", "content": [PIXEL_PART, {"type": "text", "text": tag("r")}]}
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([PIXEL], [tool_message(""), {"role": "user", "content": [PIXEL_PART]}]),
        (
            [text("a"), text("b"), PIXEL, PIXEL, text("c")],
            [tool_message("a\nb"), {"role": "user", "content": [PIXEL_PART, PIXEL_PART]}, tool_message("c")],
        ),
    ],
)
def test_images_of_a_result_are_the_users(content, expected):
    assert lowered(user(result(content)), media=True) == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "source must be an object"),
        ({"type": "file", "file_id": "x"}, "source must be an object with the type base64 or url"),
        ({"type": "base64", "data": "x"}, "source.media_type must be a non-empty string"),
        ({"type": "base64", "media_type": "image/png"}, "source.data must be a non-empty string"),
        ({"type": "url", "url": "file:///etc/passwd"}, "source.url must be an http or https URL"),
    ],
)
def test_image_without_a_source_is_refused(source, says):
    with pytest.raises(RequestRefused, match=says):
        lowered(user({"type": "image", "source": source}), media=True)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([*HI, remind("r")], [f"user hi\n{tag('r')}"]),
        ([*HI, remind("r"), remind([text("s"), text("t")])], [f"user hi\n{tag('r')}\n{tag('s' + chr(10) + 't')}"]),
        ([remind("r"), remind("s"), *HI], [f"user {tag('r')}\n{tag('s')}\nhi"]),
        ([remind("r")], [f"user {tag('r')}"]),
        ([remind(""), *HI], ["user hi"]),
        ([*HI, assistant(text("a")), remind("r")], ["user hi", "assistant a", f"user {tag('r')}"]),
        (
            [*HI, assistant(use()), remind("r"), user(result("y"))],
            ["user hi", "assistant ", "tool y", f"user {tag('r')}"],
        ),
        (
            [*HI, assistant(use()), user(result("y")), remind("r")],
            ["user hi", "assistant ", "tool y", f"user {tag('r')}"],
        ),
        (
            [*HI, assistant(use()), remind("r"), user(result("y"), text("z"))],
            ["user hi", "assistant ", "tool y", f"user {tag('r')}\nz"],
        ),
        (
            [*HI, assistant(use()), user(result("y"), text("z")), remind("r")],
            ["user hi", "assistant ", "tool y", f"user z\n{tag('r')}"],
        ),
    ],
)
def test_reminders_are_folded_between_the_same_two_answers(messages, expected):
    assert [f"{each['role']} {each['content']}" for each in lowered(*messages)] == expected


BLOCKS = st.sampled_from([text("a"), text("b"), result("y"), result([text("z")], "toolu_2")])
MESSAGES = st.one_of(
    st.builds(lambda said: {"role": "user", "content": said}, st.text("ab", max_size=3)),
    st.builds(lambda blocks: user(*blocks), st.lists(BLOCKS, min_size=1, max_size=4)),
    st.builds(remind, st.sampled_from(["", "r", BILLING])),
    st.builds(lambda blocks: assistant(*blocks), st.lists(st.sampled_from([text("a"), use(a=1)]), max_size=3)),
)


@given(st.lists(MESSAGES, max_size=10), st.sampled_from([None, "Brief.", BILLING]))
def test_what_an_answer_followed_never_changes(messages, system):
    """Trap 5: what was sent before an answer is lowered the same, whatever comes behind the answer."""
    whole = read_messages(system, [*HI, *messages])
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            asked = read_messages(system, [*HI, *messages[:place]])
            assert whole[: len(asked)] == asked
            assert whole[len(asked)]["role"] == "assistant"


@given(st.lists(MESSAGES, max_size=6))
def test_no_system_message_is_left_in_the_middle(messages):
    assert all(each["role"] != "system" for each in read_messages(None, [*HI, *messages]))


def test_thinking_is_dropped_with_a_warning(caplog):
    thought = {"type": "thinking", "thinking": "hm", "signature": "x"}
    with caplog.at_level(logging.WARNING):
        messages = lowered(*HI, assistant(thought, text("a")))
    assert messages[1] == {"role": "assistant", "content": "a"}
    assert "thinking blocks dropped" in caplog.text


@pytest.mark.parametrize(
    ("block", "read"),
    [
        (document(NOTE), "low at six"),
        (document(NOTE, title="Tides", context=None, citations={"enabled": True}), "Tides\nlow at six"),
        (document({"type": "content", "content": "low"}, title="Tides", context="Of May"), "Tides\nOf May\nlow"),
        (document({"type": "content", "content": [text("low"), text("high")]}), "low\nhigh"),
        ({"type": "search_result", "title": "T", "source": "s", "content": [text("low")]}, "T\ns\nlow"),
    ],
)
def test_a_document_is_read(block, read):
    assert turn(messages=[user(block, text("When?"))]).messages[0]["content"] == f"{read}\nWhen?"
    assert turn(messages=[user(result([block]))]).messages[0]["content"] == read


def test_redacted_thinking_is_as_thinking_is(caplog):
    thought = {"type": "redacted_thinking", "data": "b3BhcXVl"}
    assert (
        turn(messages=[*HI, assistant(thought, text("yo"))]).messages
        == turn(messages=[*HI, assistant(text("yo"))]).messages
    )
    assert "thinking blocks dropped" in caplog.text


@pytest.mark.parametrize(
    "kind", ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "tool_search_tool_bm25_20251119"]
)
def test_a_tool_that_the_provider_runs_is_not_offered(kind):
    assert turn(tools=[{"type": kind, "name": "it"}]).tools is None
    assert [tool["function"]["name"] for tool in turn(tools=[{"name": "f"}, {"type": kind, "name": "it"}]).tools] == [
        "f"
    ]


def test_tools_are_functions():
    schema = {"type": "object", "properties": {"q": {"anyOf": [{"type": "string"}, {}]}}}
    given_tools = [
        {"name": "f", "description": "F.", "input_schema": schema, "cache_control": {"type": "ephemeral"}},
        {"type": "bash_20250124", "name": "bash"},
    ]
    assert turn(tools=given_tools).tools == [
        {"type": "function", "function": {"name": "f", "description": "F.", "parameters": schema}},
        {"type": "function", "function": {"name": "bash", "parameters": {}}},
    ]
    assert list(turn(tools=given_tools).tools[0]["function"]) == ["name", "description", "parameters"]


@pytest.mark.parametrize("choice", ["none", {"type": "none"}])
def test_tool_choice_none_takes_the_tools_away(choice):
    assert turn(tools=[{"name": "f"}], tool_choice=choice).tools is None


@pytest.mark.parametrize("choice", [None, "auto", {"type": "auto", "disable_parallel_tool_use": True}])
def test_tool_choice_auto_leaves_the_tools(choice):
    assert turn(tools=[{"name": "f"}], tool_choice=choice).tools is not None
    assert turn(tools=[], tool_choice=choice).tools is None


@pytest.mark.parametrize(
    ("choice", "one"),
    [
        (None, False),
        ("auto", False),
        ({"type": "auto"}, False),
        ({"type": "auto", "disable_parallel_tool_use": None}, False),
        ({"type": "auto", "disable_parallel_tool_use": True}, True),
    ],
)
def test_parallel_calls_are_the_clients_to_take(choice, one):
    assert turn(tool_choice=choice).one_call is one


@pytest.mark.parametrize("messages", [[*HI, {"role": "assistant", "content": "1, 2,"}], [*HI, assistant(text("1,"))]])
def test_an_answer_at_the_end_is_gone_on_with(messages):
    assert turn(messages=messages).continues_last
    assert not turn(messages=[*messages, *HI]).continues_last
    assert not turn(messages=[*messages, {"role": "system", "content": "Go on."}]).continues_last


def test_sampling_passes_the_allowlist():
    asked = turn(temperature=0, top_p=0.5, top_k=7, max_tokens=9, stop_sequences=["END"], metadata={"user_id": "u"})
    assert asked.sampling == {"temperature": 0, "top_p": 0.5, "top_k": 7, "stop": ["END"]}
    assert asked.max_tokens == 9
    assert turn(stop_sequences=[]).sampling == {}
    assert turn().max_tokens is None
    assert parse(policy=Policy(frozenset({"top_k"})), top_k=7, temperature=1, stop_sequences=["x"]).turn.sampling == {
        "top_k": 7
    }


def test_the_rest_is_read_as_on_the_chat_wire():
    asked = parse({"idempotency-key": "k", "x-stainless-retry-count": "2"}, model="m", stream=True)
    assert (asked.model, asked.stream, asked.turn.idempotency_key, asked.turn.retry_count) == ("m", True, "k", 2)
    assert parse().model == "unknown"
    assert not parse(stream="true").stream
    assert not parse(stream=1).stream


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("messages", "system", "tools", "tool_choice", "stop_sequences", "max_tokens", "stream", "model")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_is_parsed_or_refused(body):
    with suppress(RequestRefused):
        anthropic_messages.parse(body, {}, Policy(media=True))


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "role": st.sampled_from(["user", "assistant", "system"]) | JSON,
                "content": st.lists(
                    st.fixed_dictionaries(
                        {"type": st.sampled_from(["text", "tool_use", "tool_result", "image", "thinking"]) | JSON},
                        optional=dict.fromkeys(
                            ("text", "id", "name", "input", "tool_use_id", "content", "source", "is_error"), JSON
                        ),
                    )
                )
                | JSON,
            },
        )
    )
)
def test_any_message_is_parsed_or_refused(messages):
    with suppress(RequestRefused):
        anthropic_messages.parse({"messages": messages}, {}, Policy(media=True))
