"""Thoughts are split off the answer, and stay in the tokens."""

from __future__ import annotations

import json

import pytest
from codec_templates import deepseek, mistral, qwen3
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_gateway.codec.bytes import CONTROL, byte_files
from reference_gateway.codec.reasoning import split_thoughts
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Generation
from tests.reference.app.gateway_doubles import Told, gateway

KEEPING = TemplateCodec(qwen3(), tool_parser="hermes", reasoning_parser="think")
END = KEEPING.vocabulary.token_id("<|im_end|>")
TOOLS = [{"type": "function", "function": {"name": "boil", "parameters": {"type": "object", "properties": {}}}}]
CALL = '<tool_call>{"name": "boil", "arguments": {}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello", ("", "Hello")),
        ("<think>\nHm.\n</think>\n\nHello", ("Hm.", "Hello")),
        ("\n<think>Hm.</think> Hello", ("Hm.", " Hello")),
        ("<think>\n\n</think>\n\nHello", ("", "Hello")),
        ("Hm.</think>Hello", ("Hm.", "Hello")),
        ("<think>Hm.", ("Hm.", "")),
        ("<think></think>", ("", "")),
        ("<think>a</think>b</think>c", ("a", "b</think>c")),
        ("Write <think>so</think>.", ("", "Write <think>so</think>.")),
        ("", ("", "")),
    ],
)
def test_thoughts_are_what_stands_in_front(text, expected):
    assert split_thoughts(text, opened=False, ended=True) == expected


@pytest.mark.parametrize(
    ("text", "ended", "expected"),
    [
        ("Hm.</think>\n\nHello", True, ("Hm.", "Hello")),
        ("Hm. And so", False, ("Hm. And so", "")),
        ("Hello", True, ("", "Hello")),
    ],
)
def test_a_text_that_begins_inside_its_thoughts(text, ended, expected):
    assert split_thoughts(text, opened=True, ended=ended) == expected


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["<think>", "</think>", "\n", " ", "a"])).map("".join), st.booleans(), st.booleans())
def test_any_text_is_split_and_nothing_is_made_up(text, opened, ended):
    reasoning, content = split_thoughts(text, opened=opened, ended=ended)
    assert reasoning in text
    assert content in text


def test_a_call_inside_thoughts_is_no_call():
    ids = [*KEEPING.vocabulary.encode(f"<think>Perhaps {CALL}?</think>\n\n{CALL}"), END]
    message = KEEPING.decode(ids, TOOLS)
    assert (message["content"], message["reasoning_content"]) == ("", f"Perhaps {CALL}?")
    assert len(message["tool_calls"]) == 1


def test_without_a_reasoning_parser_thoughts_are_text():
    text = "<think>Hm.</think>Hello"
    codec = TemplateCodec(qwen3())
    assert codec.decode([*codec.vocabulary.encode(text), END], None) == {"role": "assistant", "content": text}


def test_tags_that_are_control_tokens_are_found():
    codec = TemplateCodec(
        byte_files(qwen3().templates["default"], (*CONTROL, "<think>", "</think>")), reasoning_parser="think"
    )
    message = codec.decode([*codec.vocabulary.encode("<think>Hm.</think><|im_start|>Hello"), END], None)
    assert message == {"role": "assistant", "content": "Hello", "reasoning_content": "Hm."}


def test_a_prompt_that_opens_the_thoughts_is_noticed():
    codec = TemplateCodec(deepseek(), reasoning_parser="think", template_kwargs={"thinking": True})
    assert codec.seams.generation_prompt.endswith("<think>\n")
    assert codec.decode(codec.vocabulary.encode("Still thinking"), None)["reasoning_content"] == "Still thinking"


@pytest.mark.parametrize("streamed", [False, True])
def test_thoughts_reach_the_client_and_stay_in_the_tokens(streamed):
    told = Told("<think>\nTwo cups.\n</think>\n\nTea.", "Milk.", codec=KEEPING)
    with gateway(told) as client:
        session = client.open()
        first = client.chat(session, "Hi", stream=streamed)
        if streamed:
            chunks = [json.loads(line[6:]) for line in first.text.split("\n\n") if line.startswith("data: {")]
            deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
            shown = [delta for delta in deltas if "content" in delta or "reasoning_content" in delta]
            assert shown == [{"reasoning_content": "Two cups."}, {"content": "Tea."}]
        else:
            message = first.json()["choices"][0]["message"]
            assert (message["reasoning_content"], message["content"]) == ("Two cups.", "Tea.")
        client.chat(session, "Hi", "Tea.", "And?")
        (trajectory,) = client.http.get(f"{session}/trajectories").json()["trajectories"]
    text = KEEPING.vocabulary.decode(trajectory["prompt_ids"] + trajectory["response_ids"], keep_control=True)
    assert "assistant\n<think>\nTwo cups.\n</think>\n\nTea.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>" in text
    last = [*KEEPING.vocabulary.encode("Milk."), END]
    assert told.calls[1][0] == trajectory["prompt_ids"] + trajectory["response_ids"][: -len(last)]


