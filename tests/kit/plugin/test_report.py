"""The JSON report, its schema, its verdicts, and what must never be in it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest

import conformance.report
from conformance.cli import main
from tests.kit.plugin.conftest import Kit
from tests.mutants.harness import serving

SCHEMA = json.loads((Path(conformance.report.__file__).parent / "report.schema.json").read_text())


def test_a_green_run_is_conformant_and_short(judge, reference_url: str, suite_folder: Path) -> None:
    result, report = judge("--gateway-url", reference_url, "--gateway-snapshots", str(suite_folder / "shapes"))
    assert result.ret == 0, result.stdout.str()
    jsonschema.validate(report, SCHEMA)
    assert report["verdict"] == "conformant"
    assert {profile["verdict"] for profile in report["profiles"].values()} == {"conformant"}
    text = result.stdout.lines
    start = next(place for place, line in enumerate(text) if "gateway conformance" in line and "==" in line)
    assert len(text[start:]) <= len(report["profiles"]) + 7


def test_a_partial_run_is_incomplete(judge, reference_url: str) -> None:
    result, report = judge("--gateway-url", reference_url, "--gateway-only", "STREAM-004")
    assert result.ret == 0
    jsonschema.validate(report, SCHEMA)
    assert report["verdict"] == "incomplete"
    assert [each["id"] for each in report["requirements"]] == ["STREAM-004"]
    assert report["gateway"]["name"] == "reference-gateway"
    assert report["kit"]["suite_digest"]


FAILING = """
import pytest
from conformance.suite.fixtures import *
from conformance.vocabulary.expect import fail

@pytest.mark.requirement(id="CHAT-001")
def test_it(session, upstream):
    upstream.says("x")
    session.chat("Hi", api_key="sk-body-secret")
    fail("here", "this", "that")
"""


def test_a_failure_is_explained_and_keeps_no_secret(
    judge, shared_upstream, pytester: pytest.Pytester, monkeypatch
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEY", "sk-admin-secret")
    pytester.makepyfile(test_it=FAILING)
    with serving(shared_upstream, api_key="sk-admin-secret") as url:
        result, report = judge("--gateway-url", url, "--junit-xml", "junit.xml", "test_it.py")
    assert result.ret == 1
    jsonschema.validate(report, SCHEMA)
    check = report["requirements"][0]["checks"][0]
    assert check["violations"] == [{"where": "here", "expected": "this", "actual": "that"}]
    assert "trace:" in check["text"]
    junit = (pytester.path / "junit.xml").read_text()
    for text in (json.dumps(report), result.stdout.str(), result.stderr.str(), junit):
        assert "sk-admin-secret" not in text
        assert "sk-body-secret" not in text
        assert '"api_key": "***"' not in text or "***" in text


def test_junit_carries_ids_and_outcomes(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    kit("--gateway-url", reference_url, "--gateway-only", "STREAM-004", "--junit-xml", "junit.xml", "-n", "2")
    case = ElementTree.parse(pytester.path / "junit.xml").find(".//testcase")
    assert case is not None
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties == {"requirement": "STREAM-004", "level": "MUST", "profile": "openai-chat", "outcome": "passed"}


def test_workers_and_a_single_process_give_the_same_report(judge, reference_url: str) -> None:
    def judged(*arguments: str) -> list[tuple[str, str]]:
        _, report = judge("--gateway-url", reference_url, "--gateway-only", "STREAM-*", *arguments)
        return [(each["id"], each["outcome"]) for each in report["requirements"]]

    assert judged("-n", "2") == judged()


def test_a_hook_may_add_to_the_report(judge, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_gateway_report(report, config):
            report["extra"]["build"] = "17"
        """
    )
    _, report = judge("--gateway-url", reference_url, "--gateway-only", "STREAM-004")
    jsonschema.validate(report, SCHEMA)
    assert report["extra"] == {"build": "17"}


def test_what_cannot_be_encoded_is_written_as_json_spells_it(
    judge, reference_url: str, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    pytester.makeconftest(
        """
        def pytest_gateway_report(report, config):
            report["gateway"]["version"] = chr(0xd800)
        """
    )
    _, report = judge("--gateway-url", reference_url, "--gateway-only", "STREAM-004")
    assert report["gateway"]["version"] == "\ud800"
    capsys.readouterr()
    assert main(["report", str(pytester.path / "report.json")]) == 0
    assert capsys.readouterr().out.startswith("# Conformance of reference-gateway \\ud800\n")


def test_markdown(judge, reference_url: str, pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    judge("--gateway-url", reference_url, "--gateway-only", "STREAM-*")
    capsys.readouterr()
    assert main(["report", str(pytester.path / "report.json")]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# Conformance of reference-gateway")
    assert "- **STREAM-004** MUST: " in page


def test_a_file_that_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(SystemExit) as exit_:
        main(["report", str(tmp_path / "x.json")])
    assert exit_.value.code == 2
    assert "is not a report of schema version 1" in capsys.readouterr().err
