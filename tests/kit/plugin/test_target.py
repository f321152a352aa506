"""A wrong target ends in one clear sentence, before any check runs, and never in a traceback of ours."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from tests.kit.plugin.conftest import Kit, counts
from tests.kit.talking import talking

NOWHERE = ("--gateway-url", "http://127.0.0.1:1")


def assert_one_sentence(result: pytest.RunResult, *parts: str) -> None:
    text = "\n".join([*result.outlines, *result.errlines])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, text
    for part in parts:
        assert part in errors[0]


def test_no_target_is_never_replaced_by_a_default(kit: Kit) -> None:
    assert_one_sentence(kit("--pyargs", "conformance.suite"), "no gateway to judge", "--gateway-url")


def test_an_unreachable_url_of_a_server_without_sessions(kit: Kit) -> None:
    result = kit("--gateway-url", "http://127.0.0.1:1", "--gateway-driver", "openai")
    assert_one_sentence(result, "cannot reach http://127.0.0.1:1", "refused")


def test_two_targets(kit: Kit) -> None:
    result = kit("--gateway", "reference", "--gateway-url", "http://127.0.0.1:1")
    assert_one_sentence(result, "--gateway and --gateway-url name two targets")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--gateway", "mine"],
            "--gateway takes reference, reference-structured, reference-vllm-generate, reference-sglang, "
            "reference-llamacpp, reference-keys, reference-transformers or fixture, not 'mine'",
        ),
        (["--gateway-url", "localhost:8000"], "--gateway-url takes a URL such as http://127.0.0.1:8000"),
        (
            [*NOWHERE, "--gateway-level", "SHALL"],
            "--gateway-level takes MUST, SHOULD or MAY",
        ),
        (
            [*NOWHERE, "--gateway-timeout-scale", "fast"],
            "--gateway-timeout-scale takes a number",
        ),
        (
            [*NOWHERE, "--gateway-profile", "nonsense"],
            "no profile 'nonsense'; known: openai-chat",
        ),
        ([*NOWHERE, "--gateway-only", "STREAM-999"], "no requirement 'STREAM-999'"),
        ([*NOWHERE, "--gateway-only", "STRAEM-*"], "no requirement 'STRAEM-*'"),
        ([*NOWHERE, "--gateway-driver", "htpp"], "did you mean 'http'?"),
        ([*NOWHERE, "--gateway-driver", "no.such:Driver"], "cannot be imported"),
        ([*NOWHERE, "--gateway-driver", "json:dumps"], "is not a subclass of"),
        ([*NOWHERE, "--gateway-tokenizer", "nowhere"], "nowhere"),
        ([*NOWHERE, "--gateway-has", "streaming,tool"], "--gateway-has: no capability is named 'tool'"),
        ([*NOWHERE, "--gateway-option", "budget"], "--gateway-option takes NAME=VALUE, not 'budget'"),
        ([*NOWHERE, "--gateway-option", "budget=sum"], "--gateway-option: option budget='sum' is none of its values"),
        ([*NOWHERE, "--gateway-ca", "nowhere.pem"], "--gateway-ca takes a file of certificates (PEM), not "),
        ([*NOWHERE, "--gateway-ca", "a.pem", "--gateway-insecure"], "leave out --gateway-ca"),
        ([*NOWHERE, "--gateway-tool-format", "xml"], "--gateway-tool-format takes one of hermes, qwen3_coder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_option(kit: Kit, arguments: list[str], sentence: str) -> None:
    assert_one_sentence(kit(*arguments), sentence)


def test_unreachable_url(kit: Kit) -> None:
    assert_one_sentence(kit("--gateway-url", "http://127.0.0.1:1"), "cannot reach http://127.0.0.1:1", "refused")


def test_a_url_that_is_not_a_gateway(kit: Kit, odd_server) -> None:
    server = odd_server(404, b"<html>not here</html>", "text/html")
    assert_one_sentence(
        kit("--gateway-url", server.url), server.url, "not as the driver 'http' expects", "--gateway-driver"
    )


def test_an_option_that_is_declared_with_a_value_of_nobodys(kit: Kit, odd_server) -> None:
    options = b'"options": {"last_rewrite": "roll_back", "of_a_later_version": "x"}'
    server = odd_server(200, b'{"name": "g", "version": "1", "capabilities": [], ' + options + b"}")
    sentence = "option last_rewrite='roll_back' is none of its values. An agent rewrites its last answer"
    assert_one_sentence(kit("--gateway-url", server.url), server.url, sentence, "'split': It stays exported")


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ("options={'multi-chain': 'true'}", "no option is named 'multi-chain'; did you mean 'multi_chain'?"),
        ("options={'budget': 'sum'}", "option budget='sum' is none of its values."),
        ("capabilities={'anthropic_messages'}", "did you mean 'anthropic-messages'?"),
    ],
)
def test_a_fixture_that_declares_what_does_not_exist(
    kit: Kit, pytester: pytest.Pytester, reference_url: str, declared: str, sentence: str
) -> None:
    pytester.makeconftest(
        f"""
        import pytest
        from conformance.gateway import Gateway

        @pytest.fixture(scope="session")
        def gateway():
            return Gateway({reference_url!r}, {declared})
        """
    )
    result = kit("--gateway", "fixture", "--gateway-only", "STREAM-004")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert sentence in result.stdout.str() + result.stderr.str()


def test_an_empty_answer_to_everything(kit: Kit, odd_server) -> None:
    assert_one_sentence(kit("--gateway-url", odd_server(200, b"").url), "not as the driver 'http' expects")


def test_a_gateway_that_hangs(kit: Kit, odd_server) -> None:
    server = odd_server(hangs=True)
    result = kit("--gateway-url", server.url, "--gateway-timeout-scale", "0.1")
    assert_one_sentence(result, f"cannot reach {server.url}", "no answer within 0.5 s")


def test_a_gateway_that_never_calls_the_upstream_is_not_tested(kit: Kit, odd_server) -> None:
    server = odd_server(200, b'{"id": "1", "object": "chat.completion", "choices": []}')
    result = kit("--gateway-url", server.url, "--gateway-driver", "openai", "--gateway-only", "CHAT-010")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*the gateway never called the kit's upstream at http://*--gateway-upstream-port*"])
    assert set(counts(result)) == {"not_tested"}


STATELESS = ("--gateway-driver", "openai", "--gateway-only", "CHAT-001,CHAT-007,CHAT-010")
"""Of these, CHAT-001 alone needs no script."""


def test_a_model_that_nobody_scripts_is_judged_on_what_it_says(judge) -> None:
    with talking() as url:
        result, report = judge("--gateway-url", url, *STATELESS[:-1], "CHAT-001")
        assert set(counts(result)) == {"passed"}
        result, report = judge("--gateway-url", url, *STATELESS)
    assert set(counts(result)) == {"passed", "not_tested"}
    assert report["profiles"]["openai-chat"]["verdict"] != "conformant"
    result.stdout.fnmatch_lines(["*What needs no script is judged on what its own model says*"])


def test_what_a_gateway_has_may_stand_on_the_command_line(judge, shared_upstream: Upstream) -> None:
    with talking(shared_upstream.url) as url:
        claims = ("--gateway-has", "n", "--gateway-has", "response-format", "--gateway-option", "budget=total")
        result, report = judge("--gateway-url", url, *STATELESS[:-1], "CHAT-001,CHAT-011", *claims)
    assert {"n", "response-format", "tools"} <= set(report["gateway"]["capabilities"])
    assert report["gateway"]["options"]["budget"] == "total"
    result.stdout.fnmatch_lines(["*--gateway-has n,response-format --gateway-option budget=total --gateway-only *"])


def test_an_ini_file_says_what_a_gateway_has(judge, pytester: pytest.Pytester, shared_upstream: Upstream) -> None:
    with talking(shared_upstream.url) as url:
        pytester.makeini(f"[pytest]\ngateway_url = {url}\ngateway_driver = openai\ngateway_has = n\n")
        _, report = judge("--gateway-only", "CHAT-001")
    assert "n" in report["gateway"]["capabilities"]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_gateway_behind_an_authority_of_its_own(
    kit: Kit, pytester: pytest.Pytester, authority: trustme.CA, tls: ssl.SSLContext
) -> None:
    file = pytester.path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    with talking(tls=tls) as url:
        target = ("--gateway-url", url, *STATELESS[:-1], "CHAT-001,HTTP-019")
        assert_one_sentence(kit(*target), f"cannot reach {url}", "--gateway-ca FILE says whose certificates are taken")
        for trusting in (["--gateway-ca", str(file)], ["--gateway-insecure"]):
            result = kit(*target, *trusting)
            assert counts(result)["passed"] >= 2, result.stdout.str()


def test_a_first_answer_may_be_slow(kit: Kit, shared_upstream: Upstream) -> None:
    with talking(shared_upstream.url, first_after=7) as url:
        result = kit("--gateway-url", url, *STATELESS)
    assert set(counts(result)) == {"passed"}
    result.stdout.fnmatch_lines(["the gateway's first answer takes longer than 5 s: it has 60 s"])


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_call_that_is_seen_later_revises_the_verdict(
    kit: Kit, shared_upstream: Upstream, workers: tuple[str, ...]
) -> None:
    with talking(shared_upstream.url, own=1) as url:
        result = kit("--gateway-url", url, *STATELESS, *workers)
    assert set(counts(result)) == {"passed"}
    assert "never called" not in result.stdout.str()


def test_a_call_that_a_check_sees_revises_the_verdict(kit: Kit, shared_upstream: Upstream) -> None:
    with talking(shared_upstream.url, own=3) as url:  # to the pre-flight and the control
        result = kit("--gateway-url", url, *STATELESS, "-p", "no:randomly")
    assert set(counts(result)) == {"passed"}


def test_what_was_not_tested_before_the_first_call_is_said(kit: Kit, shared_upstream: Upstream) -> None:
    with talking(shared_upstream.url, own=5) as url:  # to both cases of CHAT-001, too
        result = kit("--gateway-url", url, *STATELESS[:-1], "CHAT-001,CHAT-007,STREAM-001,CHAT-033")
    assert {"passed", "not_tested"} <= set(counts(result))
    result.stdout.fnmatch_lines(["*checks were not tested before the gateway first called the kit's upstream*"])


def test_a_gateway_of_invocations_only_is_asked_for_one(
    kit: Kit, shared_upstream: Upstream, pytester: pytest.Pytester
) -> None:
    with talking(shared_upstream.url, only_invocations=True) as url:
        pytester.makeconftest(
            f"""
            import pytest
            from conformance.gateway import Gateway

            @pytest.fixture(scope="session")
            def gateway():
                return Gateway({url!r}, driver="openai", capabilities={{"invocations"}})
            """
        )
        result = kit("--gateway", "fixture", "--gateway-only", "INV-001,INV-002,INV-003")
    assert set(counts(result)) == {"passed", "not_applicable"}  # it does not stream


def test_wrong_upstream_port(kit: Kit, odd_server) -> None:
    server = odd_server(200, b"{}")
    port = server.url.rpartition(":")[2]
    result = kit("--gateway-url", "http://127.0.0.1:1", "--gateway-upstream-port", port)
    assert_one_sentence(result, "is not the kit's scripted upstream")


def test_the_reference_is_not_installed_or_does_not_start(kit: Kit, tmp_path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    assert_one_sentence(kit("--gateway", "reference", "--gateway-tokenizer", str(tmp_path)), "tokenizer")


def test_a_tokenizer_of_ones_own(pytester: pytest.Pytester) -> None:
    arguments = ("--gateway", "reference", "--gateway-tokenizer", str(fixture_path("chars")))
    result = pytester.runpytest_subprocess(*arguments, "--gateway-only", "TOKEN-002,TOKEN-012")
    assert set(counts(result)) == {"passed"}


@pytest.mark.parametrize(
    ("target", "passed", "not_applicable"), [("reference", 2, 1), ("reference-sglang", 1, 2)], ids=["vllm", "sglang"]
)
def test_media_are_judged_where_the_engine_takes_them(
    pytester: pytest.Pytester, target: str, passed: int, not_applicable: int
) -> None:
    result = pytester.runpytest_subprocess("--gateway", target, "--gateway-only", "MEDIA-001,MEDIA-021")
    assert counts(result) == {"passed": passed, "not_applicable": not_applicable}


@pytest.mark.parametrize(
    ("target", "judged"),
    [("reference", "CHAT-039"), ("reference-structured", "CHAT-040"), ("reference-sglang", "CHAT-040")],
)
def test_formats_are_judged_as_refused_or_as_held_to(pytester: pytest.Pytester, target: str, judged: str) -> None:
    result = pytester.runpytest_subprocess("--gateway", target, "--gateway-only", judged)
    assert set(counts(result)) == {"passed"}


@pytest.mark.parametrize("form", ["qwen3_coder", "mistral"])
def test_the_reference_is_started_with_the_parser_of_the_format(pytester: pytest.Pytester, form: str) -> None:
    arguments = ("--gateway", "reference", "--gateway-only", "CHAT-050,CHAT-054")
    assert set(counts(pytester.runpytest_subprocess(*arguments, "--gateway-tool-format", form))) == {"passed"}
    (pytester.path / "pytest.ini").write_text(f"[pytest]\ngateway_tool_format = {form}\n")
    assert set(counts(pytester.runpytest_subprocess(*arguments))) == {"passed"}


def test_the_installed_reference_is_judged_not_what_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "reference_gateway").mkdir()
    (tmp_path / "reference_gateway" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    command = [sys.executable, "-P", "-m", "pytest", "--gateway", "reference", "--gateway-only", "STREAM-004"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_upstream_with_another_tokenizer(kit: Kit) -> None:
    result = kit(*NOWHERE, "--gateway-tokenizer", str(fixture_path("chars")))
    assert_one_sentence(result, "has another tokenizer", "chars")
