from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation, responses
from conformance.oracles.sse import Event

MISSING = "nothing: the field is missing"
TERMINALS = "response.completed or response.incomplete or response.failed"


def said(text="Hello", status="completed", item_id="msg_1"):
    content = [{"type": "output_text", "text": text, "annotations": []}] if text is not None else []
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def call(arguments='{"query": "weather"}', status="completed", item_id="fc_1", call_id="call_1", name="search"):
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
    }


def search(status="completed"):
    return {"id": "fs_1", "type": "file_search_call", "status": status, "queries": ["weather"], "results": None}


def body(*output, status="completed", **changes):
    details = {"cached_tokens": 0}, {"reasoning_tokens": 0}
    whole = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "m",
        "output": list(output),
        "parallel_tool_calls": True,
        "metadata": {},
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1,
        "conversation": {"id": "conv_1"},
        "usage": {
            "input_tokens": 18,
            "input_tokens_details": details[0],
            "output_tokens": 2,
            "output_tokens_details": details[1],
            "total_tokens": 20,
        },
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def test_strict_asks_for_the_fields_of_the_specification():
    tool = {"type": "function", "name": "search"}
    whole = body(
        said(),
        tools=[{**tool, "description": None, "parameters": {}, "strict": None}, {"type": "file_search"}],
        completed_at=1_700_000_001,
        previous_response_id=None,
        text={"format": {"type": "text"}},
        truncation="disabled",
        presence_penalty=0.0,
        frequency_penalty=0,
        top_logprobs=0,
        reasoning={"effort": "low", "summary": None},
        max_output_tokens=None,
        max_tool_calls=None,
        store=True,
        background=False,
        service_tier="default",
        safety_identifier=None,
        prompt_cache_key=None,
    )
    assert responses.response(whole, strict=True) == []
    assert responses.response(body(said())) == []
    spoiled = {**whole, "temperature": None, "tools": [tool], "reasoning": {}}
    del spoiled["background"]
    assert responses.response(spoiled) == []
    assert [one.where for one in responses.response(spoiled, strict=True)] == [
        "tools[0].description",
        "tools[0].parameters",
        "tools[0].strict",
        "temperature",
        "reasoning.effort",
        "reasoning.summary",
        "background",
    ]


