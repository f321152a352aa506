"""What a check ends as, what the run's exit code is, and when a profile is conformant."""

from __future__ import annotations

import pytest

from conformance.vocabulary.outcome import Outcome, worst
from tests.kit.plugin.conftest import Kit, counts

CHECK = """
import pytest
from conformance.suite.fixtures import *
from conformance.gateway import NotObservable
from conformance.vocabulary.expect import expect, fail

@pytest.mark.requirement(id="{id}")
def test_it(session, upstream):
    {body}
"""


@pytest.fixture
def one(kit: Kit, reference_url: str, pytester: pytest.Pytester):
    """Run one check with this body."""

    def run(body: str, *arguments: str, requirement: str = "CHAT-001") -> pytest.RunResult:
        pytester.makepyfile(test_one=CHECK.format(id=requirement, body=body))
        return kit("--gateway-url", reference_url, *arguments, "test_one.py")

    return run


def test_passed(one) -> None:
    result = one('upstream.says("x"); session.chat("Hi")')
    assert counts(result) == {"passed": 1}
    assert result.ret == 0


def test_failed(one) -> None:
    result = one('fail("here", "this", "that")')
    assert counts(result) == {"failed": 1}
    assert result.ret == 1


def test_a_plain_assertion_is_a_failure_too(one) -> None:
    result = one("assert 1 == 2, 'sum'")
    assert counts(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*1. check", "*expected: the assertion to hold", "*actual: *sum*"])


def test_a_broken_check_is_an_error_and_no_verdict(one) -> None:
    result = one("{}['missing']")
    assert counts(result) == {"errors": 1}
    assert result.ret == 1


def test_not_observable_is_not_tested_and_not_green(one) -> None:
    result = one('raise NotObservable("finalize")')
    assert counts(result) == {"not_tested": 1}
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*not tested: CHAT-001*"])


def test_a_run_in_which_nothing_applied_is_not_green(one) -> None:
    result = one("pass", requirement="CHAT-038")
    assert counts(result) == {"not_applicable": 1}
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_claimed_profile_without_its_capability_fails(
    kit: Kit, reference_url: str, pytester: pytest.Pytester
) -> None:
    pytester.makeconftest(
        f"""
        import pytest
        from conformance.gateway import Gateway
        @pytest.fixture(scope="session")
        def gateway(upstream):
            return Gateway({reference_url!r}, capabilities={{"streaming"}})
        """
    )
    result = kit("--gateway", "fixture", "--gateway-profile", "trajectories", "--gateway-only", "TOKEN-002")
    assert set(counts(result)) == {"failed"}
    result.stdout.fnmatch_lines(["*the capability trajectories: the profile trajectories is claimed, and needs it"])
    result = kit("--gateway", "fixture", "--gateway-only", "TOKEN-002")
    assert set(counts(result)) == {"not_applicable"}


DEFECTS = '[CHAT-001]\nreason = "known"\nlink = "https://example.org/1"\n'


def test_a_known_defect_is_an_expected_failure(one, pytester: pytest.Pytester) -> None:
    (pytester.path / "gateway-expected-failures.toml").write_text(DEFECTS)
    result = one('fail("here", "this", "that")')
    assert counts(result) == {"expected_failure": 1}
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*openai-chat *not conformant *1 expected failure*"])


def test_a_known_defect_that_is_mended_is_stale(one, pytester: pytest.Pytester) -> None:
    (pytester.path / "gateway-expected-failures.toml").write_text(DEFECTS)
    result = one('upstream.says("x"); session.chat("Hi")')
    assert counts(result) == {"failed": 1}
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*CHAT-001 passes, but *expected-failures.toml still lists it*remove the entry*"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[CHAT-999]\nreason="x"\nlink="y"\n', "no requirement 'CHAT-999'"),
        ('[CHAT-001]\nreason="x"\n', '[[]CHAT-001] needs reason = "..." and link = "..."'),
        ("[CHAT-001\n", "gateway-expected-failures.toml"),
    ],
    ids=["unknown id", "no link", "not TOML"],
)
def test_a_bad_list_of_known_defects(one, pytester: pytest.Pytester, text: str, sentence: str) -> None:
    (pytester.path / "gateway-expected-failures.toml").write_text(text)
    result = one("pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{sentence}*"])


def test_a_gateway_that_dies_in_the_middle_fails_the_check(one) -> None:
    result = one('session.send_to("http://127.0.0.1:1/v1/chat/completions", {})')
    assert counts(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*1. POST /v1/chat/completions", "*a complete HTTP answer", "*connection failed: *"])


def test_a_turn_that_hangs_ends_within_the_checks_own_timeout(one) -> None:
    result = one('upstream.holds("x"); session.chat("Hi")', "--gateway-timeout-scale", "0.1")
    assert counts(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*no answer within 0.5 s*"])


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([Outcome.PASSED, Outcome.PASSED], Outcome.PASSED),
        ([Outcome.PASSED, Outcome.NOT_APPLICABLE], Outcome.PASSED),
        ([Outcome.NOT_APPLICABLE], Outcome.NOT_APPLICABLE),
        ([Outcome.PASSED, Outcome.NOT_TESTED], Outcome.NOT_TESTED),
        ([Outcome.EXPECTED_FAILURE, Outcome.FAILED], Outcome.FAILED),
        ([Outcome.FAILED, Outcome.ERROR], Outcome.ERROR),
    ],
)
def test_a_requirement_ends_as_the_worst_of_its_checks(outcomes: list[Outcome], expected: Outcome) -> None:
    assert worst(outcomes) is expected
