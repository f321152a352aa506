"""Sessions: a prefix tree of committed generations for each, and the registry of those that are alive.

No HTTP and no model: messages come in canonical form (`reference_gateway.types`), tokens from a codec and a backend.
"""

from reference_gateway.session.cache import Sessions
from reference_gateway.session.errors import InvalidField, SessionClosed, SessionError, SessionExists, UnknownSession
from reference_gateway.session.options import OPTIONS
from reference_gateway.session.session import Phase, Session
from reference_gateway.session.settings import Settings
from reference_gateway.session.trajectory import Trajectory

__all__ = [
    "OPTIONS",
    "InvalidField",
    "Phase",
    "Session",
    "SessionClosed",
    "SessionError",
    "SessionExists",
    "Sessions",
    "Settings",
    "Trajectory",
    "UnknownSession",
]
