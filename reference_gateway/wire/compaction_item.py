"""The item that stands for a history that was compacted.

Its `encrypted_content` is opaque to the client: the summary, behind a code that only this gateway makes. Sent as a part
of some later input, it is one more message of the user (`told`). The code says that the content is unchanged and that
it belongs to this session and its isolation keys; it does not hide the summary, which is what the model said.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from reference_gateway import isolation
from reference_gateway.session.conversations import Item, item_id
from reference_gateway.types import Message
from reference_gateway.wire.base import RequestRefused

TYPE = "compaction"

LONGEST = 10_485_760
"""Characters of an `encrypted_content` (OpenResponses, `CompactionSummaryItemParam`)."""

_CODE = hashlib.sha256


class Seal:
    """Makes the content of compactions, and tells its own from any other. `admin_key` lets it be the same after a
    restart; without one, it is another in each process."""

    def __init__(self, admin_key: str | None = None) -> None:
        secret = secrets.token_bytes(32) if admin_key is None else admin_key.encode()
        self._key = hmac.digest(secret, b"compaction", _CODE)

    def close(self, session_id: str, summary: str) -> str:
        """The content that stands for this summary, in the session and for the keys of the request being served."""
        text = summary.encode()
        return base64.urlsafe_b64encode(self._code(session_id, text) + text).decode()

    def require(self, session_id: str, body: Mapping[str, Any], field: str) -> None:
        """Raises `RequestRefused`, which names the field, for a compaction among the items of `body[field]` that was
        not made here, for this session and these keys."""
        items = body.get(field)
        for place, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict) and item.get("type") == TYPE:
                self._require_own(session_id, item.get("encrypted_content"), f"{field}[{place}].encrypted_content")

    def _require_own(self, session_id: str, content: Any, where: str) -> None:
        if not isinstance(content, str):
            raise RequestRefused(f"{where} must be a string")
        if len(content) > LONGEST:
            raise RequestRefused(f"{where} must have at most {LONGEST} characters")
        code, text = _parts(content)
        if not hmac.compare_digest(code, self._code(session_id, text)):
            raise RequestRefused(f"{where} must be the content of a compaction of this session, unchanged")

    def _code(self, session_id: str, text: bytes) -> bytes:
        whose = b"".join(b"%d:%b" % (len(part), part) for part in (session_id.encode(), isolation.partition()))
        return hmac.digest(self._key, whose + text, _CODE)


def told(content: str) -> Message:
    """The message that a compaction with this content is to the model. The content was found to be the gateway's."""
    _, text = _parts(content)
    return {"role": "user", "content": f"This conversation was compacted. Your summary of it:\n\n{text.decode()}"}


def made(content: str) -> Item:
    """The item with this content."""
    return {"id": item_id(TYPE), "type": TYPE, "encrypted_content": content}


def _parts(content: str) -> tuple[bytes, bytes]:
    """The code and the text; nothing and nothing for what is no content of ours."""
    try:
        raw = base64.b64decode(content, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b"", b""
    size = _CODE().digest_size
    return raw[:size], raw[size:]
