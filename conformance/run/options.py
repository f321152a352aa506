"""The values of the plug-in's options, from the command line and the ini file, read and checked."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from conformance.declaring import wrong_capabilities, wrong_option
from conformance.recorded.recorder import PORT as RECORDER_PORT
from conformance.recorded.scoring import SCORERS, TOLERANCE
from conformance.recorded.trajectory import Scoring
from conformance.upstream import PORT
from conformance.upstream.tool_format import FORMATS, HERMES, Format

TIMEOUT, LIVE_TIMEOUT = 5.0, 30.0
"""Seconds that an answer may take, and one over a real engine, whose model takes its time and serves others, too."""
IN_PROCESS = "reference-transformers"
"""The reference whose engine is in its own process: there a recorder has no place, and it keeps the ledger itself."""
NAMES = (
    *("reference", "reference-structured", "reference-vllm-generate", "reference-sglang", "reference-llamacpp"),
    *("reference-keys", IN_PROCESS, "fixture"),
)
"""What `--gateway` takes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one run, read and checked. Raises `pytest.UsageError` that names the option and what it takes."""

    gateway: str | None
    url: str | None
    driver: str | None
    api_key: str | None
    has: tuple[str, ...]
    options: Mapping[str, str]
    authority: Path | None
    insecure: bool
    profiles: tuple[str, ...]
    only: tuple[str, ...]
    level: str
    tokenizer: Path | None
    upstream_port: int | None
    engine: str | None
    ledger: Path | None
    scoring: Scoring | None
    tool_format: Format
    timeout: float
    report: Path | None
    snapshots: Path | None
    expected_failures: Path | None
    ambient: bool

    @property
    def targeted(self) -> bool:
        return self.gateway is not None or self.url is not None

    @property
    def in_process(self) -> bool:
        """Whether the gateway has its engine in its own process, and keeps the ledger itself."""
        return self.engine is None and (self.ledger is not None or self.gateway == IN_PROCESS)

    @property
    def live(self) -> bool:
        """Whether a real engine is behind the gateway, and not the scripted one."""
        return self.engine is not None or self.in_process

    @property
    def trust(self) -> ssl.SSLContext | None:
        """By whose certificates the gateway is trusted; None: by those that are usual."""
        return _trust(self.authority, self.insecure)

    @property
    def port(self) -> int:
        """Of the upstream, or of the recorder: a gateway that runs already was told one; to any other it is told."""
        if self.upstream_port is not None:
            return self.upstream_port
        return (RECORDER_PORT if self.engine else PORT) if self.url else 0

    @classmethod
    def read(cls, config: pytest.Config) -> Settings:
        def value(name: str) -> str | None:
            setting: Any = config.getoption(name) or config.getini(name)
            return (",".join(setting) if isinstance(setting, list) else str(setting)) if setting else None

        gateway, url = value("gateway"), value("gateway_url")
        if gateway is not None and url is not None:
            raise pytest.UsageError("--gateway and --gateway-url name two targets: give one")
        if gateway not in (None, *NAMES):
            raise pytest.UsageError(
                f"--gateway takes {', '.join(NAMES[:-1])} or {NAMES[-1]}, not {gateway!r}; a URL goes to --gateway-url"
            )
        if url is not None and not url.startswith(("http://", "https://")):
            raise pytest.UsageError(f"--gateway-url takes a URL such as http://127.0.0.1:8000, not {url!r}")
        level = (value("gateway_level") or "MAY").upper()
        if level not in ("MUST", "SHOULD", "MAY"):
            raise pytest.UsageError(f"--gateway-level takes MUST, SHOULD or MAY, not {level!r}")
        tool_format = value("gateway_tool_format") or HERMES.name
        if tool_format not in FORMATS:
            raise pytest.UsageError(f"--gateway-tool-format takes one of {', '.join(FORMATS)}, not {tool_format!r}")
        tokenizer, engine = value("gateway_tokenizer"), value("gateway_engine")
        if engine is not None and not engine.startswith(("http://", "https://")):
            raise pytest.UsageError(f"--gateway-engine takes a URL such as http://127.0.0.1:8000, not {engine!r}")
        if engine is not None and "@" in urlsplit(engine).netloc:
            raise pytest.UsageError("--gateway-engine must hold no credentials: give GATEWAY_ENGINE_API_KEY")
        ledger = _path(value("gateway_ledger"))
        if gateway == IN_PROCESS and (engine or ledger or not tokenizer):
            raise pytest.UsageError(
                f"--gateway {IN_PROCESS} takes the directory of its model as --gateway-tokenizer, and has its engine "
                "in its own process: give no --gateway-engine and no --gateway-ledger"
            )
        if ledger is not None and engine is None and gateway not in (None, "fixture"):
            raise pytest.UsageError("--gateway-ledger goes with --gateway-engine URL, or with a gateway that keeps it")
        for flag in ("--gateway-score", "--gateway-tolerance"):
            named = value(flag.removeprefix("--").replace("-", "_"))
            if named and engine is None and ledger is None and gateway != IN_PROCESS:
                raise pytest.UsageError(f"{flag} goes with --gateway-engine URL or --gateway-ledger FILE")
        authority = _path(value("gateway_ca"))
        insecure = (
            _choice("--gateway-insecure", (value("gateway_insecure") or "false").lower(), ("true", "false")) == "true"
        )
        if insecure and authority is not None:
            raise pytest.UsageError("--gateway-insecure takes any certificate: leave out --gateway-ca")
        _trust(authority, insecure)
        return cls(
            gateway=gateway,
            url=url.rstrip("/") if url else None,
            driver=value("gateway_driver"),
            api_key=value("gateway_api_key") or os.environ.get("GATEWAY_API_KEY"),
            has=_capabilities(value("gateway_has")),
            options=_options(value("gateway_option")),
            authority=authority,
            insecure=insecure,
            profiles=_names(value("gateway_profile")),
            only=_names(value("gateway_only")),
            level=level,
            tokenizer=Path(tokenizer).resolve() if tokenizer else None,
            upstream_port=_number("--gateway-upstream-port", value("gateway_upstream_port"), int, 0, 65535),
            engine=engine.rstrip("/") if engine else None,
            ledger=ledger,
            scoring=_scoring(value("gateway_score"), value("gateway_tolerance")),
            tool_format=FORMATS[tool_format],
            timeout=(LIVE_TIMEOUT if engine or ledger or gateway == IN_PROCESS else TIMEOUT)
            * (_number("--gateway-timeout-scale", value("gateway_timeout_scale"), float, 0.01, 1000.0) or 1.0),
            report=_path(value("gateway_report")),
            snapshots=_path(value("gateway_snapshots")),
            expected_failures=_path(value("gateway_expected_failures")),
            ambient=_choice("--gateway-ambient", value("gateway_ambient") or "on", ("on", "off")) == "on",
        )


def _scoring(by: str | None, tolerance: str | None) -> Scoring | None:
    nats = _number("--gateway-tolerance", tolerance, float, 1e-9, 1e9) or TOLERANCE
    if by is None:
        return None
    kind, colon, where = by.partition(":")
    if kind not in SCORERS or not colon or not where:
        raise pytest.UsageError(f"--gateway-score takes one of {', '.join(SCORERS)}, and where, not {by!r}")
    if kind != "vllm":
        by = f"{kind}:{Path(where).absolute()}"
    return Scoring(by, nats)


def _capabilities(text: str | None) -> tuple[str, ...]:
    names = _names(text)
    wrong = wrong_capabilities(names)
    if wrong is not None:
        raise pytest.UsageError(f"--gateway-has: {wrong}")
    return names


def _options(text: str | None) -> dict[str, str]:
    options = {}
    for pair in _names(text):
        name, equals, option_value = map(str.strip, pair.partition("="))
        if not equals:
            raise pytest.UsageError(f"--gateway-option takes NAME=VALUE, not {pair!r}")
        wrong = wrong_option(name, option_value)
        if wrong is not None:
            raise pytest.UsageError(f"--gateway-option: {wrong}")
        options[name] = option_value
    return options


def _trust(authority: Path | None, insecure: bool) -> ssl.SSLContext | None:
    if authority is None and not insecure:
        return None
    try:
        context = ssl.create_default_context(cafile=authority)
    except OSError as error:  # also of what is no certificate
        raise pytest.UsageError(f"--gateway-ca takes a file of certificates (PEM), not {authority}: {error}") from error
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()


def _choice(option: str, text: str, values: Sequence[str]) -> str:
    if text not in values:
        raise pytest.UsageError(f"{option} takes {' or '.join(values)}, not {text!r}")
    return text


def _path(text: str | None) -> Path | None:
    return Path(text).absolute() if text else None


def _number(option: str, text: str | None, kind: type, low: float, high: float) -> Any:
    if text is None:
        return None
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        raise pytest.UsageError(f"{option} takes a number from {low} to {high}, not {text!r}")
    return number
