"""Runs of the plug-in in a process of its own, as a user has them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from conformance.upstream.client import Upstream

Kit = Callable[..., pytest.RunResult]


@pytest.fixture
def kit(pytester: pytest.Pytester, shared_upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """Run `pytest` in an empty directory with the shared upstream; the arguments are the command line."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("GATEWAY_API_KEY", raising=False)
    port = shared_upstream.url.rpartition(":")[2]

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--gateway-upstream-port", port, *arguments)

    return run


@pytest.fixture
def judge(kit: Kit, pytester: pytest.Pytester) -> Callable[..., tuple[pytest.RunResult, dict[str, Any]]]:
    """The same with a report; returns the result and the report."""

    def run(*arguments: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        file = pytester.path / "report.json"
        result = kit("--gateway-report", str(file), *arguments)
        return result, json.loads(file.read_text()) if file.exists() else {}

    return run


def counts(result: pytest.RunResult) -> dict[str, int]:
    """How many checks ended as what; those that were not asked for do not count."""
    return {name: count for name, count in result.parseoutcomes().items() if name != "deselected"}


class OddServer(ThreadingHTTPServer):
    """A server that answers everything in one way, and is no gateway."""

    daemon_threads = True

    def __init__(self, status: int, body: bytes, content_type: str, silent: threading.Event | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                if silent is not None:
                    silent.wait()
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def odd_server() -> Iterator[Callable[..., OddServer]]:
    """Starts servers that are no gateways: `odd_server(status, body, content_type)`; `hangs=True` never answers."""
    servers: list[OddServer] = []
    silence = threading.Event()

    def start(
        status: int = 200, body: bytes = b"{}", content_type: str = "application/json", hangs: bool = False
    ) -> OddServer:
        server = OddServer(status, body, content_type, silence if hangs else None)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    silence.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def suite_folder() -> Path:
    """Where the shipped checks lie."""
    import conformance.suite

    return Path(conformance.suite.__file__).parent
