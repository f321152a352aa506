"""What every wire dialect of the upstream is: JSON in, an `Ask`; samples in, JSON out. No state, no HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from conformance.tokenizer import Tokenizer
from conformance.upstream.engine import Ask, Sample

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


def openai_error(status: int, message: str) -> dict[str, Any]:
    """The error body that vLLM's OpenAI-compatible routes give."""
    kinds = {400: "BadRequestError", 404: "NotFoundError"}
    kind = kinds.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


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


def versions(sample: Sample) -> dict[str, Any]:
    """The weight version as a field of the answer, if the step has one: `weight_version`, verbatim."""
    return {} if sample.weight_version is None else {"weight_version": sample.weight_version}


def pieces(ask: Ask, sample: Sample, tokenizer: Tokenizer) -> list[str]:
    """The sample's text as a stream shows it, one piece per id (often empty); joined they are `sample.text`."""
    ended = bool(sample.ids) and sample.ids[-1] == tokenizer.end_of_turn and sample.finish_reason != "length"
    shown = sample.ids[:-1] if ended else sample.ids
    return tokenizer.pieces(shown, ask.skip_special) + ([""] if ended else [])
