"""A gateway in one file that has the demo of docs/invocations.md, and knows nothing of the kit but its inbox.

    gateway-conformance upstream --port 8765 &
    python docs/demo_gateway.py --upstream http://127.0.0.1:8765 --port 8000 &
    pytest --gateway-url http://127.0.0.1:8000 --gateway-profile invocations,hooks,delivery,background-tasks

The first half is what a gateway has anyway: sessions, a model behind them, a place for hooks. `Demo` is what is added
for the kit. It keeps no tokens, so it claims no trajectories; of chat it passes on what it gets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web

CAPABILITIES = ["sessions", "abort", "control-plane", "streaming", "invocations"]
DEMO = ["hooks", "delivery", "background-tasks"]
EVENT_STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}
ENCODINGS = ("", "identity", "gzip", "deflate")
OPTIONS = {"run_hook": "inside_host", "delivery": "report", "sse_newline": "exact", "stream_flag": "strict_bool"}


@dataclass
class Invocation:
    """What the host runs. `target` says who gets the answer, `linked` who the user is elsewhere, latest first."""

    input: str
    session_id: str | None
    stream: bool
    options: dict[str, Any] = field(default_factory=dict)
    session_mode: str = "auto"
    reset: bool = False
    origin: str | None = None
    linked: dict[str, dict[str, str]] = field(default_factory=dict)
    target: Any = "originating"
    echo: bool = False
    describe: bool | str = False


class Refused(Exception):
    """The request is wrong: a status, a sentence, and what goes into the headers."""

    def as_response(self) -> web.Response:
        status, sentence, *headers = self.args
        return web.json_response({"error": sentence}, status=status, headers=headers[0] if headers else None)


class Gateway:
    """Chat is passed through; an invocation is a chat whose history the gateway keeps."""

    def __init__(self, upstream: str, http: ClientSession) -> None:
        self.upstream, self.http = upstream, http
        self.sessions: dict[str, dict[str, list[dict[str, str]]]] = {}
        self.turns = asyncio.Lock()
        self.demo = Demo(f"{upstream}/inbox", http)

    async def create(self, request: web.Request) -> web.Response:
        settings = await request.json()
        session_id = settings.get("session_id") or secrets.token_hex(8)
        self.sessions[session_id] = {}
        base_url = f"http://{request.host}/sessions/{session_id}/v1"
        return web.json_response({"session_id": session_id, "base_url": base_url}, status=201)

    async def abort(self, request: web.Request) -> web.Response:
        self.sessions.pop(request.match_info["id"], None)
        return web.json_response({})

    async def capabilities(self, request: web.Request) -> web.Response:
        description = {"name": "demo-gateway", "version": "1", "capabilities": CAPABILITIES + DEMO, "options": OPTIONS}
        return web.json_response(description)

    async def chat(self, request: web.Request) -> web.Response:
        async with self.http.post(f"{self.upstream}/v1/chat/completions", data=await request.read()) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        histories = self.sessions.get(request.match_info["id"])
        try:
            if histories is None:
                raise Refused(404, "no such session")
            body = parsed(await decoded(request))
            asked = Invocation(body["message"], body.get("session_id"), body.get("stream") or False)
            if not body.get("stream"):
                text = await self.answer(asked, body, histories, streamed=False)
                return web.json_response({"response": text, "session_id": body.get("session_id")})
        except Refused as refusal:
            return refusal.as_response()
        except Exception as error:  # a hook or the model failed
            return web.json_response({"error": f"{type(error).__name__}"}, status=500)
        response = web.StreamResponse(headers=EVENT_STREAM)
        await response.prepare(request)
        try:
            text = await self.answer(asked, body, histories, streamed=True)
            await response.write(frame(text) + b"data: [DONE]\n\n")
        except Exception as error:
            await response.write(b"event: error\n" + frame(str(error) or type(error).__name__))
        return response

    async def answer(self, asked: Invocation, body: Any, histories: Any, *, streamed: bool) -> str:
        """Run hook, model, delivery, and the hook that the answer passes."""
        asked = await self.demo.run(asked, body)
        if asked.reset:
            histories.pop(asked.session_id, None)
        if asked.session_mode == "required" and not asked.session_id:
            raise Refused(409, "this request needs a session_id")
        kept = asked.session_id if asked.session_mode != "disabled" else None
        async with self.turns:
            history = histories.setdefault(kept, []) if kept else []
            messages = [*history, {"role": "user", "content": asked.input}]
            call = {"model": "kit", "messages": messages, **asked.options}
            async with self.http.post(f"{self.upstream}/v1/chat/completions", json=call) as answered:
                if answered.status == 429:
                    pause = answered.headers.get("retry-after")
                    raise Refused(429, "the model is busy", {"retry-after": pause} if pause else {})
                answered.raise_for_status()
                text = str((await answered.json())["choices"][0]["message"]["content"] or "")
            history[:] = [*messages, {"role": "assistant", "content": text}]
        if not await self.demo.delivered(asked, text):
            return "accepted"
        if streamed:
            return await self.demo.update(text) or ""
        return await self.demo.response(text, asked, "invocations")


class Demo:
    """What the kit asks for: three hooks that do as the field `demo` says, four channels, one task, one report."""

    def __init__(self, inbox: str, http: ClientSession) -> None:
        self.inbox, self.http = inbox, http
        self.seen: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self, asked: Invocation, body: dict[str, Any]) -> Invocation:
        """The run hook."""
        demo = dict(body.get("demo") or {})
        if demo.pop("later", False):
            await asyncio.to_thread(lambda: None)
        if "fail" in demo:
            raise RuntimeError(demo["fail"])
        if (once := demo.pop("once", None)) in self.seen:
            raise RuntimeError("called twice")
        self.seen |= {once} - {None}
        for job in demo.pop("tasks", []):
            task = asyncio.create_task(self.work(job))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        for name, value in demo.items():
            setattr(asked, name, value)
        return asked

    async def update(self, chunk: str) -> str | None:
        """The update hook."""
        if "¶" in chunk:
            raise RuntimeError("a chunk that fails")
        if "¢" in chunk:
            await asyncio.to_thread(lambda: None)
        return chunk.replace("¤", "").replace("§", "s").replace("¢", "c") or None

    async def response(
        self, text: str, asked: Invocation, channel: str, to: str | None = None, echo: bool = False
    ) -> str:
        """The response hook."""
        if not asked.describe:
            return text
        if asked.describe == "later":
            await asyncio.to_thread(lambda: None)
        told = {"text": text, "channel": channel, "destination": to, "originating": to is None, "is_echo": echo}
        return json.dumps(told)

    async def delivered(self, asked: Invocation, text: str) -> bool:
        """Push to whom the answer is for. Returns whether the client gets it, too."""
        if asked.target in ("originating", "none"):
            return bool(asked.target == "originating")
        included, skipped, recipients = False, [], {}
        for name, token in self.wanted(asked):
            if name == "originating" or token == asked.origin:
                included = True
            elif token is None or token.partition(":")[0] not in ("web", "phone", "mail"):
                skipped.append(name)
            else:
                recipients[token] = asked.linked.get(token, {})
        report: dict[str, Any] = {"pushed": [], "failed": [], "echoed": [], "skipped": skipped}
        for token, attributes in recipients.items():
            channel = token.partition(":")[0]
            for role, message in [("user", asked.input)] * asked.echo + [("assistant", text)]:
                shown = await self.response(message, asked, channel, token, role == "user")
                try:
                    await self.post({"to": token, "role": role, "text": shown, "attributes": attributes})
                    report["echoed" if role == "user" else "pushed"].append(token)
                except ConnectionError as error:
                    if role == "assistant":
                        report["failed"].append([token, f"ConnectionError: {error}"])
        report["include_originating"] = included or not recipients
        await self.post({"report": report, "about": asked.input})
        return bool(report["include_originating"])

    def wanted(self, asked: Invocation) -> list[tuple[str, str | None]]:
        """The names of a target, each with the token that it stands for, if any."""
        linked = list(asked.linked)
        if asked.target == "active":
            return [(token, token) for token in linked[:1]]
        if asked.target == "all_linked":
            return [(token, token) for token in linked if token != asked.origin]
        if "identities" in asked.target:
            return [(token, token) for token in asked.target["identities"]]
        names = asked.target["channels"]
        on = {token.partition(":")[0]: token for token in reversed(linked)}
        return [(name, name if ":" in name else on.get(name)) for name in names]

    async def work(self, job: dict[str, Any]) -> None:
        """The background task: tried five times, and its end is told."""
        state = "failed"
        for _ in range(5):
            try:
                await self.post(job)
                state = "succeeded"
                break
            except ConnectionError:
                continue
        with contextlib.suppress(ConnectionError):  # the test that it belongs to may have ended
            await self.post({"task": job["to"], "state": state})

    async def post(self, document: dict[str, Any]) -> None:
        async with self.http.post(self.inbox, json=document) as answer:
            if answer.status >= 300:
                raise ConnectionError(f"the inbox answered {answer.status}")


async def decoded(request: web.Request) -> bytes:
    """The body without its encoding, which aiohttp has taken off, or `Refused`."""
    if request.headers.get("content-encoding", "").lower() not in ENCODINGS:
        raise Refused(415, "content-encoding must be gzip or deflate", {"accept-encoding": "gzip, deflate"})
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise Refused(400, "the body is not what its content-encoding says") from None


def parsed(content: bytes) -> dict[str, Any]:
    """The envelope, or `Refused`, in the order of the requirements."""
    try:
        body = json.loads(content)
    except ValueError:
        raise Refused(400, "invalid json") from None
    if not isinstance(body, dict):
        raise Refused(422, "request body must be an object")
    if not isinstance(body.get("message"), str) or not body["message"]:
        raise Refused(422, "missing or empty 'message'")
    if not isinstance(body.get("session_id"), str | None):
        raise Refused(422, "'session_id' must be a string")
    if not isinstance(body.get("stream"), bool | None):
        raise Refused(422, "'stream' must be a boolean")
    return body


def frame(text: str) -> bytes:
    """The frame of a chunk; nothing for none."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "".join(f"data: {line}\n" for line in lines).encode() + b"\n" if text else b""


@web.middleware
async def flat_errors(request: web.Request, handler: Any) -> Any:
    """What the framework refuses, in the words of the wire."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return web.json_response({"error": refusal.reason}, status=refusal.status)


async def application(upstream: str) -> web.Application:
    app = web.Application(middlewares=[flat_errors], client_max_size=2**25)
    gateway = Gateway(upstream, ClientSession())
    app.on_cleanup.append(lambda _: gateway.http.close())
    app.router.add_get("/capabilities", gateway.capabilities)
    app.router.add_get("/readiness", lambda _: asyncio.sleep(0, web.json_response({"status": "ok"})))
    app.router.add_post("/sessions", gateway.create)
    app.router.add_post("/sessions/{id}/abort", gateway.abort)
    app.router.add_post("/sessions/{id}/v1/chat/completions", gateway.chat)
    app.router.add_post("/sessions/{id}/v1/invocations{slash:/?}", gateway.invoke)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", default="http://127.0.0.1:8765", metavar="URL")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    app = application(chosen.upstream)
    where = {"host": "127.0.0.1", "port": chosen.port, "print": lambda line: print(line, flush=True)}
    web.run_app(app, handler_cancellation=True, **where)
