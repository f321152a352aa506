"""Invocations over HTTP, with hooks: what the client gets, and what the backend was sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from gateway_doubles import Client, Told, byte_codec

from conformance.oracles import invocations
from reference_gateway import isolation
from reference_gateway.app import create_app
from reference_gateway.channel import request as targets
from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.request import InvocationFailed
from reference_gateway.config import Config
from reference_gateway.deployment import Deployment
from reference_gateway.serving.server import serving
from reference_gateway.types import BackendFailed, BackendRefused
from reference_gateway.wire.base import RequestRefused


@contextmanager
def hosting(backend: Told, hooks: Hooks | None = None, delivery: object = None, **config: object) -> Iterator[Client]:
    app = create_app(Config(**config), codec=byte_codec(), backend=backend, deployment=Deployment(hooks, delivery))
    with serving(app) as url, httpx.Client(timeout=10, trust_env=False, verify=False) as http:
        yield Client(url, http)


def invoke(client: Client, session: str, message: object = "hi", path: str = "/invocations", **body: object):
    return client.http.post(f"{session}/v1{path}", json={"message": message, **body})


def encoded(*spoken: tuple[str, str]) -> list[int]:
    return byte_codec().encode([{"role": role, "content": text} for role, text in spoken], None, {})


def test_a_conversation_is_sent_as_a_chat_client_would_send_it():
    backend = Told("A1", "A2")
    with hosting(backend) as client:
        session = client.open()
        assert invoke(client, session, session_id="a").json() == {"response": "A1", "session_id": "a"}
        invoke(client, session, "more", session_id="a")
    assert backend.calls[1][0] == encoded(("user", "hi"), ("assistant", "A1"), ("user", "more"))


def test_a_run_hook_that_changes_nothing_changes_no_token():
    calls = []
    for hooks in (None, Hooks(run=lambda request, **_: replace(request))):
        backend = Told("A1")
        with hosting(backend, hooks) as client:
            invoke(client, client.open(), session_id="a")
        calls.append(backend.calls[0][:2])
    assert calls[0] == calls[1]


def test_a_run_hook_rewrites_what_is_sent():
    backend = Told("A1")

    async def hook(request, *, target, protocol_request):
        assert protocol_request == {"message": "hi", "tenant": "t"}
        assert request.attributes == {}
        return replace(request, input=request.input.upper(), options={"temperature": 0.5, "max_tokens": 3})

    with hosting(backend, Hooks(run=hook)) as client:
        invoke(client, client.open(), tenant="t")
    context, sampling, _ = backend.calls[0]
    assert context == encoded(("user", "HI"))
    assert (sampling["temperature"], sampling["max_tokens"]) == (0.5, 3)


def test_a_run_hook_may_reset_or_disable_the_conversation():
    backend = Told("A1", "A2", "A3", "A4")

    def hook(request, *, target, protocol_request):
        if protocol_request.get("reset"):
            target.reset(request.session_key)
        mode = protocol_request.get("mode", "auto")
        return replace(request, session_mode=mode)

    with hosting(backend, Hooks(run=hook)) as client:
        session = client.open()
        invoke(client, session, session_id="a")
        invoke(client, session, session_id="a", mode="disabled")
        invoke(client, session, session_id="a", reset=True)
        refused = invoke(client, session, mode="required")
    assert [len(call[0]) for call in backend.calls] == [len(encoded(("user", "hi")))] * 3
    assert (refused.status_code, refused.json()) == (409, {"error": "this request needs a 'session_id'"})


def fail(error: Exception):
    def hook(*_: object, **__: object) -> None:
        raise error

    return hook


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ValueError("secret"), 500, "Internal server error"),
        (InvocationFailed("denied"), 500, "denied"),
        (RequestRefused("no tenant", status=422), 422, "no tenant"),
    ],
    ids=["bug", "failure", "refusal"],
)
@pytest.mark.parametrize("order", ["inside_host", "before_stream_decision"])
def test_a_failing_run_hook_never_reaches_the_target(error, status, text, order):
    backend = Told()
    with hosting(backend, Hooks(run=fail(error)), channel_options={"run_hook": order}) as client:
        session = client.open()
        plain = invoke(client, session)
        stream = invoke(client, session, stream=True)
    assert (plain.status_code, plain.json()) == (status, {"error": text})
    if status < 500 or order == "before_stream_decision":
        assert (stream.status_code, stream.json()) == (status, {"error": text})
    else:
        assert (stream.status_code, stream.text) == (200, f"event: error\ndata: {text}\n\n")
    assert backend.calls == []


@pytest.mark.parametrize(
    ("order", "asked", "streams"),
    [
        ("inside_host", True, True),
        ("inside_host", False, False),
        ("before_stream_decision", True, False),
        ("before_stream_decision", False, True),
    ],
)
def test_a_run_hook_that_flips_the_stream(order, asked, streams):
    hooks = Hooks(run=lambda request, **_: replace(request, stream=not request.stream))
    with hosting(Told("A1"), hooks, channel_options={"run_hook": order}) as client:
        reply = invoke(client, client.open(), stream=asked)
    assert reply.headers["content-type"].startswith("text/event-stream") is streams


def test_update_hooks_change_drop_and_fail():
    frames = []
    for update in (str.upper, lambda chunk: None, fail(InvocationFailed("no\nmore"))):
        with hosting(Told("a"), Hooks(update=update)) as client:
            frames.append(invoke(client, client.open(), stream=True).text)
    assert frames == ["data: A\n\ndata: [DONE]\n\n", "data: [DONE]\n\n", "event: error\ndata: no\ndata: more\n\n"]


def test_what_hooks_show_is_not_what_is_kept():
    backend = Told("A1", "A2")
    with hosting(backend, Hooks(response=lambda result, context: "[shown]")) as client:
        session = client.open()
        assert invoke(client, session, session_id="a").json()["response"] == "[shown]"
        invoke(client, session, "more", session_id="a")
    assert backend.calls[1][0] == encoded(("user", "hi"), ("assistant", "A1"), ("user", "more"))


@pytest.mark.parametrize("stream", [False, True])
def test_failures_and_refusals_of_the_backend(stream):
    backend = Told(BackendFailed("gone"), BackendRefused("too long"), "A")
    with hosting(backend) as client:
        session = client.open()
        failed = invoke(client, session, session_id="a", stream=stream)
        refused = invoke(client, session, session_id="a", stream=stream)
        invoke(client, session, session_id="a")
    if stream:
        assert failed.text == "event: error\ndata: BackendFailed: gone\n\n"
    else:
        assert (failed.status_code, failed.json()) == (502, {"error": "BackendFailed: gone"})
    assert (refused.status_code, refused.json()) == (400, {"error": "too long"})
    assert backend.calls[2][0] == encoded(("user", "hi"))


@pytest.mark.parametrize(
    ("path", "taken", "not_taken"),
    [
        ("/invocations", ["/invocations", "/invocations/"], ["/invocations/invoke", "/invocations//"]),
        ("/invocations/invoke", ["/invocations/invoke", "/invocations/invoke/"], ["/invocations"]),
        ("/my/agent", ["/my/agent"], ["/invocations", "/my"]),
        ("", ["", "/"], ["/invocations"]),
    ],
)
def test_the_route_is_where_it_was_put(path, taken, not_taken):
    with hosting(Told(*["A"] * len(taken)), invocations_path=path) as client:
        session = client.open()
        assert [invoke(client, session, path=each).status_code for each in taken] == [200] * len(taken)
        assert [invoke(client, session, path=each).status_code for each in not_taken] == [404] * len(not_taken)


@pytest.mark.parametrize("path", ["invocations", "/messages", "/a/", "/a b", "/../x?"])
def test_a_route_that_cannot_be_is_refused(path):
    with pytest.raises(ValueError, match="invocations_path must be"):
        Config(invocations_path=path)


@pytest.mark.parametrize("options", [{"colour": "red"}, {"sse_newline": "lf"}])
def test_a_channel_option_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="channel_options"):
        Config(channel_options=options)


def test_a_target_sees_the_keys_of_its_request_and_nobody_else_does():
    seen = []

    def hook(request, *, target, protocol_request):
        seen.append(isolation.current())
        return request

    headers = {"X-Agent-User-Isolation-Key": "alice"}
    with hosting(Told("A", "B"), Hooks(run=hook)) as client:
        session = client.open()
        client.http.post(f"{session}/v1/invocations", json={"message": "hi", "stream": True}, headers=headers)
        invoke(client, session)
        twice = client.http.get(f"{client.url}/capabilities", headers={"x-agent-chat-isolation-key": "a,b"})
    assert seen == [isolation.Keys("alice"), None]
    assert (twice.status_code, twice.json()["error"]["type"]) == (400, "invalid_request_error")


def test_conversations_of_responses_are_parted_too():
    with hosting(Told("A")) as client:
        session = client.open()
        alice = {"x-agent-user-isolation-key": "alice"}
        made = client.http.post(f"{session}/v1/conversations", json={}, headers=alice).json()["id"]
        assert client.http.get(f"{session}/v1/conversations/{made}", headers=alice).status_code == 200
        assert client.http.get(f"{session}/v1/conversations/{made}").status_code == 404


def test_an_answer_that_goes_elsewhere_is_acknowledged():
    class Elsewhere:
        option = "report"

        async def deliver(self, request, result, hooks):
            delivered.append(result)
            return False

    delivered: list[str] = []
    hooks = Hooks(run=lambda request, **_: replace(request, response_target=targets.channel("mail")))
    with hosting(Told("A", "B"), hooks, Elsewhere()) as client:
        session = client.open()
        assert invoke(client, session).json()["response"] == "accepted"
        assert invoke(client, session, stream=True).text == "data: accepted\n\ndata: [DONE]\n\n"
        said = client.http.get(f"{client.url}/capabilities").json()
    assert delivered == ["A", "B"]
    assert "delivery" not in said["capabilities"], "it is not the demo that the capability is about"
    assert said["options"]["delivery"] == "report"


def test_a_session_with_keys_on_wants_its_key():
    with hosting(Told("A"), api_key="admin") as client:
        opened = client.http.post(f"{client.url}/sessions", json={}, headers={"authorization": "Bearer admin"}).json()
        url, key = opened["invocations_url"], opened["api_key"]
        refused = client.http.post(url, json={"message": "hi"})
        answered = client.http.post(url, json={"message": "hi"}, headers={"authorization": f"Bearer {key}"})
    assert (refused.status_code, set(refused.json())) == (401, {"error"})
    assert answered.status_code == 200


class Typing(Told):
    """Says what it was told token by token; a pair is a text that breaks off with an exception."""

    async def generate(self, context, sampling, *, session_id, media, progress=None):
        broken = None
        if isinstance(self.steps[0], tuple):
            self.steps[0], broken = self.steps[0]
        generation = await super().generate(context, sampling, session_id=session_id, media=media)
        for token in generation.ids if progress is not None else ():
            progress.sampled([token])
        if broken is not None:
            raise broken
        return generation


def test_a_stream_leaves_as_it_is_sampled_and_amounts_to_the_plain_answer():
    text = "Grüezi\r\n you\rthere\n\n"
    with hosting(Typing(text, text, "B"), stream="incremental") as client:
        session = client.open()
        stream = invoke(client, session, session_id="a", stream=True).content
        plain = invoke(client, session, session_id="b").json()["response"]
        invoke(client, session, "more", session_id="a")
    pieces = invocations.chunks(stream)
    assert len(pieces) > 3
    assert "".join(pieces) == plain.replace("\r\n", "\n").replace("\r", "\n")
    assert invocations.frames(stream) == []


def test_a_stream_that_breaks_off_has_committed_nothing():
    backend = Typing(("Hello", BackendFailed("gone")), BackendRefused("too long"), "A")
    with hosting(backend, stream="incremental") as client:
        session = client.open()
        broken = invoke(client, session, session_id="a", stream=True)
        refused = invoke(client, session, session_id="a", stream=True)
        invoke(client, session, session_id="a")
        exported = client.http.get(f"{session}/trajectories").json()["trajectories"]
    assert broken.text.startswith("data: H\n\ndata: e\n\n")
    assert broken.text.endswith("event: error\ndata: BackendFailed: gone\n\n")
    assert (refused.status_code, refused.json()) == (400, {"error": "too long"})
    assert [sum(each["response_mask"]) for each in exported] == [2]
    assert backend.calls[2][0] == encoded(("user", "hi"))


def test_an_update_hook_sees_each_piece_and_may_end_the_turn():
    hooks = Hooks(update=lambda chunk: chunk.upper() if chunk != "x" else fail(InvocationFailed("no"))())
    backend = Typing("abc", "axb", "C")
    with hosting(backend, hooks, stream="incremental") as client:
        session = client.open()
        assert invoke(client, session, stream=True).text == "data: A\n\ndata: B\n\ndata: C\n\ndata: [DONE]\n\n"
        assert invoke(client, session, stream=True).text == "data: A\n\nevent: error\ndata: no\n\n"
        assert invoke(client, session).json()["response"] == "C"
