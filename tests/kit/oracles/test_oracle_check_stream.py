# ruff: noqa: E501  (recorded streams are shown as they came)
from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance import cli
from conformance.oracles.stream_check import WIRES, check

CHAT = """\
data: {"id":"chatcmpl-9f2","object":"chat.completion.chunk","created":1763600000,"model":"qwen3","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"chatcmpl-9f2","object":"chat.completion.chunk","created":1763600000,"model":"qwen3","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}

data: {"id":"chatcmpl-9f2","object":"chat.completion.chunk","created":1763600000,"model":"qwen3","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: [DONE]

"""

MESSAGES = """\
event: message_start
data: {"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

"""

RESPONSE = (
    '{"id":"resp_1","object":"response","created_at":1763600000,"status":"%s","error":null,"incomplete_details":null,'
    '"instructions":null,"model":"m","output":[%s],"parallel_tool_calls":true,"metadata":{},"tool_choice":"auto",'
    '"tools":[],"temperature":1.0,"top_p":1.0}'
)
CALL = '{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_1","name":"search","arguments":"{\\"q\\":1}"}'
RESPONSES = f"""\
event: response.created
data: {{"type":"response.created","sequence_number":0,"response":{RESPONSE % ("in_progress", "")}}}

event: response.in_progress
data: {{"type":"response.in_progress","sequence_number":1,"response":{RESPONSE % ("in_progress", "")}}}

event: response.output_item.added
data: {{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{{"id":"fc_1","type":"function_call","status":"in_progress","call_id":"call_1","name":"search","arguments":""}}}}

event: response.function_call_arguments.delta
data: {{"type":"response.function_call_arguments.delta","sequence_number":3,"item_id":"fc_1","output_index":0,"delta":"{{\\"q\\":1}}"}}

event: response.function_call_arguments.done
data: {{"type":"response.function_call_arguments.done","sequence_number":4,"item_id":"fc_1","output_index":0,"arguments":"{{\\"q\\":1}}"}}

event: response.output_item.done
data: {{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{CALL}}}

event: response.completed
data: {{"type":"response.completed","sequence_number":6,"response":{RESPONSE % ("completed", CALL)}}}

"""

INVOCATIONS = """\
: keep-alive

data: hel
data: lo

data: !

data: [DONE]

"""

STEP = '"step_id":"turn_0123456789ab_step_0","step_type":"inference","turn_id":"turn_0123456789ab"'
TURNS = f"""\
{{"event_type":"turn_started","turn_id":"turn_0123456789ab","session_id":"conv_1"}}
{{"event_type":"step_started",{STEP},"metadata":null}}
{{"event_type":"step_progress",{STEP},"delta":{{"delta_type":"text","text":"Hello"}}}}
{{"event_type":"step_completed",{STEP},"result":{{"step_id":"turn_0123456789ab_step_0","response_id":"r1","text_content":"Hello","function_calls":[],"server_tool_executions":[],"stop_reason":"end_of_turn"}}}}
{{"event_type":"turn_completed","turn_id":"turn_0123456789ab","session_id":"conv_1","final_text":"Hello","response_ids":["r1"],"num_steps":1}}
"""
TURNS_AS_FRAMES = "".join(
    f"event: {json.loads(line)['event_type']}\ndata: {line}\n\n" for line in TURNS.splitlines() + TURNS.splitlines()
)

RECORDED = {
    "openai": CHAT,
    "anthropic": MESSAGES,
    "responses": RESPONSES,
    "invocations": INVOCATIONS,
    "turns": TURNS,
}


def test_there_is_a_recording_of_each_wire():
    assert set(RECORDED) == set(WIRES)


@pytest.mark.parametrize(("wire", "text"), [*RECORDED.items(), ("turns", TURNS_AS_FRAMES)])
def test_a_clean_recording_has_no_violation(wire, text):
    assert check(text.encode(), wire) == []


