"""What a trajectory says was sampled, stretch by stretch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.recorded.file import Read


@dataclass(frozen=True, slots=True)
class Claim:
    """A stretch of mask 1 that begins at `start` of the response: its `ids` behind `context`."""

    start: int
    context: list[int]
    ids: list[int]
    logprobs: list[float] | None


def claims(trajectory: Read) -> Iterator[Claim]:
    ids, mask, logprobs = trajectory.response_ids, trajectory.response_mask, trajectory.response_logprobs
    start = 0
    for bit, several in itertools.groupby(mask):
        end = start + len(list(several))
        if bit == 1:
            yield Claim(start, trajectory.prompt_ids + ids[:start], ids[start:end], logprobs and logprobs[start:end])
        start = end
