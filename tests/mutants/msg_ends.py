"""Mutants of area MSG: how a message ended."""

from __future__ import annotations

from typing import Any

from reference_gateway.wire import anthropic_messages
from tests.mutants.ends import answer_what_was_aborted, fail_with_500, identify_by_all_ids, show_stop_strings
from tests.mutants.msg_wire import on_errors, over_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


@mutant("MSG-092")
def stop_sequence_is_shown(gateway: Sabotage) -> None:
    """The text is that of all sampled ids."""
    show_stop_strings(gateway, over_messages(gateway).get)


def _ends(gateway: Sabotage, change: Any) -> None:
    @gateway.wrap(anthropic_messages, "_end")
    def end(original: Any, answer: Any) -> Any:
        return change(answer, original(answer))


@mutant("MSG-093")
def stop_sequence_is_told_as_end_turn(gateway: Sabotage) -> None:
    """What the engine matched does not reach the wire."""
    nothing = {"stop_reason": "end_turn", "stop_sequence": None}
    _ends(gateway, lambda answer, end: nothing if end["stop_sequence"] is not None else end)


@mutant("MSG-093")
def stop_sequence_is_not_named(gateway: Sabotage) -> None:
    """The reason is told, and the sequence is the first of the request's."""
    _ends(gateway, lambda answer, end: {**end, "stop_sequence": end["stop_sequence"] and "END"})


@mutant("MSG-094")
def cut_behind_a_call_is_tool_use(gateway: Sabotage) -> None:
    """Calls decide the reason, whatever the engine says."""
    _ends(gateway, lambda answer, end: {**end, "stop_reason": "tool_use"} if "tool_calls" in answer.message else end)


@mutant("MSG-095")
def aborted_message_is_half_an_answer(gateway: Sabotage) -> None:
    """An abort is an end like any other."""
    speaking = over_messages(gateway)
    answer_what_was_aborted(gateway, lambda generation: speaking.get())


@mutant("MSG-096")
def too_many_messages_are_an_api_error(gateway: Sabotage) -> None:
    """All that comes from the engine has one type."""
    on_errors(
        gateway,
        lambda status, body: {**body, "error": {**body["error"], "type": "api_error"}} if status == 429 else body,
    )


@mutant("MSG-097")
def overload_is_a_failure(gateway: Sabotage) -> None:
    """The engine's 503 and 529 become a 500."""

    def overloaded(answer: Answer) -> bool:
        return answer.path.endswith("/v1/messages") and answer.status in (503, 529)

    fail_with_500(gateway, overloaded)


@mutant("MSG-098")
def stopped_message_is_known_by_all_its_ids(gateway: Sabotage) -> None:
    """The answer is identified before the stop sequence is cut off."""
    identify_by_all_ids(gateway, over_messages(gateway).get)
