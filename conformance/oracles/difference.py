"""In what way two lists of ids differ: the kinds of difference that have a usual cause."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from conformance.oracles.tokens import Decode, common_tail, count, part, stands_at, text_of


class Difference(StrEnum):
    """What `exported` has or lacks against the `wanted` ids."""

    LACKS_REPEAT = "lacks-repeat"
    """`wanted` has a piece twice in a row, `exported` once."""
    LACKS_SEAM = "lacks-seam"
    """`exported` lacks ids directly behind a generation."""
    LACKS = "lacks"
    HAS_REPEAT = "has-repeat"
    """`exported` has a piece twice in a row, `wanted` once."""
    HAS_SEAM = "has-seam"
    """`exported` has ids directly behind a generation that `wanted` has not."""
    HAS = "has"
    RETOKENISED = "retokenised"
    """Other ids, the same text."""
    INSIDE = "inside"
    """The first difference is inside a generation."""
    OTHER = "other"


def kind_of_difference(
    exported: bytes,
    wanted: bytes,
    at: int,
    generations: Collection[tuple[int, int]] = (),
    decode: Decode | None = None,
) -> Difference:
    """The kind of the difference whose first id is `at`. `generations` are the (start, end) of those in `exported`."""
    tail = common_tail(exported, wanted, min(count(exported), count(wanted)) - at)
    extra = part(exported, at, count(exported) - tail)
    missing = part(wanted, at, count(wanted) - tail)
    ends_turn = any(end == at for _, end in generations)
    if missing and not extra:
        if _repeats(wanted, missing, at):
            return Difference.LACKS_REPEAT
        return Difference.LACKS_SEAM if ends_turn else Difference.LACKS
    if extra and not missing:
        if _repeats(exported, extra, at):
            return Difference.HAS_REPEAT
        return Difference.HAS_SEAM if ends_turn else Difference.HAS
    text = text_of(extra, decode)
    if text is not None and text == text_of(missing, decode):
        return Difference.RETOKENISED
    if any(start <= at < end for start, end in generations):
        return Difference.INSIDE
    return Difference.OTHER


def _repeats(ids: bytes, piece: bytes, at: int) -> bool:
    """Whether `piece`, which stands at `at`, stands directly before or behind itself."""
    return stands_at(ids, piece, at - count(piece)) or stands_at(ids, piece + piece, at)
