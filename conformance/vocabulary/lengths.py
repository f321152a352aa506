"""Sessions whose lengths are set around a measured context. Knows how many ids a context has, never what they are.

The same messages have the same number of ids in every session of a check: only the digits of the nonce differ from
check to check. So they are sent once in a session without lengths, and the upstream says how long they were.
"""

from __future__ import annotations

from typing import Any

from conformance.upstream.client import Upstream
from conformance.vocabulary.expect import expect, last_call
from conformance.vocabulary.session import Message, Session, Sessions

LONG = " ".join(str(number) for number in range(1, 151))
"""More ids than the defaults of engines (16, 128), whatever the tokenizer: no number shares an id with the next."""


def context_length(sessions: Sessions, upstream: Upstream, *messages: str | Message) -> int:
    """How many ids the upstream receives for these messages. Costs one call of the upstream."""
    upstream.says("Measured")
    expect(sessions.open().chat(*messages)).status(200)
    return len(last_call(upstream).context)


def open_with_room(
    sessions: Sessions, upstream: Upstream, *messages: str | Message, room: int, **settings: Any
) -> Session:
    """A session whose two lengths together leave `room` ids behind the context of these messages; 0: they are full."""
    length = context_length(sessions, upstream, *messages)
    prompt, response = (length, room) if room > 0 else (length + room - 1, 1)
    return sessions.open(prompt_length=prompt, response_length=response, **settings)
