"""The door of the pytest plug-in: its options and its hooks. Nothing else, until there is a gateway to judge.

pytest loads this module in every project whose environment has the kit, so it imports nothing of it. The kit is let in,
for the run at hand, by a target on the command line or in the ini file, by the import of `conformance.suite` into a
test module, or, where pytest-xdist's workers have done the latter, by their first check.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conformance.gateway import Driver, Gateway
    from conformance.requirements import Requirement
    from conformance.run.run import Run
    from conformance.upstream.client import Upstream
    from conformance.vocabulary.outcome import Outcome

KIT = "conformance.plugin"

OPTIONS: tuple[tuple[str, str, str], ...] = (
    (
        "--gateway",
        "NAME",
        "Target of the shipped suite: reference, reference-structured (which leaves formats and forced calls to its "
        "engine), reference-vllm-generate (over vLLM's other route for tokens), reference-sglang (over SGLang), "
        "reference-llamacpp (over llama.cpp), reference-keys (in which each session needs its key) or "
        "reference-transformers (with the model of --gateway-tokenizer in its own process), each started for the run, "
        "or fixture (from conftest.py)",
    ),
    ("--gateway-url", "URL", "Gateway under test, running with the kit's upstream as its backend"),
    ("--gateway-driver", "NAME", "How the gateway's sessions are handled: http, openai, rllm or package.module:Class"),
    ("--gateway-api-key", "KEY", "Admin key of the gateway; prefer the environment variable GATEWAY_API_KEY"),
    (
        "--gateway-has",
        "NAMES",
        "Capabilities that the gateway has beside those that it declares, with commas or given again",
    ),
    (
        "--gateway-option",
        "NAME=VALUE",
        "What the gateway does where good gateways differ, with commas or given again; counts before what it declares",
    ),
    ("--gateway-ca", "FILE", "Certificates (PEM) by which the gateway under test is trusted over https"),
    ("--gateway-insecure", "", "Take any certificate of the gateway under test"),
    (
        "--gateway-profile",
        "NAMES",
        "Profiles to judge, with commas or given again; default: all that the gateway declares",
    ),
    ("--gateway-only", "IDS", "Requirements to check, with commas or given again; * matches any text"),
    ("--gateway-level", "LEVEL", "Lowest level to check: MUST, SHOULD or MAY (default)"),
    ("--gateway-tokenizer", "DIR", "Tokenizer directory of the gateway under test; default: the kit's chatml"),
    (
        "--gateway-tool-format",
        "NAME",
        "How the model writes tool calls, for the parser of the gateway under test: hermes (default), qwen3_coder, "
        "glm45, deepseek_v3, mistral, llama3_json or pythonic",
    ),
    (
        "--gateway-upstream-port",
        "PORT",
        "Port of the kit's upstream, with --gateway-engine of the recorder; default with --gateway-url 8765, and 8766 "
        "for the recorder, else any",
    ),
    (
        "--gateway-engine",
        "URL",
        "A real engine, for the profile live: a recorder is started before it, which the gateway has for its engine",
    ),
    (
        "--gateway-ledger",
        "FILE",
        "The ledger of `gateway-conformance record --arrivals`, where that stands before the engine already; without "
        "--gateway-engine the one that a gateway keeps whose engine is in its own process",
    ),
    (
        "--gateway-score",
        "SCORER",
        "Score what the real engine samples again: numpy:DIR, transformers:DIR, vllm:URL or gguf:FILE",
    ),
    ("--gateway-tolerance", "NATS", "That a score may differ; default 0.01"),
    (
        "--gateway-timeout-scale",
        "FACTOR",
        "Factor on the time that an answer may take, 5 seconds by default, 30 over a real engine",
    ),
    ("--gateway-ambient", "on|off", "Judge each exchange of each check by all that holds for any; default on"),
    ("--gateway-report", "PATH", "Write the JSON report to this file"),
    ("--gateway-snapshots", "DIR", "Directory with the pinned response shapes of the gateway under test"),
    ("--gateway-expected-failures", "FILE", "Known defects by requirement id; default gateway-expected-failures.toml"),
)
"""Flag, what it takes, and what it is for. Each has an ini twin with underscores."""
REPEATED = ("--gateway-profile", "--gateway-only", "--gateway-has", "--gateway-option")
"""What may be given more than once: all its names count."""

_running: list[pytest.Config] = []
"""The runs that are under way, the innermost last: a test may run pytest itself."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gateway", "gateway conformance")
    for flag, metavar, text in OPTIONS:
        name = flag.removeprefix("--").replace("-", "_")
        if metavar:
            action = "append" if flag in REPEATED else "store"
            group.addoption(flag, dest=name, metavar=metavar, action=action, default=None, help=text)
        else:
            group.addoption(flag, dest=name, action="store_const", const="true", default=None, help=text)
        parser.addini(name, text, default="")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(Hooks)


