"""The three ways to plug a gateway in."""

from __future__ import annotations

import pytest

from conformance.upstream.client import Upstream
from tests.kit.plugin.conftest import Kit, counts

ONLY = ("--gateway-only", "STREAM-004,CHAT-011")


def test_a_url(kit: Kit, reference_url: str) -> None:
    result = kit("--gateway-url", reference_url, *ONLY)
    assert counts(result) == {"passed": 3}
    result.stdout.fnmatch_lines(
        [f"gateway: reference-gateway * at {reference_url} (driver http)", "profiles: *; requirement set 2026.1"]
    )


def test_workers_share_one_gateway_and_one_upstream(kit: Kit, reference_url: str) -> None:
    result = kit("--gateway-url", reference_url, *ONLY, "-n", "4")
    assert counts(result) == {"passed": 3}


CONFTEST = """
import pytest
from conformance.gateway import Gateway

@pytest.fixture(scope="session")
def gateway(upstream):
    assert upstream.url
    yield Gateway({url!r}, name="mine", version="7")
"""


def test_a_fixture_in_the_root_conftest(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.format(url=reference_url))
    result = kit("--gateway", "fixture", *ONLY)
    assert counts(result) == {"passed": 3}
    result.stdout.fnmatch_lines([f"mine 7 at {reference_url}*"])


def test_a_fixture_with_pyargs(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST.format(url=reference_url))
    assert counts(kit("--pyargs", "conformance.suite", *ONLY)) == {"passed": 3}


def test_star_import_in_a_sub_directory(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("gateway")
    (folder / "conftest.py").write_text(CONFTEST.format(url=reference_url))
    (folder / "test_conformance.py").write_text("from conformance.suite import *\n")
    pytester.makepyfile(test_other="def test_other(): pass")
    assert counts(kit(*ONLY)) == {"passed": 4}


def test_a_driver_of_ones_own_by_path(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        mydriver="""
        from conformance.drivers.http import HttpDriver
        class Mine(HttpDriver):
            name = "mine"
        """
    )
    pytester.syspathinsert()
    assert counts(kit("--gateway-url", reference_url, "--gateway-driver", "mydriver:Mine", *ONLY)) == {"passed": 3}


def test_a_driver_from_a_hook(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from conformance.drivers.http import HttpDriver
        class Mine(HttpDriver):
            name = "mine"
        def pytest_gateway_drivers():
            return {"mine": Mine}
        """
    )
    result = kit("--gateway-url", reference_url, "--gateway-driver", "mine", *ONLY)
    assert counts(result) == {"passed": 3}
    result.stdout.fnmatch_lines(["*(driver mine)*"])


def test_ini_twins(kit: Kit, reference_url: str, pytester: pytest.Pytester) -> None:
    pytester.makeini(f"[pytest]\ngateway_url = {reference_url}\ngateway_only = STREAM-004\n")
    assert counts(kit()) == {"passed": 1}


def test_an_unrelated_run_is_left_alone(kit: Kit, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(): pass")
    result = kit()
    assert counts(result) == {"passed": 1}
    assert "gateway:" not in result.stdout.str()
    assert "gateway conformance" not in result.stdout.str()


def test_the_suite_leaves_no_session_open(kit: Kit, reference_url: str, shared_upstream: Upstream) -> None:
    before = len(shared_upstream.strays)
    assert counts(kit("--gateway-url", reference_url, *ONLY)) == {"passed": 3}
    assert len(shared_upstream.strays) == before
