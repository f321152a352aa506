"""Pinned shapes live in the repository of the gateway's owner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit.plugin.conftest import Kit

ONLY = ("--gateway-only", "SHAPE-*")


def test_pin_then_pass_then_notice_a_change(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    arguments = ("--gateway-url", reference_url, "--gateway-snapshots", "shapes", *ONLY)
    missing = kit(*arguments)
    assert missing.parseoutcomes()["failed"] == 24
    missing.stdout.fnmatch_lines(["*none is pinned yet: run with --snapshot-update"])

    assert kit(*arguments, "--snapshot-update").ret == 0
    assert kit(*arguments).ret == 0

    file = pytester.path / "shapes" / "test_shape" / "test_plain_text_answer_has_its_shape.json"
    shape = json.loads(file.read_text())
    del shape["body"]["usage"]
    file.write_text(json.dumps(shape))
    changed = kit(*arguments)
    assert changed.parseoutcomes()["failed"] == 1
    changed.stdout.fnmatch_lines(["SHAPE-001  MAY *", "*1. shape of the answer", '*+ *"usage": {'])


def test_without_a_directory_of_its_own_nothing_is_pinned(kit: Kit, reference_url: str) -> None:
    result = kit("--gateway-url", reference_url, *ONLY)
    assert result.parseoutcomes()["not_tested"] == 24
    assert result.ret != 0


def test_the_kits_own_shapes_are_those_of_the_reference(kit: Kit, reference_url: str, suite_folder: Path) -> None:
    result = kit("--gateway-url", reference_url, "--gateway-snapshots", str(suite_folder / "shapes"), *ONLY)
    assert result.parseoutcomes()["passed"] == 24
