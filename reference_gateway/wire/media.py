"""What a client may name as an image or a video. Knows URLs; fetches nothing, and opens no file of this machine."""

from __future__ import annotations

from typing import Any

from reference_gateway.wire.base import RequestRefused

_SCHEMES = ("http://", "https://", "data:")


def media_url(url: Any, where: str) -> str:
    """The URL, as it is. Raises `RequestRefused` naming `where`."""
    if not isinstance(url, str) or not url.startswith(_SCHEMES):
        raise RequestRefused(f"{where} must be an http, https or data URL")
    if url.startswith("data:") and "," not in url:
        raise RequestRefused(f"{where} is a data URL without data")
    return url
