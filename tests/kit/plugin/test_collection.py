"""What is refused at collection."""

from __future__ import annotations

import pytest

from conformance.requirements import Catalogue
from conformance.run import checks
from tests.kit.plugin.conftest import Kit, counts


def test_unknown_requirement(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.requirement(id="STREAM-0004")\ndef test_x(session): pass\n')
    result = kit("--gateway-url", reference_url, "test_unknown_requirement.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::test_x: no requirement 'STREAM-0004'; did you mean STREAM-*"])


def test_marker_without_keyword(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.requirement("STREAM-004")\ndef test_x(session): pass\n')
    result = kit("--gateway-url", reference_url, "test_marker_without_keyword.py")
    result.stderr.fnmatch_lines(['ERROR: *the marker is written requirement(id="STREAM-004")'])


def test_a_check_of_ones_own_without_the_fixtures(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\n@pytest.mark.requirement(id="STREAM-004")\ndef test_x(session): pass\n')
    result = kit("--gateway-url", reference_url, "test_a_check_of_ones_own_without_the_fixtures.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *::test_x: a check needs the suite's fixtures: from conformance.suite.fixtures*"]
    )


def test_a_shipped_check_without_a_requirement() -> None:
    class Item:
        nodeid = "test_x.py::test_x"

        class function:  # noqa: N801 - stands in for a function
            __module__ = "conformance.suite.test_x"

        def get_closest_marker(self, name: str) -> None:
            return None

    with pytest.raises(pytest.UsageError, match="a check of the suite without a requirement id"):
        checks.bind([Item()], Catalogue.load())  # type: ignore[list-item]


def test_an_entry_with_neither_check_nor_reason() -> None:
    with pytest.raises(pytest.UsageError, match="has neither a check nor a reason to be excluded"):
        checks.refuse_gaps([], Catalogue.load())


OVERRIDE = """
import pytest
from conformance.suite import *

{decorator}
@pytest.mark.requirement(id="STREAM-004")
def test_stream_ends_with_done(session, upstream):
    assert False
"""


def test_an_overridden_check(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=OVERRIDE.format(decorator=""))
    result = kit("--gateway-url", reference_url, "test_mine.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::test_stream_ends_with_done overrides a check of the suite: mark it xfail*"])


def test_an_override_that_is_an_xfail_with_a_reason(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_mine=OVERRIDE.format(decorator='@pytest.mark.xfail(reason="issue 12")'))
    result = kit("--gateway-url", reference_url, "test_mine.py", "--gateway-only", "STREAM-004")
    assert counts(result) == {"expected_failure": 1}


def test_markers_select_by_id(kit: Kit, reference_url: str) -> None:
    result = kit("--gateway-url", reference_url, "-m", 'requirement(id="STREAM-004")')
    assert counts(result) == {"passed": 1}


def test_all_ids_count_when_the_option_is_given_twice(kit: Kit, reference_url: str) -> None:
    result = kit("--gateway-url", reference_url, "--gateway-only", "STREAM-004", "--gateway-only", "CHAT-011")
    assert counts(result) == {"passed": 3}


def test_names_of_checks_are_unique_and_docstrings_are_the_sentences() -> None:
    import conformance.suite

    catalogue = Catalogue.load()
    for name in (name for name in conformance.suite.__all__ if name.startswith("test_")):
        test = getattr(conformance.suite, name)
        marker = next(mark for mark in test.pytestmark if mark.name == "requirement")
        assert " ".join((test.__doc__ or "").split()) == catalogue.get(marker.kwargs["id"]).text, name
