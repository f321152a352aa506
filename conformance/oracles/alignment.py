"""Alignment: is an exported trajectory well formed by itself?

Knows one trajectory at a time, and nothing of the upstream. Cheap proofs first: an entry is looked at alone only when
they fail.

Sources: contract UA-TRJ-02, UA-LP-01, UA-LP-03.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from conformance.oracles import Violation
from conformance.oracles.evidence import Exported, mask_bytes
from conformance.oracles.tokens import sequence
from conformance.oracles.wording import brief, described

ROUNDING = 1e-4
"""By how much the logarithm of a probability of 1 may come out above 0."""

POSITIVE_HINT = "probabilities, or logprobs whose sign was turned, in the place of logprobs"

_GAP = re.compile(rb"\0[^\x01]*")


def alignment(trajectories: Sequence[Exported]) -> list[Violation]:
    """Whether each trajectory is well formed by itself: ids are integers from 0, mask and logprobs have one entry for
    each response id, the mask is 0 or 1, logprobs are finite, not positive, and exactly 0.0 where the mask is 0."""
    return [
        violation
        for number, item in enumerate(sequence(trajectories))
        for violation in _alignment(f"trajectory {number}", item)
    ]


def _alignment(name: str, trajectory: Exported) -> Iterator[Violation]:
    for field in ("prompt_ids", "response_ids"):
        yield from _ids(f"{name}, {field}", getattr(trajectory, field, None))
    length = len(sequence(getattr(trajectory, "response_ids", None)))
    mask = getattr(trajectory, "response_mask", None)
    entries = sequence(mask)
    if not _is_list(mask):
        yield Violation(f"{name}, response_mask", "a list of 0 and 1", described(mask))
    else:
        if len(entries) != length:
            yield Violation(f"{name}, response_mask", f"{length} entries, one a response id", str(len(entries)))
        odd = [i for i, entry in enumerate(entries) if not _is_bit(entry)] if not _all_bits(entries) else []
        if odd:
            yield Violation(
                f"{name}, response_mask[{odd[0]}]", "0 or 1", f"{described(entries[odd[0]])}{_more(len(odd), 'entry')}"
            )
    logprobs = getattr(trajectory, "response_logprobs", None)
    if logprobs is not None:
        yield from _logprob_values(f"{name}, response_logprobs", logprobs, length, mask_bytes(mask))


def _ids(where: str, ids: object) -> Iterator[Violation]:
    if not _is_list(ids):
        yield Violation(where, "a list of token ids", described(ids))
        return
    items = sequence(ids)
    if items and not (set(map(type, items)) <= {int} and min(items) >= 0):
        odd = [i for i, token_id in enumerate(items) if not _is_id(token_id)]
        if odd:
            hint = "text where ids are expected" if isinstance(items[odd[0]], str) else ""
            actual = f"{described(items[odd[0]])}{_more(len(odd), 'id')}"
            yield Violation(f"{where}[{odd[0]}]", "an integer of at least 0", actual, hint)


def _logprob_values(where: str, logprobs: object, length: int, mask: bytes) -> Iterator[Violation]:
    if not _is_list(logprobs):
        yield Violation(where, "a list of floats, or null", described(logprobs))
        return
    values = sequence(logprobs)
    if len(values) != length:
        hint = "a turn without logprobs was appended to turns that have them" if len(values) < length else ""
        yield Violation(where, f"{length} entries, one a response id", str(len(values)), hint)
    if not _sums(values):
        odd = [i for i, logprob in enumerate(values) if not _is_finite(logprob)]
        if odd:
            actual = f"{described(values[odd[0]])}{_more(len(odd), 'entry')}"
            yield Violation(f"{where}[{odd[0]}]", "a finite number", actual)
    positive = [i for i, logprob in enumerate(values) if _is_finite(logprob) and logprob > ROUNDING]
    if positive:
        actual = f"{brief(values[positive[0]])}{_more(len(positive), 'entry')}"
        yield Violation(f"{where}[{positive[0]}]", "a log-probability, 0.0 at most", actual, POSITIVE_HINT)
    wrong = [
        i for low, high in _gaps(mask) if any(values[low:high]) for i in range(low, high) if _is_non_zero(values, i)
    ]
    if wrong:
        hint = ""
        if any(mask[i + 1 : i + 2] == b"\1" or mask[i - 1 : i] == b"\1" for i in wrong):
            hint = "the logprobs are shifted against the mask"
        actual = f"{brief(values[wrong[0]])}{_more(len(wrong), 'entry')}"
        yield Violation(f"{where}[{wrong[0]}]", "0.0, as the mask is 0", actual, hint)


def _gaps(mask: bytes) -> list[tuple[int, int]]:
    """The stretches of mask 0."""
    return [gap.span() for gap in _GAP.finditer(mask)]


def _sums(values: Sequence[Any]) -> bool:
    """Whether all values are finite floats, by the cheapest proof; False = look at each."""
    try:
        return set(map(type, values)) <= {float, int} and math.isfinite(sum(values))
    except Exception:
        return False


def _is_finite(value: Any) -> bool:
    try:
        return not isinstance(value, bool | str | bytes) and math.isfinite(value)
    except Exception:
        return False


def _is_non_zero(values: Sequence[Any], index: int) -> bool:
    return index < len(values) and values[index] != 0


def _is_id(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__index__") and value >= 0


def _is_bit(value: Any) -> bool:
    return not isinstance(value, bool) and hasattr(value, "__index__") and value in (0, 1)


def _all_bits(entries: Sequence[Any]) -> bool:
    return set(map(type, entries)) <= {int} and set(entries) <= {0, 1}


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) or (hasattr(value, "__getitem__") and hasattr(value, "tolist"))


def _more(number: int, word: str) -> str:
    return f" (and {number - 1} more)" if number > 1 else ""
