"""From pytest's report of a phase to the outcome of a check, and what travels with it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.client.transcript import Exchange
from conformance.gateway import NotObservable
from conformance.oracles import Violation
from conformance.requirements import Catalogue
from conformance.run import verdict
from conformance.run.checks import REQUIREMENT, KnownDefect
from conformance.run.verdict import OUTCOME, TARGET, judge, outcome_of, status
from conformance.vocabulary.outcome import NotApplicable, NotTested, Outcome

KNOWN = Catalogue.load().requirements["STREAM-004"]
WRONG = ConformanceFailure([Violation("stream", "an end", "none", "look there"), Violation("é", "a", "b")])

EXCHANGE = Exchange("GET", "http://gateway/sessions/1", {}, b"", 0.0, 200)


class Ending:
    """A phase of a check that ended with `error`, and what was made of it."""

    def __init__(self, when: str, error: BaseException | None = None, listed: bool = False, **report: Any) -> None:
        self.told: list[tuple[Any, Outcome]] = []
        finished = SimpleNamespace(pytest_gateway_check_finished=self._finished)
        self.item: Any = SimpleNamespace(
            stash=pytest.Stash(),
            user_properties=[],
            path="test_x.py",
            location=("test_x.py", 4, "test_x"),
            config=SimpleNamespace(hook=finished),
        )
        self.item.stash[REQUIREMENT] = KNOWN
        defects = {KNOWN.id: KnownDefect("late", "http://issue/1")} if listed else {}
        self.run: Any = SimpleNamespace(defects=defects, rerun=lambda one: f"pytest --gateway-only {one}")
        self.call: Any = SimpleNamespace(when=when, excinfo=SimpleNamespace(value=error) if error else None)
        outcome = report.pop("outcome", "failed" if error else "passed")
        self.report = pytest.TestReport("x", ("x", 1, "x"), {}, outcome, None, when, **report)  # type: ignore[arg-type]

    def judged(self) -> Ending:
        judge(self.item, self.call, self.report, self.run)
        return self

    def _finished(self, requirement: Any, outcome: Outcome, item: Any) -> None:
        assert requirement is KNOWN
        assert item is self.item
        self.told.append((requirement.id, outcome))

    @property
    def outcome(self) -> Outcome | None:
        found = outcome_of(self.report)
        assert self.told == ([] if found is None else [(KNOWN.id, found)])
        assert self.item.stash.get(OUTCOME, None) is found
        return found

    @property
    def properties(self) -> dict[str, Any]:
        assert self.item.user_properties == self.report.user_properties
        return dict(self.report.user_properties)


@pytest.mark.parametrize(
    ("when", "error", "outcome", "counted"),
    [
        ("call", None, Outcome.PASSED, "passed"),
        ("call", WRONG, Outcome.FAILED, "failed"),
        ("call", AssertionError("x"), Outcome.FAILED, "failed"),
        ("call", ValueError("x"), Outcome.ERROR, "failed"),
        ("call", NotApplicable("x"), Outcome.NOT_APPLICABLE, "skipped"),
        ("call", NotTested("x"), Outcome.NOT_TESTED, "skipped"),
        ("call", NotObservable("x"), Outcome.NOT_TESTED, "skipped"),
        ("setup", WRONG, Outcome.FAILED, "failed"),
        ("setup", AssertionError("x"), Outcome.ERROR, "failed"),
        ("setup", ValueError("x"), Outcome.ERROR, "failed"),
        ("setup", NotTested("x"), Outcome.NOT_TESTED, "skipped"),
        ("teardown", WRONG, Outcome.ERROR, "failed"),
        ("teardown", AssertionError("x"), Outcome.ERROR, "failed"),
        ("teardown", NotTested("x"), Outcome.ERROR, "failed"),
        ("setup", None, None, "passed"),
        ("teardown", None, None, "passed"),
    ],
)
def test_what_a_phase_means(when, error, outcome, counted):
    ending = Ending(when, error).judged()
    assert (ending.outcome, ending.report.outcome) == (outcome, counted)


def test_the_requirement_is_told_once_by_the_setup():
    requirement = {"requirement": "STREAM-004", "level": str(KNOWN.level), "profile": KNOWN.profile}
    assert Ending("setup").judged().properties == requirement
    assert Ending("call").judged().properties == {"outcome": "passed"}
    assert Ending("teardown").judged().properties == {}


def test_a_failure_is_explained():
    ending = Ending("call", WRONG).judged()
    text = str(ending.report.longrepr)
    assert text.startswith("STREAM-004  MUST  ")
    assert "pytest --gateway-only STREAM-004" in text
    assert "look there" in text
    assert json.loads(ending.properties["violations"]) == [
        {"where": "stream", "expected": "an end", "actual": "none"},
        {"where": "é", "expected": "a", "actual": "b"},
    ]
    assert "é" in ending.properties["violations"]


def test_the_exchanges_of_the_target_are_shown(monkeypatch):
    shown: list[Any] = []
    monkeypatch.setattr(verdict, "failure_text", lambda *given: shown.append(given) or "text")
    ending = Ending("call", WRONG)
    target: Any = SimpleNamespace(
        recorder=SimpleNamespace(exchanges=[EXCHANGE]),
        upstream=SimpleNamespace(calls=["call"], posts=["post"], tokenizer=None),
    )
    ending.item.stash[TARGET] = target
    ending.judged()
    assert shown == [(KNOWN, WRONG, [EXCHANGE], ["call"], "pytest --gateway-only STREAM-004", ["post"])]
    assert ending.report.longrepr == "text"


def test_what_the_template_excuses_does_not_apply(monkeypatch):
    monkeypatch.setattr(verdict, "excuse_of_the_template", lambda exchanges, tokenizer: f"{exchanges} {tokenizer}")
    ending = Ending("call", WRONG)
    upstream = SimpleNamespace(calls=[], posts=[], tokenizer="its tokenizer")
    ending.item.stash[TARGET] = SimpleNamespace(recorder=SimpleNamespace(exchanges=[]), upstream=upstream)
    ending.judged()
    assert (ending.outcome, ending.report.outcome) == (Outcome.NOT_APPLICABLE, "skipped")
    assert ending.properties["reason"] == "[] its tokenizer"


def test_a_plain_assertion_is_explained_and_has_no_violations():
    ending = Ending("call", AssertionError("1 == 2")).judged()
    assert "1 == 2" in str(ending.report.longrepr)
    assert "violations" not in ending.properties


def test_what_breaks_is_left_as_pytest_shows_it():
    assert Ending("call", ValueError("x")).judged().report.longrepr is None
    assert Ending("setup", AssertionError("x")).judged().report.longrepr is None


@pytest.mark.parametrize("error", [NotTested("no upstream"), NotApplicable("not declared")])
def test_a_reason_is_told(error):
    assert Ending("call", error).judged().properties["reason"] == str(error)
    assert "reason" not in Ending("call", WRONG).judged().properties


def test_what_was_not_tested_says_where_and_why():
    assert Ending("call", NotTested("no upstream")).judged().report.longrepr == (
        "test_x.py",
        4,
        "not tested: no upstream",
    )


def test_a_known_defect_is_expected_to_fail():
    ending = Ending("call", WRONG, listed=True).judged()
    assert (ending.outcome, ending.report.outcome) == (Outcome.EXPECTED_FAILURE, "skipped")
    assert "STREAM-004" in str(ending.report.longrepr)
    assert "violations" in ending.properties


def test_a_known_defect_that_is_mended_is_stale():
    ending = Ending("call", listed=True).judged()
    assert (ending.outcome, ending.report.outcome) == (Outcome.STALE, "failed")
    assert ending.report.longrepr == (
        "STREAM-004 passes, but gateway-expected-failures.toml still lists it (late; http://issue/1): remove the entry"
    )


@pytest.mark.parametrize(("error", "outcome"), [(ValueError("x"), Outcome.ERROR), (NotTested("x"), Outcome.NOT_TESTED)])
def test_a_known_defect_excuses_nothing_else(error, outcome):
    assert Ending("call", error, listed=True).judged().outcome is outcome
    assert Ending("setup", WRONG, listed=True).judged().outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("skipped", Outcome.EXPECTED_FAILURE), ("failed", Outcome.STALE), ("passed", Outcome.STALE)],
)
def test_an_xfail_is_an_expected_failure_or_stale(outcome, expected):
    ending = Ending("call", WRONG if outcome == "skipped" else None, outcome=outcome)
    ending.report.wasxfail = "late"  # type: ignore[attr-defined]
    assert ending.judged().outcome is expected


@pytest.mark.parametrize(
    ("when", "error", "shown"),
    [
        ("call", None, ("passed", ".", "PASSED")),
        ("call", WRONG, ("failed", "F", "FAILED")),
        ("setup", NotTested("x"), ("not_tested", "?", "NOT TESTED")),
        ("teardown", ValueError("x"), ("error", "E", "ERROR")),
        ("setup", None, None),
        ("teardown", None, None),
    ],
)
def test_the_letter_and_the_word(when, error, shown):
    assert status(Ending(when, error).judged().report) == shown


def test_a_stale_entry_counts_as_failed_so_that_its_text_is_shown():
    assert status(Ending("call", listed=True).judged().report) == ("failed", "S", "STALE")


def test_the_last_word_counts_and_a_phase_that_passed_says_nothing():
    report = Ending("call", WRONG).judged().report
    report.user_properties.append(("outcome", "error"))
    assert outcome_of(report) is Outcome.ERROR
    late = Ending("teardown").judged().report
    late.user_properties.append(("outcome", "passed"))
    assert status(late) is None
    assert status(SimpleNamespace()) is None  # type: ignore[arg-type]