@pytest.mark.parametrize(
    ("wire", "old", "new", "places"),
    [
        pytest.param("openai", '"delta":{"content":"Hello"}', '"delta":{"content":7}', [(3, "7}")], id="content"),
        pytest.param("openai", '"finish_reason":"stop"', '"finish_reason":"eos"', [(5, '"eos"')], id="finish-reason"),
        pytest.param("openai", "data: [DONE]\n\n", "", [(5, "")], id="no-end"),
        pytest.param("openai", "data: [DONE]", "data:[DONE]", [(7, "data:[")], id="no-space"),
        pytest.param("openai", '"delta":{},', '"delta":{},,', [(5, ',"finish'), (7, "data: [DONE]")], id="not-JSON"),
        pytest.param("openai", '"index":0,"delta":{"content"', '"delta":{"content"', [(3, '{"delta"')], id="no-index"),
        pytest.param("anthropic", "event: ping", "event: pong", [(7, "event: pong")], id="name"),
        pytest.param(
            "anthropic", '"index":0,"delta":{"type"', '"index":1,"delta":{"type"', [(11, '1,"delta"')], id="block-index"
        ),
        pytest.param(
            "anthropic", '{"output_tokens":15}', '{"output_tokens":"15"}', [(17, '"15"')], id="usage-is-a-text"
        ),
        pytest.param(
            "anthropic",
            '{"type":"message_stop"}',
            '{"type":"message_stop"}\n\ndata: [DONE]',
            [(22, "data: [DONE]")],
            id="DONE",
        ),
        pytest.param("responses", '"sequence_number":3', '"sequence_number":2', [(11, '2,"item_id"')], id="sequence"),
        pytest.param(
            "responses", '"delta":"{\\"q\\":1}"', '"delta":"{\\"q\\":"', [(14, '"{\\"q\\":1}"}')], id="a-piece-lost"
        ),
        pytest.param("invocations", "data: !\n", "data: !\ntext\n", [(7, "text")], id="stray-line"),
        pytest.param("invocations", "data: lo", "data: l\ro", [(4, "\ro")], id="CR"),
        pytest.param("turns", '"num_steps":1', '"num_steps":2', [(5, "2}")], id="summary"),
        pytest.param(
            "turns", '"text":"Hello"', '"text":"Hell"', [(4, '"Hello","function'), (5, '"Hello","response')], id="text"
        ),
        pytest.param(
            "turns",
            '"event_type":"step_started"',
            "step_started",
            [(2, "step_started"), (3, '{"event'), (4, '{"event'), (5, '{"event'), (5, "1}")],
            id="line",
        ),
    ],
)
def test_a_planted_fault_is_found_at_its_place(wire, old, new, places):
    text = RECORDED[wire]
    assert text.count(old) == 1
    recording = text.replace(old, new)
    lines = recording.split("\n")
    found = check(recording.encode(), wire)
    shown = [(one.line, lines[one.line - 1][one.column - 1 :]) for one in found]
    assert [(line, text[: len(start)]) for (line, text), (_, start) in zip(shown, places, strict=True)] == places


def test_a_frame_of_several_data_lines_has_its_columns():
    text = CHAT.replace('"delta":{"content":"Hello"}', '"delta":\ndata: {"content":7}')
    assert [(one.line, one.column, one.violation.where) for one in check(text.encode(), "openai")] == [
        (4, 1, "frame 2 (line 4)"),
        (4, 18, "frame 2 (line 3), choices[0].delta.content"),
    ]


def test_a_recording_of_two_choices_is_not_blamed_for_the_second():
    second = CHAT.replace("data: [DONE]\n\n", "").replace('"index":0', '"index":1')
    assert check((second + CHAT).encode(), "openai") == []


