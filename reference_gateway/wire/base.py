"""What every wire is, and the refusals that they share.

Knows the shape of a wire, not one of them. A wire turns a decoded JSON body into a `WireRequest`, and an `Answer` into
bytes; it never sees a session, a socket or a token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from reference_gateway.types import Answer, Message, Turn

DEFAULT_SAMPLING = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "logit_bias"),
        *("presence_penalty", "frequency_penalty", "repetition_penalty"),
    }
)
"""Sampling parameters that a request may set, unless configured otherwise (contract UA-SMP-01)."""


class RequestRefused(ValueError):
    """The request can't be served. `status` is the HTTP status, the text is shown to the client as it stands."""

    def __init__(self, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Policy:
    """What the gateway lets a request decide: which sampling parameters reach the backend, and whether its
    `chat_template_kwargs` reach the template (option `template_kwargs`). `media`: it takes images and videos.
    `formats`: the engine holds an answer to a format; `forced_calls`: also to calls, in the format of this model."""

    sampling: frozenset[str] = DEFAULT_SAMPLING
    template_kwargs: bool = False
    media: bool = False
    formats: bool = False
    forced_calls: bool = False


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A parsed request: the turn for the session, and what the wire needs to answer in kind. `model` is echoed."""

    turn: Turn
    model: str
    stream: bool = False
    include_usage: bool = False


class LiveFrames(Protocol):
    """One stream of one wire, piece by piece."""

    def opening(self, prompt_tokens: int) -> bytes:
        """What stands before the first text."""

    def text(self, text: str) -> bytes:
        """A piece of the content."""

    def closing(self, answer: Answer, rest: str) -> bytes:
        """What of the content was not shown yet, and all that follows it, to the terminal frame."""

    def failed(self, status: int, message: str) -> bytes:
        """The in-band error, which is the last frame."""


class Wire(Protocol):
    """One provider's HTTP dialect."""

    name: str

    def parse(self, body: dict[str, Any], headers: Mapping[str, str], policy: Policy) -> WireRequest:
        """Validate and translate. Header names are lower case. Raises `RequestRefused` naming the field."""

    def plain(self, answer: Answer, request: WireRequest) -> bytes:
        """The whole answer as one JSON document."""

    def stream(self, answer: Answer, request: WireRequest) -> Iterable[bytes]:
        """The whole answer as the frames of an event stream."""

    def live(self, request: WireRequest) -> LiveFrames:
        """The same frames, piece by piece."""

    def error(self, status: int, message: str) -> bytes:
        """The provider's error envelope."""


_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Retry:
    """What a client's headers say about repeating itself."""

    idempotency_key: str | None = None
    count: int = 0

    @property
    def repeats(self) -> bool:
        """Whether this may be a request that was made before."""
        return self.idempotency_key is not None or self.count > 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """A request's sampling parameters after the allowlist; `max_tokens` on its own."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_integer(value: object) -> bool:
    return type(value) is int


def _is_bias(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_stop(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(text, str) for text in value))


_FORMS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    **dict.fromkeys(
        (*("temperature", "top_p", "min_p"), *("presence_penalty", "frequency_penalty", "repetition_penalty")),
        (_is_number, "a number"),
    ),
    **dict.fromkeys(("top_k", "seed"), (_is_integer, "an integer")),
    "logit_bias": (_is_bias, "an object of numbers"),
    "stop": (_is_stop, "a string or a list of strings"),
}
"""Sampling parameters whose form is the same for every engine."""


def retry_of(headers: Mapping[str, str]) -> Retry:
    """From `Idempotency-Key` and the retry counter of the stock SDKs."""
    count = headers.get("x-stainless-retry-count", "")
    return Retry(headers.get("idempotency-key") or None, int(count) if _COUNT.fullmatch(count) else 0)


def sampling_of(
    body: Mapping[str, Any], allowed: frozenset[str], max_tokens: Any, field: str = "max_tokens"
) -> Sampling:
    """What passes the allowlist; null is the same as absent. `max_tokens` is the value of the wire's own `field`. The
    JSON type of a parameter is looked at, its range is the engine's to judge. Raises `RequestRefused`."""
    names = body.keys() & allowed
    parameters = {name: body[name] for name in names if name != "max_tokens" and body[name] is not None}
    for name, value in parameters.items():
        if name in _FORMS and not _FORMS[name][0](value):
            raise RequestRefused(f"{name} must be {_FORMS[name][1]}")
    if "max_tokens" not in allowed or max_tokens is None:
        return Sampling(parameters)
    if type(max_tokens) is not int or max_tokens <= 0:
        raise RequestRefused(f"{field} must be a positive integer")
    return Sampling(parameters, max_tokens)


def flag_of(body: Mapping[str, Any], field: str, default: bool, where: str = "") -> bool:
    """A boolean of the body. Raises `RequestRefused`."""
    value = body.get(field)
    if value is not None and not isinstance(value, bool):
        raise RequestRefused(f"{where}{field} must be true, false or null")
    return default if value is None else value


def open_end(messages: Sequence[Message], refusal: str) -> bool:
    """True for messages whose last can be gone on with: an assistant's that is text. Raises `RequestRefused`, which
    begins with `refusal`, for any other."""
    last = messages[-1]
    if last["role"] != "assistant":
        raise RequestRefused(f"{refusal} the last of the messages is not an assistant's")
    if last.get("tool_calls") or not isinstance(last["content"], str):
        raise RequestRefused(f"{refusal} the last of the messages is not just text")
    return True


def template_kwargs_of(body: Mapping[str, Any], policy: Policy) -> Mapping[str, Any]:
    """The request's `chat_template_kwargs` where it may have any. Names that the gateway sets itself are refused."""
    template_kwargs = body.get("chat_template_kwargs")
    if not policy.template_kwargs or template_kwargs is None:
        return {}
    if not isinstance(template_kwargs, dict):
        raise RequestRefused("chat_template_kwargs must be an object")
    for name in ("messages", "tools", "add_generation_prompt"):
        if name in template_kwargs:
            raise RequestRefused(f"chat_template_kwargs must not set {name}")
    return template_kwargs
