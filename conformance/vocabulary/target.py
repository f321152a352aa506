"""The gateway under test and its upstream: how they are found or started, and what is asked before the first check.

Everything that is wrong with the target itself (no such address, not a gateway, a wrong driver) ends here as one
`pytest.UsageError` sentence; no check runs against it.
"""

from __future__ import annotations

import os
import secrets
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from conformance.client.driving import DriverClient
from conformance.client.failure import ConformanceFailure
from conformance.client.http import Recorder, client
from conformance.declaring import wrong_capabilities, wrong_option
from conformance.drivers import load_driver
from conformance.fixtures import FILES, fixture_path
from conformance.gateway import OPTIONS, Capability, Declaration, Driver, Gateway, NotObservable, Refused
from conformance.recorded.trajectory import Scoring
from conformance.tokenizer import TokenizerError
from conformance.upstream.client import Upstream, UpstreamError
from conformance.vocabulary.asking import claimed
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import Sessions

PATIENCE = 12
"""How many times as long as any other answer the first one may take."""
NEVER_CALLED = "the gateway never called the kit's upstream"
"""How the reason begins why the upstream is unseen."""
REFERENCES: Mapping[str, tuple[str, ...]] = {
    "reference": ("--backend", "vllm"),
    "reference-structured": ("--backend", "vllm", "--structured-outputs", "engine"),
    "reference-vllm-generate": ("--backend", "vllm", "--vllm-route", "generate"),
    "reference-sglang": (
        *("--backend", "sglang", "--media", "references", "--control-tokens-in-text", "parsed"),
        *("--structured-outputs", "engine"),
    ),
    "reference-llamacpp": ("--backend", "llama_cpp", "--structured-outputs", "engine"),
    "reference-transformers": ("--backend", "transformers"),
    "reference-keys": ("--backend", "vllm"),
}
"""The ways in which the reference gateway is started: over each dialect that takes tokens, and between them with each
value of what is decided at its start."""
KEYED = frozenset({"reference-keys"})
"""Those that are started with a key of their own, made for the run."""


@dataclass(slots=True)
class Target:
    """The gateway under test as a worker holds it. `unseen` says why the upstream cannot be observed, as long as it
    was not."""

    gateway: Gateway
    driver: Driver
    declaration: Declaration
    upstream: Upstream
    http: httpx.Client
    recorder: Recorder
    unseen: str | None = None

    def declares(self, option: str, value: str) -> bool:
        """Does the gateway declare this value of the option?"""
        return self.declaration.options.get(option) == value

    def observes(self, what: str) -> str | None:
        """None if the kit can see `upstream`, `context`, `trajectories` or `state`; else why it cannot."""
        if what in ("upstream", "context"):
            return self.unseen
        if what in ("engine", "scorer"):
            return self._lacks(what)
        methods = {"trajectories": ("trajectories", "finalize"), "state": ("state",)}[what]
        if all(getattr(type(self.driver), name) is getattr(Driver, name) for name in methods):
            return f"the driver {self.driver.name!r} cannot read {what}"
        return None

    def _lacks(self, what: str) -> str | None:
        if not isinstance(self.upstream, RecordedEngine):
            return "no real engine is recorded: give --gateway-engine URL"
        if what == "scorer" and self.upstream.scoring is None:
            return "nothing scores the sampled tokens again: give --gateway-score SCORER"
        return None

    def close(self) -> None:
        self.http.close()


def require_capability(target: Target, capability: Capability) -> None:
    """For a case of a check that needs more than its requirement does: `NotApplicable` where it is not declared."""
    if capability not in target.declaration.capabilities:
        raise NotApplicable(f"the capability {capability} is not declared")


def start_upstream(tokenizer: Path | None = None, port: int = 0) -> Upstream:
    """The kit's upstream: the one that runs on the port, or a new one there; 0 takes a free port. The tokenizer is the
    kit's chatml unless it is given."""
    tokenizer = tokenizer or fixture_path("chatml")
    try:
        if port:
            try:
                return Upstream.attach(f"http://127.0.0.1:{port}", tokenizer)
            except UpstreamError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
        return Upstream.start(tokenizer, port=port)
    except (UpstreamError, TokenizerError) as error:
        raise pytest.UsageError(f"the kit's upstream: {error}") from error


