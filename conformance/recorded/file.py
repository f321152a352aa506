"""Trajectories and ledgers as files: JSON lines from anyone's trainer, gateway or engine.

Knows the names under which others keep the same thing; never what is right. A line of a trajectory file is one
trajectory, or an object with a list of them under `trajectories`; a line of a ledger is one call. Errors name the line.

| here | also read as |
|---|---|
| `prompt_ids` | `prompt_token_ids` |
| `response_ids` | `response_token_ids`, `completion_ids`, `completion_token_ids`, `output_ids` |
| `response_mask`, of 0 and 1, true and false, 0.0 and 1.0 | `loss_mask`, `completion_mask`, `action_mask` |
| `response_logprobs` | `rollout_log_probs`, `completion_logprobs`, `logprobs` |
| prompt and response in one | `tokens`, `input_ids`; the response is the last `response_length`, or as the mask says |
| prompt and `completion_ids` or `completion_token_ids` without a mask | one call, of which all was sampled |
| `context` (ledger) | `prompt_ids`, `prompt_token_ids` |
| `generation` (ledger) | `generations` (a list of choices), `token_ids`, `response_ids` |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.upstream.ledger import PENDING

PROMPT = ("prompt_ids", "prompt_token_ids")
RESPONSE = ("response_ids", "response_token_ids", "completion_ids", "completion_token_ids", "output_ids")
MASK = ("response_mask", "loss_mask", "completion_mask", "action_mask")
LOGPROBS = ("response_logprobs", "rollout_log_probs", "completion_logprobs", "logprobs")
WHOLE = ("tokens", "input_ids")
CONTEXT = ("context", *PROMPT)
GENERATION = ("generation", "token_ids", "response_ids")
COMPLETION = ("completion_ids", "completion_token_ids")


class Unreadable(ValueError):
    """The file is not what it should be. The text names the file, the line, and what was expected."""


@dataclass(frozen=True, slots=True)
class Read:
    """A trajectory as it was read: an `Exported` of the oracles. `line` counts from 1. `superseded` is how many
    generations it says were given up for others. `logprobs_at` are the temperatures of the distributions that its
    log-probabilities are of, 1.0 for the model's own; None where it does not say."""

    line: int
    prompt_ids: list[Any]
    response_ids: list[Any]
    response_mask: list[Any]
    response_logprobs: list[Any] | None = None
    superseded: int = 0
    logprobs_at: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call as it was read: a `Recorded` of the oracles."""

    line: int
    context: list[Any]
    generations: list[list[Any]] = field(default_factory=list)
    logprobs: list[Any] | None = None
    outcome: str = "answered"
    message: str | None = None

    @property
    def generation(self) -> list[Any] | None:
        return self.generations[0] if self.generations else None


def read_trajectories(file: Path) -> list[Read]:
    """The trajectories of a file in its order. Raises `Unreadable` and OSError."""
    trajectories = []
    for line, document in _lines(file):
        several = document.get("trajectories")
        for place, entry in enumerate(several if isinstance(several, list) else [document]):
            where = f"{file}:{line}: trajectories[{place}]" if isinstance(several, list) else f"{file}:{line}"
            if not isinstance(entry, Mapping):
                raise Unreadable(f"{where}: expected a trajectory, a JSON object")
            trajectories.append(_trajectory(where, line, entry))
    if not trajectories:
        raise Unreadable(f"{file}: expected a trajectory on each line, found none")
    return trajectories


def read_ledger(file: Path) -> list[Recorded]:
    """The calls of a ledger in its order. Raises `Unreadable` and OSError."""
    calls = []
    for line, document in _lines(file):
        if document.get("outcome") == PENDING:  # it arrived, and comes again when it is closed
            continue
        if isinstance(document.get("engine"), Mapping):  # says what the engine is
            continue
        where = f"{file}:{line}"
        context, generations = _list(where, document, CONTEXT), document.get("generations")
        if context is None:
            raise Unreadable(f"{where}: expected the ids that the engine received as {_or(CONTEXT)}")
        if generations is None:
            generation = _list(where, document, GENERATION)
            generations = [] if generation is None else [generation]
        if not isinstance(generations, list) or not all(isinstance(ids, list) for ids in generations):
            raise Unreadable(f"{where}: generations: expected a list of lists of token ids")
        outcome, message = document.get("outcome", "answered"), document.get("message")
        logprobs = _list(where, document, ("logprobs",))
        calls.append(Recorded(line, context, generations, logprobs, str(outcome), message and str(message)))
    return calls


def _lines(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                document = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise Unreadable(f"{file}:{number}: not JSON: {error}") from None
            if not isinstance(document, Mapping):
                raise Unreadable(f"{file}:{number}: expected a JSON object")
            yield number, document


def _trajectory(where: str, line: int, document: Mapping[str, Any]) -> Read:
    prompt, response = _list(where, document, PROMPT), _list(where, document, RESPONSE)
    mask, logprobs = _bits(_list(where, document, MASK)), _list(where, document, LOGPROBS)
    if mask is None and (completion := _list(where, document, COMPLETION)) is not None:
        mask = [1] * len(completion)  # what one call sampled
    if mask is None:
        raise Unreadable(f"{where}: expected what was sampled and what was not as {_or(MASK)}")
    if prompt is None or response is None:
        whole = _list(where, document, WHOLE)
        if whole is None:
            raise Unreadable(f"{where}: expected {_or(PROMPT)} and {_or(RESPONSE)}, or both in one as {_or(WHOLE)}")
        cut = _cut(where, document, whole, mask)
        prompt, response, mask = whole[:cut], whole[cut:], _behind(mask, len(whole), cut)
        logprobs = None if logprobs is None else _behind(logprobs, len(whole), cut)
    extra = document.get("extra_fields")
    given_up = extra.get("rollback_count", 0) if isinstance(extra, Mapping) else 0
    superseded = given_up if type(given_up) is int else 0
    return Read(line, prompt, response, mask, logprobs, superseded, logprobs_at(extra))


def logprobs_at(extra: Any) -> tuple[float, ...] | None:
    """What `extra_fields` say of log-probabilities: `logprobs` is `raw` or `scaled`, and `logprobs_temperature` beside
    the latter a number, or a list of them."""
    if not isinstance(extra, Mapping):
        return None
    if extra.get("logprobs") == "raw":
        return (1.0,)
    told = extra.get("logprobs_temperature")
    temperatures = told if isinstance(told, list) else [told]
    known = bool(temperatures) and all(type(temperature) in (int, float) for temperature in temperatures)
    return tuple(map(float, temperatures)) if extra.get("logprobs") == "scaled" and known else None


def _bits(mask: list[Any] | None) -> list[Any] | None:
    """A mask with 1 and 0 for true and false, and for the numbers that tensors have."""
    if mask is None:
        return None
    return [int(entry) if isinstance(entry, bool | float) and entry in (0, 1) else entry for entry in mask]


def _cut(where: str, document: Mapping[str, Any], whole: Sequence[Any], mask: Sequence[Any]) -> int:
    """Where the prompt ends in a list of all ids."""
    length = document.get("response_length")
    if length is None:
        length = len(mask) - (mask.index(1) if 1 in mask else 0) if len(mask) == len(whole) else len(mask)
    if type(length) is not int or not 0 <= length <= len(whole):
        raise Unreadable(f"{where}: response_length: expected a number from 0 to {len(whole)}, got {length!r}")
    return len(whole) - length


def _behind(values: list[Any], whole: int, cut: int) -> list[Any]:
    """The values of the response, where they are those of all ids."""
    return values[cut:] if len(values) == whole else values


def _list(where: str, document: Mapping[str, Any], names: Sequence[str]) -> list[Any] | None:
    for name in names:
        value = document.get(name)
        if value is not None:
            if not isinstance(value, list):
                raise Unreadable(f"{where}: {name}: expected a list, got {type(value).__name__}")
            return value
    return None


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)
