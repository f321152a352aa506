"""What each oracle says of documents with one fault each, place by place. The words are pinned in `spoiled/`:
after a change to an oracle, `pytest tests/kit/oracles/test_oracle_spoiled.py --snapshot-update`, and read the diff."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from oracle_spoils import changes, told

from conformance.oracles import (
    Violation,
    anthropic,
    anthropic_stream,
    chat,
    engine_data,
    envelope,
    fidelity,
    invocations,
    responses,
    token_truth,
    turns,
    unrecorded,
)
from conformance.oracles.logprobs import logprob_truth
from conformance.oracles.sse import Event

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
            "finish_reason": "tool_calls",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "Hm"},
            "logprobs": None,
            "finish_reason": "stop",
        },
    ],
    "usage": USAGE,
}

STRICT = {**COMPLETION, "choices": [{**COMPLETION["choices"][1], "index": 0}]}  # type: ignore[index]


def chunk(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    return {**head, "choices": list(choices), **more}


def piece(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def calls(index: int, arguments: str, **opening: Any) -> dict[str, Any]:
    name = {"name": opening.pop("name")} if "name" in opening else {}
    return {"tool_calls": [{"index": index, **opening, "function": {**name, "arguments": arguments}}]}


CHUNKS = [
    chunk(piece(0, {"role": "assistant", "content": ""})),
    chunk(piece(0, {"content": "Hel"})),
    chunk(piece(0, {"content": "lo"})),
    chunk(piece(0, calls(0, "", id="call_1", type="function", name="f"))),
    chunk(piece(0, calls(0, '{"a": 1}'))),
    chunk(piece(0, calls(1, "{}", id="call_2", type="function", name="f"))),
    chunk(piece(0, {}, "tool_calls")),
    chunk(usage=USAGE),
    "[DONE]",
]
TWO_CHOICES = [
    chunk(piece(0, {"role": "assistant", "content": "a"}), piece(1, {"role": "assistant", "reasoning_content": "b"})),
    chunk(piece(1, {"content": "c", "logprobs": [1]}), {**piece(0, {"refusal": "d"}), "logprobs": {"content": [1]}}),
    chunk({**piece(0, {}, "stop"), "logprobs": {"content": [2]}}),
    chunk(piece(1, {}, "stop")),
    "[DONE]",
]
CHAT_ERROR = [CHUNKS[0], {"error": {"message": "boom", "type": "server_error", "param": None, "code": None}}]

BLOCKS: list[Any] = [
    {"type": "thinking", "thinking": "Hm", "signature": "s"},
    {"type": "text", "text": "So", "citations": None},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}},
]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
STRICT_MESSAGE = {
    **MESSAGE,
    "usage": {**MESSAGE["usage"], "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
}
STOPPED = {**MESSAGE, "content": BLOCKS[1:2], "stop_reason": "stop_sequence", "stop_sequence": "END"}
MODELS = {
    "data": [{"id": one, "type": "model", "display_name": "M", "created_at": "2026-01-31T00:00:00Z"} for one in "mn"],
    "has_more": False,
    "first_id": "m",
    "last_id": "n",
}


def block(index: int, opening: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": opening},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


MESSAGE_START = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 0}}
CITATION = {"type": "char_location", "cited_text": "x"}
ANTHROPIC = [
    {"type": "message_start", "message": MESSAGE_START},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "Hm"},
        {"type": "signature_delta", "signature": "s"},
    ),
    {"type": "ping"},
    *block(
        1,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "So"},
        {"type": "citations_delta", "citation": CITATION},
        {"type": "citations_delta", "citation": CITATION},
    ),
    *block(
        2,
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        {"type": "input_json_delta", "partial_json": '{"a"'},
        {"type": "input_json_delta", "partial_json": ": 1}"},
    ),
    *block(3, {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]
ANTHROPIC_STOPPED = [
    {"type": "message_start", "message": MESSAGE_START},
    *block(0, {"type": "web_search_tool_result", "tool_use_id": "x", "content": []}),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END"},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]
ANTHROPIC_ERROR = [ANTHROPIC[0], {"type": "error", "error": {"type": "api_error", "message": "boom"}}]

SAID = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}
CALLED = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a": 1}',
}
SEARCHED = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["q"], "results": None}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
MCP = {
    "id": "mcp_1",
    "type": "mcp_call",
    "name": "g",
    "server_label": "s",
    "arguments": "{}",
    "output": "1",
    "error": None,
}
OUTPUT: list[Any] = [THOUGHT, SAID, CALLED, SEARCHED, MCP]


def response(output: list[Any], status: str = "completed", **changed: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": "m",
        "output": output,
        "parallel_tool_calls": True,
        "metadata": {},
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1,
        "conversation": {"id": "conv_1"},
        "usage": {
            "input_tokens": 18,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 20,
        },
        **changed,
    }


COMPACTION = {
    "id": "resp_1",
    "object": "response.compaction",
    "created_at": 1_700_000_000,
    "output": [
        {
            "id": "msg_0",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hi"}],
        },
        {"id": "cmp_0", "type": "compaction", "encrypted_content": "c3Vt"},
    ],
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    },
}

ITEMS = {
    "object": "list",
    "data": [
        {"id": "msg_0", "type": "message", "role": "user", "status": "completed",
         "content": [{"type": "input_text", "text": "Hi"}]},
        CALLED,
        {"id": "fco_1", "type": "function_call_output", "call_id": "call_1", "output": "1"},
        SAID,
    ],
    "first_id": "msg_0",
    "last_id": "msg_1",
    "has_more": False,
}  # fmt: skip


def item_events() -> list[dict[str, Any]]:
    """The events of the items, one after the other."""
    thought, said, called, searched, mcp = (
        {"item_id": item["id"], "output_index": index} for index, item in enumerate(OUTPUT)
    )
    summary, text = {**thought, "summary_index": 0}, {**said, "content_index": 0}
    found: list[dict[str, Any]] = []

    def put(kind: str, **fields: Any) -> None:
        found.append({"type": f"response.{kind}", **fields})

    def item(index: int, **emptied: Any) -> None:
        put("output_item.added", output_index=index, item={**OUTPUT[index], **emptied})

    def done(index: int) -> None:
        put("output_item.done", output_index=index, item=OUTPUT[index])

    item(0, summary=[])
    put("reasoning_summary_part.added", **summary, part={"type": "summary_text", "text": ""})
    put("reasoning_summary_text.delta", **summary, delta="Hm")
    put("reasoning_summary_text.done", **summary, text="Hm")
    put("reasoning_summary_part.done", **summary, part=THOUGHT["summary"][0])  # type: ignore[index]
    done(0)
    item(1, status="in_progress", content=[])
    put("content_part.added", **text, part={"type": "output_text", "text": "", "annotations": []})
    put("output_text.delta", **text, delta="Hel", logprobs=[])
    put("output_text.delta", **text, delta="lo", logprobs=[])
    put("output_text.done", **text, text="Hello", logprobs=[])
    put("content_part.done", **text, part=SAID["content"][0])  # type: ignore[index]
    done(1)
    item(2, status="in_progress", arguments="")
    put("function_call_arguments.delta", **called, delta='{"a"')
    put("function_call_arguments.delta", **called, delta=": 1}")
    put("function_call_arguments.done", **called, arguments='{"a": 1}', name="f")
    done(2)
    item(3, status="in_progress", queries=[])
    put("file_search_call.in_progress", **searched)
    put("file_search_call.searching", **searched)
    put("file_search_call.completed", **searched)
    done(3)
    item(4, arguments="", output=None)
    put("mcp_call.in_progress", **mcp)
    put("mcp_call_arguments.delta", **mcp, delta="{}")
    put("mcp_call_arguments.done", **mcp, arguments="{}")
    put("mcp_call.completed", **mcp)
    done(4)
    return found


def numbered(*found: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**one, "sequence_number": number} for number, one in enumerate(found)]


RAW = [
    {"type": "response.created", "response": response([], "in_progress", usage=None)},
    {"type": "response.in_progress", "response": response([], "in_progress", usage=None)},
    *item_events(),
    {"type": "response.completed", "response": response(OUTPUT)},
]
TURN_STREAM = [
    {"type": "response.created", "response": {"id": "r1"}},
    *item_events(),
    {"type": "response.completed", "response": {"id": "r1", "output": OUTPUT}},
]
FOLLOW_UP = [
    {"type": "response.created", "response": {"id": "r2"}},
    {"type": "response.output_text.delta", "item_id": "msg_2", "output_index": 0, "delta": "Done"},
    {"type": "response.completed", "response": {"id": "r2", "output": []}},
]


def play(streams: Any) -> list[Any]:
    given = [stream for stream in streams if isinstance(stream, list)] if isinstance(streams, list) else []
    listed = [[one for one in stream if isinstance(one, dict)] for stream in given]
    made = turns.turn_events(listed, "conv_1", ("f",), turn_id="turn_0123456789ab")
    return [turns.as_json(one) for one in made]


EXPORTS = {
    "trajectories": [
        {
            "prompt_ids": [1, 2],
            "response_ids": [3, 4, 9, 9, 5, 6],
            "response_mask": [1, 1, 0, 0, 1, 1],
            "response_logprobs": [-0.5, -0.25, 0.0, 0.0, -1.0, -2.0],
        },
        {"prompt_ids": [1, 2, 3, 4, 8], "response_ids": [7], "response_mask": [1], "response_logprobs": None},
    ],
    "calls": [
        {"context": [1, 2], "generation": [3, 4], "logprobs": [-0.5, -0.25]},
        {"context": [1, 2, 3, 4, 9, 9], "generation": [5, 6], "logprobs": [-1.0, -2.0]},
        {"context": [1, 2, 3, 4, 8], "generation": [7], "logprobs": None},
        {"context": [1, 2, 3, 4, 8], "generation": [], "logprobs": None},
    ],
    "superseded": 0,
}  # fmt: skip
BETWEEN = [
    {
        "prompt_ids": [1, 9],
        "response_ids": [3, 4, 8, 2, 9, 5, 4, 8, 2, 9, 6],
        "response_mask": [1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1],
    }
]


def exported(found: Any) -> tuple[Any, Any, int]:
    """Trajectories, calls and the number of superseded ones, as objects; what is none is missing there."""
    found = found if isinstance(found, dict) else {}

    def objects(name: str) -> Any:
        listed = found.get(name)
        return (
            [SimpleNamespace(**one) if isinstance(one, dict) else one for one in listed]
            if isinstance(listed, list)
            else listed
        )

    given_up = found.get("superseded")
    return objects("trajectories"), objects("calls"), given_up if type(given_up) is int else 0


def texts(ids: Any) -> str:
    return "".join(chr(96 + one) for one in ids)


def stood(found: Any) -> list[Any]:
    trajectories, calls, superseded = exported(found)
    return [
        *token_truth.judge(trajectories, calls, superseded, texts),
        *token_truth.verbatim(trajectories, calls),
        *token_truth.context_truth(trajectories, calls),
        *token_truth.conservation(trajectories, calls, superseded),
        *logprob_truth(trajectories, calls),
    ]


def alone(found: Any) -> list[Any]:
    trajectories, _, _ = exported(found)
    return [
        *token_truth.alignment(trajectories),
        *unrecorded.mask_runs(trajectories),
        *unrecorded.zero_filled(trajectories),
        *unrecorded.duplicates(trajectories),
    ]


def between(found: Any) -> list[Any]:
    trajectories, _, _ = exported(found)
    return fidelity.seams(
        trajectories, texts, lambda text: [ord(one) - 96 for one in text], [9], fidelity.TurnEnd([4], [8])
    )


def as_events(found: Any) -> list[Event]:
    """One event for each entry; its name is its type, if it has one."""
    listed = found if isinstance(found, list) else [found]
    return [
        Event(
            str(one.get("type")) if isinstance(one, dict) and "type" in one else "message",
            one if isinstance(one, str) else json.dumps(one),
            "",
            2 * place + 1,
        )
        for place, one in enumerate(listed)
    ]


JUDGES: dict[str, tuple[Any, Callable[[Any], list[Any]]]] = {
    "chat-completion": (COMPLETION, lambda body: chat.completion(body, choices=2)),
    "chat-completion-strict": (STRICT, lambda body: chat.completion(body, strict=True)),
    "chat-stream": (CHUNKS, lambda found: chat.stream(as_events(found), include_usage=True)),
    "chat-stream-choices": (TWO_CHOICES, lambda found: chat.stream(as_events(found), include_usage=False, choices=2)),
    "chat-stream-error": (CHAT_ERROR, lambda found: chat.stream(as_events(found))),
    "message": (MESSAGE, anthropic.message),
    "message-strict": (STRICT_MESSAGE, lambda body: anthropic.message(body, strict=True)),
    "message-stopped": (STOPPED, anthropic.message),
    "message-models": (MODELS, anthropic.models),
    "message-tokens": ({"input_tokens": 3}, anthropic.count_tokens),
    "message-stream": (ANTHROPIC, lambda found: anthropic.stream(as_events(found))),
    "message-stream-stopped": (ANTHROPIC_STOPPED, lambda found: anthropic.stream(as_events(found))),
    "message-stream-error": (ANTHROPIC_ERROR, lambda found: anthropic.stream(as_events(found))),
    "response": (response(OUTPUT), lambda body: responses.response(body, "conv_1")),
    "response-compaction": (COMPACTION, responses.compaction),
    "response-items": (ITEMS, responses.conversation_items),
    "response-conversation": (
        {"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}},
        responses.conversation,
    ),
    "response-stream": (numbered(*RAW), lambda found: responses.stream(as_events(found), "conv_1")),
    "invocation": ({"response": "hi", "session_id": "s"}, lambda body: invocations.envelope(body, "s")),
    "invocation-error": (
        {"error": "invalid json"},
        lambda body: invocations.error(body, invocations.INVALID_JSON, 400),
    ),
    "error-openai": (
        {"error": {"message": "n is odd", "type": "invalid_request_error", "param": "n", "code": None}},
        lambda body: envelope.openai_error(body, 400),
    ),
    "error-anthropic": (
        {"type": "error", "error": {"type": "not_found_error", "message": "n is odd"}},
        lambda body: envelope.anthropic_error(body, 404),
    ),
    "engine-data": (
        {"choices": [{"message": {"content": "a"}, "token_ids": [1], "prompt_token_ids": [1]}]},
        engine_data.engine_data,
    ),
    "turn-events": (
        play([TURN_STREAM, FOLLOW_UP]),
        lambda found: turns.grammar(found if isinstance(found, list) else [found]),
    ),
    "tokens": (EXPORTS, stood),
    "tokens-alone": (EXPORTS["trajectories"], lambda found: alone({"trajectories": found})),
    "tokens-between": (BETWEEN, lambda found: between({"trajectories": found})),
}
READERS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "chat-stream": (CHUNKS, lambda found: chat.assemble(as_events(found))),
    "chat-stream-choices": (TWO_CHOICES, lambda found: chat.assemble(as_events(found))),
    "chat-stream-error": (CHAT_ERROR, lambda found: chat.assemble(as_events(found))),
    "message-stream": (ANTHROPIC, lambda found: anthropic_stream.assemble(as_events(found))),
    "message-stream-error": (ANTHROPIC_ERROR, lambda found: anthropic_stream.assemble(as_events(found))),
    "response-stream": (numbered(*RAW), lambda found: responses.assemble(as_events(found))),
    "response-stream-cut": (numbered(*RAW[:-1]), lambda found: responses.assemble(as_events(found))),
    "turn": ([TURN_STREAM, FOLLOW_UP], play),
}

WHOLE = ("response", "item")
"""What is spoiled by itself already."""


@pytest.fixture
def pinned(request: pytest.FixtureRequest) -> Callable[[str, Iterable[str]], None]:
    """Compares lines with those of a file, up to the first that differs; `--snapshot-update` writes the file."""

    def compare(name: str, lines: Iterable[str]) -> None:
        file = Path(__file__).parent / "spoiled" / f"{name}.txt"
        lines = [*lines] if (update := request.config.option.update_snapshots) else lines
        if update:
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        with file.open(encoding="utf-8", newline="\n") as known:
            for line, expected in zip_longest(lines, known, fillvalue=""):
                assert f"{line}\n" == expected

    return compare


@pytest.mark.parametrize("name", JUDGES)
def test_a_fault_is_told(name, pinned):
    document, judge = JUDGES[name]
    pinned(name, told(document, lambda spoiled: [_said(one) for one in judge(spoiled)], WHOLE))


def _said(violation: Violation) -> str:
    return f"{violation}; {violation.hint}" if violation.hint else str(violation)


@pytest.mark.parametrize("name", READERS)
def test_a_fault_is_read(name, pinned):
    document, read = READERS[name]
    whole = read(document)
    pinned(f"{name}-read", told(document, lambda spoiled: changes(whole, read(spoiled)), WHOLE))