def record_engine(
    engine: str, tokenizer: Path | None, port: int, ledger: Path | None, scoring: Scoring | None
) -> RecordedEngine:
    """A real engine with a recorder before it: a new one on this port, or the one whose ledger this is."""
    tokenizer = tokenizer or fixture_path("chatml")
    try:
        if ledger is not None:
            return RecordedEngine.read(f"http://127.0.0.1:{port}", engine, tokenizer, ledger, scoring)
        return RecordedEngine.record(engine, tokenizer, port, scoring)
    except (UpstreamError, TokenizerError) as error:
        running = "" if ledger else "; a recorder that runs already is read with --gateway-ledger FILE"
        raise pytest.UsageError(f"the real engine: {error}{running}") from error


def read_own_ledger(tokenizer: Path | None, ledger: Path | None, scoring: Scoring | None) -> RecordedEngine:
    """A real engine in the gateway's own process, by the ledger that the gateway keeps."""
    try:
        return RecordedEngine.in_process(tokenizer or fixture_path("chatml"), ledger, scoring)
    except (UpstreamError, TokenizerError) as error:
        raise pytest.UsageError(f"the real engine: {error}") from error


def connect(
    gateway: Gateway,
    upstream: Upstream,
    timeout: float,
    drivers: Mapping[str, type[Driver]] | None = None,
    *,
    has: Sequence[str] = (),
    options: Mapping[str, str] = MappingProxyType({}),
    trust: ssl.SSLContext | None = None,
) -> Target:
    """A worker's own connection to the gateway, with what the gateway declares. A check may take `timeout` seconds.
    `has` and `options` are declared for it, beside the capabilities and before the options that it declares itself."""
    recorder = Recorder(timeout=timeout, trust=trust)
    http = client(recorder, gateway.api_key)
    kind = gateway.driver
    if isinstance(kind, str):
        try:
            kind = (drivers or {}).get(kind) or load_driver(kind)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    driver = kind(gateway.url, DriverClient(http), gateway.api_key)
    declared = _declared(gateway, driver, recorder, for_it=bool(has))
    declared = replace(
        declared,
        capabilities=declared.capabilities | frozenset(map(Capability, has)),
        options={**declared.options, **options},
    )
    return Target(gateway, driver, declared, upstream, http, recorder)


def preflight(target: Target, announce: Callable[[str], None]) -> str | None:
    """Is this a gateway, and is the kit's upstream its backend? Asks over each wire that the gateway claims until the
    upstream is called. Returns why the upstream is unseen, or None.

    A first answer may be slow, as of a gateway that loads what it needs: it has `PATIENCE` times as long as any other.
    `announce` is called with one line when that takes longer than another answer may.
    """
    with _patient(target.recorder, announce):
        return _introduction(target)


@contextmanager
def _patient(recorder: Recorder, announce: Callable[[str], None]) -> Iterator[None]:
    usual, recorder.timeout = recorder.timeout, recorder.timeout * PATIENCE
    line = f"the gateway's first answer takes longer than {usual:g} s: it has {recorder.timeout:g} s"
    waiting = threading.Timer(usual, announce, [line])
    waiting.daemon = True
    waiting.start()
    try:
        yield
    finally:
        waiting.cancel()
        recorder.timeout = usual


def _introduction(target: Target) -> str | None:
    url, driver = target.gateway.url, target.driver
    upstream, recorder = target.upstream, target.recorder
    upstream.begin()
    recorder.begin()
    session = Sessions(driver, target.http, recorder, upstream.nonce).open()
    try:
        session.open()
    except ConformanceFailure as failure:
        raise pytest.UsageError(
            f"{url} answers, but not as the driver {driver.name!r} expects: {failure}. "
            "Is it the gateway's URL? --gateway-driver chooses another driver"
        ) from failure
    answers = []
    try:
        for wire in claimed(target.declaration.capabilities):
            upstream.says("ready")
            try:
                answer = f"{wire.ask(session, 'Are you ready?').status}"
            except ConformanceFailure as failure:
                answer = str(failure)
            if upstream.calls:
                return None
            answers.append(f"{wire.request}: {answer}")
            if not answer.isdecimal():  # whoever does not answer is not asked again
                break
        if all(exchange.status is None for exchange in recorder.exchanges):
            raise pytest.UsageError(_unreachable(url, str(recorder.exchanges[-1].error)))
    finally:
        session.discard()
        upstream.end()
    return (
        f"{NEVER_CALLED} at {upstream.url} (its first answers: {', '.join(answers)}). "
        f"Start the gateway with that address as its backend, or give the port of the upstream that it has "
        f"with --gateway-upstream-port"
    )


