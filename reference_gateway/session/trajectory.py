"""The trajectory: what a chain of the tree is for the trainer (contract UA-TRJ).

Knows nodes and token lists; never a message, a session's phase or HTTP. Invariants, for each trajectory:

- `response_mask` is 1 exactly where the id was sampled for this chain, and `len(response_mask) == len(response_ids)`.
- For each of its generations, `prompt_ids + response_ids[:start]` is the context that the backend had.
- `response_logprobs` is None or aligned with `response_ids`, 0.0 where the mask is 0.
- It shares nothing with the session: changing it changes nothing else.
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from reference_gateway.context import Context, Run
from reference_gateway.session.tree import Chain, Node
from reference_gateway.types import LogprobsOf, Media


@dataclass(slots=True)
class Trajectory:
    """Fields as in contract UA-TRJ-01. Ids are token ids; `num_turns` counts the user and assistant messages of the
    history, plus one. `extra_fields` is empty when nothing special happened: beside logprobs
    it says what they are of."""

    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    response_logprobs: list[float] | None
    reward_info: dict[str, Any]
    num_turns: int
    reward_score: float | None = None
    multi_modal_data: dict[str, Any] | None = None
    routed_experts: Any = None
    extra_fields: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Ready for a JSON encoder. `routed_experts` is left out when the backend reported none."""
        body = {
            "prompt_ids": self.prompt_ids,
            "response_ids": self.response_ids,
            "response_mask": self.response_mask,
            "response_logprobs": self.response_logprobs,
            "reward_info": self.reward_info,
            "reward_score": self.reward_score,
            "num_turns": self.num_turns,
            "multi_modal_data": self.multi_modal_data,
            "extra_fields": self.extra_fields,
        }
        if self.routed_experts is not None:
            body["routed_experts"] = self.routed_experts
        return body


def export(chain: Chain, reward_info: dict[str, Any], length_mark: str) -> Trajectory:
    """`length_mark` is the key of `extra_fields` that says why a full chain was closed."""
    shared, own = chain.split()
    first = own[0]
    response, mask = array("i", first.sampled), bytearray(b"\1" * len(first.sampled))
    for node in own[1:]:
        response += node.context
        response += node.sampled
        mask += bytes(len(node.context)) + b"\1" * len(node.sampled)
    experts = [node.routed_experts for node in own if node.routed_experts is not None]
    return Trajectory(
        prompt_ids=list(context_of(shared, first.context)),
        response_ids=response.tolist(),
        response_mask=list(mask),
        response_logprobs=_logprobs(own),
        reward_info=copy.deepcopy(reward_info),
        num_turns=chain.tip.turns + 1,
        multi_modal_data=_multi_modal_data(media(shared + own)),
        routed_experts=copy.deepcopy(experts[-1]) if experts else None,
        extra_fields=_extra_fields(chain, own, length_mark),
    )


def context_of(path: Iterable[Node], *last: Run) -> Context:
    """What the model saw and sampled along a path from a root; `last` is what a new turn adds."""
    return Context([*(run for node in path for run in (node.context, node.sampled)), *last])


def media(path: Iterable[Node], last: Media | None = None) -> Media:
    """The media of a path, in the order in which its tokens refer to them; `last` is what a new turn adds."""
    parts = [node.media for node in path]
    if last is not None:
        parts.append(last)
    return Media(
        images=tuple(image for part in parts for image in part.images),
        videos=tuple(video for part in parts for video in part.videos),
    )


def _logprobs(own: list[Node]) -> list[float] | None:
    if any(node.logprobs is None for node in own):
        return None
    values = array("d")
    for node in own:
        if node is not own[0]:
            values.frombytes(bytes(8 * len(node.context)))
        values += node.logprobs or array("d")
    return values.tolist()


def _multi_modal_data(media: Media) -> dict[str, Any] | None:
    kinds = {"images": list(media.images), "videos": list(media.videos)}
    return {kind: copy.deepcopy(items) for kind, items in kinds.items() if items} or None


def _logprobs_fields(kinds: list[LogprobsOf | None]) -> dict[str, Any]:
    """What `response_logprobs` are of, where all generations say the same kind: with several temperatures a list of
    them."""
    told = {kind.kind for kind in kinds if kind is not None}
    if None in kinds or len(told) != 1:
        return {}
    fields: dict[str, Any] = {"logprobs": told.pop()}
    temperatures = sorted({kind.temperature for kind in kinds if kind is not None and kind.temperature is not None})
    if temperatures:
        fields["logprobs_temperature"] = temperatures[0] if len(temperatures) == 1 else temperatures
    return fields


def _extra_fields(chain: Chain, own: list[Node], length_mark: str) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    versions = [node.versions for node in own if node.versions is not None]
    if versions:
        extra["min_global_steps"] = min(lowest for lowest, _ in versions)
        extra["max_global_steps"] = max(highest for _, highest in versions)
    if all(node.logprobs is not None for node in own):
        extra |= _logprobs_fields([node.logprobs_of for node in own if node.sampled])
    if chain.reason is not None:
        extra[length_mark] = chain.reason
    if chain.rollbacks:
        extra["rollback_count"] = chain.rollbacks
        extra["rollback_dropped_trainable_tokens"] = chain.dropped
    return extra
