"""Invocations as a client sees them: one message in, one text out, whole or in the frames of a stream.

Knows that wire's bodies and the two headers that say for whom a request is made; never a token.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from conformance.failure import ConformanceFailure, describe
from conformance.oracles import Violation, invocations
from conformance.wire import Reply, at

if TYPE_CHECKING:
    from conformance.target import Target

USER_HEADER = "x-agent-user-isolation-key"
CHAT_HEADER = "x-agent-chat-isolation-key"


def keys(user: str | None = None, chat: str | None = None) -> dict[str, str]:
    """The isolation headers of a request."""
    given = {USER_HEADER: user, CHAT_HEADER: chat}
    return {name: value for name, value in given.items() if value is not None}


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


def as_declared(reply: InvocationReply, target: Target) -> InvocationReply:
    """The reply, read as the gateway says that it frames its chunks."""
    reply.encoded = target.declaration.options.get("invocations_frames") == "json"
    return reply


def is_about_an_end(violation: Violation) -> bool:
    """Whether it says that a stream does not end, or not once: another requirement than the form of its frames."""
    return violation.where == "end of stream" or violation.expected.startswith("nothing after")