def require_recorded(target: Target, announce: Callable[[str], None]) -> None:
    """Raise `pytest.UsageError` where the recorder before the engine sees nothing of what the gateway is asked. The
    first answer has time as in `preflight`."""
    url, upstream, recorder = target.gateway.url, target.upstream, target.recorder
    assert isinstance(upstream, RecordedEngine)
    upstream.begin()
    with _patient(recorder, announce):
        recorder.begin()
        session = Sessions(target.driver, target.http, recorder, upstream.nonce).open()
        try:
            answer = f"{session.chat('Are you ready?', max_tokens=8).status}"
        except ConformanceFailure as failure:
            answer = str(failure)
        finally:
            session.discard()
    seen = bool(upstream.calls)
    upstream.end()
    if not seen:
        raise pytest.UsageError(
            f"{url} was asked something ({answer}), and {upstream.watcher} saw no call with that question. "
            f"{upstream.remedy}, and give its tokenizer with --gateway-tokenizer"
        )


def _declared(gateway: Gateway, driver: Driver, recorder: Recorder, for_it: bool) -> Declaration:
    recorder.begin()
    try:
        declared = driver.declare()
    except NotObservable as error:
        if gateway.capabilities is None and not for_it:
            raise pytest.UsageError(f"{gateway.url}: {error}") from error
        declared = Declaration("gateway", "unknown", frozenset())
    except ConformanceFailure as failure:
        raise pytest.UsageError(_unreachable(gateway.url, failure.violations[0].actual)) from failure
    except (Refused, ValueError) as error:
        raise pytest.UsageError(
            f"{gateway.url} answers, but not as the driver {driver.name!r} expects: {error}. "
            "Is it the gateway's URL? --gateway-driver chooses another driver"
        ) from error
    changes: dict[str, Any] = {}
    if gateway.capabilities is not None:
        wrong = wrong_capabilities(gateway.capabilities)
        if wrong is not None:
            raise pytest.UsageError(wrong)
        changes["capabilities"] = frozenset(map(Capability, gateway.capabilities))
    known = {name: value for name, value in declared.options.items() if name in OPTIONS}
    options = {**known, **(gateway.options or {})}
    for name, value in options.items():
        wrong = wrong_option(name, value)
        if wrong is not None:
            raise pytest.UsageError(f"{gateway.url}: {wrong}")
    return replace(
        declared,
        name=gateway.name or declared.name,
        version=gateway.version or declared.version,
        options=options,
        **changes,
    )


def _unreachable(url: str, reason: str) -> str:
    untrusted = "CERTIFICATE_VERIFY_FAILED" in reason
    return f"cannot reach {url}: {reason}" + (
        ". --gateway-ca FILE says whose certificates are taken" if untrusted else ""
    )


def _engine_of(upstream: Upstream, model: Path) -> tuple[str, ...]:
    """Beside an engine in the gateway's process there is no server that the demo could post to."""
    if isinstance(upstream, RecordedEngine) and upstream.engine is None:
        return "--model-dir", str(model), "--ledger", str(upstream.ledger)
    return "--backend-url", upstream.url, "--deployment", "reference_gateway.examples.demo:deployment"


@dataclass(slots=True)
class ReferenceGateway:
    """The reference gateway in a process of its own, reached like any other. `api_key` is its admin key, if it was
    started with one."""

    url: str
    process: subprocess.Popen[str] = field(repr=False)
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def start(
        cls, upstream: Upstream, tokenizer: Path, name: str = "reference", api_key: str | None = None
    ) -> ReferenceGateway:
        """`name` is one of `REFERENCES`. `api_key` is for one that has keys; unset, it is made up."""
        key = (api_key or secrets.token_urlsafe()) if name in KEYED else None
        # -P: the gateway that is installed beside the kit, not a folder of that name in the current directory.
        command = [
            *(sys.executable, "-P", "-m", "reference_gateway", "serve", "--port", "0", "--log-level", "error"),
            *("--tokenizer", str(tokenizer), *REFERENCES[name], *_engine_of(upstream, tokenizer)),
            *("--tool-parser", upstream.tool_format.name, "--file-search", str(FILES)),
            *(("--reasoning-parser", "think") if upstream.tokenizer.drops_thoughts else ()),
        ]
        # In the environment a key shows in no list of processes.
        environment = None if key is None else {**os.environ, "REFERENCE_GATEWAY_API_KEY": key}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - our own
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            process.kill()
            raise pytest.UsageError(
                f"the reference gateway did not start (exit code {process.wait()}); "
                "is it installed? pip install 'gateway-conformance[gateway]'"
            )
        return cls(line.removeprefix("listening on ").strip(), process, key)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
