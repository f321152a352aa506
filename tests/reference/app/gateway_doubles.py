"""A gateway in a thread, with a backend that a test holds in its hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx

from reference_gateway.app import build_codec, create_app
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.config import Config
from reference_gateway.serving.server import serving
from reference_gateway.types import Generation, Media


@cache
def byte_codec() -> TemplateCodec:
    """The built-in tokenizer's; a codec holds no state, so one is enough."""
    return build_codec(Config())


class Told:
    """A backend that says what it was told, one after the other: a text, a Generation, or an exception. `hold` makes
    every call wait until `release`; `entered` is set by each call."""

    name = "told"

    def __init__(self, *steps: Any, codec: Any = None, hold: bool = False) -> None:
        self.codec = codec or byte_codec()
        self.steps = list(steps)
        self.calls: list[tuple[list[int], dict[str, Any], str]] = []
        self.cancelled = threading.Event()
        self.entered = threading.Event()
        self.closed = threading.Event()
        self._released = threading.Event()
        if not hold:
            self._released.set()

    def release(self) -> None:
        self._released.set()

    async def generate(
        self, context: Sequence[int], sampling: Mapping[str, Any], *, session_id: str, media: Media
    ) -> Generation:
        self.calls.append((list(context), dict(sampling), session_id))
        self.entered.set()
        try:
            if not self._released.is_set():
                await asyncio.to_thread(self._released.wait)
        except asyncio.CancelledError:
            self._released.set()
            self.cancelled.set()
            raise
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, str):
            vocabulary = self.codec.vocabulary
            return Generation([*vocabulary.encode(step), vocabulary.token_id("<|im_end|>")], stop_reason="stop")
        return step

    async def close(self) -> None:
        self.closed.set()


class Client:
    """The gateway as HTTP sees it."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url, self.http = url, http

    def open(self, **settings: Any) -> str:
        """Create a session; gives its base URL without `/v1`."""
        response = self.http.post(f"{self.url}/sessions", json=settings)
        assert response.status_code == 201, response.text
        return str(response.json()["base_url"]).removesuffix("/v1")

    def chat(self, session: str, *texts: str, **fields: Any) -> httpx.Response:
        """`texts` alternate between user and assistant."""
        roles = ["user", "assistant"]
        messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
        return self.http.post(f"{session}/v1/chat/completions", json={"model": "m", "messages": messages, **fields})


@contextmanager
def gateway(backend: Any = None, **config: Any) -> Iterator[Client]:
    """A gateway with that backend (default: the scripted one) on a free port."""
    settings = Config(**config)
    codec = getattr(backend, "codec", None) or byte_codec()
    app = create_app(settings, codec=codec, backend=backend)
    # Nothing here is https: not reading the certificates makes a client ten times cheaper.
    with serving(app) as url, httpx.Client(timeout=10, trust_env=False, verify=False) as http:
        yield Client(url, http)
