"""What the token oracles judge: exported trajectories and recorded calls, packed once and matched with each other.

Knows ids, masks and which recorded generation stands where; never what is right. Invariants: offsets are counted in ids
from the start of `prompt_ids`; a segment is a maximal part of a mask-1 run that one recorded generation explains.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from conformance.oracles.tokens import WIDTH, count, pack, part, sequence, stands_at

_RUN = re.compile(rb"\x01+")


class Exported(Protocol):
    """A trajectory as a trainer gets it; `conformance.gateway.Trajectory` is one.

    `response_mask` has one entry for each of `response_ids`: 1 = sampled by the model, 0 = put there by the gateway.
    `response_logprobs` is None or one float for each of `response_ids`.
    """

    @property
    def prompt_ids(self) -> Sequence[int]: ...
    @property
    def response_ids(self) -> Sequence[int]: ...
    @property
    def response_mask(self) -> Sequence[int]: ...
    @property
    def response_logprobs(self) -> Sequence[float] | None: ...


class Recorded(Protocol):
    """A call as the upstream recorded it: the ids it received and the ids it returned. `generation` None = it returned
    none; a call that has an `outcome` other than `answered` counts as such. A call for several choices has them in
    `generations`, the first being `generation`."""

    @property
    def context(self) -> Sequence[int]: ...
    @property
    def generation(self) -> Sequence[int] | None: ...
    @property
    def logprobs(self) -> Sequence[float] | None: ...


@dataclass(frozen=True, slots=True)
class Generation:
    """A `Recorded` made by hand, for ledgers that come from elsewhere."""

    context: Sequence[int]
    ids: Sequence[int]
    logprobs: Sequence[float] | None = None

    @property
    def generation(self) -> Sequence[int]:
        return self.ids


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One choice of a recorded call, packed; equal only to itself. `number` is the place of the call in the
    sequence that was given; `logprobs` are known of its first choice."""

    number: int
    context: bytes
    generation: bytes
    logprobs: Sequence[Any] | None
    choice: int = 0

    def __str__(self) -> str:
        return f"call {self.number}, choice {self.choice}" if self.choice else f"call {self.number}"


@dataclass(frozen=True, slots=True)
class Segment:
    """The ids from `start` to `end` of a trajectory, all mask 1, and the calls that returned exactly these ids; no call
    when no generation explains them."""

    start: int
    end: int
    calls: tuple[Call, ...]


class Track:
    """One exported trajectory, packed. `full` is prompt and response; `runs` are the stretches of mask 1."""

    def __init__(self, number: int, trajectory: Exported) -> None:
        prompt = pack(getattr(trajectory, "prompt_ids", None))
        self.number = number
        self.prompt = count(prompt)
        self.full = prompt + pack(getattr(trajectory, "response_ids", None))
        self.end = count(self.full)
        mask = mask_bytes(getattr(trajectory, "response_mask", None))[: self.end - self.prompt]
        self.runs = [(self.prompt + run.start(), self.prompt + run.end()) for run in _RUN.finditer(mask)]

    def has_context(self, call: Call, end: int) -> bool:
        """Whether the ids before `end` are exactly what the call received."""
        return len(call.context) == end * WIDTH and self.full.startswith(call.context)

    def holds(self, call: Call) -> bool:
        """Whether the call's context and generation both stand here, whatever the mask."""
        return self.full.startswith(call.generation, len(call.context)) and self.full.startswith(call.context)

    def place(self, start: int, end: int | None = None, field: str = "response_ids") -> str:
        """Where a reader finds the ids: `trajectory 0, response_ids[2:5]`. Counted in `field`, except in the prompt."""
        if start < self.prompt:
            field, base = "prompt_ids", 0
        else:
            base = self.prompt
        to = f":{end - base}" if end is not None else ""
        return f"trajectory {self.number}, {field}[{start - base}{to}]"


