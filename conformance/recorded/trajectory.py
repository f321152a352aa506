"""`gateway-conformance check-trajectory`: the trajectories in a file, judged outside pytest.

By themselves: alignment, mask runs, filled-in logprobs, generations that are trainable twice. With a ledger also
whether contexts, ids and logprobs are what the engine received and returned, and each generation is there once. With
a tokenizer also whether what stands between generations is what its chat template puts there. With a scorer also
whether the model, asked again, gives each sampled token the log-probability that was exported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from conformance.oracles import Violation, token_truth, unrecorded
from conformance.oracles.fidelity import TurnEnd
from conformance.oracles.tokens import Decode
from conformance.oracles.wording import counted
from conformance.recorded import score as rescoring
from conformance.recorded.claims import Claim, claims
from conformance.recorded.file import Read, Recorded, read_ledger, read_trajectories
from conformance.recorded.recorder import UNREAD
from conformance.recorded.scoring import TOLERANCE
from conformance.tokenizer import Message, Tokenizer, TokenizerError

Placed: TypeAlias = tuple[Violation, Path, int]
"""A violation, and the file and line that it is about."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """By which scorer each sampled token is scored again, how many nats it may differ, and at which temperature the
    log-probabilities were told."""

    by: str
    tolerance: float = TOLERANCE
    temperature: float = 1.0


ANY = "any"
"""Any number of generations may be in no trajectory: the file holds part of the run."""

_PLACE = re.compile(r"(trajectory|call) (\d+)")


def check_trajectory(
    file: Path,
    ledger: Path | None,
    tokenizer: Path | None,
    format: str,
    superseded: int | str | None = None,
    scoring: Scoring | None = None,
) -> int:
    """Judge the trajectories in `file` and print what is wrong with them. 0 = nothing, 1 = something.

    `superseded`: how many generations of the ledger were given up for others; `ANY`; None = as the trajectories say.
    Raises `Unreadable`, `Unscorable`, `TokenizerError` and OSError when a file is not what it should be.
    """
    trajectories = read_trajectories(file)
    calls = None if ledger is None else read_ledger(ledger)
    known = None if tokenizer is None else Tokenizer.load(tokenizer)
    if superseded is None:
        superseded = sum(trajectory.superseded for trajectory in trajectories)
    violations, warned = judge(trajectories, calls, known, superseded), unrecorded.trailing(trajectories)
    warned += unread(calls or ())
    scores = None
    if scoring is not None:
        decode = None if known is None else known.decode
        scores = rescoring.score(trajectories, calls, scoring.by, scoring.tolerance, scoring.temperature, decode)
        violations += scores.violations
    wrong, odd = (
        [(violation, *_place(violation, file, trajectories, ledger, calls or [])) for violation in several]
        for several in (violations, warned)
    )
    size = "1 trajectory" if len(trajectories) == 1 else f"{len(trajectories)} trajectories"
    summary = f"{size}, {counted(_tokens(trajectories), 'token')}"
    if format == "json":
        more = {} if scores is None else {"score": rescoring.as_json(scores)}
        print(_as_json(file, wrong, odd, more))
    else:
        print(_as_text(file, wrong, odd, summary))
        if scores is not None:
            print(rescoring.as_text(rescoring.figures_of(scores)))
    return 1 if violations else 0


def judge(
    trajectories: Sequence[Read],
    calls: Sequence[Recorded] | None = None,
    tokenizer: Tokenizer | None = None,
    superseded: int | str = 0,
) -> list[Violation]:
    """All that is wrong, as far as it can be told with what is known. What merely stands behind the last generation is
    not: see `unrecorded.trailing`."""
    decode: Decode | None = None if tokenizer is None else tokenizer.decode
    violations = token_truth.alignment(trajectories) + unrecorded.mask_runs(trajectories)
    if calls is None:
        violations += unrecorded.zero_filled(trajectories) + unrecorded.duplicates(trajectories)
    else:
        aligned = set(violations)
        known = _taken_on_trust(trajectories, calls)
        allowed = None if superseded == ANY else int(superseded)
        violations += [
            violation
            for violation in token_truth.judge(trajectories, known, allowed, decode)
            if violation not in aligned
        ]
    if tokenizer is not None:
        violations += _seams(trajectories, tokenizer)
    return [violation for violation in violations if violation.expected != token_truth.NOTHING_BEHIND]


def unread(calls: Sequence[Recorded]) -> list[Violation]:
    """The calls of which the record does not know what they sampled."""
    hint = "what the trajectories say was sampled there is taken on trust"
    return [
        Violation(f"call {number}", "the ids that were sampled", call.message or "none", hint)
        for number, call in enumerate(calls)
        if call.outcome == UNREAD
    ]


def _taken_on_trust(trajectories: Sequence[Read], calls: Sequence[Recorded]) -> list[Recorded]:
    """The calls; one of which nobody knows what it sampled has sampled what a trajectory says behind its context."""
    if not any(call.outcome == UNREAD for call in calls):
        return list(calls)
    left = [claim for trajectory in trajectories for claim in claims(trajectory)]
    return [_trusted(call, left) if call.outcome == UNREAD else call for call in calls]


def _trusted(call: Recorded, left: list[Claim]) -> Recorded:
    for claim in left:
        if claim.context == call.context:
            left.remove(claim)
            return replace(call, generations=[claim.ids], logprobs=claim.logprobs, outcome="answered")
    return call


def _seams(trajectories: Sequence[Read], tokenizer: Tokenizer) -> list[Violation]:
    prompt, turn_end = template_parts(tokenizer) if tokenizer.has_template else ([], None)
    return token_truth.seams(trajectories, tokenizer.decode, tokenizer.encode, prompt, turn_end)


def template_parts(tokenizer: Tokenizer) -> tuple[list[int], TurnEnd]:
    """The ids of the generation prompt (none where it depends on what stands before it), and the end of a turn. Found
    by rendering; `TokenizerError` if the template can't render a question and an answer."""
    asked: list[Message] = [{"role": "user", "content": "a"}]
    answered = [*asked, {"role": "assistant", "content": _MARK}]
    prompts = [
        _prompt(tokenizer, asked),
        *(_prompt(tokenizer, messages) for messages in (_CALLED,) if _renders(tokenizer, messages)),
    ]
    prompt = prompts[0] if len(set(prompts)) == 1 else ""
    behind = tokenizer.render(answered, add_generation_prompt=False).rpartition(_MARK)[2]
    ends = {tokenizer.token(token): token for token in tokenizer.end_tokens}
    own = min((text for text in ends if text and text in behind), key=behind.index, default=None)
    lead, _, separator = behind.partition(own) if own else ("", "", "")
    headers = [
        text for role in ("user", "tool", "system") if (text := _header(tokenizer, answered, role, lead + (own or "")))
    ]
    return tokenizer.encode(prompt), TurnEnd(
        tokens=tokenizer.end_tokens,
        separator=tokenizer.encode(separator),
        lead=lead,
        headers=headers,
        written=own is not None,
    )


