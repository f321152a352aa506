"""Streams and trajectories as people reported them, in our own words, through `check-stream` and `check-trajectory`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.cli import main

Document = dict[str, Any]

COMMON = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}


def chunk(delta: Document, finish: str | None = None) -> Document:
    return {**COMMON, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def chat(*chunks: Document) -> str:
    return "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"


def named(*events: Document) -> str:
    return "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)


def call(index: int, name: str, **function: str) -> Document:
    return {
        "tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, **function}}]
    }


def message(*events: Document, stop: str = "end_turn") -> list[Document]:
    """The events of a message on the Anthropic wire, with these in the middle."""
    usage = {"input_tokens": 3, "output_tokens": 1}
    begun = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    return [
        {"type": "message_start", "message": {**begun, "stop_reason": None, "stop_sequence": None}},
        *events,
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def block(content: Document, *deltas: Document, index: int = 0) -> list[Document]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


ROLE, END = chunk({"role": "assistant", "content": None}), chunk({}, "tool_calls")
SAID = chunk({"content": "Hi"})
FILTER = {"id": "", "object": "", "created": 0, "model": ""}
"""A chunk of Azure's that tells what its filter thinks of the text so far."""
TEXT = {"type": "text", "text": ""}
USED = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
HI = {"type": "text_delta", "text": "Hi"}
HM = {"type": "thinking_delta", "thinking": "hm"}


@pytest.mark.parametrize(
    ("wire", "stream", "wrong"),
    [
        # vllm-project/vllm#28806, #21301: the arguments of each call, put together, are JSON
        pytest.param("openai", chat(ROLE, chunk(call(0, "now")), END), ["arguments of call 0"], id="no-arguments"),
        pytest.param(
            "openai",
            chat(ROLE, *(chunk(call(i, "now", arguments=text)) for i, text in enumerate(["{}", "", '{"q": 1}'])), END),
            ["arguments of call 1"],
            id="no-arguments-of-the-second-of-three",
        ),
        pytest.param(
            "openai",
            chat(
                ROLE, chunk(call(0, "now")), chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}), END
            ),
            ["arguments of call 0"],
            id="half-of-the-arguments",
        ),
        pytest.param(
            "openai",
            chat(ROLE, chunk(call(0, "now", arguments="{}")), chunk({}, "length")),
            [],
            id="a-cut-behind-a-call-is-none-of-it",
        ),
        # langchain-ai/langchain#18977, microsoft/autogen#6465: a chunk has its id, its object and a delta
        pytest.param(
            "openai",
            chat(
                ROLE,
                SAID,
                {**FILTER, "choices": [{"index": 0, "finish_reason": None, "content_filter_results": {}}]},
                chunk({}, "stop"),
            ),
            ["id", "object", "delta"],
            id="filter-chunk",
        ),
        pytest.param(
            "openai",
            chat({**FILTER, "choices": [], "prompt_filter_results": []}, ROLE, SAID, chunk({}, "stop")),
            ["id", "object"],
            id="filter-of-the-prompt-first",
        ),
        pytest.param(
            "openai",
            chat(
                ROLE,
                SAID,
                {**COMMON, "choices": [{"index": 0, "delta": None, "finish_reason": None}]},
                chunk({}, "stop"),
            ),
            ["delta"],
            id="a-delta-of-null",
        ),
        # BerriAI/litellm#32357, #33224: a message begins once, and a block gets deltas of its own kind
        pytest.param("anthropic", named(*message(*block(TEXT, HM, HI))), ["thinking_delta"], id="thinking-in-text"),
        pytest.param("anthropic", named(message()[0], *message(*block(TEXT, HI))), ["message_start"], id="begun-twice"),
        pytest.param(
            "anthropic",
            named(
                *message(*block({"type": "thinking", "thinking": "", "signature": ""}, HI), *block(TEXT, HI, index=1))
            ),
            ["text_delta"],
            id="text-in-thinking",
        ),
        pytest.param(
            "anthropic",
            named(*message(*block(TEXT, HI), *block(USED, HI, index=1), stop="tool_use")),
            ["text_delta"],
            id="text-in-a-call",
        ),
    ],
)
def test_a_stream_is_wrong_where_clients_broke(
    wire: str, stream: str, wrong: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What broke clients is found, and named; what is allowed is not."""
    file = tmp_path / "recorded.sse"
    file.write_text(stream)

    code = main(["check-stream", str(file), "--wire", wire])

    told = capsys.readouterr().out
    assert (code, [each for each in wrong if each not in told]) == (int(bool(wrong)), []), told


ROLLOUT = {
    "prompt_ids": [10, 11, 12],
    "completion_ids": [20, 21, 2, 30, 31, 40, 2],
    "completion_mask": [1, 1, 1, 0, 0, 1, 1],
    "completion_logprobs": [-0.1, -0.2, -0.3, 0.0, 0.0, -0.4, -0.5],
}
MASKS = {"booleans": bool, "floats": float, "ones-and-zeros": int}


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("prefix", ["completion", "response"])
def test_a_mask_is_what_its_trainer_writes(
    prefix: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mask of booleans (PrimeIntellect-ai/prime-rl's transport types), or of floats as tensors have them, is read as
    ones and zeros."""
    mask = [MASKS[kind](each) for each in ROLLOUT["completion_mask"]]
    document = {**ROLLOUT, "completion_mask": mask}
    file = tmp_path / "rollout.jsonl"
    file.write_text(json.dumps({name.replace("completion", prefix): ids for name, ids in document.items()}) + "\n")

    code = main(["check-trajectory", str(file)])

    assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("entry", [0.5, 2, "1", None])
def test_a_mask_that_says_neither_is_none(entry: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is neither one nor zero is no mask."""
    file = tmp_path / "rollout.jsonl"
    file.write_text(json.dumps({**ROLLOUT, "completion_mask": [1, 1, 1, 0, 0, 1, entry]}) + "\n")

    assert main(["check-trajectory", str(file)]) != 0
