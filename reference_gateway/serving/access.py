"""Who may do what: one admin key for the control plane, one key for each session.

Knows keys and headers. Invariants: keys are compared in constant time and never logged; without an admin key everything
is open, which `Config` allows on loopback only. A session's key is derived from the admin key, so it survives restarts
without being stored.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from reference_gateway.wire.base import RequestRefused


class Access:
    """`admin_key` None leaves everything open."""

    def __init__(self, admin_key: str | None) -> None:
        self._admin = admin_key.encode() if admin_key is not None else None

    def session_key(self, session_id: str) -> str | None:
        """The key of a session; None when keys are off."""
        if self._admin is None:
            return None
        return "sk-" + hmac.digest(self._admin, f"session:{session_id}".encode(), hashlib.sha256).hex()

    def require_admin(self, headers: Mapping[str, str]) -> None:
        """Raises `RequestRefused` with 401 unless the admin key was presented."""
        if self._admin is not None and not hmac.compare_digest(_presented(headers), self._admin):
            raise _refusal("the gateway's API key")

    def require_session(self, headers: Mapping[str, str], session_id: str, *, or_admin: bool = False) -> None:
        """Raises `RequestRefused` with 401 unless the session's key (`or_admin`: or the admin key) was presented."""
        if self._admin is None:
            return
        presented = _presented(headers)
        own = str(self.session_key(session_id)).encode()
        as_admin = hmac.compare_digest(presented, self._admin) and or_admin
        if not hmac.compare_digest(presented, own) and not as_admin:
            raise _refusal("the API key of this session")


def _presented(headers: Mapping[str, str]) -> bytes:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return key.encode("latin-1", "replace")


def _refusal(which: str) -> RequestRefused:
    return RequestRefused(
        f"expected {which} as a bearer token or in x-api-key", status=401, headers={"www-authenticate": "Bearer"}
    )
