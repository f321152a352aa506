"""Items of the Responses wire and canonical messages: what an item is to the session, and back."""

from __future__ import annotations

import pytest

from reference_gateway.session.conversations import Kept
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.responses_items import called, generated, in_issue_order, lower, read_input


def unknown(item_id):
    return None


def lowered(*items, known=unknown):
    return lower(read_input(list(items), known), known)


def user(text):
    return {"role": "user", "content": text}


def call(name, call_id, arguments="{}", **fields):
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **fields}


def output(call_id, text):
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def chat_call(name, call_id, arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_string_is_a_message_of_the_user():
    assert lower(read_input("Hi", unknown), unknown) == [user("Hi")]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "Hi"},
        {"type": "message", "role": "user", "content": "Hi"},
        {"role": "user", "content": [{"type": "input_text", "text": "H"}, {"type": "input_text", "text": "i"}]},
    ],
)
def test_spellings_of_a_message(item):
    assert lowered(item) == [user("Hi")]


def test_an_answer_and_its_calls_are_one_message():
    answer = {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
    messages = lowered(user("Hi"), answer, call("f", "c1", '{"a": 1}'), call("g", "c2"), output("c1", "A"))
    assert messages[1] == {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [chat_call("f", "c1", {"a": 1}), chat_call("g", "c2", {})],
    }
    assert messages[2:] == [{"role": "tool", "content": "A", "tool_call_id": "c1"}]


def test_calls_behind_outputs_are_another_message():
    messages = lowered(call("f", "c1"), output("c1", "A"), call("f", "c2"), output("c2", "B"))
    assert [message["role"] for message in messages] == ["assistant", "tool", "assistant", "tool"]


def test_two_answers_are_two_messages():
    messages = lowered({"role": "assistant", "content": "One"}, {"role": "assistant", "content": "Two"})
    assert [message["content"] for message in messages] == ["One", "Two"]


def test_items_of_two_generations_are_two_messages():
    items = [call("f", "c1", id="fc_1"), call("g", "c2", id="fc_2")]
    made = {item["id"]: Kept(item, generation=f"resp/{place}") for place, item in enumerate(items)}
    assert len(lowered(*items, known=made.get)) == 2
    assert len(lowered(*items)) == 1


def test_text_that_is_no_object_stays_the_arguments():
    assert lowered(call("f", "c1", "not JSON"))[0]["tool_calls"][0]["function"]["arguments"] == "not JSON"


def test_reasoning_goes_with_the_message_behind_it():
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    assert lowered(thought, {"role": "assistant", "content": "4"})[0]["reasoning_content"] == "Hm."


def test_an_item_reference_is_the_item():
    kept = Kept({"id": "msg_1", **read_input("Hi", unknown)[0]})
    assert lowered({"type": "item_reference", "id": "msg_1"}, known={"msg_1": kept}.get) == [user("Hi")]


def test_what_the_gateway_ran_is_a_call_and_its_result():
    issued = chat_call("add", "call_1", {"a": 1})
    result = {"role": "tool", "content": "2", "tool_call_id": "call_1"}
    item = {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "gateway",
        "name": "add",
        "arguments": "{}",
        "output": "?",
    }
    messages = lowered(item, user("So?"), known={"mcp_1": Kept(item, "resp/1", issued, result)}.get)
    assert messages == [{"role": "assistant", "content": "", "tool_calls": [issued]}, result, user("So?")]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"type": "mcp_call", "server_label": "x", "name": "add", "arguments": '{"a": 1}', "output": "2"}, "2"),
        ({"type": "file_search_call", "queries": ["cats"], "results": [{"text": "Cats purr."}]}, "Cats purr."),
        ({"type": "file_search_call", "queries": ["cats"], "results": None}, ""),
    ],
)
def test_what_another_server_ran_is_what_its_item_says(item, said):
    asked, answered = lowered({"id": "x_1", **item})
    assert answered == {"role": "tool", "content": said, "tool_call_id": asked["tool_calls"][0]["id"]}


def test_answers_of_server_and_client_stand_in_the_order_of_the_calls():
    issued = {"role": "assistant", "content": "", "tool_calls": [chat_call("f", one, {}) for one in "abc"]}
    answers = [{"role": "tool", "content": one, "tool_call_id": one} for one in "bca"]
    mixed = in_issue_order([issued, *answers, user("Hi")], {"b"})
    assert [message.get("tool_call_id") for message in mixed] == [None, "a", "b", "c", None]
    assert in_issue_order([issued, *answers], {"z"}) == [issued, *answers]


