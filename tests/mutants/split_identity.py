"""Gateways that take one history for another, or one for two."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from reference_gateway.session import identity
from reference_gateway.session import session as turns
from reference_gateway.session.identity import IdentityRules
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.wire import openai_messages
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.token_export import exporting


def ruled(sabotage: Sabotage, **rules: bool) -> None:
    """What is compared is this, whatever the session's options say."""

    @sabotage.wrap(turns, "identity_rules")
    def fixed(original: Any, options: Any) -> IdentityRules:
        return replace(original(options), **rules)


@mutant("SPLIT-034", bugs=(10,))
def result_ids_are_compared(sabotage: Sabotage) -> None:
    """Ids are left out for the assistant's calls, not for the messages that answer them."""

    @sabotage.wrap(identity, "_canonical")
    def compared(original: Any, message: Any, rules: IdentityRules, calls: list[Any]) -> list[Any]:
        return [*original(message, rules, calls), message.get("tool_call_id")]


@mutant("SPLIT-035")
def ids_are_never_compared(sabotage: Sabotage) -> None:
    """`tool_id_identity = compared` is accepted and has no effect."""
    ruled(sabotage, tool_ids=False)


@mutant("SPLIT-036")
def recorded_id_is_not_the_one_given(sabotage: Sabotage) -> None:
    """What is recorded of a tool's result is not the id that it came with."""

    @sabotage.wrap(Session, "_plan")
    def plan(original: Any, session: Session, turn: Any, match: Any, keys: Any, identities: list[bytes]) -> Any:
        if session.options["tool_id_identity"] == "compared":
            pairs = zip(turn.messages, identities, strict=True)
            identities = [each[::-1] if message["role"] == "tool" else each for message, each in pairs]
        return original(session, turn, match, keys, identities)


@mutant("SPLIT-037")
def reasoning_is_always_compared(sabotage: Sabotage) -> None:
    """Reasoning is a part of the message, whatever the option says."""
    ruled(sabotage, reasoning=True)


@mutant("SPLIT-038")
def reasoning_is_never_compared(sabotage: Sabotage) -> None:
    """`reasoning_identity = compared` is accepted and has no effect."""
    ruled(sabotage, reasoning=False)


@mutant("SPLIT-039")
def empty_reasoning_fails(sabotage: Sabotage) -> None:
    """Reasoning that is there and empty trips over an assertion."""

    @sabotage.wrap(openai_messages, "_message")
    def message(original: Any, entry: Any, *rest: Any) -> Any:
        if isinstance(entry, dict) and entry.get("reasoning_content") == "":
            raise RuntimeError("reasoning must not be empty")
        return original(entry, *rest)


@mutant("SPLIT-040", bugs=(54,))
def white_space_is_always_compared(sabotage: Sabotage) -> None:
    """The text of an answer is compared as it is, whatever the option says."""

    @sabotage.wrap(identity, "_canonical")
    def exact(original: Any, message: Any, rules: IdentityRules, calls: list[Any]) -> list[Any]:
        found: list[Any] = original(message, rules, calls)
        text = message.get("content")
        return [found[0], text, *found[2:]] if isinstance(text, str) and not calls else found


@mutant("SPLIT-041")
def white_space_is_never_compared(sabotage: Sabotage) -> None:
    """`whitespace_identity = compared` is accepted and has no effect."""
    ruled(sabotage, whitespace=False)


@mutant("SPLIT-042", bugs=(54,))
def answer_of_another_spelling_is_masked(sabotage: Sabotage) -> None:
    """An answer that comes back with other white space is no longer taken for the model's own."""

    @sabotage.wrap(Session, "_run")
    async def run(original: Any, session: Session, turn: Any) -> Any:
        answer = await original(session, turn)
        if len(turn.messages) == 1:
            vars(session)["first"] = answer.message["content"]
        elif len(turn.messages) == 3 and turn.messages[1]["role"] == "assistant":
            echo, first = turn.messages[1]["content"], vars(session).get("first")
            vars(session)["respelled"] = echo != first and str(echo).strip() == str(first).strip()
        return answer

    @exporting(sabotage)
    def mask(session: Session, exported: list[Trajectory]) -> None:
        if vars(session).get("respelled"):
            exported[0].response_mask[0] = 0


@mutant("SPLIT-043", bugs=(27,))
def tool_calls_are_counted(sabotage: Sabotage) -> None:
    """Of the tool calls of two histories only their number is compared."""

    @sabotage.wrap(identity, "_calls")
    def counted(original: Any, *message: Any, **rules: Any) -> list[Any]:
        return [call[:1] for call in original(*message, **rules)]


@mutant("SPLIT-043")
def tool_results_are_not_compared(sabotage: Sabotage) -> None:
    """A tool result is the same if it has the place of the other."""

    @sabotage.wrap(identity, "_canonical")
    def without(original: Any, message: Any, rules: IdentityRules, calls: list[Any]) -> list[Any]:
        found: list[Any] = original(message, rules, calls)
        return [found[0], "", *found[2:]] if message["role"] == "tool" else found


@mutant("SPLIT-044", bugs=(39,))
def unparsable_arguments_are_never_equal(sabotage: Sabotage) -> None:
    """Arguments that cannot be parsed are compared as not a number is."""
    numbers = itertools.count()

    @sabotage.wrap(identity, "_arguments")
    def arguments(original: Any, given: Any) -> tuple[str, Any]:
        spelling, value = original(given)
        return (spelling, [value, next(numbers)]) if spelling == "text" else (spelling, value)