def test_the_command_prints_the_place_first(tmp_path, capsys):
    file = tmp_path / "recorded.sse"
    file.write_text(MESSAGES.replace("end_turn", "stop"))
    assert cli.main(["check-stream", str(file), "--wire", "anthropic"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:17:54: frame 6 (line 16), delta.stop_reason: expected one of "
        '"end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", '
        '"model_context_window_exceeded", null, got string "stop"',
        "    hint: the backend's own stop reason must be mapped into this list",
        f"{file}: 1 violation of the anthropic wire",
    ]


@pytest.mark.parametrize(
    ("wire", "old", "new", "place", "where"),
    [
        ("openai", '"delta":{"content":"Hello"}', '"delta":{"content":7}', "3:139", "choices[0].delta.content"),
        ("anthropic", '{"output_tokens":15}', '{"output_tokens":"15"}', "17:112", "usage.output_tokens"),
        ("responses", '"sequence_number":3', '"sequence_number":2', "11:74", "sequence_number"),
        ("invocations", "data: !\n", "data: !\ntext\n", "7:1", ""),
        ("turns", '"num_steps":1', '"num_steps":2', "5:139", "num_steps"),
    ],
    ids=["openai", "anthropic", "responses", "invocations", "turns"],
)
def test_the_command_rejects_a_planted_fault_of_each_wire_at_its_line_and_column(
    wire, old, new, place, where, tmp_path, capsys
):
    file = tmp_path / "recorded.sse"
    file.write_text(RECORDED[wire].replace(old, new))
    assert cli.main(["check-stream", str(file), "--wire", wire]) == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{file}:{place}: ")
    assert where in first


def test_the_command_writes_json(tmp_path, capsys):
    file = tmp_path / "recorded.sse"
    file.write_text(INVOCATIONS.replace("data: [DONE]\n\n", ""))
    assert cli.main(["check-stream", str(file), "--wire", "invocations", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "wire": "invocations",
        "violations": [
            {
                "line": 6,
                "column": 8,
                "where": "end of stream",
                "expected": "data: [DONE], or an error, as the last frame",
                "actual": "the end of the stream",
                "hint": "a client cannot tell that the answer is complete",
            }
        ],
    }


def test_the_command_reads_standard_input():
    command = [sys.executable, "-m", "conformance.cli", "check-stream", "-", "--wire", "openai"]
    done = subprocess.run(command, input=CHAT.encode(), capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"<stdin>: conforms to the openai wire\n", b"")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.sse", "--wire", "openai"], "gateway-conformance check-stream: [Errno 2]"),
        ([".", "--wire", "openai"], "gateway-conformance check-stream: [Errno 21]"),
        (["x", "--wire", "smoke"], "argument --wire: invalid choice: 'smoke'"),
        (["x"], "the following arguments are required: --wire"),
    ],
    ids=["no-file", "directory", "no-such-wire", "no-wire"],
)
def test_wrong_usage_exits_with_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["check-stream", *arguments])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


@st.composite
def damaged(draw):
    """A recording with pieces cut out, doubled or replaced."""
    body = draw(st.sampled_from([*RECORDED.values(), TURNS_AS_FRAMES])).encode()
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 40)))
        piece = draw(
            st.binary(max_size=6) | st.just(body[start:end] * 2) | st.sampled_from([b"\r", b"\n\n", b'"', b"{"])
        )
        body = body[:start] + piece + body[end:]
    return body


@given(damaged(), st.sampled_from(sorted(WIRES)))
def test_whatever_is_recorded_every_place_is_in_the_recording(body, wire):
    last = body.count(b"\n") + body.count(b"\r") + 1
    for one in check(body, wire):
        assert 1 <= one.line <= last
        assert one.column >= 1
        assert str(one.violation).encode()


def frames(*documents: object, named: bool = False) -> bytes:
    lines = [f"event: {one.get('type')}\n" * named + f"data: {json.dumps(one)}\n\n" for one in documents]
    return "".join(lines).encode() + b"data: [DONE]\n\n" * (not named)


def chunk(delta: dict, finish: str | None = None) -> dict:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


@pytest.mark.parametrize(
    ("arguments", "finish", "wrong"),
    [
        (["{}"], "tool_calls", None),
        (['{"a": ', "1}"], "tool_calls", None),
        ([], "tool_calls", 'a call without arguments has "{}"'),
        (["{"], "tool_calls", ""),
        (["{"], "length", None),
        (["{}", "{}"], "tool_calls", "the arguments were sent twice"),
    ],
)
def test_joined_arguments_of_a_chat_stream_are_json(arguments, finish, wrong):
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f"}}
    pieces = [chunk({"tool_calls": [{"index": 0, "function": {"arguments": one}}]}) for one in arguments]
    body = frames(chunk({"role": "assistant"}), chunk({"tool_calls": [call]}), *pieces, chunk({}, finish))
    found = [one for one in check(body, "openai") if "arguments" in one.violation.where]
    assert [one.violation.hint for one in found] == ([] if wrong is None else [wrong])


@pytest.mark.parametrize("wire", ["openai", "anthropic", "responses"])
def test_half_a_character_is_found_on_each_wire(wire):
    half, whole = "\ud83d", "\U0001f600 \\ud83d"
    says = {
        "openai": lambda text: frames(chunk({"role": "assistant", "content": text})),
        "anthropic": lambda text: frames(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}, named=True
        ),
        "responses": lambda text: frames(
            {"type": "response.output_text.delta", "sequence_number": 1, "delta": text}, named=True
        ),
    }[wire]
    assert [one for one in check(says(half), wire) if one.violation.expected == "whole characters"]
    assert not [one for one in check(says(whole), wire) if one.violation.expected == "whole characters"]