def test_a_generation_comes_back_from_its_items():
    message = {
        "role": "assistant",
        "content": "So:",
        "reasoning_content": "Hm.",
        "tool_calls": [chat_call("f", "c1", {"a": "é"})],
    }
    kept = [*generated(message, "resp/1", "completed"), called(message["tool_calls"][0], "resp/1")]
    assert [each.item["type"] for each in kept] == ["reasoning", "message", "function_call"]
    assert lowered(*(each.item for each in kept)) == [message]


def test_an_answer_without_text_and_calls_is_still_a_message():
    (kept,) = generated({"role": "assistant", "content": ""}, "resp/1", "incomplete")
    assert kept.item["status"] == "incomplete"
    assert lowered(kept.item) == [{"role": "assistant", "content": ""}]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (7, "input must be a string or a list"),
        ([7], "input[0] must be an object"),
        ([{}], "input[0].type"),
        ([{"type": "computer_call"}], "input[0].type"),
        ([{"type": ["message"]}], "input[0].type"),
        ([{"role": "user", "content": "Hi", "id": 7}], "input[0].id"),
        ([{"role": "tool", "content": "Hi"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": [7]}], "input[0].content[0]"),
        ([{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_text", "text": 7}]}], "input[0].content[0].text"),
        ([call("", "c1")], "input[0].name"),
        ([call("f", None)], "input[0].call_id"),
        ([call("f", "c1", {})], "input[0].arguments"),
        ([output("", "x")], "input[0].call_id"),
        ([output("c1", None)], "input[0].output"),
        ([{"type": "reasoning", "summary": "Hm."}], "input[0].summary"),
        ([{"type": "reasoning", "summary": [{}]}], "input[0].summary[0]"),
        ([{"type": "mcp_call"}], "input[0].name"),
        ([{"type": "file_search_call"}], "input[0].queries"),
        ([{"type": "item_reference", "id": "msg_0"}], "input[0].id"),
    ],
)
def test_bad_input_is_refused_by_name(given, named):
    with pytest.raises(RequestRefused) as refusal:
        read_input(given, unknown)
    assert named in str(refusal.value)


def test_images_keep_their_place():
    picture = {"type": "input_image", "image_url": "http://h/a.png"}
    given = [
        {"role": "user", "content": [{"type": "input_text", "text": "See "}, picture, {**picture, "detail": "low"}]},
        {"type": "function_call_output", "call_id": "c", "output": [{**picture, "detail": "auto"}]},
    ]
    items = read_input(given, unknown, media=True)
    assert items[0]["content"][1] == {**picture, "detail": "auto"}
    part = {"type": "image_url", "image_url": {"url": "http://h/a.png"}}
    low = {"type": "image_url", "image_url": {"url": "http://h/a.png", "detail": "low"}}
    assert lower(items, unknown) == [
        {"role": "user", "content": [{"type": "text", "text": "See "}, part, low]},
        {"role": "tool", "content": [part], "tool_call_id": "c"},
    ]


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"type": "input_image"}, "input[0].content[0].image_url must be an http, https or data URL"),
        ({"type": "input_image", "file_id": "f"}, "input[0].content[0].image_url must be"),
        ({"type": "input_image", "image_url": "file:///etc/passwd"}, "input[0].content[0].image_url must be"),
        ({"type": "input_image", "image_url": "http://h", "detail": 5}, "input[0].content[0].detail must be a string"),
        ({"type": "input_audio"}, "input[0].content[0].type is not supported: this gateway takes text, input_file and"),
    ],
)
def test_a_bad_image_is_refused_by_its_name(part, complaint):
    with pytest.raises(RequestRefused) as refused:
        read_input([{"role": "user", "content": [part]}], unknown, media=True)
    assert str(refused.value).startswith(complaint)


def test_the_assistant_has_no_images():
    part = {"type": "input_image", "image_url": "http://h/a.png"}
    with pytest.raises(RequestRefused, match="takes text and input_file parts"):
        read_input([{"role": "assistant", "content": [part]}], unknown, media=True)
