"""What a check holds: a session of the gateway under test, and the messages it sends.

A session is opened at its first use, inside the check, so that a gateway that cannot create one fails the check and
does not break its set-up. The first message of every request carries the check's nonce, by which the upstream finds
the script.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import httpx

from conformance.client.anthropic import VERSION, MessageReply
from conformance.client.failure import ConformanceFailure
from conformance.client.http import ABSENT as ABSENT
from conformance.client.http import Recorder, Reply
from conformance.client.invocations import OverInvocations
from conformance.client.raw import RawConnection
from conformance.client.responses import OverResponses
from conformance.gateway import Driver, Handle, NotObservable, Refused, Trajectory
from conformance.oracles import Violation
from conformance.vocabulary.outcome import NotTested

Message = dict[str, Any]
T = TypeVar("T")
UNKEYED = Handle("", "").api_key
"""The key of a session that was given none."""


def system(content: Any) -> Message:
    return {"role": "system", "content": content}


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def assistant(content: Any, **fields: Any) -> Message:
    return {"role": "assistant", "content": content, **fields}


def tool(content: Any, call_id: str = "call_0") -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def results(message: Mapping[str, Any], *contents: Any) -> list[Message]:
    """A tool message for each content, in answer to the calls of this assistant message in their order."""
    calls = message.get("tool_calls") or []
    ids = [str(call.get("id")) for call in calls] + [f"call_{number}" for number in range(len(calls), len(contents))]
    return [tool(content, call_id) for content, call_id in zip(contents, ids, strict=False)]


def function(name: str, description: str = "A tool.", **properties: Any) -> dict[str, Any]:
    """A tool definition; `properties` are JSON Schemas of its parameters."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def typed(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a tool that takes these arguments: in some formats a call has only text, and the tool says of
    which type it is."""
    return {name: {"type": _TYPES[type(value)]} for name, value in arguments.items()}


_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"} | {
    type(None): "null"
}


def tool_call(name: str, arguments: Any = "{}", call_id: str = "call_0") -> dict[str, Any]:
    """A call as it stands in an assistant message: `assistant(None, tool_calls=[tool_call("search")])`."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class ControlRefused(ConformanceFailure):
    """The gateway's control plane refused what the check asked of it. `status` is the HTTP status."""

    def __init__(self, what: str, expected: str, refusal: Refused) -> None:
        super().__init__([Violation(what, expected, str(refusal))])
        self.status = refusal.status


class Trajectories(list[Trajectory]):
    """What a session exported, in its order."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Answers that were given up for others: how many, and how many ids were sampled for them."""

    generations: int
    tokens: int


