"""What people reported of other gateways does not happen here, plain or streamed, whatever the engine's dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import pytest

from conformance.client.driving import DriverClient
from conformance.client.http import Recorder, client
from conformance.drivers.http import HttpDriver
from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from conformance.vocabulary.session import Session, Sessions
from tests.mutants.harness import serving
from tests.reference.reports.report_playing import REPORTS, Play

DELIVERIES = ("plain", "synthesised", "incremental")


@cache
def reports() -> dict[str, Any]:
    return {file.stem: json.loads(file.read_text()) for file in sorted(REPORTS.glob("*.json"))}


class Stage:
    """Engines and gateways by their settings, each started at its first use."""

    def __init__(self, shared: Upstream, closing: ExitStack) -> None:
        self._closing = closing
        self._upstreams = {"chatml": shared}
        self._gateways: dict[str, str] = {}

    def upstream(self, tokenizer: str) -> Upstream:
        if tokenizer not in self._upstreams:
            self._upstreams[tokenizer] = self._closing.enter_context(Upstream.start(fixture_path(tokenizer)))
        return self._upstreams[tokenizer]

    def gateway(self, tokenizer: str, **settings: Any) -> str:
        """The URL of a gateway with these settings."""
        key = json.dumps([tokenizer, settings], sort_keys=True)
        if key not in self._gateways:
            path = fixture_path(tokenizer)
            url = serving(self.upstream(tokenizer), tokenizer=path, **settings)
            self._gateways[key] = self._closing.enter_context(url)
        return self._gateways[key]

    @contextmanager
    def session(self, tokenizer: str, **settings: Any) -> Iterator[tuple[Session, Upstream]]:
        """A session of such a gateway, which records log-probabilities, and the engine behind it."""
        upstream, url = self.upstream(tokenizer), self.gateway(tokenizer, **settings)
        recorder = Recorder(timeout=30.0)
        with client(recorder) as http:
            recorder.begin()
            upstream.begin()
            sessions = Sessions(HttpDriver(url, DriverClient(http)), http, recorder, upstream.nonce)
            try:
                yield sessions.open(sampling_params={"logprobs": True}), upstream
            finally:
                sessions.discard()
                upstream.end()


@pytest.fixture(scope="module")
def stage(shared_upstream: Upstream) -> Iterator[Stage]:
    with ExitStack() as closing:
        yield Stage(shared_upstream, closing)


def performances() -> Iterator[Any]:
    """Each play, plain and streamed, before each of the engines that its report is about."""
    for name, report in reports().items():
        for play in report["plays"]:
            for engine in report.get("engines", ["vllm"]):
                for delivery in DELIVERIES:
                    yield pytest.param(name, play, engine, delivery, id=f"{name}-{play}-{engine}-{delivery}")


@pytest.mark.parametrize(("name", "play", "engine", "delivery"), list(performances()))
def test_a_report(name: str, play: str, engine: str, delivery: str, stage: Stage) -> None:
    """What the report says is right holds, on what the client got, what the engine received and what is exported."""
    report = reports()[name]
    settings = {"tokenizer": "chatml", **report.get("gateway", {}), "backend": engine}
    settings["stream"] = "incremental" if delivery == "incremental" else "synthesised"
    exchanges = [each for each in report["plays"][play] if "to" in each]
    (sampled,) = [each["sampled"] for each in report["plays"][play] if "sampled" in each] or [None]
    with stage.session(**settings) as (session, upstream):
        playing = Play(session, upstream, report.get("tools", []), delivery != "plain")
        for exchange in exchanges:
            playing.exchange(exchange)
        playing.end(sampled)
