"""What is wrong with a turn of a journey: with the calls that were made for it, and with its answer.

Pure: turns, answers and the engine's calls in, violations out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import Reply, at
from conformance.client.invocations import InvocationReply
from conformance.oracles import Violation
from conformance.upstream.ledger import Call
from conformance.vocabulary.asked import holds
from conformance.vocabulary.journey_turn import Attempt, Turn
from conformance.vocabulary.talk import CHAT

SHAPING = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")


def calls_of(attempts: Sequence[Attempt], calls: Sequence[Call]) -> Iterator[tuple[Attempt, list[Call]]]:
    """The calls that were made for each request: in their order where there is one for each, else by their time."""
    asking = [attempt for attempt in attempts if not attempt.refused]
    if len(calls) == len(asking):
        made = iter(calls)
        yield from ((attempt, [] if attempt.refused else [next(made)]) for attempt in attempts)
        return
    starts = [attempt.reply.exchange.started for attempt in attempts]
    for place, attempt in enumerate(attempts):
        end = starts[place + 1] if place + 1 < len(starts) else float("inf")
        yield attempt, [call for call in calls if starts[place] <= call.arrived < end]


def wrong_call(turn: Turn, call: Call, earlier: Sequence[Turn]) -> Iterator[Violation]:
    """What is wrong with what the engine received for a turn."""
    received = {name: call.sampling[name] for name in SHAPING if call.sampling.get(name) is not None}
    stops = call.sampling.get("stop")
    if stops:
        received["stop"] = [stops] if isinstance(stops, str) else stops
    if received != turn.sampling:
        yield Violation("sampling values at the engine", describe(turn.sampling), describe(received))
    if turn.limit is not None and call.max_tokens != turn.limit:
        yield Violation("limit of the generation at the engine", str(turn.limit), str(call.max_tokens))
    for other in earlier:
        if turn.limit is None and other.limit is not None and call.max_tokens == other.limit:
            yield Violation(
                "limit of the generation at the engine", "not that of another turn", f"that of {other.label}"
            )
        for mark in other.marks:
            told = isinstance(mark, str) and mark in call.text
            if mark not in turn.marks and (told or holds(call.body, mark)):
                yield Violation("the engine's request", f"nothing of {other.label}", describe(mark))
    position = 0
    for text in turn.told:
        stands = call.text.find(text, position)
        if stands < 0:
            behind = describe(call.text[position:][:200])
            yield Violation("what the model is told", describe(text), f"not behind the text before it: {behind}")
            break
        position = stands + len(text)
    if turn.tools and turn.situation.field != "tool_choice none":
        for tool in turn.tools:
            for text in (tool["function"]["name"], tool["function"]["description"]):
                if text not in call.text:
                    yield Violation("what the model is told of tools", describe(text), "it is not in the context")


def wrong_answer(attempt: Attempt, call: Call) -> Iterator[Violation]:
    """What is wrong with the answer to a turn, as far as it can be read."""
    for rule in (_wrong_text, _wrong_calls, _wrong_ending, _wrong_usage, _wrong_logprobs):
        try:
            yield from rule(attempt.turn, attempt.reply, call)
        except ConformanceFailure as failure:
            yield from failure.violations


def _wrong_text(turn: Turn, reply: Reply, call: Call) -> Iterator[Violation]:
    actual: Any = reply.text
    expected: Any = turn.text
    if turn.calls:  # a template writes white space before a call
        actual, expected = actual.strip(), expected.strip()
    elif turn.ending == "stop string":
        actual, expected = actual.split(), expected.split()
    if actual != expected:
        yield Violation("text", describe(expected), describe(actual))


def _wrong_calls(turn: Turn, reply: Reply, call: Call) -> Iterator[Violation]:
    actual = [(made.name, _exact(made.arguments)) for made in turn.over.calls(reply)]
    expected = [(made["name"], _exact(made["arguments"])) for made in turn.calls]
    if actual != expected:
        yield Violation("calls", describe(expected), describe(actual))
    ids = [made.call_id for made in turn.over.calls(reply)]
    if len(set(ids)) != len(ids):
        yield Violation("ids of the calls", "one for each", describe(ids))


def _wrong_ending(turn: Turn, reply: Reply, call: Call) -> Iterator[Violation]:
    if turn.over.endings and reply.finish_reason != turn.over.endings[turn.ending]:
        yield Violation("how it ended", turn.over.endings[turn.ending], reply.finish_reason)


def _wrong_usage(turn: Turn, reply: Reply, call: Call) -> Iterator[Violation]:
    unasked = turn.over.family == CHAT and reply.is_stream and turn.situation.field != "include_usage"
    if turn.over.usage is None or unasked:
        return
    inputs, output = turn.over.usage
    usage = reply.usage
    actual = (sum(usage.get(name) or 0 for name in inputs), usage.get(output))
    expected = (len(call.context), len(call.generation))
    if actual != expected:
        yield Violation("usage", f"{expected[0]} tokens of the context and {expected[1]} sampled", describe(usage))


def _wrong_logprobs(turn: Turn, reply: Reply, call: Call) -> Iterator[Violation]:
    """They are told of each token that was sampled; that of the one which ends the turn may be left out."""
    if "logprobs" not in turn.fields:
        return
    told = at(reply.completion, "choices", 0).get("logprobs")
    entries = (told.get("content") if isinstance(told, dict) else None) or []
    actual = [at(entry, "logprob") for entry in entries]
    if actual not in (call.logprobs, (call.logprobs or [])[:-1]):
        yield Violation("log-probabilities", describe(call.logprobs), describe(actual))


def has_failed(reply: Reply) -> bool:
    """Whether a client can tell that there is no answer: by the status, or by what ends the stream."""
    if reply.status != 200:
        return reply.status == 429 or reply.status >= 500
    if isinstance(reply, InvocationReply):
        return reply.is_stream and reply.failure is not None
    kinds = {chunk.get("type") for chunk in reply.chunks} if reply.is_stream else set()
    return bool(kinds & {"error", "response.failed"}) or (
        reply.is_stream and any("error" in one for one in reply.chunks)
    )


def under(label: str, violations: Iterator[Violation] | Sequence[Violation]) -> list[Violation]:
    """The same, each said of what has this label."""
    return [replace(violation, where=f"{label}: {violation.where}") for violation in violations]


def _exact(value: Any) -> str:
    """A JSON value as text, in which 1, 1.0, true and "1" differ and the order of names does not count."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
