"""A gateway that is served twice under one URL: to the tests, and to clients that have no other network."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from conformance.fixtures import fixture_path
from conformance.upstream.client import Upstream
from reference_gateway.app import create_app
from reference_gateway.config import Config
from reference_gateway.serving.server import serving
from tests.clients.nightly.loopback import Loopback, NoNamespace, loopback

RUN_S = 180

Attempt = Callable[..., "subprocess.CompletedProcess[str]"]
Run = Callable[..., str]


@pytest.fixture(scope="session")
def outside() -> Iterator[socket.socket]:
    """Where the tests reach the gateway. Its port is that of the listener inside, so that the URLs are the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture(scope="session")
def network(outside: socket.socket) -> Iterator[Loopback]:
    try:
        with loopback(outside.getsockname()[1]) as made:
            yield made
    except NoNamespace as error:
        pytest.skip(f"no network namespace with nothing but loopback: {error}")


@pytest.fixture(scope="session")
def structured_outputs(request: pytest.FixtureRequest) -> str:
    """What becomes of formats and forced calls; a test that needs another value is parametrised with it."""
    return str(getattr(request, "param", "refuse"))


@pytest.fixture(scope="session", params=["synthesised", "incremental"])
def gateway(
    request: pytest.FixtureRequest,
    shared_upstream: Upstream,
    outside: socket.socket,
    network: Loopback,
    structured_outputs: str,
) -> Iterator[httpx.Client]:
    """The control plane of a gateway with keys: every client has to present the key of its session. Both kinds of
    streams, since most clients stream."""
    admin = secrets.token_urlsafe()
    config = Config(
        tokenizer=fixture_path("chatml"),
        backend="vllm",
        backend_url=shared_upstream.url,
        tool_parser="hermes",
        api_key=admin,
        stream=request.param,
        structured_outputs=structured_outputs,
    )
    sockets = [each.dup() for each in (outside, network.listener)]  # a server closes what it served
    with (
        serving(create_app(config), sockets=sockets) as url,
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {admin}"}) as client,
    ):
        yield client


@pytest.fixture
def attempt(network: Loopback, tmp_path: Path) -> Attempt:
    """Runs a command in the namespace, in a folder and a home of its own, with no variables but those given. Gives its
    status and what it wrote; fails with it when the command does not end."""

    def call(*command: str, cwd: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        process = subprocess.Popen(
            network.inside(*command),
            cwd=cwd,
            env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, complaints = process.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, complaints = process.communicate()
            pytest.fail(f"{command} did not end within {RUN_S} s\n{output}\n{complaints}", pytrace=False)
        return subprocess.CompletedProcess(command, process.returncode, output, complaints)

    return call


@pytest.fixture
def run(attempt: Attempt) -> Run:
    """The same for a command that succeeds: gives its output, and fails with it when the command fails."""

    def call(*command: str, cwd: Path, variables: Mapping[str, str]) -> str:
        ended = attempt(*command, cwd=cwd, variables=variables)
        if ended.returncode:
            pytest.fail(f"{command} ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}", pytrace=False)
        return ended.stdout

    return call
