"""A caller that stands where a gateway would."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain
from typing import Any

import httpx

from conformance.tokenizer import Tokenizer


class Caller:
    """What a gateway does: it calls the upstream's data plane."""

    def __init__(self, url: str, tokenizer: Tokenizer) -> None:
        self.url = url
        self.tokenizer = tokenizer
        self.http = httpx.Client(base_url=url, timeout=20)

    def context(self, text: str) -> list[int]:
        return self.tokenizer.encode(self.tokenizer.render([{"role": "user", "content": text}]))

    def complete(self, text: str, **fields: Any) -> httpx.Response:
        return self.http.post("/v1/completions", json={"prompt": self.context(text), **fields})

    def chat(self, text: str, **fields: Any) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(path, json=body)


def events(response: httpx.Response) -> list[Any]:
    """The JSON documents of an event stream, which must end with `[DONE]`."""
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = response.text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]


def joined(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))
