"""The profile live against a gateway in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from conformance import suite
from conformance.fixtures import tiny_model_path
from conformance.requirements import Catalogue
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.outcome import Outcome
from tests.live.wrong import Wrong
from tests.mutants.harness import Verdicts, build, served
from tests.mutants.sabotage import Sabotage

TOLERANCES = {"llama_cpp": 1e-3, "vllm": 1e-4}
"""Nats between an engine in 32-bit floats and numpy; measured: 2e-4 and 2e-5."""
SUITE = sorted(map(str, Path(suite.__file__).parent.glob("test_live_*.py")))


@contextmanager
def over(engine: RecordedEngine, sabotage: Sabotage | None = None, **config: Any) -> Iterator[str]:
    """The reference gateway over the engine, sabotaged if asked; `config` names its backend. An engine that has no URL
    is in the gateway's process."""
    settings: dict[str, Any] = {"max_model_len": None, **config}
    if engine.engine is None:
        model = {"model_dir": tiny_model_path(), "tokenizer": tiny_model_path(), "ledger": engine.ledger}
        settings |= {"backend": "transformers", "backend_url": None, "deployment": None, **model}
    with served(cast(Any, build(engine, sabotage, None, **settings)[1])) as url:
        yield url


def judge(url: str, engine: RecordedEngine, folder: Path, tolerance: float, ids: Sequence[str] = ()) -> Verdicts:
    """Run the checks of area LIVE, or those of these requirements."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    verdicts = Verdicts()
    only = ("--gateway-only", ",".join(ids)) if ids else ()
    recorder = ("--gateway-upstream-port", engine.url.rpartition(":")[2]) if engine.engine else ()
    recorder += ("--gateway-engine", engine.engine) if engine.engine else ()
    verdicts.exit_code = pytest.main(
        [
            *("-c", str(folder / "pytest.ini"), "--rootdir", str(folder), "-p", "no:cacheprovider", "-q", "-s"),
            *("--gateway-url", url, *recorder, "--gateway-ledger", str(engine.ledger), "--gateway-profile", "live"),
            *("--gateway-tokenizer", str(tiny_model_path())),
            *("--gateway-score", f"numpy:{tiny_model_path()}", "--gateway-tolerance", str(tolerance)),
            *only,
            *SUITE,
        ],
        plugins=[verdicts],
    )
    return verdicts


def failed(verdicts: Verdicts) -> set[str]:
    """The requirements that failed."""
    bad = (Outcome.FAILED, Outcome.ERROR)
    return {name for name, outcomes in verdicts.outcomes.items() if any(outcome in bad for outcome in outcomes)}


def expect_green(engine: RecordedEngine, folder: Path, **config: Any) -> None:
    """The reference gateway passes every requirement of the profile live."""
    with over(engine, **config) as url:
        verdicts = judge(url, engine, folder, TOLERANCES[config["backend"]])

    assert verdicts.exit_code == 0, verdicts.texts
    assert set(verdicts.outcomes) == {each.id for each in Catalogue.load().by_profile("live")}
    assert {outcome for outcomes in verdicts.outcomes.values() for outcome in outcomes} == {Outcome.PASSED}


def expect_found_out(
    engine: RecordedEngine, folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: Wrong, **config: Any
) -> None:
    """The wrong gateway fails what it is wrong in, by a verdict, and nothing else but what it names."""
    sabotage = Sabotage(monkeypatch)
    wrong.apply(sabotage)
    with over(engine, sabotage, **config) as url:
        verdicts = judge(url, engine, folder, TOLERANCES[config["backend"]])

    red = failed(verdicts)
    assert wrong.kills in red, f"{wrong.story}\n{sorted(red)}"
    surplus = red - {wrong.kills, *wrong.also}
    assert not surplus, f"{sorted(surplus)}\n{verdicts.texts}"
    assert Outcome.ERROR not in verdicts.outcomes[wrong.kills]
