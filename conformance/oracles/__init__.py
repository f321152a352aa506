"""Pure judgements about recorded facts: bytes, JSON documents, token lists. No I/O, no pytest, no gateway.

Every oracle returns *all* that is wrong as a list of `Violation`, in the order in which a reader meets it; an empty
list means that the facts conform.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, and where.

    `where` is a path that a reader can follow: `choices[0].message.content`, `frame 4`, `trajectory 0,
    response_mask[3]`. `expected` and `actual` are short phrases or values. `hint` names the usual cause, if there is
    one.
    """

    where: str
    expected: str
    actual: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.actual}"
