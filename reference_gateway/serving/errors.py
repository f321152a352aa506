"""The one place where an exception becomes an HTTP status and a text (contract UA-ERR).

Knows every exception that may leave a turn. Never knows an envelope: that is the wire's. Invariant: a client sees the
text of an exception only where the exception was made for it; anything else is "Internal server error" and a log entry.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from reference_gateway.backends.base import EngineError
from reference_gateway.channel.request import InvocationFailed, SessionRequired
from reference_gateway.codec.chat_template import TemplateRefused
from reference_gateway.serving.http import HungUp
from reference_gateway.session import InvalidField, SessionClosed, SessionExists, UnknownSession
from reference_gateway.session.errors import UnknownConversation, UnknownItem, UnknownResponse
from reference_gateway.tools.stores import FileRefused, UnknownFile, UnknownStore
from reference_gateway.types import BackendFailed, BackendRefused, BackendUnavailable, MediaRefused
from reference_gateway.wire.base import RequestRefused

log = logging.getLogger(__name__)

NO_RETRY: Mapping[str, str] = {"x-should-retry": "false"}
"""The stock SDKs repeat a 409 twice; a closed session stays closed."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error is to an HTTP client."""

    status: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: Exception) -> Problem:
    """Status and text for `error`; what nobody expected is logged here."""
    match error:
        case RequestRefused():
            return Problem(error.status, str(error), error.headers)
        case InvalidField() | TemplateRefused() | MediaRefused() | FileRefused():
            return Problem(400, str(error))
        case BackendRefused():
            return Problem(error.status, str(error))
        case BackendUnavailable():
            after = {} if error.retry_after is None else {"retry-after": error.retry_after}
            return Problem(error.status, str(error), after)
        case HungUp():
            return Problem(400, "the body was cut short")
        case UnknownSession() | UnknownConversation() | UnknownResponse() | UnknownItem():
            return Problem(404, str(error))
        case UnknownFile() | UnknownStore():
            return Problem(404, str(error))
        case SessionRequired():
            return Problem(409, str(error), NO_RETRY)
        case InvocationFailed():
            return Problem(500, str(error))
        case SessionClosed() | SessionExists():
            return Problem(409, str(error), NO_RETRY)
        case EngineError():
            return Problem(500, error.described)
        case BackendFailed():
            return Problem(error.status, f"{type(error).__name__}: {error}")
    log.error("unhandled exception", exc_info=error)
    return Problem(500, "Internal server error")
