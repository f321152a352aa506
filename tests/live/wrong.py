"""Gateways that are wrong in one way each, and that a real engine shows: for each requirement of area LIVE one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from reference_gateway.backends.base import Checked
from reference_gateway.channel import target
from reference_gateway.serving import data_plane
from reference_gateway.session.budget import Budget
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import Trajectory
from reference_gateway.types import Generation, Turn
from tests.mutants import chat_wire, logp, msg_wire, resp_wire, token_context
from tests.mutants.sabotage import Answer, Sabotage
from tests.mutants.token_export import codec_of, end_of_turn, exporting


@dataclass(frozen=True, slots=True)
class Wrong:
    """`kills` must fail, and beside it only what `also` names."""

    name: str
    kills: str
    also: frozenset[str]
    story: str
    apply: Callable[[Sabotage], None]


WRONG: dict[str, Wrong] = {}

RECORD = ("LIVE-010", "LIVE-011", "LIVE-013", "LIVE-014", "LIVE-015")
"""What is exported of a conversation as a whole."""
SINGLE = ("LIVE-031", "LIVE-033", "LIVE-040", "LIVE-051", "LIVE-061")
"""What is about something else, and holds what is exported, mostly of several turns, against the ledger at its end."""


def wrong(kills: str, *also: str) -> Callable[[Callable[[Sabotage], None]], Callable[[Sabotage], None]]:
    """Register a gateway; its docstring is its story."""

    def register(apply: Callable[[Sabotage], None]) -> Callable[[Sabotage], None]:
        name = apply.__name__
        assert name not in WRONG, f"two gateways are named {name}"
        assert apply.__doc__, f"the gateway {name} tells no story"
        WRONG[name] = Wrong(name, kills, frozenset(also), " ".join(apply.__doc__.split()), apply)
        return apply

    return register


# The three ways that every trainer has seen ---------------------------------------------------------------------------


@wrong("LIVE-012", *RECORD, *SINGLE, "LIVE-020", "LIVE-021")
def answers_are_tokenised_again(gateway: Sabotage) -> None:
    """The ids of each answer are made from its text when the session is exported."""

    @exporting(gateway)
    def again(session: Session, exported: list[Trajectory]) -> None:
        vocabulary = codec_of(session).vocabulary
        for each in exported:
            _rewrite(each, lambda ids: vocabulary.encode(vocabulary.decode(ids, keep_control=True)))


@wrong("LIVE-020", "LIVE-021")
def logprobs_are_shifted(gateway: Sabotage) -> None:
    """Each log-probability is that of the id before."""
    logp.logprobs_are_shifted_by_one(gateway)


@wrong("LIVE-013", *(each for each in (*RECORD, "LIVE-012", *SINGLE) if each != "LIVE-013"))
def end_token_is_dropped(gateway: Sabotage) -> None:
    """The token that ends the last answer is taken for padding."""

    @exporting(gateway)
    def strip(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            if each.response_ids[-1:] == [end_of_turn(session)]:
                del each.response_ids[-1], each.response_mask[-1]
                if each.response_logprobs:
                    del each.response_logprobs[-1]


# Wires ----------------------------------------------------------------------------------------------------------------


@wrong("LIVE-001", "LIVE-014", "LIVE-040")
def chat_beautifies_blanks(gateway: Sabotage) -> None:
    """What is shown in a chat window has no-break spaces."""
    _on_texts(gateway, "/chat/completions")


@wrong("LIVE-002")
def messages_beautify_blanks(gateway: Sabotage) -> None:
    """What is shown of a message has no-break spaces."""
    _on_texts(gateway, "/v1/messages")


@wrong("LIVE-003")
def responses_beautify_blanks(gateway: Sabotage) -> None:
    """What is shown of a response has no-break spaces."""
    _on_texts(gateway, "/responses")


@wrong("LIVE-004")
def invocations_beautify_blanks(gateway: Sabotage) -> None:
    """What is shown of an invocation has no-break spaces."""
    _on_texts(gateway, "/invocations")


@wrong("LIVE-005")
def end_of_turn_is_not_counted(gateway: Sabotage) -> None:
    """`usage` counts what the text of an answer is encoded to, and that has no end."""
    chat_wire.on_answer(gateway, lambda answer: replace(answer, completion_tokens=answer.completion_tokens - 1))


@wrong("LIVE-006")
def messages_end_with_a_line_feed(gateway: Sabotage) -> None:
    """The messages wire joins the blocks of a message with line feeds, and puts one behind the last."""

    def lengthen(body: Any, turn: Turn) -> Turn:
        *before, last = turn.messages
        content = last.get("content")
        return replace(turn, messages=[*before, {**last, "content": f"{content}\n"}])

    msg_wire.on_turn(gateway, lengthen)


@wrong("LIVE-080")
def calls_end_like_texts(gateway: Sabotage) -> None:
    """`finish_reason` is the engine's, which knows of no tools."""

    def ended(answer: Any) -> Any:
        return replace(answer, finish_reason="stop") if answer.finish_reason == "tool_calls" else answer

    chat_wire.on_answer(gateway, ended)


