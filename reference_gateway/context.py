"""The token ids that a backend is sent: the history of a session, which grows at its end.

Knows ids and how JSON writes them; never where they come from. Each turn sends what the turn before sent, and more. So
a context is made of runs that the turns share: a run never changes, takes 4 bytes an id, and keeps its JSON (6 to 7
bytes an id) once an engine was sent it. What a turn costs here is what it adds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, overload

import orjson

if TYPE_CHECKING:
    Ids = array[int]
else:
    Ids = array  # generic from Python 3.12 on


class Run(Ids):
    """Token ids that stand together and never change."""

    __slots__ = ("_json",)
    _json: bytes

    def __new__(cls, ids: Iterable[int]) -> Run:
        """`ids` itself where it is a run already."""
        return ids if isinstance(ids, Run) else super().__new__(cls, "i", ids)  # type: ignore[return-value]

    def json(self) -> bytes:
        """The ids as they stand inside a JSON array."""
        try:
            return self._json
        except AttributeError:
            self._json = orjson.dumps(self.tolist())[1:-1]
            return self._json


class Context(Sequence[int]):
    """Runs, one after the other, as one sequence of ids."""

    __slots__ = ("_length", "_runs")

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = [run for run in runs if run]
        self._length = sum(map(len, self._runs))

    @staticmethod
    def of(ids: Sequence[int]) -> Context:
        """`ids` itself where it is a context already."""
        return ids if isinstance(ids, Context) else Context([Run(ids)])

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._runs)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: Any) -> Any:
        return list(self)[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def json(self) -> bytes:
        """The ids as a JSON array."""
        return b"[" + b",".join([run.json() for run in self._runs]) + b"]"
