"""What every exchange is judged by: gateways whose fault shows only where no check of the broken rule looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conformance import ambient
from conformance.ambient import REQUIREMENTS
from conformance.client.transcript import Exchange
from conformance.gateway import Trajectory as Exported
from conformance.requirements import Catalogue
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import ANSWERED, Call
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.types import Answer, Turn
from tests.mutants import chat_wire
from tests.mutants.harness import Verdicts, run_suite, serving
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import exporting

Fault = Callable[[Sabotage], None]


def usage_of_calls_is_short(gateway: Sabotage) -> None:
    """`completion_tokens` of an answer with calls lacks one."""
    chat_wire.on_answer(
        gateway,
        lambda answer: replace(
            answer, completion_tokens=answer.completion_tokens - bool(answer.message.get("tool_calls"))
        ),
    )


def two_calls_are_a_stop(gateway: Sabotage) -> None:
    """`finish_reason` of an answer with two calls is `stop`."""

    def change(answer: Answer) -> Answer:
        return replace(answer, finish_reason="stop") if len(answer.message.get("tool_calls") or []) > 1 else answer

    chat_wire.on_answer(gateway, change)


def last_letter_of_later_answers_is_lost(gateway: Sabotage) -> None:
    """From the second answer on, the text lacks its last letter."""
    behind: list[bool] = [False]

    def seen(body: dict[str, Any], turn: Turn) -> Turn:
        behind[0] = not chat_wire.is_first(body)
        return turn

    chat_wire.on_turn(gateway, seen)

    def shorten(answer: Answer) -> Answer:
        text = answer.message["content"]
        return replace(answer, message={**answer.message, "content": text[:-1]}) if behind[0] and text else answer

    chat_wire.on_answer(gateway, shorten)


def temperature_sticks(gateway: Sabotage) -> None:
    """A later turn without a temperature has that of an earlier one."""
    last: dict[str, Any] = {}

    def keep(body: dict[str, Any], turn: Turn) -> Turn:
        if "temperature" in body:
            last["temperature"] = body["temperature"]
        elif last:
            return replace(turn, sampling={**turn.sampling, **last})
        return turn

    chat_wire.on_turn(gateway, keep)


def mask_of_long_trajectories_is_short(gateway: Sabotage) -> None:
    """The last id of a trajectory of three answers has mask 0."""

    @exporting(gateway)
    def cut(session: Session, exported: list[Trajectory]) -> None:
        for trajectory in exported:
            runs = sum(
                here > before
                for before, here in zip([0, *trajectory.response_mask], trajectory.response_mask, strict=False)
            )
            if runs >= 3:
                trajectory.response_mask[-1] = 0


FAULTS: dict[Fault, tuple[str, str]] = {
    usage_of_calls_is_short: ("CHAT-015", "CHAT-048"),
    two_calls_are_a_stop: ("CHAT-051", "CHAT-053"),
    last_letter_of_later_answers_is_lost: ("CHAT-007", "TOKEN-012"),
    temperature_sticks: ("CHAT-035", "TOKEN-023"),
    mask_of_long_trajectories_is_short: ("TOKEN-005", "SPLIT-0*"),
}
"""Fault -> the requirement that it breaks, and one whose check shows it."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault_is_seen_while_something_else_is_checked(
    fault: Fault, shared_upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, shown_by = FAULTS[fault]
    gateway = Sabotage(monkeypatch)
    fault(gateway)

    with serving(shared_upstream, gateway) as url:
        verdicts = judged(url, shared_upstream, tmp_path, f"{broken},{shown_by}")

    assert broken in verdicts.seen, verdicts.texts
    assert verdicts.seen[broken][0].startswith("seen while ")
    assert verdicts.exit_code == pytest.ExitCode.TESTS_FAILED


def test_nothing_is_seen_of_the_reference(shared_upstream: Upstream, tmp_path: Path) -> None:
    with serving(shared_upstream) as url:
        verdicts = judged(url, shared_upstream, tmp_path, "CHAT-01*,MSG-01*,RESP-00*,INV-00*,TOKEN-01*,SPLIT-00*")

    assert not verdicts.seen, verdicts.seen
    assert verdicts.exit_code == pytest.ExitCode.OK


