"""What a test holds of the upstream: it says what the model will do, and reads what really happened.

    upstream.begin()
    upstream.says("Hello")
    ...                                  # a conversation whose first message carries upstream.nonce
    assert upstream.calls[0].generation == ...
    upstream.end()

One `Upstream` per process, shared by its threads; many processes share one server. Nothing here sleeps: waiting is a
request that the server answers when what is waited for has happened.
"""

from __future__ import annotations

import http.client
import json
import secrets
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from conformance.gateway import NotObservable
from conformance.tokenizer import Tokenizer
from conformance.upstream import ledger, pictures
from conformance.upstream.dialect import KIT
from conformance.upstream.inbox import Post
from conformance.upstream.ledger import Call
from conformance.upstream.script import ScriptError, Step
from conformance.upstream.tool_format import HERMES

_TIMEOUT = 30.0
"""Seconds after which a server that does not answer counts as gone."""


class UpstreamError(RuntimeError):
    """The upstream cannot be started or reached, or is not the kit's. A fault of the set-up, never of a gateway."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A step that waits. `release()` lets it answer, now or when a call reaches it."""

    upstream: Upstream
    nonce: str
    index: int
    step: Step

    def release(self) -> None:
        self.upstream.release(self)


class _Connection(http.client.HTTPConnection):
    """Sends a request as one piece: head and body apart wake the server twice."""

    _request = b""

    def send(self, data: Any) -> None:
        """Called by `request`, for each part of it."""
        self._request += data

    def getresponse(self) -> http.client.HTTPResponse:
        request, self._request = self._request, b""
        super().send(request)
        return super().getresponse()