class Evidence:
    """Trajectories and calls, packed, and the segments of each trajectory."""

    def __init__(self, trajectories: Sequence[Exported], calls: Sequence[Recorded]) -> None:
        self.tracks = [Track(number, trajectory) for number, trajectory in enumerate(sequence(trajectories))]
        self.calls = [choice for number, record in enumerate(sequence(calls)) for choice in _choices(number, record)]

    @cached_property
    def segments(self) -> list[tuple[Track, list[Segment]]]:
        """For each trajectory its segments, in order."""
        return [
            (track, [segment for run in track.runs for segment in self._split(track, *run)]) for track in self.tracks
        ]

    @cached_property
    def explained(self) -> dict[Track, dict[int, int]]:
        """For each trajectory where the segments start that a generation explains, and where they end."""
        return {
            track: {segment.start: segment.end for segment in segments if segment.calls}
            for track, segments in self.segments
        }

    @cached_property
    def by_ids(self) -> dict[bytes, list[Call]]:
        """The calls by what they returned; empty generations are left out."""
        known: dict[bytes, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.generation:
                known[call.generation].append(call)
        return dict(known)

    @cached_property
    def _by_first(self) -> dict[bytes, list[bytes]]:
        known: dict[bytes, list[bytes]] = defaultdict(list)
        for ids in sorted(self.by_ids, key=len, reverse=True):
            known[ids[:WIDTH]].append(ids)
        return dict(known)

    @cached_property
    def _by_length(self) -> dict[int, list[Call]]:
        known: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.generation:
                known[count(call.context)].append(call)
        return dict(known)

    def _split(self, track: Track, start: int, end: int) -> list[Segment]:
        """Explain the run as generations one behind the other. What none explains is a segment without calls."""
        cuts = self._cover(track, start, end)
        segments = []
        for low, high in itertools.pairwise(cuts):
            segments.append(Segment(low, high, tuple(self.by_ids[part(track.full, low, high)])))
        if cuts[-1] < end:
            segments.append(Segment(cuts[-1], end, ()))
        return segments

    def _cover(self, track: Track, start: int, end: int) -> list[int]:
        """Cut the run at the ends of generations; the longest chain of cuts when no chain reaches its end."""
        path, options, dead, best = [start], [self._steps(track, start, end)], set[int](), [start]
        while options:
            if path[-1] == end:
                return path
            following = next((cut for cut in options[-1] if cut not in dead), None)
            if following is None:
                best = list(path) if path[-1] > best[-1] else best
                dead.add(path.pop())
                options.pop()
                continue
            path.append(following)
            options.append(self._steps(track, following, end))
        return best

    def _steps(self, track: Track, start: int, end: int) -> Iterator[int]:
        """Where a generation that begins at `start` may end: the calls whose context fits come first."""
        for call in self._by_length.get(start, ()):
            stop = start + count(call.generation)
            if stop <= end and stands_at(track.full, call.generation, start) and track.full.startswith(call.context):
                yield stop
        for ids in self._by_first.get(part(track.full, start, start + 1), ()):
            stop = start + count(ids)
            if stop <= end and stands_at(track.full, ids, start):
                yield stop


def mask_bytes(mask: object) -> bytes:
    """The mask with one byte for each entry: 0, 1, or 2 for anything else."""
    entries = sequence(mask)
    try:
        return bytes(entries)
    except (TypeError, ValueError):
        return bytes(1 if entry == 1 else 0 if entry == 0 else 2 for entry in entries)


def _choices(number: int, call: Recorded) -> Iterator[Call]:
    """What the call returned, one for each choice; none when it was not answered."""
    first, logprobs = getattr(call, "generation", None), getattr(call, "logprobs", None)
    if first is None or getattr(call, "outcome", "answered") != "answered":
        return
    context = pack(getattr(call, "context", None))
    yield Call(number, context, pack(first), None if logprobs is None else sequence(logprobs))
    for choice, ids in enumerate(sequence(getattr(call, "generations", None))[1:], 1):
        yield Call(number, context, pack(ids), None, choice)