@wrong("LIVE-081")
def results_are_lost(gateway: Sabotage) -> None:
    """The content of a tool message is read from another field than it is sent in."""

    def forget(body: Any, turn: Turn) -> Turn:
        messages = [{**each, "content": ""} if each.get("role") == "tool" else each for each in turn.messages]
        return replace(turn, messages=messages)

    chat_wire.on_turn(gateway, forget)


@wrong("LIVE-082")
def tool_use_ends_the_turn(gateway: Sabotage) -> None:
    """`stop_reason` of a message with a tool use is `end_turn`."""

    def ended(name: str, value: Any) -> Any:
        return "end_turn" if (name, value) == ("stop_reason", "tool_use") else value

    _on_json(gateway, "/v1/messages", ended)


@wrong("LIVE-083")
def function_calls_have_no_arguments(gateway: Sabotage) -> None:
    """The arguments of a function call are read where another wire has them."""
    _on_json(gateway, "/responses", lambda name, value: "{}" if name == "arguments" else value)


# The record -----------------------------------------------------------------------------------------------------------


@wrong("LIVE-010", "LIVE-016", "LIVE-020", "LIVE-021", *SINGLE)
def separator_is_not_exported(gateway: Sabotage) -> None:
    """The first id behind an answer is sent to the engine, and not exported."""

    @exporting(gateway)
    def lose(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            if 0 in each.response_mask:
                _cut(each, each.response_mask.index(0), 1)


@wrong("LIVE-011", *(each for each in RECORD if each != "LIVE-011"), *SINGLE)
def last_answer_is_not_exported(gateway: Sabotage) -> None:
    """A trajectory of several turns is exported up to the last message of the user."""

    @exporting(gateway)
    def shorten(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            if 0 in each.response_mask:
                start = len(each.response_mask) - each.response_mask[::-1].index(0)
                _cut(each, start, len(each.response_mask) - start)


@wrong("LIVE-014", "LIVE-010", "LIVE-011", "LIVE-012", "LIVE-081", *SINGLE)
def history_is_rendered_again(gateway: Sabotage) -> None:
    """Each turn renders the whole conversation from its texts, and begins a trajectory where that gives other ids."""
    token_context.history_is_rendered_anew(gateway)


@wrong("LIVE-015", "LIVE-012", "LIVE-010", "LIVE-011", "LIVE-016", "LIVE-020", "LIVE-021", *SINGLE)
def mask_takes_in_what_was_put_between(gateway: Sabotage) -> None:
    """The mask is 1 for all that stands behind the prompt."""

    @exporting(gateway)
    def fill(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            each.response_mask = [1] * len(each.response_ids)


@wrong("LIVE-016", "LIVE-081")
def generation_prompt_is_doubled(gateway: Sabotage) -> None:
    """What begins an answer is written twice behind an earlier answer, into the context and the record."""
    token_context.generation_prompt_is_doubled(gateway)


@wrong("LIVE-020", "LIVE-021")
def logprobs_are_zeros(gateway: Sabotage) -> None:
    """Log-probabilities are filled in where a trainer wants some."""

    @exporting(gateway)
    def fill(session: Session, exported: list[Trajectory]) -> None:
        for each in exported:
            each.response_logprobs = [0.0] * len(each.response_ids)


@wrong("LIVE-021", "LIVE-005", "LIVE-010", *SINGLE)
def system_message_is_not_sent(gateway: Sabotage) -> None:
    """A part of the context is recorded, and left out of what the engine is sent, so that it fits."""

    @gateway.wrap(Session, "_generate")
    def shortened(original: Any, self: Session, context: Any, *rest: Any) -> Any:
        ids = list(context)
        end = ids.index(end_of_turn(self))  # the suite knows its calls by what stands at the front of this message
        return original(self, type(context).of(ids[: end - 3] + ids[end:]), *rest)


@wrong("LIVE-060")
def turns_wait_for_each_other(gateway: Sabotage) -> None:
    """One lock for the engine."""
    locks: dict[Any, asyncio.Lock] = {}

    @gateway.wrap(Checked, "generate")
    async def generate(original: Any, self: Checked, *rest: Any, **named: Any) -> Any:
        async with locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            return await original(self, *rest, **named)


@wrong("LIVE-061")
def answers_of_sessions_are_mixed_up(gateway: Sabotage) -> None:
    """The engine's answer is kept in a place that all sessions share until it is recorded."""
    latest: list[Generation] = []

    @gateway.wrap(Checked, "generate")
    async def generate(original: Any, self: Checked, *rest: Any, **named: Any) -> Any:
        latest[:] = [await original(self, *rest, **named)]
        await asyncio.sleep(0.05)
        return latest[0]


# What ends a generation -----------------------------------------------------------------------------------------------


@wrong("LIVE-030")
def engine_has_its_default(gateway: Sabotage) -> None:
    """A turn without a limit is left to the engine, which takes 16."""
    chat_wire.on_turn(gateway, lambda _, turn: replace(turn, max_tokens=16) if turn.max_tokens is None else turn)


@wrong("LIVE-035")
def responses_have_the_default_of_the_engine(gateway: Sabotage) -> None:
    """A response without a limit is left to the engine, which takes 16."""
    resp_wire.on_turn(gateway, lambda _, turn: replace(turn, max_tokens=16) if turn.max_tokens is None else turn)


@wrong("LIVE-036")
def invocations_have_the_default_of_the_engine(gateway: Sabotage) -> None:
    """An invocation is left to the engine, which takes 16."""

    @gateway.wrap(target, "_turn")
    def turn(original: Any, *about: Any) -> Any:
        return replace(original(*about), max_tokens=16)


@wrong("LIVE-031", "LIVE-051", "LIVE-060")  # in both, nothing but its limit ends an answer
def limit_of_a_chat_is_dropped(gateway: Sabotage) -> None:
    """`max_tokens` is sent under a name that the engine ignores."""
    chat_wire.on_turn(gateway, lambda _, turn: replace(turn, max_tokens=None))


@wrong("LIVE-032")
def limit_of_a_message_is_dropped(gateway: Sabotage) -> None:
    """The messages wire does not know that its limit is the engine's."""
    msg_wire.on_turn(gateway, lambda _, turn: replace(turn, max_tokens=None))


@wrong("LIVE-033")
def refusals_of_the_engine_are_failures(gateway: Sabotage) -> None:
    """A context that the engine refuses is answered like an engine that is broken."""

    @gateway.rewrite
    def fail(answer: Answer) -> None:
        if answer.is_chat and answer.status == 400:
            answer.status = 500


@wrong("LIVE-034")
def lengths_count_for_the_prompt_only(gateway: Sabotage) -> None:
    """The lengths are looked at when a conversation begins."""

    @gateway.wrap(Budget, "remaining")
    def remaining(original: Any, self: Budget, match: Any, added: int) -> int | None:
        return original(self, match, added) if match.parent is None else None


@wrong("LIVE-040")
def stop_string_stays_in_the_text(gateway: Sabotage) -> None:
    """Stop strings are the engine's business, which cuts its text, and the gateway makes its own of the ids."""

    @gateway.wrap(Session, "_stopped")
    def stopped(original: Any, self: Session, generation: Any, stops: Any) -> None:
        return None


@wrong("LIVE-050", "LIVE-051")
def hang_ups_are_not_heard(gateway: Sabotage) -> None:
    """A turn is finished whether its client is there or not."""

    async def deaf(turn: Any, receive: Any) -> Any:
        return await turn

    gateway.patch(data_plane, "while_connected", deaf)


@wrong("LIVE-051")
def what_came_so_far_is_recorded(gateway: Sabotage) -> None:
    """When its client goes, the half of an answer is recorded as if it were whole."""

    @gateway.wrap(Checked, "generate")
    async def generate(original: Any, self: Checked, *rest: Any, **named: Any) -> Any:
        try:
            return await original(self, *rest, **named)
        except asyncio.CancelledError:
            return Generation([101, 102, 103], None, "length")


@wrong("LIVE-070")
def seed_is_dropped(gateway: Sabotage) -> None:
    """`seed` is taken from requests, and sent to no engine."""
    _without(gateway, "seed")


def _without(gateway: Sabotage, name: str) -> None:
    chat_wire.on_turn(
        gateway,
        lambda _, turn: replace(turn, sampling={key: value for key, value in turn.sampling.items() if key != name}),
    )


def _cut(trajectory: Trajectory, start: int, count: int) -> None:
    for ids in (trajectory.response_ids, trajectory.response_mask, trajectory.response_logprobs):
        if ids:
            del ids[start : start + count]


def _rewrite(trajectory: Trajectory, change: Callable[[list[int]], list[int]]) -> None:
    """Change the ids of each generation; its log-probabilities are cut or filled up with the last one."""
    ids: list[int] = []
    mask: list[int] = []
    logprobs: list[float] = []
    for bit, places in groupby(range(len(trajectory.response_ids)), lambda place: trajectory.response_mask[place]):
        numbers = list(places)
        old = [trajectory.response_ids[place] for place in numbers]
        new = change(old) if bit else old
        ids += new
        mask += [bit] * len(new)
        if trajectory.response_logprobs:
            values = [trajectory.response_logprobs[place] for place in numbers]
            logprobs += (values + values[-1:] * len(new))[: len(new)]
    trajectory.response_ids, trajectory.response_mask = ids, mask
    if trajectory.response_logprobs:
        trajectory.response_logprobs = logprobs


def _on_texts(gateway: Sabotage, path: str) -> None:
    def beautify(name: str, value: Any) -> Any:
        shown = name in ("content", "text", "delta", "response") and isinstance(value, str)
        return value.replace(" ", "\u00a0") if shown else value

    _on_json(gateway, path, beautify)


def _on_json(gateway: Sabotage, path: str, change: Callable[[str, Any], Any]) -> None:
    """Change the values of fields, by name, in whatever JSON is answered on this path."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: changed(change(name, entry)) for name, entry in value.items()}
        return [changed(entry) for entry in value] if isinstance(value, list) else value

    @gateway.rewrite
    def rewrite(answer: Answer) -> None:
        if not answer.path.endswith(path) or answer.status != 200:
            return
        if not answer.is_stream:
            answer.json = changed(answer.json)
            return
        lines = answer.body.decode().split("\n")
        for place, line in enumerate(lines):
            if line.startswith("data: {"):
                lines[place] = "data: " + json.dumps(changed(json.loads(line[6:])))
        answer.body = "\n".join(lines).encode()
