"""What a channel asks of its target, and where the answer goes: plain, hashable data (contract AF-REQ, AF-DLV-01)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SessionMode = Literal["auto", "required", "disabled"]
"""Whether the target gets a session: when there is a key, always (a request without a key is refused), never."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody as one channel knows them. `token` is how reports and targets spell it."""

    channel: str
    native_id: str
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def token(self) -> str:
        return f"{self.channel}:{self.native_id}"

    def is_same(self, other: Identity | None) -> bool:
        """Whether both are one recipient, whatever else is known of them."""
        return other is not None and self.token == other.token


@dataclass(frozen=True, slots=True)
class ResponseTarget:
    """Who gets the answer. `names` are channel names, tokens `channel:native_id`, or `originating`. With `echo_input`
    the recipients get the user's message, too."""

    kind: Literal["originating", "none", "active", "channels", "all_linked", "identities"] = "originating"
    names: tuple[str, ...] = ()
    recipients: tuple[Identity, ...] = ()
    echo_input: bool = False


ORIGINATING = ResponseTarget()
NONE = ResponseTarget("none")
ACTIVE = ResponseTarget("active")
ALL_LINKED = ResponseTarget("all_linked")


def channel(name: str, *, echo_input: bool = False) -> ResponseTarget:
    return channels([name], echo_input=echo_input)


def channels(names: Iterable[str], *, echo_input: bool = False) -> ResponseTarget:
    return ResponseTarget("channels", tuple(names), echo_input=echo_input)


def identities(recipients: Iterable[Identity], *, echo_input: bool = False) -> ResponseTarget:
    return ResponseTarget("identities", recipients=tuple(recipients), echo_input=echo_input)


@dataclass(frozen=True, slots=True)
class ChannelRequest:
    """One request to a target. A run hook may replace any of it. `session_key` names the conversation; `options` are
    sampling parameters of this run; `response_id` and `previous_response_id` are bound around the run where the
    former is there."""

    input: str
    session_key: str | None = None
    stream: bool = False
    channel: str = "invocations"
    operation: str = "invoke"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    session_mode: SessionMode = "auto"
    identity: Identity | None = None
    response_target: ResponseTarget = ORIGINATING
    response_id: str | None = None
    previous_response_id: str | None = None

    @property
    def hosting(self) -> dict[str, Any]:
        """What the message that the target sees says about where it comes from (contract AF-REQ-04)."""
        hosting: dict[str, Any] = {"channel": self.channel}
        if self.identity is not None:
            hosting["identity"] = self.identity.token
        if self.response_target != ORIGINATING:
            hosting["response_target"] = self.response_target.kind
        return hosting


class InvocationFailed(RuntimeError):
    """A target or a hook failed, and the client may read why: the text of this exception."""


class SessionRequired(ValueError):
    """`session_mode` is `required`, and the request names no session."""

    def __init__(self) -> None:
        super().__init__("this request needs a 'session_id'")