def test_a_finding_outside_of_the_selection_is_told_and_not_judged(
    shared_upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Sabotage(monkeypatch)
    usage_of_calls_is_short(gateway)

    with serving(shared_upstream, gateway) as url:
        verdicts = judged(url, shared_upstream, tmp_path, "CHAT-048")

    assert verdicts.exit_code == pytest.ExitCode.OK
    assert "seen, and not judged in this run: CHAT-015" in capsys.readouterr().out


def test_report_says_on_how_many_exchanges_and_what_was_seen(
    shared_upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Sabotage(monkeypatch)
    usage_of_calls_is_short(gateway)
    report = tmp_path / "report.json"

    with serving(shared_upstream, gateway) as url:
        judged(url, shared_upstream, tmp_path, "CHAT-015,CHAT-048", "--gateway-report", str(report))

    entries = {entry["id"]: entry for entry in json.loads(report.read_text())["requirements"]}
    assert entries["CHAT-015"]["outcome"] == "failed"
    assert entries["CHAT-015"]["exchanges"] >= 2
    assert "CHAT-048" in {check.get("seen_while") for check in entries["CHAT-015"]["checks"]}
    assert entries["CHAT-048"]["outcome"] == "passed"


def judged(url: str, upstream: Upstream, folder: Path, only: str, *arguments: str) -> Verdicts:
    return run_suite(url, upstream, folder, "--gateway-only", only, *arguments, ambient=True)


# The rules by themselves ----------------------------------------------------------------------------------------------


def test_each_rule_stands_for_a_requirement_of_the_catalogue() -> None:
    known = Catalogue.load().requirements

    assert set(REQUIREMENTS.values()) <= set(known)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    from conformance.fixtures import fixture_path

    return Tokenizer.load(fixture_path("chatml"))


ASKED = {"model": "kit", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5, "max_tokens": 32}


def exchange(request: dict[str, Any], answer: Any, status: int = 200) -> Exchange:
    made = Exchange("POST", "http://g/s/1/v1/chat/completions", {}, json.dumps(request).encode(), 1.0)
    made.status, made.headers = status, {"content-type": "application/json"}
    made.chunks, made.finished = [(2.0, json.dumps(answer).encode())], 2.0
    return made


def sampled(tokenizer: Tokenizer, text: str = "Hi there", **fields: Any) -> Call:
    context = tokenizer.encode(tokenizer.render(fields.pop("messages", ASKED["messages"])))
    return Call(
        index=0,
        nonce="n",
        dialect="completions",
        arrived=1.5,
        answered=1.8,
        context=context,
        body=fields.pop("body", {"temperature": 0.5, "max_tokens": 32}),
        headers={},
        text=tokenizer.decode(context),
        generations=[[*tokenizer.encode(text), tokenizer.end_of_turn]],
        finish_reason=fields.pop("finish_reason", "stop"),
        status=200,
        outcome=ANSWERED,
        said={"text": text, "tool_calls": []},
        **fields,
    )


def completion(call: Call, content: str = "Hi there", **fields: Any) -> dict[str, Any]:
    prompt, sampled = len(call.context), len(call.generation)
    return {
        "id": "one",
        "object": "chat.completion",
        "created": 1,
        "model": "kit",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled},
        **fields,
    }


def broken(tokenizer: Tokenizer, calls: list[Call], *exchanges: Exchange) -> set[str]:
    """The rules that are broken."""
    return {judged.rule for judged in ambient.judge(exchanges, calls, [], None, tokenizer) if judged.violations}


def test_right_turn_breaks_no_rule(tokenizer: Tokenizer) -> None:
    call = sampled(tokenizer)
    rules = {judged.rule for judged in ambient.judge([exchange(ASKED, completion(call))], [call], [], None, tokenizer)}

    assert broken(tokenizer, [call], exchange(ASKED, completion(call))) == set()
    assert {"body", "label", "id", "text", "finish", "usage.prompt", "usage.completion", "single"} <= rules
    assert {"context", "sampling", "sampling.limit", "sampling.unasked"} <= rules


@pytest.mark.parametrize(
    ("rule", "answer"),
    [
        ("text", {"content": "Hi"}),
        ("body", {"object": "completion"}),
        ("usage.prompt", {"usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}}),
        ("usage.prompt", {"usage": None}),
    ],
)
def test_wrong_answer(tokenizer: Tokenizer, rule: str, answer: dict[str, Any]) -> None:
    call = sampled(tokenizer)

    assert rule in broken(tokenizer, [call], exchange(ASKED, completion(call, **answer)))


@pytest.mark.parametrize(
    ("rule", "call"),
    [
        ("context", {"messages": [{"role": "user", "content": "Hello!"}]}),
        ("sampling", {"body": {"temperature": 1.0, "max_tokens": 32}}),
        ("sampling", {"body": {"max_tokens": 32}}),
        ("sampling.limit", {"body": {"temperature": 0.5, "max_tokens": 31}}),
        ("sampling.unasked", {"body": {"temperature": 0.5, "max_tokens": 32, "top_p": 0.9}}),
        ("finish.length", {"finish_reason": "length"}),
    ],
)
def test_wrong_call(tokenizer: Tokenizer, rule: str, call: dict[str, Any]) -> None:
    made = sampled(tokenizer, **call)

    assert broken(tokenizer, [made], exchange(ASKED, completion(made))) == {rule}


def test_second_call_for_one_turn(tokenizer: Tokenizer) -> None:
    calls = [sampled(tokenizer), sampled(tokenizer)]

    assert broken(tokenizer, calls, exchange(ASKED, completion(calls[0]))) == {"single"}


def test_later_turn_is_held_to_what_the_template_writes_behind_the_answer(tokenizer: Tokenizer) -> None:
    first = sampled(tokenizer)
    messages = [*ASKED["messages"], {"role": "assistant", "content": "Hi there"}, {"role": "user", "content": "More"}]
    begun = exchange(ASKED, completion(first))
    later = exchange({**ASKED, "messages": messages}, completion(first))
    later.started, later.finished = 3.0, 4.0
    whole = tokenizer.encode(tokenizer.render(messages))
    right = replace(sampled(tokenizer), context=whole, arrived=3.5)
    lost = replace(right, context=[*first.context, *first.generation, *tokenizer.encode("<|im_start|>assistant\n")])
    answered = exchange({**ASKED, "messages": messages}, completion(right, id="two"))
    answered.started, answered.finished = 3.0, 4.0
    wrong = exchange({**ASKED, "messages": messages}, completion(lost, id="two"))
    wrong.started, wrong.finished = 3.0, 4.0

    assert broken(tokenizer, [first, right], begun, answered) == set()
    assert broken(tokenizer, [first, lost], begun, wrong) == {"context.later"}


def test_error_without_an_envelope_and_with_a_path(tokenizer: Tokenizer) -> None:
    leaking = {"error": {"message": "bad", "type": "server_error", "trace": "/srv/app/gateway.py"}}

    assert broken(tokenizer, [], exchange(ASKED, {"detail": "no"}, 400)) == {"error"}
    assert broken(tokenizer, [], exchange(ASKED, {"detail": "no"}, 500)) == {"error.failure"}
    assert broken(tokenizer, [], exchange(ASKED, leaking, 500)) == {"error.leak"}


def test_logprobs_that_were_asked_for_are_told(tokenizer: Tokenizer) -> None:
    call = sampled(tokenizer, logprobs=[-0.5, -0.25, -0.125])
    content = [{"logprob": value} for value in call.logprobs or []]
    answer = completion(call)
    told = completion(call)
    told["choices"] = [{**told["choices"][0], "logprobs": {"content": content}}]

    assert "logprobs told" in broken(tokenizer, [call], exchange({**ASKED, "logprobs": True}, answer))
    assert "logprobs told" not in broken(tokenizer, [call], exchange({**ASKED, "logprobs": True}, told))


def test_value_of_the_request_comes_before_that_of_its_session(tokenizer: Tokenizer) -> None:
    call = sampled(tokenizer, body={"temperature": 0.75, "max_tokens": 32})
    session = SimpleNamespace(urls=["http://g/s/1/v1"], key="k", settings={"sampling_params": {"temperature": 0.75}})
    made = exchange(ASKED, completion(call))

    found = {judged.rule for judged in ambient.judge([made], [call], [session], None, tokenizer) if judged.violations}

    assert found == {"sampling.precedence"}


def test_conversation_that_is_exported_in_pieces(tokenizer: Tokenizer) -> None:
    first = sampled(tokenizer)
    messages = [*ASKED["messages"], {"role": "assistant", "content": "Hi there"}, {"role": "user", "content": "More"}]
    later = replace(sampled(tokenizer, messages=messages), arrived=3.5)
    turns = [exchange(ASKED, completion(first)), exchange({**ASKED, "messages": messages}, completion(later, id="two"))]
    turns[1].started, turns[1].finished = 3.0, 4.0
    middle = later.context[len(first.context) :]
    whole = Exported(
        first.context,
        [*middle, *later.generation],
        [1] * len(first.generation) + [0] * (len(middle) - len(first.generation)) + [1] * len(later.generation),
    )
    pieces = [Exported(call.context, list(call.generation), [1] * len(call.generation)) for call in (first, later)]

    def wrong(trajectories: list[Exported]) -> set[str]:
        left = [ambient.Left(trajectories, 0)]
        found = ambient.judge(turns, [first, later], [], left, tokenizer)
        return {judged.rule for judged in found if judged.violations}

    assert wrong([whole]) == set()
    assert wrong(pieces) == {"one trajectory"}
    assert wrong([replace(whole, response_mask=[*whole.response_mask[:-1], 0])]) >= {"verbatim", "conservation"}
    assert wrong([pieces[0]]) == {"conservation"}


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": []},
        {"choices": 7},
        {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": 7}, "finish_reason": "tool_calls"}]},
        {"choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": ["x"]}, "finish_reason": "stop"}]},
        {"usage": []},
    ],
    ids=str,
)
def test_what_is_no_answer_is_a_finding_and_breaks_nothing(tokenizer: Tokenizer, odd: dict[str, Any]) -> None:
    call = sampled(tokenizer, logprobs=[-0.5, -0.25, -0.125])
    answer = {**completion(call), **odd}
    made = exchange({**ASKED, "logprobs": True, "tools": "odd"}, answer)
    left = [ambient.Left([], 1)]

    found = [judged for judged in ambient.judge([made], [call], [], left, tokenizer) if judged.violations]

    assert any(judged.rule.startswith("body") for judged in found)


def test_turns_that_overlap_are_not_held_to_calls(tokenizer: Tokenizer) -> None:
    calls = [sampled(tokenizer), sampled(tokenizer)]
    both = [exchange(ASKED, completion(calls[0], "Hi", id=one)) for one in ("one", "two")]

    assert broken(tokenizer, calls, *both) == set()
