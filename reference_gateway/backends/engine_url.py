"""The address of an engine's server.

Invariant: no complaint repeats the URL, which may hold what is nobody's to read.
"""

from __future__ import annotations

from urllib.parse import urlsplit

EXAMPLE = "http://127.0.0.1:8000"


def engine_root(url: str | None, name: str = "url") -> str:
    """`url` without a slash or `/v1` at its end. Raises ValueError, naming the field `name`, unless it is a plain http
    or https URL: keys go into the field for them, and a query is lost where a path is put behind."""
    text = url or ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{name} must be an http or https URL, such as {EXAMPLE}") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ValueError(f"{name} must have no user name and no password in it: a key is given as an API key")
    odd = any(character.isspace() or not character.isprintable() or character == "\\" for character in text)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or odd:
        raise ValueError(f"{name} must be an http or https URL, such as {EXAMPLE}")
    if "?" in text or "#" in text:
        raise ValueError(f"{name} must have no query and no fragment, as in {EXAMPLE}")
    return text.rstrip("/").removesuffix("/v1")
