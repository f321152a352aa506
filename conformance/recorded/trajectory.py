"""`gateway-conformance check-trajectory`: the trajectories in a file, judged outside pytest.

By themselves: alignment, mask runs, filled-in logprobs, generations that are trainable twice. With a ledger also
whether contexts, ids and logprobs are what the engine received and returned, and each generation is there once. With
a tokenizer also whether what stands between generations is what its chat template puts there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from conformance.oracles import Violation, token_truth, unrecorded
from conformance.oracles.tokens import Decode
from conformance.oracles.wording import counted
from conformance.recorded.file import Read, Recorded, read_ledger, read_trajectories
from conformance.tokenizer import Message, Tokenizer

_PLACE = re.compile(r"(trajectory|call) (\d+)")


def check_trajectory(
    file: Path, ledger: Path | None, tokenizer: Path | None, format: str, superseded: int | None = None
) -> int:
    """Judge the trajectories in `file` and print what is wrong with them. 0 = nothing, 1 = something.

    `superseded`: how many generations of the ledger were given up for others; None = as the trajectories say. Raises
    `Unreadable`, `TokenizerError` and OSError when a file is not what it should be.
    """
    trajectories = read_trajectories(file)
    calls = None if ledger is None else read_ledger(ledger)
    known = None if tokenizer is None else Tokenizer.load(tokenizer)
    if superseded is None:
        superseded = sum(each.superseded for each in trajectories)
    found = judge(trajectories, calls, known, superseded)
    places = [_place(one, file, trajectories, ledger, calls or []) for one in found]
    size = "1 trajectory" if len(trajectories) == 1 else f"{len(trajectories)} trajectories"
    summary = f"{size}, {counted(_tokens(trajectories), 'token')}"
    print(_as_json(file, found, places) if format == "json" else _as_text(file, found, places, summary))
    return 1 if found else 0


def judge(
    trajectories: Sequence[Read],
    calls: Sequence[Recorded] | None = None,
    tokenizer: Tokenizer | None = None,
    superseded: int = 0,
) -> list[Violation]:
    """All that can be said with what is known."""
    decode: Decode | None = None if tokenizer is None else tokenizer.decode
    found = token_truth.alignment(trajectories) + unrecorded.mask_runs(trajectories)
    if calls is None:
        found += unrecorded.zero_filled(trajectories) + unrecorded.duplicates(trajectories)
    else:
        aligned = set(found)
        found += [one for one in token_truth.judge(trajectories, calls, superseded, decode) if one not in aligned]
    if tokenizer is not None:
        found += _seams(trajectories, tokenizer)
    return found


def _seams(trajectories: Sequence[Read], tokenizer: Tokenizer) -> list[Violation]:
    prompt, separator, ends = template_parts(tokenizer) if tokenizer.has_template else ([], [], [])
    return token_truth.seams(trajectories, tokenizer.decode, tokenizer.encode, prompt, separator, ends)


def template_parts(tokenizer: Tokenizer) -> tuple[list[int], list[int], list[int]]:
    """The ids of the generation prompt, of what stands between two turns, and of the end of a turn (none where the
    template does not end an assistant's turn with that token). Found by rendering; `TokenizerError` if it cannot."""
    asked: list[Message] = [{"role": "user", "content": "a"}]
    answered = [*asked, {"role": "assistant", "content": "b"}]
    before = tokenizer.render(asked, add_generation_prompt=False)
    after = tokenizer.render(asked, add_generation_prompt=True)
    prompt = after[len(before) :] if after.startswith(before) else ""
    _, end, separator = tokenizer.render(answered, add_generation_prompt=False).rpartition(tokenizer.end_of_turn_text)
    if not end:
        return tokenizer.encode(prompt), [], []
    return tokenizer.encode(prompt), tokenizer.encode(separator), [tokenizer.end_of_turn]


def _place(
    violation: Violation, file: Path, trajectories: Sequence[Read], ledger: Path | None, calls: Sequence[Recorded]
) -> tuple[Path, int]:
    """The file and line that a violation is about."""
    found = _PLACE.match(violation.where)
    if found is None:
        return file, trajectories[0].line
    number = int(found[2])
    return (ledger, calls[number].line) if ledger and found[1] == "call" else (file, trajectories[number].line)


def _tokens(trajectories: Sequence[Read]) -> int:
    return sum(len(each.prompt_ids) + len(each.response_ids) for each in trajectories)


def _as_text(file: Path, found: list[Violation], places: list[tuple[Path, int]], summary: str) -> str:
    """One line for each violation, as compilers write them: `FILE:LINE: ...`, and the hint below it."""
    lines = []
    for one, (name, line) in zip(found, places, strict=True):
        lines.append(f"{name}:{line}: {one}")
        if one.hint:
            lines.append(f"    hint: {one.hint}")
    verdict = counted(len(found), "violation") if found else "no violation"
    return "\n".join([*lines, f"{file}: {summary}: {verdict}"])


def _as_json(file: Path, found: list[Violation], places: list[tuple[Path, int]]) -> str:
    """One document: `file`, and `violations` with file, line, where, expected, actual, hint."""
    violations = [
        {
            "file": str(name),
            "line": line,
            "where": one.where,
            "expected": one.expected,
            "actual": one.actual,
            "hint": one.hint,
        }
        for one, (name, line) in zip(found, places, strict=True)
    ]
    return json.dumps({"file": str(file), "violations": violations}, indent=2, ensure_ascii=False)