@pytest.mark.parametrize(
    "document",
    [
        body(said()),
        body(),
        body(said(""), usage=None, conversation=...),
        body(search(), said("I look"), call(), call("{}", item_id="fc_2", call_id="call_2")),
        body(said("Hel", "incomplete"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
        body(status="failed", error={"code": "server_error", "message": "boom"}),
        body({"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, said()),
        body(status="in_progress", usage=None, previous_response_id=None, background=False),
    ],
    ids=["text", "nothing", "empty", "tools", "incomplete", "failed", "reasoning", "in-progress"],
)
def test_a_response_conforms(document):
    assert responses.response(document) == []


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        pytest.param(None, Violation("body", "an object", "null"), id="null"),
        pytest.param(body(model=...), Violation("model", "a non-empty string", MISSING), id="no-model"),
        pytest.param(body(top_p=...), Violation("top_p", "a number or null", MISSING), id="no-top-p"),
        pytest.param(
            body(created_at=1_700_000_000_000),
            Violation("created_at", "seconds since the epoch", "1700000000000", "this looks like milliseconds"),
            id="milliseconds",
        ),
        pytest.param(
            body(said(), status="stop"),
            Violation(
                "status",
                'one of "completed", "failed", "in_progress", "cancelled", "queued", "incomplete"',
                'string "stop"',
            ),
            id="status",
        ),
        pytest.param(
            body(said("Hel", "incomplete")),
            Violation("output[0].status", '"completed", as the response is', '"incomplete"'),
            id="status-of-item",
        ),
        pytest.param(
            body(said("Hel", "incomplete"), status="incomplete"),
            Violation("incomplete_details", 'an object, as status is "incomplete"', "null"),
            id="why-incomplete",
        ),
        pytest.param(
            body(said(), error={"code": "server_error", "message": "boom"}),
            Violation("error", 'null, as status is "completed"', '{"code": "server_error", "message": "boom"}'),
            id="error-of-a-completed-one",
        ),
        pytest.param(
            body({"type": "text", "text": "Hello"}),
            Violation(
                "output[0].type",
                "one of message, function_call, function_call_output, reasoning, file_search_call, web_search_call, "
                "mcp_call, mcp_list_tools, mcp_approval_request, code_interpreter_call, image_generation_call, "
                "computer_call, custom_tool_call, custom_tool_call_output, local_shell_call, shell_call, "
                "shell_call_output, apply_patch_call, apply_patch_call_output, compaction",
                'string "text"',
            ),
            id="item-type",
        ),
        pytest.param(
            body({**said(), "content": [{"type": "output_text", "text": "Hello"}]}),
            Violation(
                "output[0].content[0].annotations",
                "an array",
                MISSING,
            ),
            id="no-annotations",
        ),
        pytest.param(
            body({**said(), "content": [{"type": "text", "text": "Hello"}]}),
            Violation("output[0].content[0].type", "one of output_text, refusal", 'string "text"'),
            id="part-of-another-wire",
        ),
        pytest.param(
            body({**said(), "role": "user"}),
            Violation("output[0].role", '"assistant"', '"user"', "the input is not output"),
            id="input-in-output",
        ),
        pytest.param(
            body({**call(), "arguments": {"query": "weather"}}),
            Violation(
                "output[0].arguments",
                "a string",
                'object {"query": "weather"}',
                "arguments travel as JSON text in a string, not as an object",
            ),
            id="arguments-are-an-object",
        ),
        pytest.param(
            body(call("{'query': 'weather'}")),
            Violation(
                "output[0].arguments",
                "the text of a JSON object",
                "`{'query': 'weather'}` (Expecting property name enclosed in double quotes at character 1)",
                "this looks like a Python dict that was turned into text without JSON",
            ),
            id="arguments-are-python",
        ),
        pytest.param(
            body(call(), call(item_id="fc_2")),
            Violation("output[1].call_id", "an id of its own", '"call_1", as an earlier item'),
            id="two-calls-one-id",
        ),
        pytest.param(
            body(said(), said()),
            Violation("output[1].id", "an id of its own", '"msg_1", as an earlier item'),
            id="two-items-one-id",
        ),
        pytest.param(
            body(usage={**body()["usage"], "total_tokens": 21}),
            Violation("usage.total_tokens", "20, input_tokens + output_tokens", "21"),
            id="total",
        ),
        pytest.param(
            body(conversation="conv_1"),
            Violation(
                "conversation",
                "an object or null",
                'string "conv_1"',
                "an object with the id, also where the request gave the id alone",
            ),
            id="conversation-is-text",
        ),
    ],
)
def test_response_names(document, violation):
    assert responses.response(document) == [violation]


def test_the_conversation_of_the_request_is_echoed():
    assert responses.response(body(), conversation="conv_1") == []
    assert responses.response(body(), conversation="conv_2") == [
        Violation("conversation.id", '"conv_2", as in the request', '"conv_1"')
    ]
    assert responses.response(body(conversation=...), conversation="conv_1") == [
        Violation("conversation", 'the conversation "conv_1" of the request', MISSING)
    ]


def test_response_names_all_violations_in_reading_order():
    document = body({**said(), "content": [{"type": "output_text"}]}, call(""), id="", metadata=3, usage={})
    assert [one.where for one in responses.response(document)] == [
        "id",
        "output[0].content[0].text",
        "output[0].content[0].annotations",
        "output[1].arguments",
        "metadata",
        "usage.input_tokens",
        "usage.input_tokens_details",
        "usage.output_tokens",
        "usage.output_tokens_details",
        "usage.total_tokens",
    ]


def user(text="hi", item_id="msg_0"):
    content = [{"type": "input_text", "text": text}]
    return {"id": item_id, "type": "message", "role": "user", "status": "completed", "content": content}


def answer(call_id="call_1", item_id="fco_1"):
    return {"id": item_id, "type": "function_call_output", "call_id": call_id, "output": '"sunny"'}


def page(*items, **changes):
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": list(items), "first_id": first, "last_id": last, "has_more": False, **changes}


def test_a_conversation_and_its_items_conform():
    assert responses.conversation({"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}}) == []
    assert responses.conversation_items(page()) == []
    assert responses.conversation_items(page(user(), call(), answer(), said())) == []


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        pytest.param(
            page(user(), answer(), said()),
            Violation("data[1].call_id", "the call_id of a call before it", '"call_1"', "the call itself was not kept"),
            id="orphaned-output",
        ),
        pytest.param(
            page(user(), call(), answer(), answer(item_id="fco_2")),
            Violation("data[3].call_id", "one output for a call", 'another one for "call_1"'),
            id="answered-twice",
        ),
        pytest.param(
            page(user(), user()),
            Violation("data[1].id", "an id of its own", '"msg_0", as an earlier item'),
            id="kept-twice",
        ),
        pytest.param(
            page(user(), said(), last_id="msg_0"), Violation("last_id", '"msg_1"', 'string "msg_0"'), id="last-id"
        ),
        pytest.param(
            page({**said(), "content": "Hello"}),
            Violation("data[0].content", "an array", 'string "Hello"'),
            id="content-is-text",
        ),
    ],
)
def test_conversation_items_names(document, violation):
    assert responses.conversation_items(document) == [violation]


USAGE = {
    "input_tokens": 3,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 5,
}
SUMMARY = {"id": "cmp_1", "type": "compaction", "encrypted_content": "c3Vt"}


def compaction(*output, **changes):
    head = {"id": "resp_1", "object": "response.compaction", "created_at": 1}
    return {**head, "output": list(output), "usage": USAGE, **changes}


def test_a_compaction_conforms():
    assert responses.compaction(compaction(SUMMARY)) == []
    assert responses.compaction(compaction(user(), {**user(), "id": "msg_2"}, SUMMARY)) == []


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        pytest.param(
            compaction(user()), Violation("output", "a compaction, the last item", "none"), id="no-compaction"
        ),
        pytest.param(compaction(), Violation("output", "a compaction, the last item", "none"), id="empty"),
        pytest.param(
            compaction(said(), SUMMARY),
            Violation("output[0].role", '"user"', '"assistant"', "the compaction stands for it"),
            id="answer-is-kept",
        ),
        pytest.param(
            compaction(call(), SUMMARY),
            Violation("output[0].type", '"message" or "compaction"', '"function_call"'),
            id="call-is-kept",
        ),
        pytest.param(
            compaction(SUMMARY, {**SUMMARY, "id": "cmp_2"}),
            Violation("output[0]", "one compaction, the last item", "a compaction with items behind it"),
            id="two-compactions",
        ),
        pytest.param(
            compaction(user(), user(), SUMMARY),
            Violation("output[1].id", "an id of its own", '"msg_0", as an earlier item'),
            id="kept-twice",
        ),
        pytest.param(
            compaction(SUMMARY, created_at=1_700_000_000_000),
            Violation("created_at", "seconds since the epoch", "1700000000000", "this looks like milliseconds"),
            id="milliseconds",
        ),
        pytest.param(
            compaction(SUMMARY, usage={**USAGE, "total_tokens": 6}),
            Violation("usage.total_tokens", "5, input_tokens + output_tokens", "6"),
            id="usage-does-not-add-up",
        ),
    ],
)
def test_compaction_names(document, violation):
    assert responses.compaction(document) == [violation]


