"""Streams of the Responses wire whose text leaves as it is sampled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.oracles import responses
from conformance.oracles.sse import Event, SSEParser
from reference_gateway.app import create_app
from reference_gateway.config import Config
from reference_gateway.serving.server import serving
from reference_gateway.types import BackendFailed, Generation, Media
from tests.reference.app.gateway_doubles import Told, byte_codec

SEARCH = {"type": "file_search", "vector_store_ids": []}
CALL = '<tool_call>\n{"name": "file_search", "arguments": {"query": "cats"}}\n</tool_call>'


class Typing(Told):
    """Says what it was told token by token. A pair is a text that breaks off with an exception."""

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
        progress: Any = None,
    ) -> Generation:
        broken = None
        if isinstance(self.steps[0], tuple):
            self.steps[0], broken = self.steps[0]
        generation = await super().generate(context, sampling, session_id=session_id, media=media)
        for token in generation.ids if progress is not None else ():
            progress.sampled([token])
        if broken is not None:
            raise broken
        return generation


@contextmanager
def session(tmp_path: Path, *steps: Any) -> Iterator[tuple[httpx.Client, str]]:
    (tmp_path / "cats.txt").write_text("Cats purr.")
    config = Config(stream="incremental", file_search=tmp_path)
    app = create_app(config, codec=byte_codec(), backend=Typing(*steps))
    with serving(app) as url, httpx.Client(timeout=10, trust_env=False, verify=False) as http:
        yield http, http.post(f"{url}/sessions", json={}).json()["base_url"]


def streamed(http: httpx.Client, base: str, **fields: Any) -> tuple[list[Event], list[dict[str, Any]]]:
    answer = http.post(f"{base}/responses", json={"model": "m", "input": "Hi", "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    events = SSEParser().feed(answer.content)
    assert responses.stream(events) == []
    return events, [json.loads(event.data) for event in events]


def test_text_comes_in_pieces_and_amounts_to_the_response(tmp_path: Path) -> None:
    with session(tmp_path, "Grüezi you") as (http, base):
        events, raw = streamed(http, base)
        deltas = [each["delta"] for each in raw if each["type"] == "response.output_text.delta"]
        assert len(deltas) > 3
        assert "".join(deltas) == "Grüezi you"
        kept = http.get(f"{base}/responses/{raw[0]['response']['id']}").json()
        assert raw[-1]["response"] == kept
        assert responses.assemble(events)["output"] == kept["output"]


def test_text_around_a_tool_of_the_gateway(tmp_path: Path) -> None:
    with session(tmp_path, f"I look.\n{CALL}", "They purr.") as (http, base):
        _, raw = streamed(http, base, tools=[SEARCH])
        types = [item["type"] for item in raw[-1]["response"]["output"]]
        assert types == ["message", "file_search_call", "message"]


def test_what_fails_before_the_first_text_has_a_status(tmp_path: Path) -> None:
    with session(tmp_path, BackendFailed("boom")) as (http, base):
        failed = http.post(f"{base}/responses", json={"input": "Hi", "stream": True})
        assert (failed.status_code, failed.headers["content-type"]) == (502, "application/json")


@pytest.mark.parametrize("before", [(), (CALL,)], ids=["first generation", "behind a tool"])
def test_what_fails_later_is_a_failed_response(tmp_path: Path, before: tuple[str, ...]) -> None:
    with session(tmp_path, *before, ("They p", BackendFailed("boom")), "Fine") as (http, base):
        _, raw = streamed(http, base, tools=[SEARCH])
        assert raw[-1]["type"] == "response.failed"
        assert raw[-1]["response"]["error"]["message"] == "BackendFailed: boom"
        _, again = streamed(http, base, tools=[SEARCH])
        assert again[-1]["type"] == "response.completed"
