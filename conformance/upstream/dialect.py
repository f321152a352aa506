"""What every wire dialect of the upstream is: JSON in, an `Ask`; samples in, JSON out. No state, no HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conformance.tokenizer import Tokenizer
from conformance.upstream.ending import CUT, Stops
from conformance.upstream.engine import Ask, Sample
from conformance.upstream.errors import Model

KIT = "gateway-conformance upstream"
"""By which the kit's client knows that a server is the kit's."""
MODEL = "scripted"
"""The one model that `/v1/models` lists. Requests may name any."""
CREATED = 1_700_000_000
"""`created` of what is never held against a clock: the model's card and text completions."""


class BadRequest(ValueError):
    """The request is not one of this dialect. The text names the field and what was expected; it is answered 400."""


class Dialect(Protocol):
    """One wire form of `generate`."""

    name: str
    path: str

    def read(self, body: Mapping[str, Any], tokenizer: Tokenizer) -> Ask:
        """Raises `BadRequest`."""

    def answer(self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer) -> Any:
        """The plain answer, as JSON. `serial` makes its id, and the ids of its tool calls, unique."""

    def stream(
        self, ask: Ask, samples: Sequence[Sample], serial: str, tokenizer: Tokenizer
    ) -> Iterator[dict[str, Any]]:
        """The same answer as the JSON documents of an event stream, the final `[DONE]` not included."""

    def error(self, status: int, message: str) -> dict[str, Any]:
        """An error body in this dialect."""

    def refusal(self, context: Sequence[int], limit: int | None, model: Model) -> str | None:
        """Why the engine refuses to sample `limit` tokens (None: the request does not say) behind `context`, or None:
        they do not fit its model, or the model has no such token."""


def usage(ask: Ask, samples: Sequence[Sample]) -> dict[str, Any]:
    sampled = sum(len(sample.ids) for sample in samples)
    prompt = len(ask.context)
    return {"prompt_tokens": prompt, "total_tokens": prompt + sampled, "completion_tokens": sampled}


def flag(body: Mapping[str, Any], field: str, default: bool = False) -> bool:
    """A field that is true or false; null means the default."""
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(f"{field} must be true or false, not {value!r}")
    return value


def count(body: Mapping[str, Any], field: str, low: int) -> int | None:
    """A field that is a whole number, `low` or more; null means absent."""
    value = body.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise BadRequest(f"{field} must be a whole number, {low} or more, not {value!r}")
    return value


MOST_CHOICES = 1024
"""Choices of one request. Engines have such a limit, too."""


def choices(body: Mapping[str, Any]) -> int:
    """How many choices are asked for: `n`, by default 1."""
    wanted = count(body, "n", 1) or 1
    if wanted > MOST_CHOICES:
        raise BadRequest(f"n must be {MOST_CHOICES} at most, not {wanted}")
    return wanted


def token_ids(values: Sequence[Any]) -> bool:
    """Whether all of `values` can be token ids."""
    return all(type(value) is int and 0 <= value < 2**31 for value in values)


def include_usage(body: Mapping[str, Any]) -> bool:
    """`stream_options.include_usage`."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, Mapping):
        raise BadRequest(f"stream_options must be an object, not {options!r}")
    return flag(options, "include_usage")


def model_of(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if model is None:
        return MODEL
    if not isinstance(model, str):
        raise BadRequest(f"model must be a string, not {model!r}")
    return model


def token_name(tokenizer: Tokenizer, token_id: int, body: Mapping[str, Any]) -> str:
    """How a logprobs entry names a token: its text, or `token_id:N` when the request asks for that."""
    return f"token_id:{token_id}" if body.get("return_tokens_as_token_ids") is True else tokenizer.token(token_id)


def stops(body: Mapping[str, Any], shown: str = CUT) -> Stops:
    """`stop`, a string or a list of them, and `stop_token_ids`."""
    strings, ids = body.get("stop"), body.get("stop_token_ids")
    listed = [strings] if isinstance(strings, str) else strings or []
    if not isinstance(listed, list) or not all(isinstance(string, str) and string for string in listed):
        raise BadRequest(f"stop must be a non-empty string or a list of them, not {strings!r}")
    if ids is not None and not (isinstance(ids, list) and token_ids(ids)):
        raise BadRequest(f"stop_token_ids must be a list of token ids, not {ids!r}")
    return Stops(tuple(listed), frozenset(ids or ()), shown)


def versions(sample: Sample, until: int | None = None) -> dict[str, Any]:
    """The weight version as a field of the answer, if the step has one: `weight_version`, verbatim. An event of a
    stream has it as it was when the first `until` ids were sampled: one that changes does so in the middle."""
    version = sample.weight_version
    if isinstance(version, tuple) and until is not None:
        version = version[2 * until > len(sample.ids)]
    return {} if version is None else {"weight_version": version}


@dataclass(frozen=True, slots=True)
class Event:
    """What an event of a stream brings: the ids from `first` to before `until`, and the `text` that is new."""

    first: int
    until: int
    text: str
    last: bool


def events(ask: Ask, sample: Sample, tokenizer: Tokenizer) -> list[Event]:
    """The sample as a stream shows it, `ids_per_event` ids with each event; their texts joined are `sample.text`. What
    is empty is one event."""
    shown = pieces(ask, sample, tokenizer)
    size, whole = sample.ids_per_event, len(sample.ids)
    return [
        Event(first, min(first + size, whole), "".join(shown[first : first + size]), first + size >= whole)
        for first in range(0, max(whole, 1), size)
    ]


def pieces(ask: Ask, sample: Sample, tokenizer: Tokenizer) -> list[str]:
    """The sample's text as a stream shows it, one piece per id (often empty); joined they are `sample.text`: what may
    become a stop string is held back until it has or can't."""
    whole = tokenizer.pieces(sample.ids[: sample.speaking], ask.skip_special)
    shown, left = [], len(sample.text)
    for piece in whole:
        shown.append(piece[:left])
        left -= len(shown[-1])
    return shown + [""] * (len(sample.ids) - sample.speaking)