class Script:
    """Writes the events of a stream, numbered."""

    def __init__(self, *status):
        self.events = []
        self.items = []
        for kind in status or ("created", "in_progress"):
            self.carry(kind, body(status="in_progress", usage=None))

    def put(self, kind, **fields):
        self.events.append({"type": kind, "sequence_number": len(self.events), **fields})
        return self

    def carry(self, kind, response):
        return self.put(f"response.{kind}", response=copy.deepcopy(response))

    def say(self, *pieces):
        whole, index = said("".join(pieces), item_id=f"msg_{len(self.items) + 1}"), len(self.items)
        at = {"item_id": whole["id"], "output_index": index, "content_index": 0}
        empty = {"type": "output_text", "text": "", "annotations": []}
        self.put(
            "response.output_item.added", output_index=index, item={**whole, "status": "in_progress", "content": []}
        )
        self.put("response.content_part.added", **at, part=empty)
        for piece in pieces:
            self.put("response.output_text.delta", **at, delta=piece, logprobs=[])
        self.put("response.output_text.done", **at, text="".join(pieces), logprobs=[])
        self.put("response.content_part.done", **at, part=whole["content"][0])
        return self.done(index, whole)

    def call(self, *pieces, name="search"):
        index = len(self.items)
        whole = call("".join(pieces), item_id=f"fc_{index}", call_id=f"call_{index}", name=name)
        at = {"item_id": whole["id"], "output_index": index}
        self.put(
            "response.output_item.added", output_index=index, item={**whole, "status": "in_progress", "arguments": ""}
        )
        for piece in pieces:
            self.put("response.function_call_arguments.delta", **at, delta=piece)
        self.put("response.function_call_arguments.done", **at, arguments="".join(pieces), name=name)
        return self.done(index, whole)

    def search(self):
        index = len(self.items)
        at = {"item_id": "fs_1", "output_index": index}
        self.put("response.output_item.added", output_index=index, item={**search("in_progress"), "queries": []})
        for step in ("in_progress", "searching", "completed"):
            self.put(f"response.file_search_call.{step}", **at)
        return self.done(index, search())

    def done(self, index, whole):
        self.items.append(whole)
        return self.put("response.output_item.done", output_index=index, item=whole)

    def end(self, kind="completed", **changes):
        return self.carry(kind, body(*self.items, status=kind, **changes))

    def wire(self, name=None):
        return [Event(name or str(one.get("type")), json.dumps(one)) for one in self.events]