def pytest_configure(config: pytest.Config) -> None:
    _running.append(config)
    if any(config.getoption(name) or config.getini(name) for name in ("gateway", "gateway_url")):
        let_in(config)
    elif config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_OtherSideOfXdist(config), "gateway-conformance-xdist")


def pytest_unconfigure(config: pytest.Config) -> None:
    if config in _running:
        _running.remove(config)


def let_in(config: pytest.Config | None = None) -> None:
    """The kit takes part in this run; without `config`, in the innermost that is under way. Raises
    `pytest.UsageError` where something else is named `conformance`."""
    config = config or (_running[-1] if _running else None)
    if config is None or config.pluginmanager.hasplugin(KIT):
        return
    import conformance

    place = next(iter(conformance.__path__), "") if hasattr(conformance, "__path__") else conformance.__file__
    # The kit has this module beside its package: where it is installed, and in a checkout that comes first on the path.
    if place is None or not (Path(place).parent / Path(__file__).name).is_file():
        del sys.modules["conformance"]
        raise pytest.UsageError(
            f"{place} has the name of the kit's package and hides it: call it something else, or run `pytest` from "
            "where it is not on Python's path (`python -m pytest` puts the current directory there)"
        )
    config.pluginmanager.import_plugin(KIT)


@pytest.fixture(scope="session")
def upstream(request: pytest.FixtureRequest) -> Upstream:
    """The kit's scripted model server: `.url` for a gateway to be started with, `.says(...)` `.calls` for checks."""
    return _run_of(request).open_upstream()


@pytest.fixture(scope="session")
def gateway(request: pytest.FixtureRequest) -> Gateway:
    """The gateway under test. Override it in the root conftest.py to start your own."""
    run = _run_of(request)
    if run.gateway is None:
        pytest.exit("no gateway to judge: give --gateway-url, --gateway reference or a `gateway` fixture", returncode=4)
    return run.gateway


def _run_of(request: pytest.FixtureRequest) -> Run:
    let_in(request.config)
    from conformance.run.run import RUN

    return request.config.stash[RUN]


class _OtherSideOfXdist:
    """Where workers collect, the controller hears only from their reports that the suite was imported."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if any(name == "requirement" for name, _ in report.user_properties):
            let_in(self._config)
            self._config.pluginmanager.unregister(self)
            collector: Any = self._config.pluginmanager.get_plugin("gateway-conformance-report")
            collector.pytest_runtest_logreport(report)


class Hooks:
    """For `conftest.py` and for other plug-ins."""

    @pytest.hookspec
    def pytest_gateway_drivers(self) -> dict[str, type[Driver]]:  # type: ignore[empty-body]
        """Drivers by the name that `--gateway-driver` and `Gateway(driver=...)` take, beside the built-in ones.

        Example::

            def pytest_gateway_drivers():
                return {"mine": MyDriver}
        """

    @pytest.hookspec
    def pytest_gateway_check_finished(self, requirement: Requirement, outcome: Outcome, item: pytest.Item) -> None:
        """Called for each check of the suite with what it ended as, in the process that ran it.

        Example::

            def pytest_gateway_check_finished(requirement, outcome, item):
                print(requirement.id, outcome)
        """

    @pytest.hookspec
    def pytest_gateway_report(self, report: dict[str, Any], config: pytest.Config) -> None:
        """Called once at the end with the JSON report, before it is written. It may be added to under `"extra"`.

        Example::

            def pytest_gateway_report(report, config):
                report["extra"]["build"] = os.environ["BUILD_ID"]
        """
