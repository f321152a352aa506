"""What people reported of other gateways does not happen here, plain or streamed, whatever the engine's dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from conformance.client.driving import DriverClient
from conformance.client.http import Recorder, client
from conformance.drivers.http import HttpDriver
from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from conformance.vocabulary.session import Sessions
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
    report = reports()[name]
    tokenizer = report.get("gateway", {}).get("tokenizer", "chatml")
    settings = {k: v for k, v in report.get("gateway", {}).items() if k != "tokenizer"}
    settings |= {"backend": engine, "stream": "incremental" if delivery == "incremental" else "synthesised"}
    upstream, url = stage.upstream(tokenizer), stage.gateway(tokenizer, **settings)
    recorder = Recorder(timeout=30.0)
    http = client(recorder)
    recorder.begin()
    upstream.begin()
    sessions = Sessions(HttpDriver(url, DriverClient(http)), http, recorder, upstream.nonce)
    try:
        session = sessions.open(sampling_params={"logprobs": True})
        playing = Play(session, upstream, report.get("tools", []), delivery != "plain")
        *exchanges, end = report["plays"][play] if "sampled" in report["plays"][play][-1] else [*report["plays"][play], {}]
        for exchange in exchanges:
            playing.exchange(exchange)
        playing.end(end.get("sampled"))
    finally:
        sessions.discard()
        upstream.end()
        http.close()