@pytest.mark.parametrize("identity", ["ignored", "compared"])
@pytest.mark.parametrize("echoed", [True, False], ids=["with thoughts", "without"])
def test_an_echo_continues_with_and_without_its_thoughts(identity, echoed):
    with gateway(Told("<think>Hm.</think>Tea.", "Milk.", codec=KEEPING)) as client:
        session = client.open(options={"reasoning_identity": identity, "last_rewrite": "split"})
        client.chat(session, "Hi")
        echo = {"role": "assistant", "content": "Tea.", **({"reasoning_content": "Hm."} if echoed else {})}
        messages = [{"role": "user", "content": "Hi"}, echo, {"role": "user", "content": "And?"}]
        answer = client.http.post(f"{session}/v1/chat/completions", json={"model": "m", "messages": messages})
        assert answer.status_code == 200
        trajectories = client.http.get(f"{session}/trajectories").json()["trajectories"]
    assert len(trajectories) == (1 if echoed or identity == "ignored" else 2)


def test_a_session_branches_where_the_template_rewrites_and_the_gateway_says_so():
    rewriting = TemplateCodec(qwen3())
    thought = "<think>Hm.</think>Tea."
    with gateway(Told(thought, "Milk.", codec=rewriting)) as client:
        session = client.open()
        client.chat(session, "Hi")
        client.chat(session, "Hi", thought, "And?")
        trajectories = client.http.get(f"{session}/trajectories").json()["trajectories"]
        said = client.http.get(f"{client.url}/readiness").json()["codec"]
    sampled = [len(rewriting.vocabulary.encode(text)) + 1 for text in (thought, "Milk.")]
    assert [sum(each["response_mask"]) for each in trajectories] == sampled
    second = rewriting.vocabulary.decode(trajectories[1]["prompt_ids"], keep_control=True)
    assert second.endswith("assistant\nTea.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n")
    assert said["mode"] == "full"
    assert "rewrites its history" in said["reason"]


def test_a_rewritten_history_is_still_continued_where_nothing_was_thought():
    with gateway(Told("Tea.", "Milk.", codec=TemplateCodec(qwen3()))) as client:
        session = client.open()
        client.chat(session, "Hi")
        client.chat(session, "Hi", "Tea.", "And?")
        assert len(client.http.get(f"{session}/trajectories").json()["trajectories"]) == 1


def test_mistral_s_tools_move_and_the_session_follows():
    codec = TemplateCodec(mistral(), tool_parser="mistral")
    end = codec.vocabulary.token_id("</s>")
    called = '[TOOL_CALLS][{"name": "boil", "arguments": {}, "id": "abcdefgh1"}]'
    steps = [
        Generation([*codec.vocabulary.encode(text), end], stop_reason="stop") for text in (called, "Tea.", "Milk.")
    ]
    with gateway(Told(*steps, codec=codec)) as client:
        session = client.open()

        def ask(messages):
            body = {"model": "m", "messages": messages, "tools": TOOLS}
            answer = client.http.post(f"{session}/v1/chat/completions", json=body).json()["choices"][0]["message"]
            return [*messages, {name: value for name, value in answer.items() if value is not None}]

        messages = ask([{"role": "user", "content": "Hi"}])
        assert messages[-1]["tool_calls"][0]["id"] == "abcdefgh1"
        messages = ask([*messages, {"role": "tool", "tool_call_id": "abcdefgh1", "content": "hot"}])
        ask([*messages, {"role": "user", "content": "And?"}])
        trajectories = client.http.get(f"{session}/trajectories").json()["trajectories"]
    assert [sum(each["response_mask"]) for each in trajectories] == [
        len(steps[0].ids + steps[1].ids),
        len(steps[2].ids),
    ]
