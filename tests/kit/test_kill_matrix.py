"""The published kill matrix: what a run of the mutants makes of each requirement, and that the pages say it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conformance.requirements import Catalogue
from conformance.vocabulary.outcome import Outcome
from tests.mutants import bugs, matrix
from tests.mutants.harness import Verdicts
from tests.mutants.registry import MUTANTS, Mutant, load_all

FIRST, SECOND = "STREAM-001", "STREAM-002"


@pytest.fixture(autouse=True)
def all_mutants() -> None:
    load_all()


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mutants but these: one that breaks a requirement, and one that breaks it and another."""
    made = [Mutant(name, FIRST, frozenset(), "A story.", (16,), lambda gateway: None) for name in ("alone", "both")]
    monkeypatch.setattr(matrix, "MUTANTS", {mutant.name: mutant for mutant in made})


def passed(*requirements: str) -> list[Verdicts]:
    return [Verdicts({one: {Outcome.PASSED} for one in requirements})]


def of(failed: dict[str, list[str]], requirement: str) -> dict[str, object]:
    found = matrix.document(failed, passed(FIRST, SECOND))["requirements"][requirement]
    assert isinstance(found, dict)
    return found


def test_requirement_that_a_mutant_breaks_alone(two: None) -> None:
    assert of({"alone": [FIRST], "both": [FIRST, SECOND]}, FIRST) == {"state": "proven", "alone": True}


def test_requirement_that_no_mutant_breaks_alone(two: None) -> None:
    assert of({"both": [FIRST, SECOND]}, FIRST) == {"state": "proven", "alone": False}


def test_survivor_proves_nothing(two: None) -> None:
    assert of({"alone": []}, FIRST) == {"state": "tested but unproven", "alone": False}


def test_consequence_proves_nothing(two: None) -> None:
    assert of({"both": [FIRST, SECOND]}, SECOND) == {"state": "tested but unproven", "alone": False}


def test_requirement_that_was_not_judged_is_untested(two: None) -> None:
    assert of({"alone": [FIRST]}, "STREAM-003") == {"state": "untested", "alone": False}


def test_requirement_without_a_check_is_excluded(two: None) -> None:
    excluded = next(one for one in Catalogue.load().requirements.values() if one.excluded)
    assert of({"alone": [FIRST]}, excluded.id) == {"state": "excluded", "alone": False}


def test_page_tells_story_bug_and_consequence(two: None) -> None:
    text = matrix.page(matrix.document({"alone": [FIRST], "both": [FIRST, SECOND]}, passed(FIRST, SECOND)))
    entry = text[text.index(f"**{FIRST}**") : text.index(f"**{SECOND}**")]
    assert f"**{FIRST}** MUST, proven alone: " in entry
    assert f"stands against {bugs.load()[16].reference}: " in entry
    assert "`alone`: A story.\n" in entry
    assert f"`both`: A story. (with it {SECOND})\n" in entry


def test_page_says_why_a_requirement_is_never_alone(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "TOGETHER", {FIRST: "Both say it."})
    shared = matrix.page(matrix.document({"both": [FIRST, SECOND]}, passed(FIRST, SECOND)))
    alone = matrix.page(matrix.document({"alone": [FIRST]}, passed(FIRST, SECOND)))
    assert "  - never alone: Both say it.\n" in shared
    assert "never alone" not in alone


def test_publishing_says_what_changed(two: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("It proves itself. <!-- score -->old<!-- /score -->\n", "utf-8")
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    monkeypatch.setattr(matrix, "README", readme)
    monkeypatch.setattr(matrix, "DATA", tmp_path / "mutants.json")
    monkeypatch.setattr(matrix, "PAGE", tmp_path / "kill-matrix.md")
    monkeypatch.setattr(bugs, "PAGE", tmp_path / "known-bugs.md")
    first = matrix.document({"alone": [FIRST], "both": [FIRST, SECOND]}, passed(FIRST, SECOND))
    second = matrix.document({"alone": [FIRST], "both": [FIRST]}, passed(FIRST, SECOND))

    assert matrix.publish(first)[:2] == ["alone: new", "both: new"]
    assert matrix.publish(first) == []
    assert matrix.publish(second)[0] == f"both: no more {SECOND}"
    assert matrix.score(second) in readme.read_text("utf-8")
    assert json.loads(matrix.DATA.read_text("utf-8")) == second


@pytest.mark.skipif(not matrix.DATA.exists(), reason="nothing was published yet")
def test_published_pages_are_current() -> None:
    published = json.loads(matrix.DATA.read_text("utf-8"))
    assert not published["mutants"].keys() - MUTANTS.keys(), "mutants that are gone: run tox -e mutants"
    assert matrix.PAGE.read_text("utf-8") == matrix.page(published), "stale: run python -m tests.mutants.matrix"
    assert matrix.score(published) in matrix.README.read_text("utf-8")


@pytest.mark.skipif(not matrix.DATA.exists(), reason="nothing was published yet")
def test_what_is_never_alone_is_explained() -> None:
    found = json.loads(matrix.DATA.read_text("utf-8"))["requirements"]
    shared = {one for one, each in found.items() if each["state"] == "proven" and not each["alone"]}
    unexplained, stale = shared - matrix.TOGETHER.keys(), matrix.TOGETHER.keys() - shared
    assert not unexplained, f"narrow a mutant of each of {sorted(unexplained)}, or say why in TOGETHER"
    assert not stale, f"TOGETHER explains what is alone, or is not there: {sorted(stale)}"
