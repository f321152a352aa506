"""A step survives the wire, and a step that cannot be played is refused by the name of its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.upstream.script import ScriptError, Step

STEPS = [
    Step("Hello"),
    Step(ids=(1, 2, 3), finish="length", logprobs=(-0.5, -1.0, -2.0)),
    Step("a", tool_calls=({"name": "f", "arguments": {"x": [1, None, "é"]}},), weight_version=(3, 4)),
    Step("x", weight_version="v7", when="second", obeys_limits=True, barrier=2),
    Step("a", rather=({"text": "b"}, {"tool_calls": [{"name": "f", "arguments": {}}]})),
    Step(hold=True, text="", token_ids="missing", prompt_ids=(5,)),
    Step(status=503, message="busy", headers={"retry-after": "7"}),
    Step("x", odd_id=True),
    Step("x", odd_id=-1),
    Step("Hello", ids_per_event=4, prompt_ids="missing"),
    Step(body=b"\xff\x00<html>", content_type="text/html", truncated=True),
    Step(reset=True),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: "-".join(step.to_json()) or "empty")
def test_a_step_survives_the_wire(step: Step) -> None:
    assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step


def test_only_what_was_said_goes_over_the_wire() -> None:
    assert Step("Hello").to_json() == {"text": "Hello"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"text": 1}, "step.text must be a string or null, not 1"),
        ({"ids": [1, "2"]}, "step.ids must be a list of token ids"),
        ({"ids": [True]}, "step.ids"),
        ({"ids": [1], "text": "a"}, "step.ids must be absent beside text or tool_calls"),
        ({"tool_calls": [{"name": "f"}]}, "step.tool_calls must be objects"),
        ({"tool_calls": 7}, "step.tool_calls must be"),
        ({"ids": [1], "rather": [{"text": "a"}]}, "step.rather must be absent beside ids"),
        ({"rather": "a"}, "step.rather must be a list of answers"),
        ({"rather": [{}]}, 'step.rather must be objects {"text", "tool_calls"}'),
        ({"rather": ["a"]}, 'step.rather must be objects {"text", "tool_calls"}'),
        ({"rather": [{"say": "a"}]}, 'step.rather must be objects {"text", "tool_calls"}'),
        ({"rather": [{"text": 7}]}, "step.rather.text must be a string"),
        ({"rather": [{"tool_calls": 7}]}, "step.rather.tool_calls must be a list"),
        ({"rather": [{"tool_calls": [{}]}]}, "step.rather.tool_calls must be objects"),
        ({"finish": ""}, "step.finish must be a non-empty string"),
        ({"logprobs": "sometimes"}, "step.logprobs must be asked, volunteer, missing, short or a list of numbers"),
        ({"logprobs": [None]}, "step.logprobs"),
        ({"token_ids": "short"}, "step.token_ids must be asked, volunteer or missing"),
        ({"prompt_ids": "1"}, "step.prompt_ids must be missing or a list of ids"),
        ({"ids_per_event": 0}, "step.ids_per_event must be a count of token ids from 1"),
        ({"headers": ["a"]}, "step.headers must be an object of header names and values"),
        ({"headers": {"a": 7}}, "step.headers"),
        ({"headers": {"a": "7\r\nb: 8"}}, "step.headers"),
        ({"headers": {"a b": "7"}}, "step.headers"),
        ({"weight_version": [1, 2, 3]}, "step.weight_version must be a number, text or a pair"),
        ({"when": 3}, "step.when"),
        ({"hold": 1}, "step.hold must be true or false, not 1"),
        ({"barrier": 0}, "step.barrier must be a count from 1 to 1000"),
        ({"status": 99}, "step.status must be 200 to 599"),
        ({"body": "not base64!"}, "step.body must be base64"),
        ({"txet": "a"}, "step has no field 'txet'"),
        ([], "step must be a JSON object"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(document: Any, message: str) -> None:
    with pytest.raises(ScriptError) as refused:
        Step.from_json(document)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("step", "fails"),
    [
        (Step("a"), False),
        (Step("a", status=201), False),
        (Step(status=429), True),
        (Step(body=b"{}"), True),
        (Step(reset=True), True),
        (Step("a", truncated=True), True),
    ],
)
def test_a_step_knows_whether_the_caller_gets_an_answer(step: Step, fails: bool) -> None:
    assert step.fails is fails
