"""The golden vectors B1 to B20 of the contract (those that need no wire), and its traps, against the session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from session_doubles import Backend, CharCodec, messages, sampled, session, shown, text, turn

from reference_gateway.session import Session
from reference_gateway.types import Answer, BackendUnavailable, Message, Turn


def talk(session: Session, *histories: str | Turn) -> list[Answer | Exception]:
    """Each history as one turn, in order; what it was answered with."""

    async def all_turns() -> list[Answer | Exception]:
        answers: list[Answer | Exception] = []
        for history in histories:
            try:
                answers.append(await session.run(turn(history) if isinstance(history, str) else history))
            except Exception as error:
                answers.append(error)
        return answers

    return asyncio.run(all_turns())


def usage(answer: Answer | Exception) -> tuple[int, int]:
    assert isinstance(answer, Answer), answer
    return answer.prompt_tokens, answer.completion_tokens


def shown_all(session: Session) -> list[tuple[str, str, str, int]]:
    return [shown(trajectory) for trajectory in session.trajectories()]


def contexts(backend: Backend) -> list[str]:
    return [text(call.context) for call in backend.calls]


HI = "user:hi\nassistant:"


def test_b1_two_turns_are_one_trajectory() -> None:
    s, _ = session("A1", "A2")
    first, second = talk(s, "U hi", "U hi, A A1, U more")
    assert (usage(first), usage(second)) == ((18, 2), (40, 2))
    assert shown_all(s) == [(HI, "A1user:more\nassistant:A2", "1x2 0x20 1x2", 5)]


def test_b2_a_repeated_prompt_is_a_sibling() -> None:
    s, _ = session("A1", "A2")
    talk(s, "U hi", "U hi")
    assert shown_all(s) == [(HI, "A1", "1x2", 3), (HI, "A2", "1x2", 3)]


def test_b3_the_whole_history_with_nothing_new_is_continued_as_it_is() -> None:
    s, backend = session("A1", "A2")
    talk(s, "U hi", "U hi, A A1")
    assert shown_all(s) == [(HI, "A1A2", "1x4", 4)]
    assert contexts(backend)[1] == HI + "A1"


def test_b4_a_rewritten_first_assistant_splits() -> None:
    s, _ = session("A1", "A2")
    talk(s, "U hi", "U hi, U err")
    assert shown_all(s) == [(HI, "A1", "1x2", 3), ("user:hi\nuser:err\nassistant:", "A2", "1x2", 4)]
    assert s.state()["rollback_count"] == 0


def test_b5_a_rewritten_last_assistant_is_rolled_back() -> None:
    s, backend = session("A1", "A2", "F")
    talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m, U err")
    assert shown_all(s) == [(HI, "A1user:m\nuser:err\nassistant:F", "1x2 0x26 1x1", 6)]
    assert contexts(backend)[2] == "user:hi\nassistant:A1user:m\nuser:err\nassistant:"
    state = s.state()
    assert (state["rollback_count"], state["rollback_dropped_trainable_tokens_total"]) == (1, 2)
    assert s.trajectories()[0].extra_fields == {"rollback_count": 1, "rollback_dropped_trainable_tokens": 2}


def test_b6_the_edited_assistant_is_context() -> None:
    s, _ = session("A1", "A2", "F")
    talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m, A EDIT, U go")
    assert shown_all(s) == [(HI, "A1user:m\nassistant:EDIT\nuser:go\nassistant:F", "1x2 0x40 1x1", 7)]
    assert s.state()["rollback_dropped_trainable_tokens_total"] == 2


def test_b7_a_failed_rollback_leaves_the_chain_as_it_was() -> None:
    s, _ = session("A1", "A2", RuntimeError("boom"), "A3")
    history = "U hi, A A1, U m"
    _, _, failed, _ = talk(s, "U hi", history, f"{history}, U err", f"{history}, A A2, U n")
    assert isinstance(failed, RuntimeError)
    response = "A1user:m\nassistant:A2user:n\nassistant:A3"
    assert shown_all(s) == [(HI, response, "1x2 0x17 1x2 0x17 1x2", 7)]
    assert s.state()["rollback_count"] == 0


def test_b8_best_of_n_continues_the_one_that_was_picked() -> None:
    s, _ = session("L", "S", "E", "W")
    talk(s, "U hi", "U hi", "U hi", "U hi, A S, U pick")
    assert [response for _, response, _, _ in shown_all(s)] == ["L", "E", "Suser:pick\nassistant:W"]


def test_b9_logprobs_are_zero_where_the_gateway_wrote() -> None:
    steps = [sampled(content, logprobs=[-0.1, -0.1]) for content in ("A1", "A2")]
    s, _ = session(*steps, sampling_params={"logprobs": True})
    talk(s, "U hi", "U hi, A A1, U more")
    assert s.trajectories()[0].response_logprobs == [-0.1] * 2 + [0.0] * 20 + [-0.1] * 2


def test_b10_an_empty_generation_is_a_turn() -> None:
    s, _ = session("", "B")
    talk(s, "U hi", "U hi, A , U x")
    assert shown_all(s) == [(HI, "user:x\nassistant:B", "0x17 1x1", 5)]


def test_b11_a_prompt_that_fills_the_capacity_is_a_length_stop_and_nothing_is_recorded() -> None:
    s, backend = session(prompt_length=17, response_length=1)
    (answer,) = talk(s, "U hi")
    assert answer == Answer({"role": "assistant", "content": ""}, "length", 18, 0)
    assert backend.calls == []
    assert s.finalize() == []


@pytest.mark.parametrize(
    ("response_length", "asked", "sent"),
    [
        pytest.param(1, None, 1, id="b12"),
        pytest.param(10, 5, 5, id="b13"),
        pytest.param(2130, 5000, 2130, id="clamped"),
    ],
)
def test_b12_b13_max_tokens_is_what_is_left(response_length: int, asked: int | None, sent: int) -> None:
    s, backend = session("X", prompt_length=18, response_length=response_length)
    talk(s, turn("U hi", max_tokens=asked))
    assert backend.calls[0].sampling == {"max_tokens": sent}


def test_b14_another_system_prompt_is_another_trajectory() -> None:
    s, _ = session("A1", "A2")
    talk(s, "S s1, U hi", "S s2, U hi, A A1, U x")
    assert [prompt for prompt, _, _, _ in shown_all(s)] == [
        "system:s1\nuser:hi\nassistant:",
        "system:s2\nuser:hi\nassistant:A1\nuser:x\nassistant:",
    ]


def test_b15_a_tool_result_continues() -> None:
    s, _ = session("A1", "A2")
    talk(s, "S s, U hi", "S s, U hi, A A1, T obs")
    assert shown_all(s) == [("system:s\nuser:hi\nassistant:", "A1tool:obs\nassistant:A2", "1x2 0x19 1x2", 4)]


def test_b16_versions_span_the_generations() -> None:
    s, _ = session(sampled("A", versions=(3, 3)), sampled("B", versions=(4, 6)))
    talk(s, "U hi", "U hi, A A, U x")
    assert s.trajectories()[0].extra_fields == {"min_global_steps": 3, "max_global_steps": 6}


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        *((reason, "stop") for reason in ("eos", "matched_stop", "stop", "completed", "weird", "repetition", None)),
    ],
)
def test_b17_stop_reasons(stop_reason: str | None, finish_reason: str) -> None:
    s, _ = session(sampled("A", stop_reason=stop_reason))
    (answer,) = talk(s, "U hi")
    assert isinstance(answer, Answer)
    assert answer.finish_reason == finish_reason


@pytest.mark.parametrize("stop_reason", ["abort", "aborted", "cancelled", "error"])
def test_b17_a_generation_that_was_broken_off_is_no_answer(stop_reason: str) -> None:
    s, _ = session("A1", sampled("A", stop_reason=stop_reason), "A2")
    first, broken, again = talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m")
    assert isinstance(broken, BackendUnavailable)
    assert (broken.status, broken.retry_after) == (503, "1")
    twin, _ = session("A1", "A2")
    assert [first, again] == talk(twin, "U hi", "U hi, A A1, U m")
    assert s.trajectories() == twin.trajectories()


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param({"content": [{"type": "text", "text": "A1", "cache_control": {"type": "ephemeral"}}]}, id="part"),
        pytest.param({"content": "A1", "tool_calls": []}, id="no-calls"),
        pytest.param({"content": "A1", "reasoning_content": "hm"}, id="reasoning"),
        pytest.param({"content": " A1\n"}, id="white-space"),
        pytest.param({"content": "A1", "refusal": None, "annotations": [], "audio": None}, id="unknown-fields"),
        pytest.param({"content": "A1", "name": None}, id="null-name"),
    ],
)
def test_b18_b19_trap_3_a_respelled_echo_continues(echo: dict[str, Any]) -> None:
    s, backend = session("A1", "A2")
    history: list[Message] = [*messages("U u"), {"role": "assistant", **echo}, *messages("U v")]
    talk(s, "U u", Turn(history, tools=[]))
    assert shown_all(s) == [("user:u\nassistant:", "A1user:v\nassistant:A2", "1x2 0x17 1x2", 5)]
    assert contexts(backend)[1] == "user:u\nassistant:A1user:v\nassistant:"


def test_b20_trap_1_an_assistant_in_the_suffix_is_context() -> None:
    s, backend = session("A1", "A2")
    talk(s, "U hi", "U hi, A A1, U b, A x, U c")
    assert contexts(backend)[1] == HI + "A1user:b\nassistant:x\nuser:c\nassistant:"
    assert len(s.trajectories()) == 1


def test_trap_2_a_prefill_that_is_rewritten_branches() -> None:
    s, backend = session("A1", "A2", "F")
    talk(s, "U hi", "U hi, A A1", "U hi, A A1, U x")
    assert contexts(backend)[2] == HI + "A1user:x\nassistant:"
    assert shown_all(s) == [(HI, "A1A2", "1x4", 4), (HI + "A1user:x\nassistant:", "F", "1x1", 5)]


def test_trap_6_arguments_that_a_wire_shows_as_an_empty_object_continue_in_either_form() -> None:
    class Broken(CharCodec):
        def decode(self, tokens: Any, tools: Any) -> Message:
            return _call("{broken") if text(tokens) == "C" else super().decode(tokens, tools)

    for arguments in ("{broken", {}, "{}"):
        s, _ = session("C", "A2", "A3", codec=Broken())
        history = [*messages("U u"), _call(arguments), *messages("T obs")]
        talk(s, "U u", Turn(history), Turn([*history, *messages("A A2, U v")]))
        assert len(s.trajectories()) == 1, arguments


def _call(arguments: Any) -> Message:
    return {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}


@pytest.mark.parametrize("recorded_first", [True, False])
def test_trap_7_toggling_logprobs_starts_a_chain(recorded_first: bool) -> None:
    s, _ = session(*(sampled(content, logprobs=[-0.5, -0.5]) for content in ("A1", "A2", "A3")))
    recording = {"logprobs": True}
    history = "U hi, A A1, U m"
    talk(
        s,
        turn("U hi", sampling=recording if recorded_first else {}),
        turn(history, sampling={} if recorded_first else recording),
        turn(history, sampling=recording if recorded_first else {}),
    )
    branch, main = s.trajectories()
    assert (branch.response_logprobs is None, main.response_logprobs is None) == (recorded_first, not recorded_first)
    assert shown(branch) == (HI + "A1user:m\nassistant:", "A2", "1x2", 5)
    assert shown(main) == (HI, "A1user:m\nassistant:A3", "1x2 0x17 1x2", 5)
