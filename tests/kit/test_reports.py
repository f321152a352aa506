"""Published reports fit their schema, and each red line in them is explained."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import conformance.report
from conformance.report.markdown import render_markdown

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((Path(conformance.report.__file__).parent / "report.schema.json").read_text("utf-8"))
FOLDERS = sorted(path.parent for path in (ROOT / "reports").glob("*/report.json"))
LIVE = sorted(path.parent for path in (ROOT / "reports" / "live").glob("*/report.json"))


def test_there_are_reports() -> None:
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_published_report(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text("utf-8"))
    jsonschema.validate(report, SCHEMA)
    assert (folder / "report.md").read_text("utf-8") == render_markdown(report)
    explained = (folder / "README.md").read_text("utf-8")
    red = [each["id"] for each in report["requirements"] if each["outcome"] in ("failed", "error", "stale")]
    assert red
    assert [each for each in red if f"| {each} |" not in explained] == []
    named = [line.split("|")[1].strip() for line in explained.splitlines() if line.startswith("| ") and "-0" in line]
    assert sorted(set(named) - set(red)) == [], "explained, but no longer red"
    assert not [each for each in report["requirements"] if each["outcome"] == "error"], "the kit broke"


@pytest.mark.parametrize("folder", LIVE, ids=lambda folder: folder.name)
def test_published_report_over_a_real_engine(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text("utf-8"))
    jsonschema.validate(report, SCHEMA)
    assert (folder / "report.md").read_text("utf-8") == render_markdown(report)
    assert report["profiles"]["live"]["verdict"] == "conformant"
    assert {each["outcome"] for each in report["requirements"]} <= {"passed", "not_applicable"}
    (figures,) = [check["rescore"] for each in report["requirements"] for check in each["checks"] if "rescore" in check]
    assert figures["over"] == 0
    assert report["engine"]["version"] in (folder / "README.md").read_text("utf-8")
