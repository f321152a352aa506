"""A gateway that does nothing passes nothing.

Whatever it declares, it is held against: the controls say that it does not serve what is right, and no check passes
without them. That is shown for each such gateway on each profile here, and for whole runs of the suite by
`tox -e vacuous`. One that has one session for all serves what is asked of one, and fails where there are two.
"""

from __future__ import annotations

import json
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
from tests.kit.free_model import free_model
from tests.kit.vacuous import COMPLETION, WAYS, Asked, Given, Recording, one_session, vacuous
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
def controls(url: str, upstream: Upstream, settings: Settings, unseen: str | None = None) -> Iterator[Controls]:
    target: Target = connect(Gateway(url), upstream, settings.timeout)
    target.unseen = unseen
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


UNSEEN = "nobody knows what its model says"


def test_a_model_of_ones_own_serves_what_is_right(shared_upstream: Upstream, settings: Settings) -> None:
    with (
        free_model(shared_upstream.tokenizer.path) as model,
        serving(model) as url,
        controls(url, shared_upstream, settings, unseen=UNSEEN) as found,
    ):
        assert [(profile, found.of(profile)) for profile in PROFILES if found.of(profile)] == []


@pytest.mark.parametrize("way", [*WAYS, "one answer to all"])
def test_no_profile_is_served_by_whoever_says_nothing_of_a_model_of_its_own(
    way: str, declared: Any, shared_upstream: Upstream, settings: Settings
) -> None:
    ways = {**WAYS, "one answer to all": one_answer}
    with (
        vacuous(ways[way], declared) as url,
        controls(url, shared_upstream, settings, unseen=UNSEEN) as found,
    ):
        assert [profile for profile in PROFILES if not found.of(profile)] == []


def one_answer(asked: Asked) -> Given:
    """The same words to whatever is asked, on the wire that is asked over."""
    bodies: dict[str, Any] = {
        "messages": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hello"}]},
        "responses": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]},
        "invocations": {"response": "Hello", "session_id": None},
        "chat": COMPLETION,
    }
    return Given(200, json.dumps(bodies[asked.wire]).encode())


@pytest.mark.parametrize("decorated", ["{}", "You said: {}!"])
def test_whoever_echoes_the_question_serves_nothing(
    decorated: str, declared: Any, shared_upstream: Upstream, settings: Settings
) -> None:
    def echo(asked: Asked) -> Given:
        text = decorated.format(json.loads(asked.body)["messages"][0]["content"])
        choice = {**COMPLETION["choices"][0], "message": {"role": "assistant", "content": text}}
        return Given(200, json.dumps({**COMPLETION, "choices": [choice]}).encode())

    with vacuous(echo, declared) as url, controls(url, shared_upstream, settings, unseen=UNSEEN) as found:
        [violation] = found.of("openai-chat")
    assert violation.expected == "an answer of the model, not the question"


def test_a_recording_of_a_model_of_ones_own_serves_no_profile(
    declared: Any, shared_upstream: Upstream, settings: Settings
) -> None:
    recording = Recording()
    with free_model(shared_upstream.tokenizer.path) as model, pytest.MonkeyPatch.context() as monkeypatch:
        sabotage = Sabotage(monkeypatch)
        sabotage.rewrite(recording.note)
        with serving(model, sabotage) as url, controls(url, shared_upstream, settings, unseen=UNSEEN) as found:
            assert [profile for profile in PROFILES if found.of(profile)] == []
    with vacuous(recording, declared) as url, controls(url, shared_upstream, settings, unseen=UNSEEN) as found:
        assert [profile for profile in PROFILES if not found.of(profile)] == []


def test_whoever_calls_the_upstream_after_all_is_held_to_the_script(
    reference_url: str, declared: Any, shared_upstream: Upstream, settings: Settings
) -> None:
    with controls(reference_url, shared_upstream, settings, unseen=UNSEEN) as found:
        assert found.of("openai-chat") == []
        assert found.unseen is None
    with (
        vacuous(WAYS["one good completion"], declared, shared_upstream.url, asks=True) as url,
        controls(url, shared_upstream, settings, unseen=UNSEEN) as found,
    ):
        [violation] = found.of("openai-chat")
    assert "Here I am." in violation.expected


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
