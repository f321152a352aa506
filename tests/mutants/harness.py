"""Runs the shipped suite, in this process, against a sabotaged reference gateway in a thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI

from conformance.fixtures import FILES, fixture_path
from conformance.requirements import Requirement
from conformance.run import bystander
from conformance.upstream.client import Upstream
from conformance.upstream.engine import MAX_MODEL_LEN
from conformance.vocabulary.outcome import Outcome
from conformance.vocabulary.pinned import KIT_SHAPES
from reference_gateway.app import create_app
from reference_gateway.config import Config
from reference_gateway.serving.server import serving as served
from reference_gateway.types import Codec
from tests.mutants.sabotage import App, Sabotage


@dataclass(eq=False)
class Verdicts:
    """What the suite said: the outcomes of each requirement's checks, and the text of each failure."""

    outcomes: dict[str, set[Outcome]] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    """Requirements that failed when their check was called, and not while it was set up."""
    seen: dict[str, list[str]] = field(default_factory=dict)
    """The text of what was found wrong with a requirement while something else was checked."""
    exit_code: int = 0

    @property
    def failed(self) -> set[str]:
        return {one for one, outcomes in self.outcomes.items() if Outcome.FAILED in outcomes}

    @property
    def broken(self) -> set[str]:
        """Requirements whose check broke, which is a defect of the suite."""
        return {one for one, outcomes in self.outcomes.items() if Outcome.ERROR in outcomes}

    def written(self) -> dict[str, Any]:
        """As JSON."""
        return {"outcomes": {one: sorted(outcomes) for one, outcomes in self.outcomes.items()}, "texts": self.texts}

    @classmethod
    def read(cls, document: dict[str, Any]) -> Verdicts:
        """What was `written`."""
        outcomes = {one: set(map(Outcome, outcomes)) for one, outcomes in document["outcomes"].items()}
        return cls(outcomes, document["texts"])

    def pytest_gateway_check_finished(self, requirement: Requirement, outcome: Outcome) -> None:
        self.outcomes.setdefault(requirement.id, set()).add(outcome)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        for finding in (bystander.seen_with(report) or {"findings": []})["findings"]:
            self.seen.setdefault(finding["requirement"], []).append(finding["text"])
        if report.failed and "requirement" in properties:
            self.texts.setdefault(str(properties["requirement"]), []).append(str(report.longrepr))
            if report.when == "call":
                self.called.add(str(properties["requirement"]))


def build(
    upstream: Upstream, sabotage: Sabotage | None = None, codec: Codec | None = None, **config: Any
) -> tuple[FastAPI, App]:
    """The reference gateway as an app, and as one that is sabotaged if asked. `codec` saves making one."""
    settings = {
        "tokenizer": fixture_path("chatml"),
        "backend": "vllm",
        "backend_url": upstream.url,
        "max_model_len": MAX_MODEL_LEN,  # asking would be a call of the first turn only, on one tape of all
        "tool_parser": "hermes",
        "file_search": FILES,
        "deployment": "reference_gateway.examples.demo:deployment",
        **(sabotage.config if sabotage else {}),
        **config,
    }
    app = create_app(Config(**settings), codec=codec)
    return app, sabotage.around(cast(App, app)) if sabotage else cast(App, app)


@contextmanager
def serving(upstream: Upstream, sabotage: Sabotage | None = None, **config: Any) -> Iterator[str]:
    """The reference gateway in a thread of this process, sabotaged if asked."""
    with served(cast(Any, build(upstream, sabotage, None, **config)[1])) as url:
        yield url


def run_suite(
    url: str,
    upstream: Upstream,
    folder: Path,
    *arguments: str,
    plugins: Sequence[object] = (),
    ambient: bool = False,
) -> Verdicts:
    """Run the shipped suite against `url` and return what it said. Each check by itself, unless `ambient` is true."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    verdicts = Verdicts()
    port = upstream.url.rpartition(":")[2]
    verdicts.exit_code = pytest.main(
        [
            *("-c", str(folder / "pytest.ini"), "--rootdir", str(folder), "-p", "no:cacheprovider", "-q", "-s"),
            *("--gateway-url", url, "--gateway-upstream-port", port, "--gateway-timeout-scale", "1"),
            *("--gateway-ambient", "on" if ambient else "off"),
            *("--gateway-snapshots", str(KIT_SHAPES), *arguments),
        ],
        plugins=[verdicts, *plugins],
    )
    return verdicts
