"""The plug-in disturbs nobody who does not use it, and lets the kit in for whoever does."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_gateway_conformance
from conformance.drivers import BUILT_IN
from conformance.run import options
from conformance.upstream import PORT
from conformance.upstream.tool_format import FORMATS
from tests.kit.plugin.conftest import Kit, counts
from tests.kit.plugin.test_rungs import CONFTEST, ONLY

LOADED = """
import sys

def test_nothing_of_the_kit_is_loaded():
    assert not {"conformance", "httpx", "aiohttp", "jsonschema", "tokenizers"} & set(sys.modules)
"""


def test_the_door_imports_nothing_but_pytest() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import pytest_gateway_conformance; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "['pytest_gateway_conformance']"


def test_its_help_names_what_the_kit_takes() -> None:
    texts = {flag: text for flag, _, text in pytest_gateway_conformance.OPTIONS}
    assert [name for name in options.NAMES if name not in texts["--gateway"]] == []
    assert [name for name in BUILT_IN if name not in texts["--gateway-driver"]] == []
    assert [name for name in FORMATS if name not in texts["--gateway-tool-format"]] == []
    assert str(PORT) in texts["--gateway-upstream-port"]


def test_a_project_that_judges_no_gateway_has_no_fixture_of_its_checks(kit: Kit, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(session): pass")
    result = kit()
    assert counts(result) == {"errors": 1}
    result.stdout.fnmatch_lines(["*fixture 'session' not found"])
    listed = kit("--fixtures").stdout.str()
    ours = listed.partition("fixtures defined from pytest_gateway_conformance")[2].partition("fixtures defined from")[0]
    assert [line.split()[0] for line in ours.splitlines() if " -- " in line] == ["upstream", "gateway"]


def test_a_project_that_judges_no_gateway_has_nothing_loaded(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LOADED)
    # Other plug-ins bring libraries that the kit uses too.
    result = pytester.runpytest_subprocess("-p", "no:anyio", "-p", "no:syrupy", "-p", "no:hypothesispytest")
    assert counts(result) == {"passed": 1}


def test_a_package_of_that_name_beside_the_tests(kit: Kit, pytester: pytest.Pytester) -> None:
    folder = pytester.mkpydir("conformance")
    (folder / "test_theirs.py").write_text("from conformance import __file__ as here\ndef test(): assert here\n")
    assert counts(kit()) == {"passed": 1}


def test_a_package_that_hides_the_kit_is_one_sentence(pytester: pytest.Pytester) -> None:
    pytester.mkpydir("conformance")
    pytester.makepyfile("def test_mine(): pass")
    pytester.syspathinsert()
    command = [sys.executable, "-m", "pytest"]
    assert counts(pytester.run(*command)) == {"passed": 1}  # type: ignore[arg-type]
    result = pytester.run(*command, "--gateway-url", "http://127.0.0.1:1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (sentence,) = [line for line in result.errlines if line.strip()]
    assert sentence.startswith(f"ERROR: {pytester.path}/conformance has the name of the kit's package and hides it")


def test_hooks_are_known_without_a_target(kit: Kit, pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_gateway_drivers(): return {}\ndef pytest_gateway_report(report): pass\n")
    pytester.makepyfile("def test_mine(): pass")
    assert counts(kit()) == {"passed": 1}
    pytester.makeconftest("def pytest_gateway_drivers(no_such_argument): return {}\n")
    assert "no_such_argument" in kit().stderr.str()


FIXTURES_OF_OTHERS = """
import pytest
from conformance.suite.fixtures import __all__ as names

for name in names:
    exec(f"@pytest.fixture\\ndef {name}(): raise RuntimeError('not this one')")
"""


@pytest.mark.parametrize("place", ["conftest", "plugin"])
def test_fixtures_of_others_take_the_place_of_none(
    kit: Kit, reference_url: str, pytester: pytest.Pytester, place: str
) -> None:
    if place == "conftest":
        pytester.makeconftest(FIXTURES_OF_OTHERS + CONFTEST.format(url=reference_url))
    else:
        pytester.makeconftest(CONFTEST.format(url=reference_url))
        pytester.makepyfile(theirs=FIXTURES_OF_OTHERS)
        pytester.syspathinsert()
    load = ("-p", "theirs") if place == "plugin" else ()
    assert counts(kit(*load, "--gateway", "fixture", *ONLY)) == {"passed": 3}
    pytester.makepyfile(test_mine="from conformance.suite import *")
    assert counts(kit(*load, *ONLY)) == {"passed": 3}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_star_import_names_its_target(
    kit: Kit, reference_url: str, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    folder = pytester.mkdir("gateway")
    (folder / "conftest.py").write_text(CONFTEST.format(url=reference_url))
    (folder / "test_conformance.py").write_text("from conformance.suite import *\n")
    result = kit(*ONLY, *workers)
    assert counts(result) == {"passed": 3}
    result.stdout.fnmatch_lines([f"mine 7 at {reference_url} (driver http), requirement set *", "*3 passed*"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
def test_a_star_import_judges_the_target_of_the_ini(
    kit: Kit, reference_url: str, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makeini(f"[pytest]\ngateway_url = {reference_url}\n")
    pytester.makepyfile(test_mine="from conformance.suite import *")
    result = kit("test_mine.py", *ONLY, *workers)
    assert counts(result) == {"passed": 3}
    result.stdout.fnmatch_lines([f"gateway: reference-gateway * at {reference_url} (driver http)"])


def test_two_modules_with_the_suite_share_one_connection(
    kit: Kit, reference_url: str, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(CONFTEST.format(url=reference_url))
    source = """
        from conformance.suite.fixtures import *
        CONNECTIONS = []
        def test_connection(connection): CONNECTIONS.append(connection)
    """
    same = """
        def test_same():
            import test_a
            assert CONNECTIONS[0] is test_a.CONNECTIONS[0]
    """
    pytester.makepyfile(test_a=source, test_b=source + same)
    assert counts(kit()) == {"passed": 3}


def test_without_the_extra_no_shape_is_judged(judge, reference_url: str) -> None:
    chosen = ("--gateway-snapshots", "shapes", "--gateway-only", "SHAPE-001", "-p", "no:syrupy")
    result, report = judge("--gateway-url", reference_url, *chosen)
    assert counts(result) == {"not_tested": 1}
    assert "pip install 'gateway-conformance[shapes]'" in report["requirements"][0]["reason"]
