"""A real engine as a check sees it: nothing that its model says is scripted, and all that it was asked and answered is
in the ledger of a recorder that stands between the gateway and it, or, where it is in the gateway's own process and
nothing can stand there, in one that the gateway keeps.

Has the accessors of the scripted upstream, so that sessions, traces and expectations work with either. What a script
would make the model say is said by nobody.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from conformance.gateway import NotObservable
from conformance.recorded.recorder import PORT as PORT
from conformance.recorded.trajectory import Scoring
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Hold, Upstream, UpstreamError
from conformance.upstream.inbox import Post
from conformance.upstream.ledger import PENDING, Call
from conformance.upstream.script import Step

_GLANCE = 0.01
"""Seconds between two looks at the ledger."""


class RecordedEngine(Upstream):
    """`url` is the recorder's, which the gateway has for its engine's; `engine` the engine's own, None where that is in
    the gateway's process, and has none. `scoring` says by what sampled tokens are scored again, None where by nothing.
    Made by `record`, `read` or `in_process`."""

    def __init__(
        self,
        url: str,
        engine: str | None,
        tokenizer: Tokenizer,
        ledger: Path,
        scoring: Scoring | None = None,
        process: subprocess.Popen[str] | None = None,
        owned: bool = False,
    ) -> None:
        super().__init__(url, tokenizer)
        self.engine, self.ledger, self.scoring = engine, ledger, scoring
        self._recorder, self._owned = process, owned
        self._start = 0
        self._known: dict[int, Call] = {}

    @classmethod
    def record(cls, engine: str, tokenizer_dir: Path, port: int = 0, scoring: Scoring | None = None) -> RecordedEngine:
        """Stand a recorder before the engine, on this port of loopback (0 takes a free one); it ends with `close()`.
        Raises `TokenizerError` or `UpstreamError`."""
        tokenizer = Tokenizer.load(tokenizer_dir)
        folder = Path(tempfile.mkdtemp(prefix="gateway-conformance-"))
        ledger = folder / "calls.jsonl"
        command = [sys.executable, "-P", "-m", "conformance.cli", "record", "--arrivals", "--port", str(port)]
        process = subprocess.Popen(  # noqa: S603 - our own module
            [*command, "--engine", engine, "--ledger", str(ledger)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("listening on "):
            reason = process.communicate()[1].strip().splitlines()[-1:] or ["it ended without a word"]
            raise UpstreamError(f"the recorder before {engine} did not start: {reason[0]}")
        return cls(line.removeprefix("listening on ").strip(), engine, tokenizer, ledger, scoring, process, True)

    @classmethod
    def read(
        cls, url: str, engine: str, tokenizer_dir: Path, ledger: Path, scoring: Scoring | None = None
    ) -> RecordedEngine:
        """Read the ledger of a recorder that others started. Raises `TokenizerError` or `UpstreamError`."""
        if not ledger.is_file():
            raise UpstreamError(f"there is no ledger {ledger}: gateway-conformance record --arrivals --ledger makes it")
        return cls(url, engine, Tokenizer.load(tokenizer_dir), ledger, scoring)

    @classmethod
    def in_process(
        cls, tokenizer_dir: Path, ledger: Path | None = None, scoring: Scoring | None = None
    ) -> RecordedEngine:
        """An engine in the gateway's own process, by the ledger that the gateway keeps: the calls as
        `record --arrivals` writes them, and lines `{"engine": {...}}` that say what the engine is. Without a ledger a
        new one, for a gateway that is about to be started with it. Raises `TokenizerError` or `UpstreamError`."""
        tokenizer, owned = Tokenizer.load(tokenizer_dir), ledger is None
        if ledger is None:
            ledger = Path(tempfile.mkdtemp(prefix="gateway-conformance-")) / "calls.jsonl"
            ledger.touch()
        elif not ledger.is_file():
            raise UpstreamError(
                f"there is no ledger {ledger}: the gateway keeps it, or gateway-conformance record does"
            )
        return cls("", None, tokenizer, ledger, scoring, None, owned)

    @property
    def recorded(self) -> str:
        """Where its calls are seen."""
        return f"recorded at {self.url}" if self.url else f"its calls written to {self.ledger} by the gateway"

    @property
    def watcher(self) -> str:
        """Who sees its calls."""
        return f"the recorder at {self.url}" if self.url else f"the ledger {self.ledger}"

    @property
    def remedy(self) -> str:
        """How the gateway's calls come to be seen."""
        return f"Start the gateway with {self.url} as its engine" if self.url else "Start the gateway with that ledger"

    def close(self) -> None:
        super().close()
        if self._recorder is not None:
            process, self._recorder = self._recorder, None
            process.terminate()
            process.communicate()
        if self._owned:
            self._owned = False
            self.ledger.unlink(missing_ok=True)
            self.ledger.parent.rmdir()

    # One test

    def begin(self) -> None:
        self._nonce = f"#k{secrets.randbelow(10**10):010d}#"
        self._start, self._known = self.ledger.stat().st_size, {}

    def end(self) -> list[Step]:
        self._nonce = None
        return []

    def release(self, hold: Hold | None = None) -> None:
        """Nothing is held."""

    @property
    def strays(self) -> list[Call]:
        return []

    @property
    def unclaimed(self) -> int:
        return 0

    def refuses_posts(self, times: int = 1, when: str | None = None, status: int = 503) -> None:
        raise NotObservable("what the gateway posts, where no scripted upstream is behind it")

    def holds_posts(self, times: int = 1, when: str | None = None) -> None:
        raise NotObservable("what the gateway posts, where no scripted upstream is behind it")

    def release_posts(self) -> None:
        """Nothing is held."""

    def picture(self, name: str) -> str:
        raise NotObservable("who fetches a picture, where no scripted upstream is behind the gateway")

    @property
    def fetched(self) -> list[str]:
        return []

    def _posts(self, query: dict[str, Any]) -> tuple[bool, list[Post]]:
        return False, []

    def _say(self, steps: Sequence[Step]) -> list[int]:
        return list(range(len(steps)))

    def _read(self, query: dict[str, Any]) -> tuple[bool, list[Call]]:
        least, outcome = query.get("least", 0), query.get("outcome")
        end = time.monotonic() + float(query.get("timeout", 0.0))
        while True:
            calls = self._look()
            if sum(outcome in (None, call.outcome) for call in calls) >= least:
                return True, calls
            if time.monotonic() >= end:
                return False, calls
            time.sleep(_GLANCE)

    def _look(self) -> list[Call]:
        """The calls of this test so far, in order of arrival."""
        with self.ledger.open("rb") as file:
            file.seek(self._start)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        with self._reading:
            for line in data[:whole].splitlines():
                document = json.loads(line)
                if "engine" in document:  # says what it is
                    continue
                self._known[document["index"]] = self._call(document)
            self._start += whole
            return [call for _, call in sorted(self._known.items()) if self._is_ours(call)]

    def _is_ours(self, call: Call) -> bool:
        return self.nonce in (call.text or json.dumps(call.messages))

    def wait_until_settled(self, timeout: float) -> list[Call]:
        """The calls of this test once none of them is pending. Raises TimeoutError."""
        end = time.monotonic() + timeout
        while True:
            calls = self._look()
            if all(call.outcome != PENDING for call in calls):
                return calls
            if time.monotonic() >= end:
                raise TimeoutError(f"the engine was waited {timeout:g} s for, and is still at work")
            time.sleep(_GLANCE)

    # What is told of the engine

    def told(self, path: str) -> Mapping[str, Any]:
        """What the engine answers to GET on this path; empty where that is nothing of use."""
        if self.engine is None:
            return {}
        root = self.engine.rstrip("/").removesuffix("/v1")
        key = os.environ.get("GATEWAY_ENGINE_API_KEY")
        try:
            answer = httpx.get(root + path, headers={"authorization": f"Bearer {key}"} if key else {}, timeout=10)
            document = answer.json() if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def about(self) -> dict[str, str]:
        """`name`, `version` and `model` of the engine, as far as it tells them; of the model's path the last part."""
        if self.engine is None:
            own = self._own()
            return {name: str(own.get(name, "unknown")) for name in ("name", "version", "model")}
        card = self._card()
        known = (
            ("vLLM", self.told("/version").get("version")),
            ("SGLang", self.told("/get_server_info").get("version")),
            ("llama.cpp", self.told("/props").get("build_info")),
        )
        name, version = next(((name, version) for name, version in known if version), ("unknown", "unknown"))
        return {"name": name, "version": str(version), "model": str(card.get("id", "unknown")).rpartition("/")[2]}

    def _own(self) -> Mapping[str, Any]:
        """What the ledger of an engine in the gateway's process says it is: the last line that does."""
        with self.ledger.open("rb") as file:
            told = [json.loads(line)["engine"] for line in file if line.startswith(b'{"engine":')]
        return told[-1] if told and isinstance(told[-1], dict) else {}

    def _card(self) -> Mapping[str, Any]:
        """The first of the engine's models, as its list has it."""
        models = self.told("/v1/models").get("data")
        return models[0] if isinstance(models, list) and models and isinstance(models[0], dict) else {}

    @property
    def max_model_len(self) -> int | None:
        """How many tokens a context and what is sampled behind it may be, as the engine tells; None where it does
        not."""
        card = self._own() if self.engine is None else self._card()
        settings = self.told("/props").get("default_generation_settings") or {}
        meta = card.get("meta") or {}
        several = (card.get("max_model_len"), settings.get("n_ctx"), meta.get("n_ctx"))
        return next((length for length in several if type(length) is int and length > 0), None)