_MARK = "4815162342"
_CALLED: list[Message] = [
    {"role": "user", "content": "a"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call00000", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "call00000", "name": "f", "content": "b"},
]


def _prompt(tokenizer: Tokenizer, messages: list[Message]) -> str:
    before = tokenizer.render(messages, add_generation_prompt=False)
    after = tokenizer.render(messages, add_generation_prompt=True)
    return after[len(before) :] if after.startswith(before) else ""


def _renders(tokenizer: Tokenizer, messages: list[Message]) -> bool:
    try:
        tokenizer.render(messages)
    except TokenizerError:
        return False
    return True


def _header(tokenizer: Tokenizer, answered: list[Message], role: str, end: str) -> str | None:
    """What the template writes between the end of an answer and the content of a message of `role`."""
    message = {**_CALLED[-1], "role": role, "content": _MARK[::-1]}
    try:
        text = tokenizer.render([*answered, message], add_generation_prompt=False)
    except TokenizerError:
        return None
    header, there, _ = text.partition(_MARK)[2].partition(_MARK[::-1])
    return header[len(end) :] if there and header.startswith(end) else None


def _place(
    violation: Violation, file: Path, trajectories: Sequence[Read], ledger: Path | None, calls: Sequence[Recorded]
) -> tuple[Path, int]:
    """The file and line that a violation is about."""
    match = _PLACE.match(violation.where)
    if match is None:
        return file, trajectories[0].line
    number = int(match[2])
    return (ledger, calls[number].line) if ledger and match[1] == "call" else (file, trajectories[number].line)


def _tokens(trajectories: Sequence[Read]) -> int:
    return sum(len(trajectory.prompt_ids) + len(trajectory.response_ids) for trajectory in trajectories)


def _as_text(file: Path, wrong: list[Placed], warned: list[Placed], summary: str) -> str:
    """One line for each violation and warning, as compilers write them: `FILE:LINE: ...`, and the hint below it."""
    lines = []
    for label, placed in (("", wrong), ("warning: ", warned)):
        for violation, name, line in placed:
            lines.append(f"{name}:{line}: {label}{violation}")
            if violation.hint:
                lines.append(f"    hint: {violation.hint}")
    verdict = counted(len(wrong), "violation") if wrong else "no violation"
    if warned:
        verdict += f", {counted(len(warned), 'warning')}"
    return "\n".join([*lines, f"{file}: {summary}: {verdict}"])


def _as_json(file: Path, wrong: list[Placed], warned: list[Placed], more: dict[str, Any]) -> str:
    """One document: `file`, and `violations` and `warnings` with file, line, where, expected, actual, hint."""
    told = {
        kind: [
            {
                "file": str(name),
                "line": line,
                "where": violation.where,
                "expected": violation.expected,
                "actual": violation.actual,
                "hint": violation.hint,
            }
            for violation, name, line in placed
        ]
        for kind, placed in (("violations", wrong), ("warnings", warned))
    }
    return json.dumps({"file": str(file), **told, **more}, indent=2, ensure_ascii=False)