DONE = Event("message", "[DONE]")


def hello():
    return Script().say("Hel", "lo").end()


def calling():
    return Script().say("I look").call('{"query": ', '"weather"}').end()


@pytest.mark.parametrize(
    ("script", "document"),
    [
        pytest.param(hello(), body(said()), id="text"),
        pytest.param(
            calling(),
            body(said("I look"), call(item_id="fc_1", call_id="call_1")),
            id="call",
        ),
        pytest.param(Script("created", "in_progress").say("").end(), body(said("")), id="empty"),
        pytest.param(
            Script().search().say("Hello").end(),
            body(search(), said("Hello", item_id="msg_2")),
            id="server-tool",
        ),
        pytest.param(
            Script().say("Hel").end("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            body(said("Hel"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            id="incomplete",
        ),
    ],
)
def test_a_stream_conforms_and_amounts_to_its_response(script, document):
    assert responses.stream(script.wire(), conversation="conv_1") == []
    assert responses.assemble(script.wire()) == document
    assert responses.response(document) == []


def test_failures_may_end_a_stream_early():
    error = {"code": "server_error", "message": "boom"}
    failed = Script().carry("failed", body(status="failed", error=error))
    assert responses.stream(failed.wire()) == []
    raised = Script().put("error", code=None, message="boom", param=None)
    assert responses.stream(raised.wire()) == []
    nested = Script().put("error", error={"message": "boom", "type": "server_error"})
    assert responses.stream(nested.wire()) == []
    assert responses.assemble(raised.wire())["error"] == {"code": None, "message": "boom", "param": None}


@pytest.mark.parametrize(
    ("demanded", "marked", "violations"),
    [
        (None, False, []),
        (None, True, []),
        (True, True, []),
        (False, False, []),
        (True, False, [Violation("end of stream", "data: [DONE] as the last frame", "the end of the stream")]),
        (False, True, [Violation("frame 11", "no [DONE]", "[DONE]", "this wire ends with its terminal event")]),
    ],
)
def test_the_done_marker_is_advisory(demanded, marked, violations):
    events = [*hello().wire(), *([DONE] if marked else [])]
    assert responses.stream(events, done_marker=demanded) == violations


def changed(script, position, **changes):
    """The script with the event at `position` changed; `...` takes a field away."""
    event = {**script.events[position], **changes}
    script.events[position] = {key: value for key, value in event.items() if value is not ...}
    return script


def without(script, *positions):
    script.events = [one for position, one in enumerate(script.events) if position not in positions]
    return script


def from_one(script):
    for one in script.events:
        if "output_index" in one:
            one["output_index"] += 1
    return script


def last_output(script, *output):
    script.events[-1]["response"]["output"] = list(output)
    return script


@pytest.mark.parametrize(
    ("script", "violations"),
    [
        pytest.param(
            without(hello(), 9), [f"end of stream: expected {TERMINALS}, got the end of the stream"], id="cut"
        ),
        pytest.param(
            without(hello(), 0),
            ["frame 1: expected response.created, at the start, got response.in_progress"],
            id="no-created",
        ),
        pytest.param(
            without(hello(), 1),
            [
                "frame 2: expected response.in_progress or response.queued or response.failed, after "
                "response.created, got response.output_item.added"
            ],
            id="no-in-progress",
        ),
        pytest.param(
            changed(hello(), 3, sequence_number=2),
            ["frame 4, sequence_number: expected more than 2, that of the event before, got 2"],
            id="sequence-stands",
        ),
        pytest.param(
            changed(hello(), 3, sequence_number=...),
            [f"frame 4, sequence_number: expected an integer of at least 0, got {MISSING}"],
            id="no-sequence",
        ),
        pytest.param(
            changed(hello(), 1, response=body(status="in_progress", id="resp_2", usage=None)),
            ['frame 2, response.id: expected "resp_1", as in frame 1, got "resp_2"'],
            id="response-id",
        ),
        pytest.param(
            changed(hello(), 0, response=body()),
            ['frame 1, response.status: expected "in_progress" or "queued" in response.created, got "completed"'],
            id="status-of-event",
        ),
        pytest.param(
            without(hello(), 2, 3, 4, 5, 6, 7, 8),
            ["frame 3, response.output: expected 0 items, as streamed, got 1"],
            id="nothing-streamed",
        ),
        pytest.param(
            last_output(hello()), ["frame 10, response.output: expected 1 item, as streamed, got 0"], id="output-empty"
        ),
        pytest.param(
            last_output(calling(), call(), said("I look")),
            [
                'frame 14, response.output[0].id: expected "msg_1", as streamed, got string "fc_1"',
                'frame 14, response.output[1].id: expected "fc_1", as streamed, got string "msg_1"',
            ],
            id="output-in-another-order",
        ),
        pytest.param(
            last_output(hello(), said(item_id="msg_9")),
            ['frame 10, response.output[0].id: expected "msg_1", as streamed, got string "msg_9"'],
            id="other-id-in-output",
        ),
        pytest.param(
            last_output(hello(), said("Bye")),
            ['frame 10, response.output[0].content[0].text: expected "Hello", as streamed, got "Bye"'],
            id="other-text-in-output",
        ),
        pytest.param(
            without(hello(), 3),
            [
                "frame 4, content_index: expected the index of a part that was added, got 0",
            ],
            id="no-part-added",
        ),
        pytest.param(
            changed(hello(), 6, text="Hel"),
            [
                'frame 7, text: expected "Hello", the deltas joined, got "Hel"',
            ],
            id="text-done",
        ),
        pytest.param(
            without(hello(), 4),
            [
                'frame 6, text: expected "lo", the deltas joined, got "Hello"',
            ],
            id="a-delta-lost",
        ),
        pytest.param(
            without(hello(), 7),
            ["frame 8: expected a done event for part 0 before output_item.done, got none"],
            id="no-part-done",
        ),
        pytest.param(
            without(hello(), 8),
            ["frame 9: expected response.output_item.done for item 0 before response.completed, got none"],
            id="no-item-done",
        ),
        pytest.param(
            changed(hello(), 4, item_id="msg_2"),
            ['frame 5, item_id: expected "msg_1", the id of item 0, got string "msg_2"'],
            id="item-id",
        ),
        pytest.param(
            from_one(hello()),
            ["frame 3, output_index: expected 0, the next item, got 1"],
            id="index-from-one",
        ),
        pytest.param(
            changed(hello(), 2, item=said("Hello", "in_progress")),
            [
                "frame 3, item.content: expected [] in output_item.added, got "
                '[{"type": "output_text", "text": "Hello", "annotations": []}]'
            ],
            id="content-when-added",
        ),
        pytest.param(
            changed(hello(), 3, part={"type": "output_text", "text": "Hello", "annotations": []}),
            ['frame 4, part.text: expected "" in the event that adds the part, got "Hello"'],
            id="text-when-added",
        ),
        pytest.param(
            changed(calling(), 8, item=call(status="in_progress", item_id="fc_1")),
            [
                'frame 9, item.arguments: expected "" in output_item.added, got "{\\"query\\": \\"weather\\"}"',
            ],
            id="arguments-when-added",
        ),
        pytest.param(
            without(calling(), 9, 10, 11),
            ['frame 10, item.arguments: expected "", the deltas joined, got "{\\"query\\": \\"weather\\"}"'],
            id="no-argument-deltas",
        ),
        pytest.param(
            changed(calling(), 10, type="response.output_item.delta"),
            [
                "frame 11, type: expected the type of an event of the Responses stream, got string "
                '"response.output_item.delta"',
                'frame 12, arguments: expected "{\\"query\\": ", the deltas joined, got "{\\"query\\": \\"weather\\"}"',
            ],
            id="spelling",
        ),
        pytest.param(
            changed(Script().search().end(), 3, type="response.web_search_call.in_progress"),
            ["frame 4, type: expected an event of a file_search_call item, got response.web_search_call.in_progress"],
            id="progress-of-another-tool",
        ),
        pytest.param(
            changed(hello().put("ping"), 10, sequence_number=...),
            [
                'frame 11: expected nothing after the response.completed of frame 10, got `{"type": "ping"}`',
                'frame 11, type: expected the type of an event of the Responses stream, got string "ping"',
            ],
            id="on-after-the-end",
        ),
        pytest.param(
            Script().put("error", code=None, message="boom", param=None).put("response.x"),
            [
                "frame 4: expected nothing after the error of frame 3, got "
                '`{"type": "response.x", "sequence_number": 3}`',
                'frame 4, type: expected the type of an event of the Responses stream, got string "response.x"',
            ],
            id="on-after-an-error",
        ),
        pytest.param(
            Script().put("error"), [f"frame 3, message: expected a non-empty string, got {MISSING}"], id="empty-error"
        ),
        pytest.param(
            Script("created", "in_progress", "in_progress").say("Hello").end(),
            [f"frame 3: expected {TERMINALS}, after response.in_progress, got response.in_progress"],
            id="in-progress-twice",
        ),
    ],
)
def test_stream_names(script, violations):
    assert [str(one) for one in responses.stream(script.wire())] == violations


def test_arguments_sent_twice_are_named_as_such():
    script = calling()
    script.events[11:11] = copy.deepcopy(script.events[9:11])
    for number, one in enumerate(script.events):
        one["sequence_number"] = number
    found = responses.stream(script.wire())
    assert [(one.where, one.hint) for one in found] == [("frame 14, arguments", "the deltas were sent twice")]


def test_the_name_of_a_frame_is_its_type():
    events = hello().wire()
    events[4] = Event("message", events[4].data)
    hint = "clients choose events by their name"
    assert responses.stream(events) == [
        Violation("frame 5", "`event: response.output_text.delta`, as the type says", "no `event:` line", hint)
    ]


def test_what_is_wrong_with_the_response_is_said_once():
    script = hello()
    for one in script.events:
        one.get("response", {}).pop("tools", None)
    assert [one.where for one in responses.stream(script.wire())] == ["frame 1, response.tools"]


def test_two_items_may_be_open_at_the_same_time():
    first, second = Script().search().call("{}").events, []
    opening, closing = first[2:3], first[3:7]
    second = first[:2] + opening + first[7:8] + closing + first[8:]
    items = [one["item"] for one in first if one["type"] == "response.output_item.done"]
    for number, one in enumerate(second):
        one["sequence_number"] = number
    script = Script()
    script.events, script.items = second, items
    assert responses.stream(script.end().wire()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def broken(draw):
    """A good stream with pieces of junk in the place of its values."""
    events = copy.deepcopy(draw(st.sampled_from([hello(), calling(), Script().search().end()])).events)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.sampled_from(events))
        while at:
            key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if not isinstance(at[key], dict | list) or draw(st.booleans()):
                at[key] = draw(JSON)
                break
            at = at[key]
    return [Event(draw(st.sampled_from(["message", str(one.get("type"))])), json.dumps(one)) for one in events]


@given(broken() | st.lists(st.builds(Event, st.text(), st.text()), max_size=4))
def test_the_stream_oracle_never_raises(events):
    found = [*responses.stream(events, "conv_1", True), *responses.response(responses.assemble(events), "conv_1")]
    for one in found:
        assert str(one).encode()


@given(JSON | st.lists(JSON).map(lambda data: {"data": data, "output": data}))
def test_the_body_oracles_never_raise(document):
    for judge in (responses.response, responses.compaction, responses.conversation, responses.conversation_items):
        for one in judge(document):
            assert str(one).encode()
