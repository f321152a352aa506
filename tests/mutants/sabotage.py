"""The ways to break the reference gateway: replace an attribute of its code, rewrite what goes over its wire, rewrite
what it exports. Everything is undone after the run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from types import ModuleType
from typing import Any

import pytest

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Place = tuple[Any, str]
"""A module or class of the reference gateway, and a name in it."""
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Answer:
    """An HTTP answer on its way out. `body` is whole; `json` reads and writes it."""

    def __init__(
        self, method: str, path: str, request: bytes, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        self.method, self.path, self.request = method, path, request
        self.status, self.headers, self.body = status, headers, body
        self._written: dict[bytes, str | None] = {}
        """Of a body, its JSON as it is written here."""

    @classmethod
    def of(cls, scope: Scope, request: bytes, sent: Sequence[Message]) -> Answer:
        """The answer that these messages of a server to its client are."""
        start, *rest = sent
        headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        body = b"".join(message.get("body", b"") for message in rest)
        return cls(scope["method"], scope["path"], request, start["status"], headers, body)

    def copy(self) -> Answer:
        """One to be changed."""
        copied = Answer.__new__(Answer)
        copied.__dict__.update(self.__dict__, headers=dict(self.headers))
        return copied

    @property
    def is_chat(self) -> bool:
        return self.path.endswith("/chat/completions")

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def is_plain_completion(self) -> bool:
        return self.is_chat and self.status == 200 and not self.is_stream

    @property
    def is_chunk_stream(self) -> bool:
        return self.is_chat and self.status == 200 and self.is_stream

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @json.setter
    def json(self, document: Any) -> None:
        written = json.dumps(document)
        if written != self.written:  # else it keeps its bytes
            self.body = written.encode()

    @property
    def written(self) -> str | None:
        """Its JSON as it is written here; None when it has none. It is found out once, also for copies of this."""
        if self.body not in self._written:
            try:
                self._written[self.body] = json.dumps(self.json)
            except (ValueError, RecursionError):
                self._written[self.body] = None
        return self._written[self.body]

    @property
    def asked(self) -> Any:
        """The request's JSON, or None."""
        try:
            return json.loads(self.request)
        except (ValueError, RecursionError):
            return None

    def chunks(self) -> list[Any]:
        """The JSON of each frame of a stream, without `[DONE]`."""
        frames = [line.removeprefix("data: ") for line in self.body.decode().split("\n\n") if line]
        return [json.loads(frame) for frame in frames if frame != "[DONE]"]

    def set_chunks(self, chunks: list[Any]) -> None:
        frames = [*map(json.dumps, chunks), "[DONE]"]
        if frames != [*map(json.dumps, self.chunks()), "[DONE]"]:  # else it keeps its bytes
            self.body = "".join(f"data: {frame}\n\n" for frame in frames).encode()


class Sabotage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.rewrites: list[Callable[[Answer], None]] = []
        self.wraps: list[Callable[[App], App]] = []
        self.config: dict[str, Any] = {}
        self.replaced: list[Any] = []
        """What `patch` and `wrap` replaced."""
        self.places: set[Place] = set()
        """Where that was."""

    def patch(self, place: Any, name: str, replacement: Any) -> Any:
        """Replace an attribute of a module or class of the reference gateway; returns the original."""
        original = getattr(place, name)
        self.replaced.append(original)
        self.places.add((place, name))
        self._monkeypatch.setattr(place, name, replacement)
        return original

    @property
    def modules(self) -> set[str]:
        """The modules in which something is replaced."""
        return {
            place.__name__ if isinstance(place, ModuleType) else str(getattr(place, "__module__", ""))
            for place, _ in self.places
        }

    def wrap(self, place: Any, name: str) -> Callable[[Callable[..., Any]], None]:
        """Decorator: `replacement(original, *args, **kwargs)` stands in for the function or method."""

        def install(replacement: Callable[..., Any]) -> None:
            original = getattr(place, name)
            self.patch(place, name, lambda *a, **k: replacement(original, *a, **k))

        return install

    def rewrite(self, change: Callable[[Answer], None]) -> Callable[[Answer], None]:
        """Decorator: change each HTTP answer before it is sent."""
        self.rewrites.append(change)
        return change

    def middleware(self, wrap: Callable[[App], App]) -> Callable[[App], App]:
        """Decorator: put an ASGI middleware around the gateway."""
        self.wraps.append(wrap)
        return wrap

    def configure(self, **fields: Any) -> None:
        """Start the gateway with these settings."""
        self.config.update(fields)

    def around(self, app: App) -> App:
        if self.rewrites:
            app = _rewriting(app, self.rewrites)
        for wrap in self.wraps:
            app = wrap(app)
        return app


def _rewriting(app: App, changes: list[Callable[[Answer], None]]) -> App:
    async def rewritten(scope: Scope, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        request: list[bytes] = []
        sent: list[Message] = []

        async def listen() -> Any:
            message = await receive()
            if message["type"] == "http.request":
                request.append(message.get("body", b""))
            return message

        async def collect(message: Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                await finish()

        async def finish() -> None:
            answer = Answer.of(scope, b"".join(request), sent)
            for change in changes:
                change(answer)
            if "content-length" in answer.headers:
                answer.headers["content-length"] = str(len(answer.body))
            pairs = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
            await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
            await send({"type": "http.response.body", "body": answer.body, "more_body": False})

        await app(scope, listen, collect)

    return rewritten
