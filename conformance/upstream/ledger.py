"""The upstream's own record of a call: what it received and what it gave back. The ledger is the truth.

Plain data that crosses a process boundary as JSON. Secrets do not enter it: the values of credential headers are
replaced before a call is recorded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PENDING = "pending"
ANSWERED = "answered"
FAILED = "failed"
UNSCRIPTED = "unscripted"
UNCLAIMED = "unclaimed"
ABORTED = "aborted"

_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})


@dataclass(slots=True)
class Call:
    """One call of the data plane.

    `index` counts the calls of one nonce from 0 in order of arrival. `arrived` and `answered` are seconds of the
    system-wide monotonic clock (comparable with `time.monotonic()` of any process on this machine); `answered` is None
    while the call is open. `outcome`: `pending`; `answered`; `failed`, a scripted fault; `unscripted`, no step was
    there; `unclaimed`, it had no nonce, belongs to no test and was given a plain short answer; `aborted`, the caller
    hung up or the script was dropped first.

    `context` are the token ids received (for chat, rendered by the upstream) and `text` what they say. `generation`,
    `logprobs` (None when the answer has none), `finish_reason`, `stop_reason` (what of the request's stops ended it, a
    string or an id) and `weight_version` are what the answer gave back, and
    empty for a call that failed before there was one; with `n` greater than 1 they are the first choice's, and
    `generations` has all. `said` is what the script had the model say, `{"text", "tool_calls"}`, where it was sampled
    to its end; None where it was scripted as ids or cut, and of an engine that has no script. `body` is the request
    less its prompt, messages and media; `messages` are the chat request's own, None for a dialect that takes tokens.
    `images` and `videos` are the media that came with it, None when no such field did.
    """

    index: int
    nonce: str | None
    dialect: str
    arrived: float
    context: list[int]
    body: dict[str, Any]
    headers: dict[str, str]
    messages: list[Any] | None = None
    images: list[Any] | None = None
    videos: list[Any] | None = None
    text: str = ""
    answered: float | None = None
    generations: list[list[int]] = field(default_factory=list)
    logprobs: list[float] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    weight_version: Any = None
    status: int | None = None
    outcome: str = PENDING
    message: str | None = None
    said: dict[str, Any] | None = None

    @property
    def generation(self) -> list[int]:
        """The token ids sampled; empty when nothing was."""
        return self.generations[0] if self.generations else []

    @property
    def sampling(self) -> dict[str, Any]:
        """The request's fields that say how to sample: all less `model`, `tools` and what shapes the answer."""
        return {key: value for key, value in self.fields.items() if key not in _NOT_SAMPLING}

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the body, those that a dialect keeps in `sampling_params` beside the others."""
        nested = self.body.get("sampling_params")
        return {**self.body, **nested} if isinstance(nested, dict) else self.body

    @property
    def max_tokens(self) -> Any:
        """The limit of the generation that the request asked for, by whichever name; None when it has none."""
        names = ("max_completion_tokens", "max_tokens", "max_new_tokens", "n_predict")
        found = next((self.sampling[name] for name in names if self.sampling.get(name) is not None), None)
        return None if names[-1] in self.sampling and found == -1 else found  # llama.cpp's word for no limit

    def to_json(self) -> dict[str, Any]:
        """Everything but `text`, which the reader decodes from `context`."""
        return {name: getattr(self, name) for name in _WRITTEN}

    @classmethod
    def from_json(cls, document: Mapping[str, Any], text: str) -> Call:
        return cls(**document, text=text)


_WRITTEN = tuple(attribute.name for attribute in dataclasses.fields(Call) if attribute.name != "text")


class LedgerFile:
    """A file to which calls are appended, a line of JSON each, as they are closed. Raises OSError when it cannot be."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def append(self, call: Call) -> None:
        self._file.write(json.dumps(call.to_json(), separators=(",", ":")) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


_NOT_SAMPLING = frozenset(
    {"model", "tools", "tool_choice", "stream", "stream_options", "return_token_ids", "request_id"}
    | {"sampling_params", "return_prompt_token_ids", "rid", "return_tokens", "post_sampling_probs"}
)


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with lower-case names, in the order of arrival; the values of credentials are `<redacted>`."""
    return {name.lower(): "<redacted>" if name.lower() in _CREDENTIALS else value for name, value in headers.items()}
