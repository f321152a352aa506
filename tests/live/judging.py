"""The profile live against a gateway in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from conformance import suite
from conformance.fixtures import tiny_model_path
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.outcome import Outcome
from tests.mutants.harness import Verdicts, build, served
from tests.mutants.sabotage import Sabotage

TOLERANCE = 1e-3
"""Nats between llama.cpp with 32-bit keys and values, and numpy; measured: 2e-4."""
SUITE = sorted(map(str, Path(suite.__file__).parent.glob("test_live_*.py")))


@contextmanager
def over(engine: RecordedEngine, sabotage: Sabotage | None = None, **config: Any) -> Iterator[str]:
    """The reference gateway over the engine, sabotaged if asked. One that has no URL is in the gateway's process."""
    settings: dict[str, Any] = {"backend": "llama_cpp", "max_model_len": None, **config}
    if engine.engine is None:
        model = {"model_dir": tiny_model_path(), "tokenizer": tiny_model_path(), "ledger": engine.ledger}
        settings |= {"backend": "transformers", "backend_url": None, "deployment": None, **model}
    with served(cast(Any, build(engine, sabotage, None, **settings)[1])) as url:
        yield url


def judge(
    url: str, engine: RecordedEngine, folder: Path, ids: Sequence[str] = (), tolerance: float = TOLERANCE
) -> Verdicts:
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