class Session(OverResponses, OverInvocations):
    """One session of the gateway under test."""

    def __init__(
        self, driver: Driver, http: httpx.Client, recorder: Recorder, nonce: str, settings: Mapping[str, Any]
    ) -> None:
        self._driver, self._http, self._recorder = driver, http, recorder
        super().__init__(nonce)
        self.settings = dict(settings)
        self.ended_as: Trajectories | None = None
        """What it exported when it was finalized."""
        self.was_aborted = False

    @cached_property
    def handle(self) -> Handle:
        """The open session. Opened by the first use."""
        try:
            handle = self._driver.create(**self.settings)
            # One that gives its sessions no keys of their own may have one for all requests.
            return handle if handle.api_key != UNKEYED else replace(handle, api_key=self._shared_key)
        except Refused as refusal:
            raise ControlRefused("creating a session", "a session", refusal) from refusal
        except ValueError as error:
            raise ConformanceFailure([Violation("creating a session", "a session", str(error))]) from error

    def open(self) -> Handle:
        """Open the session, where it is not open yet: so that several requests share it, or to see it refused."""
        return self.handle

    def attempt(self) -> ControlRefused | None:
        """Open the session. Returns the gateway's refusal, if it refuses."""
        try:
            self.open()
        except ControlRefused as refusal:
            return refusal
        return None

    @property
    def id(self) -> str:
        return self.handle.session_id

    @property
    def time_left(self) -> float:
        """Seconds until the check's deadline."""
        return self._recorder.left

    def trace_only(self, replies: Sequence[Reply]) -> None:
        """Of all that was exchanged, let a failure show only these."""
        self._recorder.exchanges[:] = [reply.exchange for reply in replies]

    def chat(self, *messages: str | Message, stream: bool = False, **fields: Any) -> Reply:
        """Send a chat request with these messages (a str is a user message) and return whatever came back."""
        return self.send(self.body(*messages, stream=stream, **fields))

    def body(self, *messages: str | Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
        """The body of the request that `chat` sends."""
        body: dict[str, Any] = {"model": "kit", "messages": self.messages(*messages)}
        if stream:
            body["stream"] = True
        body.update(fields)
        return {name: value for name, value in body.items() if value is not ABSENT}

    def is_told(self, body: Any) -> bool:
        """Whether a body carries the nonce, by which the upstream knows this check."""
        return self._nonce in json.dumps(body)

    def messages(self, *messages: str | Message) -> list[Message]:
        """The messages as they are sent: in full form, the nonce in front of the first one's text."""
        full = [user(message) if isinstance(message, str) else deepcopy(message) for message in messages]
        if full:
            content = full[0].get("content")
            if isinstance(content, str):
                full[0]["content"] = f"{self._nonce} {content}"
            elif isinstance(content, list) and content and isinstance(content[0].get("text"), str):
                content[0]["text"] = f"{self._nonce} {content[0]['text']}"
        return full

    def send(
        self,
        body: Any = None,
        *,
        path: str = "/chat/completions",
        method: str = "POST",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send any request to the session's base URL. `content` replaces the JSON `body`; a header that is `ABSENT` is
        left out."""
        return self.send_to(self.handle.base_url + path, body, method=method, content=content, headers=headers)

    def send_to(
        self,
        url: str,
        body: Any = None,
        *,
        method: str = "POST",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send any request to any URL of the gateway."""
        head = {"authorization": f"Bearer {self.handle.api_key}"}
        if content is not None or body is not None:
            head["content-type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False).encode() if content is None else content
        head.update(headers or {})
        present = {name: value for name, value in head.items() if value is not ABSENT}
        return send(self._http, httpx.Request(method, url, headers=present, content=content), keyed=False)

    def message(self, *messages: str | Message, stream: bool = False, **fields: Any) -> MessageReply:
        """Send an Anthropic message request with these messages (a str is a user message) and return whatever came
        back."""
        return self.send_message(self.message_body(*messages, stream=stream, **fields))

    def message_body(self, *messages: str | Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
        """The body of the request that `message` sends."""
        return self.body(*messages, stream=stream, **{"max_tokens": 512, **fields})

    def send_message(
        self,
        body: Any = None,
        *,
        path: str = "/v1/messages",
        method: str = "POST",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> MessageReply:
        """Send any request to the session's Anthropic base URL, as an Anthropic client does."""
        head = {"authorization": ABSENT, "x-api-key": self.handle.api_key, "anthropic-version": VERSION}
        reply = self.send_to(
            self.anthropic_url + path, body, method=method, content=content, headers={**head, **(headers or {})}
        )
        return MessageReply(reply.exchange)

    @property
    def anthropic_url(self) -> str:
        """What an Anthropic client is pointed at; it adds `/v1/messages`."""
        return self.handle.anthropic_base_url or self.handle.base_url.removesuffix("/v1")

    def start_invocation(self, message: Any, session_id: Any = ABSENT, **how: Any) -> Pending:
        """The same as `invoke`, in the background."""
        self.open()  # here, so that two pending requests share one session
        return Pending(lambda: self.invoke(message, session_id, **how), self._recorder.timeout)

    def dial_invocation(
        self, message: Any, session_id: Any = ABSENT, *, keys: Mapping[str, str] = MappingProxyType({}), **fields: Any
    ) -> RawConnection:
        """Send what `invoke` sends, on a connection of its own that the check may hang up at any time."""
        content = json.dumps(self.invocation(message, session_id, **fields)).encode()
        head = {name.replace("-", "_"): value for name, value in keys.items()}
        return self.connect().begin(self.invocations_path, content_length=str(len(content)), **head).write(content)

    def connect(self, url: str | None = None) -> RawConnection:
        """A connection to the session's base URL, or to this one, for exchanges that no HTTP client would make."""
        return RawConnection(self._recorder, url or self.handle.base_url, self.handle.api_key)

    def start(self, *messages: str | Message, **fields: Any) -> Pending:
        """The same as `chat`, in the background."""
        return self.start_request(self.body(*messages, **fields))

    def start_request(self, body: Any, **how: Any) -> Pending:
        """The same as `send`, in the background."""
        self.open()  # here, so that two pending requests share one session
        return Pending(lambda: self.send(body, **how), self._recorder.timeout)

    def dial(self, *messages: str | Message, **fields: Any) -> RawConnection:
        """Send what `chat` sends, on a connection of its own that the check may hang up at any time."""
        content = json.dumps(self.body(*messages, **fields)).encode()
        return self.connect().begin(content_length=str(len(content))).write(content)

    def trajectories(self) -> Trajectories:
        """What the gateway would export now."""
        return Trajectories(self._drive("reading the trajectories", self._driver.trajectories))

    def finalize(self) -> Trajectories:
        """Close the session and take its trajectories."""
        exported = Trajectories(self._drive("finalizing the session", self._driver.finalize))
        self.ended_as = exported if self.ended_as is None else self.ended_as
        return exported

    def abort(self) -> None:
        self._drive("aborting the session", self._driver.abort)
        self.was_aborted = True

    def complete(self, reward_info: dict[str, Any] | None = None) -> None:
        self._drive("completing the session", lambda handle: self._driver.complete(handle, reward_info))

    def reward(self, reward_info: Any) -> None:
        self._drive("posting a reward", lambda handle: self._driver.reward(handle, reward_info))

    def state(self) -> dict[str, Any]:
        return self._drive("reading the session's state", self._driver.state)

    def turns(self) -> list[list[dict[str, Any]]]:
        """The turn and step events that the gateway gives out, turn by turn."""
        return self._drive("reading the session's turns", self._driver.turns)

    def superseded(self) -> Superseded:
        """What the gateway reports as given up. One that has no such report, or no state to read, gives up nothing."""
        state: dict[str, Any] = {}
        with suppress(NotObservable, ControlRefused):
            state = self.state()
        counts = [state.get(name, 0) for name in ("rollback_count", "rollback_dropped_trainable_tokens_total")]
        return Superseded(*(count if type(count) is int else 0 for count in counts))

    @property
    def is_open(self) -> bool:
        """Whether it was opened at all."""
        return "handle" in self.__dict__

    @property
    def urls(self) -> list[str]:
        """Below which its requests go."""
        known = self.handle
        invocations = [known.invocations_url] if known.invocations_url else []
        return [known.base_url, self.anthropic_url, *invocations]

    @property
    def key(self) -> str:
        return self.handle.api_key

    @property
    def _shared_key(self) -> str:
        return self._driver.api_key or UNKEYED

    def discard(self) -> None:
        """Get rid of the session after the check. Never a verdict: what goes wrong here is nobody's failure."""
        if self.is_open:
            with suppress(Exception):
                self._driver.abort(self.handle)

    def _drive(self, what: str, call: Callable[[Handle], T]) -> T:
        handle = self.handle
        try:
            return call(handle)
        except Refused as refusal:
            raise ControlRefused(what, "no refusal", refusal) from refusal
        except ValueError as error:
            raise ConformanceFailure([Violation(what, "an answer that the driver understands", str(error))]) from error


def send(http: httpx.Client, request: httpx.Request, *, keyed: bool = True) -> Reply:
    """Send one request and read its answer to the end. `keyed`: with the gateway's key, if it has no other."""
    for name, value in http.headers.items():
        if name != "authorization" or keyed:
            request.headers.setdefault(name, value)
    response = http.send(request, stream=True)
    with closing(response):
        for _ in response.iter_raw():
            pass
    return Reply(response.extensions["exchange"])


class Dialling(Session):
    """A session whose requests go out on connections of their own, `connection` being the latest one, which the check
    may hang up. No answer is read."""

    connection: RawConnection

    def __init__(self, session: Session) -> None:
        vars(self).update(vars(session))

    def send_to(
        self,
        url: str,
        body: Any = None,
        *,
        method: str = "POST",
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        content = json.dumps(body, ensure_ascii=False).encode() if content is None else content
        head = {name.replace("-", "_"): value for name, value in (headers or {}).items() if value is not ABSENT}
        self.connection = self.connect(url).begin("", content_length=str(len(content)), **head).write(content)
        return Reply(self.connection.exchange)


class Sessions:
    """Opens sessions of the gateway under test for one check. `options` are given to each of them."""

    def __init__(
        self,
        driver: Driver,
        http: httpx.Client,
        recorder: Recorder,
        nonce: str,
        options: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._driver, self._http, self._recorder, self._nonce = driver, http, recorder, nonce
        self._options = options
        self._open: list[Session] = []

    def open(self, **settings: Any) -> Session:
        """A new session, created at its first use. `settings` go to the driver's `create`."""
        options = {**self._options, **settings.pop("options", {})}
        if options:
            settings["options"] = options
        session = Session(self._driver, self._http, self._recorder, self._nonce, settings)
        self._open.append(session)
        return session

    def unknown(self) -> Session:
        """A session that was never created: the addresses of one that was, with another id in them."""
        session, known = self.open(), self.open().handle
        unlike = known.session_id[:-1] + ("1" if known.session_id.endswith("0") else "0")
        if known.session_id not in known.base_url:
            raise NotTested("the base URL does not carry the session's id, so no unknown session can be addressed")

        def elsewhere(url: str | None) -> Any:
            return url and url.replace(known.session_id, unlike)

        session.handle = replace(
            known,
            session_id=unlike,
            base_url=elsewhere(known.base_url),
            anthropic_base_url=elsewhere(known.anthropic_base_url),
            invocations_url=elsewhere(known.invocations_url),
            reward_info_url=elsewhere(known.reward_info_url),
        )
        return session

    @property
    def opened(self) -> list[Session]:
        """Those that were opened."""
        return [session for session in self._open if session.is_open]

    def discard(self) -> None:
        for session in self._open:
            session.discard()


class Pending:
    """A request that is on its way."""

    def __init__(self, call: Callable[[], Reply], timeout: float) -> None:
        self._future: Future[Reply] = Future()
        self._timeout = timeout
        threading.Thread(target=self._run, args=(call,), daemon=True).start()

    def _run(self, call: Callable[[], Reply]) -> None:
        try:
            self._future.set_result(call())
        except BaseException as error:
            self._future.set_exception(error)

    @property
    def done(self) -> bool:
        return self._future.done()

    def reply(self) -> Reply:
        """Wait for the answer; what the request raised is raised here."""
        try:
            return self._future.result(self._timeout)
        except FutureTimeout:
            raise ConformanceFailure([Violation("the request in flight", "an answer", "none in time")]) from None
