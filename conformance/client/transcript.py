"""The record of a check: every exchange between the kit and the gateway, and between the gateway and the upstream.

Times are seconds of the machine-wide monotonic clock on both sides, so that the two can be merged into one trace.
Secrets are redacted here, where text is made, so that no caller can forget it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "cookie", "set-cookie", "proxy-authorization"})
SECRET_FIELDS = re.compile(r'("(?:api_key|apiKey|token|secret|password)"\s*:\s*)"[^"]*"')
REDACTED = "***"
BODY_LIMIT = 600


@dataclass(slots=True)
class Exchange:
    """One HTTP request of the kit to the gateway and what came back.

    `chunks` holds the body as it arrived: (time, bytes). `status` is None when no answer came; `error` says why.
    """

    method: str
    url: str
    request_headers: Mapping[str, str]
    request_body: bytes
    started: float
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    finished: float | None = None
    error: str | None = None

    @property
    def body(self) -> bytes:
        return b"".join(chunk for _, chunk in self.chunks)


class UpstreamCall(Protocol):
    """What the trace needs of a ledger entry."""

    @property
    def arrived(self) -> float: ...
    @property
    def answered(self) -> float | None: ...
    @property
    def dialect(self) -> str: ...
    @property
    def context(self) -> list[int]: ...
    @property
    def images(self) -> list[Any] | None: ...
    @property
    def videos(self) -> list[Any] | None: ...
    @property
    def text(self) -> str: ...
    @property
    def generation(self) -> list[int]: ...
    @property
    def status(self) -> int | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def finish_reason(self) -> str | None: ...


class UpstreamPost(Protocol):
    """What the trace needs of what the gateway posted by itself."""

    @property
    def arrived(self) -> float: ...
    @property
    def answered(self) -> float | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def text(self) -> str: ...


def redact(text: str) -> str:
    return SECRET_FIELDS.sub(rf'\1"{REDACTED}"', text)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: REDACTED if name.lower() in SECRET_HEADERS else value for name, value in headers.items()}


def excerpt(body: bytes, limit: int = BODY_LIMIT) -> str:
    """A body as a reader can take it in: text if it is text, its middle cut out when it is long."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = repr(body)[2:-1]
    text = redact(text)
    if len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 3]} ... ({len(body)} bytes) ... {text[-limit // 4 :]}"


def trace(exchanges: Iterable[Exchange], calls: Iterable[UpstreamCall], posts: Iterable[UpstreamPost] = ()) -> str:
    """The exchanges, the upstream's calls and the posts of its inbox as one timed list, oldest first, times in ms since
    the first line."""
    lines: list[tuple[float, str, list[str]]] = []
    for exchange in exchanges:
        path = _path(exchange.url)
        lines.append((exchange.started, f"client  > gateway   {exchange.method} {path}", _body(exchange.request_body)))
        if exchange.error is not None:
            lines.append((exchange.finished or exchange.started, f"client  < gateway   {exchange.error}", []))
        elif exchange.status is not None:
            kind = exchange.headers.get("content-type", "no content-type")
            end = exchange.finished or exchange.started
            lines.append((end, f"client  < gateway   {exchange.status} {kind}", _body(exchange.body)))
    for call in calls:
        lines.append((call.arrived, f"gateway > upstream  {call.dialect} {_received(call)}", [_tail(call.text)]))
        if call.answered is not None:
            end_text = f"{call.status} {call.outcome}"
            if call.generation or call.finish_reason:
                end_text += (
                    f", {len(call.generation)} tokens {_ids(call.generation)} {call.finish_reason or ''}".rstrip()
                )
            lines.append((call.answered, f"gateway < upstream  {end_text}", []))
    for post in posts:
        lines.append((post.arrived, "gateway > inbox", _body(post.text.encode())))
        if post.answered is not None:
            lines.append((post.answered, f"gateway < inbox     {post.status}", []))
    if not lines:
        return "nothing was sent"
    lines.sort(key=lambda line: line[0])
    zero = lines[0][0]
    text = []
    for when, head, body in lines:
        text.append(f"{(when - zero) * 1000:+9.1f} ms  {head}")
        text.extend(f"{'':34}{line}" for line in body if line)
    return "\n".join(text)


def _received(call: UpstreamCall) -> str:
    """How much of each the upstream received: `25 tokens, 1 images`."""
    counts = {"tokens": call.context, "images": call.images, "videos": call.videos}
    return ", ".join(f"{len(items)} {name}" for name, items in counts.items() if items is not None)


def curl(exchange: Exchange) -> str:
    """A command line that sends the same request."""
    parts = ["curl", "-sN", "-X", exchange.method, shlex.quote(exchange.url)]
    for name, value in redact_headers(exchange.request_headers).items():
        if name.lower() in {"content-type", *SECRET_HEADERS} or name.lower().startswith("x-"):
            parts += ["-H", shlex.quote(f"{name}: {value}")]
    if exchange.request_body:
        body = exchange.request_body.decode("utf-8", "backslashreplace")
        parts += ["--data-binary", shlex.quote(redact(body)) if len(body) <= 4000 else "@request.json"]
    return " ".join(parts)


def _path(url: str) -> str:
    return "/" + url.split("://", 1)[-1].partition("/")[2]


def _body(body: bytes) -> list[str]:
    return excerpt(body).splitlines() if body else []


def _tail(text: str, limit: int = 300) -> str:
    shown = text if len(text) <= limit else "..." + text[-limit:]
    return json.dumps(shown, ensure_ascii=False)


def _ids(ids: list[int], limit: int = 12) -> str:
    return str(ids) if len(ids) <= limit else f"[{', '.join(map(str, ids[:limit]))}, ...]"