class _Link:
    """JSON over a few kept-alive connections. Any number of threads may use it; each request has one connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._idle: deque[_Connection] = deque()

    def request(self, method: str, path: str, document: Any = None, patience: float = 0.0) -> Any:
        """The answer's JSON. The server may take `patience` seconds longer than it should need. Raises
        `ScriptError` for a refused step and `UpstreamError` for anything else."""
        body = None if document is None else json.dumps(document).encode()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _Connection(self._host, self._port)
        connection.timeout = _TIMEOUT + patience
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UpstreamError(f"no upstream answers at {self._url}: {error}") from error
        except BaseException:  # a timeout of the test ends the wait: the connection's next answer is not ours
            connection.close()
            raise
        self._idle.append(connection)
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = None
        if answer.status == 400 and isinstance(parsed, dict) and isinstance(parsed.get("error"), dict):
            raise ScriptError(parsed["error"].get("message"))
        if answer.status != 200 or not isinstance(parsed, dict):
            raise UpstreamError(f"the upstream at {self._url} answered {method} {path} with {answer.status}")
        return parsed

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Upstream:
    """The scripted upstream. Made by `start` or `attach`; between `begin()` and `end()` it serves one test."""

    def __init__(self, url: str, tokenizer: Tokenizer, process: subprocess.Popen[str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.tokenizer = tokenizer
        self.tool_format = HERMES
        """In which the model writes its calls."""
        self._link = _Link(self.url)
        self._process = process
        self._nonce: str | None = None
        self._closed: list[Call] = []
        self._reading = threading.Lock()

    @classmethod
    def start(cls, tokenizer_dir: str | Path, port: int = 0, max_model_len: int | None = None) -> Upstream:
        """Start a server of our own on loopback; it ends with `close()`, or when this process does. `max_model_len`:
        tokens that its model takes. Raises `TokenizerError` or `UpstreamError`."""
        tokenizer = Tokenizer.load(tokenizer_dir)
        command = [sys.executable, "-P", "-m", "conformance.upstream", "--until-stdin-closes", "--port", str(port)]
        if max_model_len is not None:
            command += ["--max-model-len", str(max_model_len)]
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(  # noqa: S603  (our own module)
                [*command, "--tokenizer", str(tokenizer.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening on "):
                process.communicate()
                errors.seek(0)
                reason = errors.read().strip().splitlines()[-1:] or ["it ended without a word"]
                raise UpstreamError(f"the kit's upstream did not start: {reason[0].removeprefix('error: ')}")
        return cls(line.removeprefix("listening on ").strip(), tokenizer, process)

    @classmethod
    def attach(cls, url: str, tokenizer_dir: str | Path | None = None) -> Upstream:
        """Use a running upstream. Raises `UpstreamError` when nothing answers (its cause is then an `OSError`), when
        what answers is not the kit's upstream, or when it has another tokenizer than `tokenizer_dir`. Without
        `tokenizer_dir`, the server's own is loaded."""
        if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
            raise UpstreamError(f"{url!r} is not the URL of an upstream; one looks like http://127.0.0.1:8000")
        link = _Link(url.rstrip("/"))
        try:
            known = link.request("GET", "/_kit/")
            if known["kit"] != KIT:
                raise KeyError("kit")
            path, digest = known["tokenizer"]["path"], known["tokenizer"]["digest"]
        except (UpstreamError, ScriptError, KeyError, TypeError) as error:
            if isinstance(error.__cause__, OSError):
                raise
            raise UpstreamError(f"what answers at {url} is not the kit's scripted upstream") from error
        finally:
            link.close()
        tokenizer = Tokenizer.load(tokenizer_dir or path)
        if tokenizer.digest != digest:
            raise UpstreamError(
                f"the upstream at {url} has another tokenizer ({path}, digest {digest}) than {tokenizer.path} "
                f"(digest {tokenizer.digest})"
            )
        return cls(url, tokenizer)

    def close(self) -> None:
        """Stop the server if it is ours."""
        self._link.close()
        if self._process is not None:
            process, self._process = self._process, None
            process.terminate()
            process.communicate()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # One test

    def begin(self) -> None:
        """A new nonce: nothing is scripted and nothing recorded."""
        if self._nonce is not None:
            self.end()
        self._nonce = f"#k{secrets.randbelow(10**10):010d}#"
        self._closed = []

    @property
    def nonce(self) -> str:
        """What the first message of each of this test's conversations must carry."""
        if self._nonce is None:
            raise UpstreamError("no test is open: call begin() first")
        return self._nonce

    def end(self) -> list[Step]:
        """Drop this test's script and ledger and let its held calls go. Returns the steps that no call took."""
        path = self._path("")
        self._nonce = None
        unused = self._link.request("DELETE", path)["unused"]
        return [Step.from_json(step) for step in unused]

    def says(
        self,
        text: str | None = None,
        *,
        ids: Sequence[int] | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        finish: str | None = None,
        logprobs: str | Sequence[float] | None = None,
        weight_version: int | str | tuple[int, int] | None = None,
        when: str | None = None,
        **more: Any,
    ) -> Step:
        """The next generation. See `script.Step` for the fields; `more` takes the rest of them (`token_ids`,
        `prompt_ids`, `rather`, `obeys_limits`, `headers`, `truncated`, `barrier` ...). Raises `ScriptError`."""
        named = {"ids": ids, "tool_calls": tool_calls, "finish": finish, "logprobs": logprobs, "when": when}
        step = self._spoken(text, {**named, "weight_version": weight_version, **more})
        self._say([step])
        return step

    def repeats(self, text: str, times: int) -> Step:
        """The same generation, up to so many times."""
        step = self._spoken(text, {})
        self._say([step] * times)
        return step

    def holds(self, text: str | None = None, **fields: Any) -> Hold:
        """Like `says`, but the call is answered only after `release()`."""
        step = self._spoken(text, {**fields, "hold": True})
        return Hold(self, self.nonce, self._say([step])[0], step)

    def barrier(self, *texts: str, n: int | None = None) -> list[Step]:
        """One generation per text; none is answered before `n` calls (default: as many as texts) are in flight."""
        steps = [self._spoken(text, {"barrier": n or len(texts)}) for text in texts]
        self._say(steps)
        return steps

    def fails(
        self,
        status: int = 500,
        message: str = "boom",
        *,
        body: bytes | str | None = None,
        content_type: str = "application/json",
        reset: bool = False,
        truncated: bool = False,
        when: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Step:
        """The next call fails: with an error of the engine, in the engine's own body; with `body` as it is; with half
        of `body` (`truncated`); or with a reset connection. `headers`, such as `retry-after`, stand beside it."""
        raw = body.encode() if isinstance(body, str) else body
        step = Step(
            status=status,
            message=message,
            body=raw,
            content_type=content_type,
            reset=reset,
            truncated=truncated,
            when=when,
            headers=headers,
        )
        self._say([step])
        return step

    def release(self, hold: Hold | None = None) -> None:
        """Let one held step answer, or all that were said so far."""
        nonce = hold.nonce if hold else self.nonce
        if hold is not None and nonce != self._nonce:
            return
        self._link.request("POST", self._path("/release"), {"index": hold.index if hold else None})

    @property
    def calls(self) -> list[Call]:
        """The ledger of this test, in order of arrival."""
        return self._read({})[1]

    def wait_for_calls(self, n: int, timeout: float = 10.0, outcome: str | None = None) -> list[Call]:
        """The ledger once `n` calls have arrived (with `outcome`: once `n` calls have that outcome). Raises
        `TimeoutError` that says what did arrive."""
        reached, calls = self._read({"least": n, "timeout": timeout, **({"outcome": outcome} if outcome else {})})
        if not reached:
            seen = ", ".join(call.outcome for call in calls) or "none"
            wanted = f"{n} calls" + (f" {outcome}" if outcome else "")
            raise TimeoutError(f"the upstream waited {timeout:g} s for {wanted}; calls so far: {seen}")
        return calls

    @property
    def strays(self) -> list[Call]:
        """The last 1,000 calls that belong to no test that is open, of all processes."""
        return [self._call(document) for document in self._link.request("GET", "/_kit/strays")["calls"]]

    @property
    def unclaimed(self) -> int:
        """How many calls of all processes had no nonce, so that they belong to no test and got a plain short answer."""
        return int(self._link.request("GET", "/_kit/unclaimed")["count"])

    # What the gateway sends by itself

    @property
    def posts(self) -> list[Post]:
        """What the gateway posted for this test so far, in order of arrival."""
        return self._posts({})[1]

    def wait_for_posts(self, n: int, when: str | None = None, timeout: float = 10.0) -> list[Post]:
        """The posts in which `when` occurs, once there are `n`. Raises `TimeoutError` that says what did arrive."""
        sought = {"least": n, "timeout": timeout, **({} if when is None else {"when": when})}
        reached, posts = self._posts(sought)
        if not reached:
            what = f" with {when!r}" if when else ""
            seen = ", ".join(post.text for post in self.posts) or "none"
            raise TimeoutError(f"the inbox waited {timeout:g} s for {n} posts{what}; posts so far: {seen}")
        return posts

    def refuses_posts(self, times: int = 1, when: str | None = None, status: int = 503) -> None:
        """The next `times` posts in which `when` occurs are answered with `status`."""
        self._link.request("POST", self._path("/posts"), {"times": times, "when": when, "status": status})

    def holds_posts(self, times: int = 1, when: str | None = None) -> None:
        """The next `times` posts in which `when` occurs are answered only after `release_posts()`."""
        self._link.request("POST", self._path("/posts"), {"times": times, "when": when, "hold": True})

    def release_posts(self) -> None:
        """Let every held post be answered."""
        self._link.request("POST", self._path("/posts/release"), {})

    # Pictures

    def picture(self, name: str) -> str:
        """The URL of a picture that this server has, for the test that is open."""
        return self.url + pictures.PATH.format(nonce=self.nonce.strip("#"), name=name)

    @property
    def fetched(self) -> list[str]:
        """The names of the pictures of this test that somebody asked for, each as often as it was."""
        return list(self._link.request("GET", self._path("/fetched"))["fetched"])

    # The wire

    def _posts(self, query: dict[str, Any]) -> tuple[bool, list[Post]]:
        path = self._path("/posts?" + urlencode(query))
        answer = self._link.request("GET", path, patience=query.get("timeout", 0.0))
        return bool(answer["reached"]), [Post(**document) for document in answer["posts"]]

    def _spoken(self, text: str | None, fields: Mapping[str, Any]) -> Step:
        """A step of these fields, None for what is left to its default. Raises `NotObservable` for what no model says
        in the format of this upstream."""
        present = {name: value for name, value in fields.items() if value is not None}
        calls = bool(present.get("tool_calls"))
        if calls and text and not self.tool_format.beside_text:
            raise NotObservable(f"models that write calls as {self.tool_format.name} say no text beside them")
        if calls or present.get("rather"):
            present = {"tool_format": self.tool_format.name, **present}
        return Step.from_json({"text": text, **present})

    def _say(self, steps: Sequence[Step]) -> list[int]:
        answer = self._link.request("POST", self._path("/steps"), {"steps": [step.to_json() for step in steps]})
        return list(answer["indices"])

    def _read(self, query: dict[str, Any]) -> tuple[bool, list[Call]]:
        # What is closed never changes, so only the open rest is asked for.
        closed = list(self._closed)
        path = self._path("/calls?" + urlencode({**query, "since": len(closed)}))
        answer = self._link.request("GET", path, patience=query.get("timeout", 0.0))
        calls = closed + [self._call(document) for document in answer["calls"]]
        with self._reading:
            for call in calls[len(self._closed) :]:
                if call.outcome == ledger.PENDING:
                    break
                self._closed.append(call)
        return bool(answer["reached"]), calls

    def _call(self, document: Mapping[str, Any]) -> Call:
        return Call.from_json(document, self.tokenizer.decode(document["context"]))

    def _path(self, rest: str) -> str:
        return f"/_kit/{self.nonce.strip('#')}{rest}"
