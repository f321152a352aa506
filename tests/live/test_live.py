"""The profile live on llama.cpp with the tiny model: the reference passes, and each wrong gateway is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.requirements import Catalogue
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.outcome import Outcome
from tests.live.judging import failed, judge, over
from tests.live.wrong import WRONG, Wrong
from tests.mutants.sabotage import Sabotage

pytestmark = pytest.mark.live


@pytest.mark.parametrize("stream", ["synthesised", "incremental"])
def test_reference_passes(engine: RecordedEngine, tmp_path: Path, stream: str) -> None:
    with over(engine, stream=stream) as url:
        verdicts = judge(url, engine, tmp_path)

    assert verdicts.exit_code == 0, verdicts.texts
    assert set(verdicts.outcomes) == {each.id for each in Catalogue.load().by_profile("live")}
    assert {outcome for outcomes in verdicts.outcomes.values() for outcome in outcomes} == {Outcome.PASSED}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_gateway_is_found_out(
    engine: RecordedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Wrong
) -> None:
    sabotage = Sabotage(monkeypatch)
    wrong.apply(sabotage)
    with over(engine, sabotage) as url:
        verdicts = judge(url, engine, tmp_path)

    red = failed(verdicts)
    assert wrong.kills in red, f"{wrong.story}\n{sorted(red)}"
    assert red <= {wrong.kills, *wrong.also}, verdicts.texts
    assert Outcome.ERROR not in verdicts.outcomes[wrong.kills]
