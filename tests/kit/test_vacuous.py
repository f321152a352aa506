"""A gateway that does nothing passes nothing.

Whatever it declares, it is held against: the controls say that it does not serve what is right, and no check passes
without them. That is shown for each such gateway on each profile here, and for whole runs of the suite by
`tox -e vacuous`. One that has one session for all serves what is asked of one, and fails where there are two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.gateway import Gateway
from conformance.requirements import Catalogue
from conformance.run.control import Controls
from conformance.run.options import Settings
from conformance.upstream.client import Upstream
from conformance.vocabulary.outcome import Outcome
from conformance.vocabulary.target import Target, connect
from tests.kit.vacuous import WAYS, Recording, one_session, vacuous
from tests.mutants.harness import Verdicts, run_suite, serving
from tests.mutants.sabotage import Sabotage

PROFILES = [profile.name for profile in Catalogue.load().profiles.values() if not profile.engine]


@pytest.fixture(scope="module")
def declared(reference_url: str) -> Any:
    """What the reference gateway declares, which is everything that can be."""
    return httpx.get(f"{reference_url}/capabilities").json()


@pytest.fixture
def settings(pytestconfig: pytest.Config) -> Settings:
    return Settings.read(pytestconfig)


@contextmanager
def controls(url: str, upstream: Upstream, settings: Settings) -> Iterator[Controls]:
    target: Target = connect(Gateway(url), upstream, settings.timeout)
    found = Controls(target)
    try:
        yield found
    finally:
        found.close()
        target.close()


def test_the_reference_serves_what_is_right(reference_url: str, shared_upstream: Upstream, settings: Settings) -> None:
    with controls(reference_url, shared_upstream, settings) as found:
        assert [profile for profile in PROFILES if found.of(profile)] == []


@pytest.mark.parametrize("asks", [False, True], ids=["alone", "asks"])
@pytest.mark.parametrize("way", WAYS)
def test_no_profile_is_served(
    way: str, asks: bool, declared: Any, shared_upstream: Upstream, settings: Settings
) -> None:
    with (
        vacuous(WAYS[way], declared, shared_upstream.url if asks else None, asks=asks) as url,
        controls(url, shared_upstream, settings) as found,
    ):
        assert [profile for profile in PROFILES if not found.of(profile)] == []


def test_a_recording_serves_no_profile(declared: Any, shared_upstream: Upstream, settings: Settings) -> None:
    recording = Recording()
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        sabotage.rewrite(recording.note)
        with serving(shared_upstream, sabotage) as url, controls(url, shared_upstream, settings) as found:
            assert [profile for profile in PROFILES if found.of(profile)] == []
    with vacuous(recording, declared) as url, controls(url, shared_upstream, settings) as found:
        said = {profile: [each.actual for each in found.of(profile)] for profile in PROFILES}
    assert [profile for profile, texts in said.items() if not texts] == []
    assert "without a call of the upstream" in said["openai-chat"][0], "the recording was not played"


def test_nothing_is_passed_by_what_refuses_everything(
    declared: Any, shared_upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with vacuous(WAYS["always 400"], declared, shared_upstream.url) as url:
        verdicts = run_suite(url, shared_upstream, tmp_path, *QUICK, "--gateway-only", "CHAT-*")
    assert passed(verdicts) == set()
    assert len(verdicts.failed) > 40
    [text, *_] = [each for texts in verdicts.texts.values() for each in texts if "refused what is right, too" in each]
    assert "the control: a chat request with nothing wrong in it" in text


APART = {"CONC-010", "LIFE-019", "LIFE-022", "LIFE-027"}
"""Requirements that say that sessions have nothing in common."""


def test_one_session_for_all_serves_no_others(shared_upstream: Upstream, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        sabotage.middleware(one_session)
        with serving(shared_upstream, sabotage) as url:
            verdicts = run_suite(url, shared_upstream, tmp_path, "--gateway-only", ",".join(APART), "--tb=no")
    assert verdicts.failed == APART
    assert verdicts.broken == set()


QUICK = ("--gateway-timeout-scale", "0.02", "--tb=no")
"""A gateway that does nothing is not waited for."""


def passed(verdicts: Verdicts) -> set[str]:
    """The requirements of which some check passed and none said otherwise."""
    good = {Outcome.PASSED, Outcome.NOT_APPLICABLE}
    return {one for one, outcomes in verdicts.outcomes.items() if Outcome.PASSED in outcomes and outcomes <= good}


@pytest.mark.mutants
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_passed(way: str, declared: Any, shared_upstream: Upstream, tmp_path: Path) -> None:
    with vacuous(WAYS[way], declared, shared_upstream.url) as url:
        verdicts = run_suite(url, shared_upstream, tmp_path, *QUICK)
    assert passed(verdicts) == set()
    assert verdicts.broken == set(), "a check broke, which is no verdict"


@pytest.mark.mutants
def test_nothing_is_passed_by_a_recording(declared: Any, shared_upstream: Upstream, tmp_path: Path) -> None:
    recording = Recording()
    with pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        sabotage.rewrite(recording.note)
        with serving(shared_upstream, sabotage) as url:
            assert run_suite(url, shared_upstream, tmp_path).exit_code == 0
    with vacuous(recording, declared, shared_upstream.url) as url:
        verdicts = run_suite(url, shared_upstream, tmp_path, *QUICK)
    assert passed(verdicts) == set()
    assert verdicts.broken == set(), "a check broke, which is no verdict"
