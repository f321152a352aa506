"""Invocations as a client sees them: one message in, one text out, whole or in the frames of a stream.

Knows that wire's bodies and the two headers that say for whom a request is made; never a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import ABSENT, Reply, at
from conformance.oracles import Violation, invocations

if TYPE_CHECKING:
    from conformance.gateway import Declaration, Handle

USER_HEADER = "x-agent-user-isolation-key"
CHAT_HEADER = "x-agent-chat-isolation-key"


def keys(user: str | None = None, chat: str | None = None) -> dict[str, str]:
    """The isolation headers of a request."""
    headers = {USER_HEADER: user, CHAT_HEADER: chat}
    return {name: value for name, value in headers.items() if value is not None}


class InvocationReply(Reply):
    """What the gateway answered to an invocation, streamed or not."""

    encoded = False
    """Whether each chunk of a stream is one JSON string (option `invocations_frames`)."""

    @property
    def text(self) -> str:
        """What the target said."""
        self._require_answer()
        return "".join(self.pieces) if self.is_stream else str(at(self.json(), "response", kind=str))

    @cached_property
    def pieces(self) -> list[str]:
        """The chunks that a parser of event streams gets."""
        return invocations.chunks(self.body, self.encoded)

    @property
    def failure(self) -> str | None:
        """The message of the error that ended a stream; None where there is none."""
        return invocations.failure(self.body)

    def _require_answer(self) -> None:
        if self.status != 200:
            raise ConformanceFailure([Violation("status", "200", f"{self.status} {describe(self.body)}")])
        if self.is_stream and self.failure is not None:
            raise ConformanceFailure([Violation("stream", "an answer", f"the error {describe(self.failure)}")])


class OverInvocations:
    """What a session sends over the Invocations wire. `handle`, `send_to` and the nonce are the session's."""

    if TYPE_CHECKING:
        _nonce: str
        send_to: Callable[..., Reply]

        @property
        def handle(self) -> Handle: ...

    @property
    def invocations_path(self) -> str:
        """Where the session takes invocations, below its base URL."""
        return self.invocations_url.removeprefix(self.handle.base_url)

    @property
    def invocations_url(self) -> str:
        """Where the session takes invocations."""
        return self.handle.invocations_url or f"{self.handle.base_url}/invocations"

    def invoke(
        self,
        message: Any,
        session_id: Any = ABSENT,
        *,
        stream: bool = False,
        keys: Mapping[str, str] = MappingProxyType({}),
        first: bool = True,
        **fields: Any,
    ) -> InvocationReply:
        """Send an invocation and return whatever came back. `keys` are isolation headers. A message that is not the
        `first` of its conversation is sent as it is, without the nonce."""
        return self.send_invocation(self.invocation(message, session_id, stream=stream, first=first, **fields), keys)

    def invocation(
        self, message: Any, session_id: Any = ABSENT, *, stream: bool = False, first: bool = True, **fields: Any
    ) -> dict[str, Any]:
        """The body of the request that `invoke` sends."""
        body = {"message": f"{self._nonce} {message}" if first and message and isinstance(message, str) else message}
        body |= {"session_id": session_id, **({"stream": True} if stream else {}), **fields}
        return {name: value for name, value in body.items() if value is not ABSENT}

    def send_invocation(
        self, body: Any = None, keys: Mapping[str, str] = MappingProxyType({}), *, under: str = "", **how: Any
    ) -> InvocationReply:
        """Send any request to where the session takes invocations, or to a path `under` it."""
        return InvocationReply(self.send_to(self.invocations_url + under, body, headers=keys, **how).exchange)


class Declares(Protocol):
    """Whatever knows what the gateway says about itself."""

    @property
    def declaration(self) -> Declaration: ...


def as_declared(reply: InvocationReply, target: Declares) -> InvocationReply:
    """The reply, read as the gateway says that it frames its chunks."""
    reply.encoded = target.declaration.options.get("invocations_frames") == "json"
    return reply


def is_about_an_end(violation: Violation) -> bool:
    """Whether it says that a stream does not end, or not once: another requirement than the form of its frames."""
    return violation.where == "end of stream" or violation.expected.startswith("nothing after")
