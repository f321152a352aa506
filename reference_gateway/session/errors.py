"""What a session refuses. Plain exceptions: the wire gives each its status and envelope.

| exception | the caller hears |
|---|---|
| `UnknownSession`, `UnknownConversation`, `UnknownResponse`, `UnknownItem` | 404 |
| `SessionExists`, `SessionClosed` | 409 |
| `InvalidField` | 400 |
"""

from __future__ import annotations


class SessionError(Exception):
    """A session could not do what was asked of it. The text names the session and may be shown to the client."""


class UnknownSession(SessionError):
    def __init__(self, session_id: str) -> None:
        super().__init__(f"unknown session: {session_id}")
        self.session_id = session_id


class UnknownConversation(SessionError):
    def __init__(self, conversation_id: str) -> None:
        super().__init__(f"unknown conversation: {conversation_id}")


class UnknownResponse(SessionError):
    def __init__(self, response_id: str) -> None:
        super().__init__(f"unknown response: {response_id}")


class UnknownItem(SessionError):
    def __init__(self, item_id: str) -> None:
        super().__init__(f"unknown item: {item_id}")


class SessionExists(SessionError):
    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id} already exists")
        self.session_id = session_id


class SessionClosed(SessionError):
    """The session is there but takes no more turns (contract UA-LC-07). `phase` is the phase in upper case."""

    def __init__(self, session_id: str, phase: str) -> None:
        super().__init__(f"session {session_id} is {phase.lower()}")
        self.session_id = session_id
        self.phase = phase


class InvalidField(ValueError):
    """A value that the caller gave is not what the field takes. `field` is its name."""

    def __init__(self, field: str, expected: str) -> None:
        super().__init__(f"{field} {expected}")
        self.field = field
