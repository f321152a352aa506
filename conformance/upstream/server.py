"""The upstream as a process: one aiohttp application on loopback, a data plane per dialect and a control plane.

Knows HTTP and nothing else: what is answered is decided by `engine`, in which words by the dialect. No stack trace
leaves it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiohttp import web

from conformance.tokenizer import Tokenizer, TokenizerError
from conformance.upstream import control, errors, inbox, ledger, pictures
from conformance.upstream.chat import Chat
from conformance.upstream.completions import Completions
from conformance.upstream.dialect import CREATED, MODEL, BadRequest, Dialect, token_ids
from conformance.upstream.engine import MAX_MODEL_LEN, Ask, Dropped, Engine, Sample, Unscripted
from conformance.upstream.ledger import Call
from conformance.upstream.llama_cpp import Completion
from conformance.upstream.script import Step
from conformance.upstream.sglang import Generate
from conformance.upstream.tokens import Tokens

DIALECTS: tuple[Dialect, ...] = (Completions(), Chat(), Tokens(), Generate(), Completion())
CONTEXT = (
    "prompt",
    "input_ids",
    "text",
    "messages",
    "token_ids",
    "tools",
    "chat_template_kwargs",
    "add_generation_prompt",
)
"""The fields of which a dialect makes the context."""
MAX_BODY = 256 * 1024 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(
    tokenizer: Tokenizer, closed: Callable[[Call], None] | None = None, max_model_len: int = MAX_MODEL_LEN
) -> web.Application:
    """The upstream as an aiohttp application. `closed` is called with each call when its record is closed.
    `max_model_len`: tokens that a context and its generation may have together."""
    engine = Engine(tokenizer, closed, max_model_len)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
    for dialect in DIALECTS:
        app.router.add_post(dialect.path, _generate(engine, dialect))
    app.router.add_get("/v1/models", _models(max_model_len))
    app.router.add_get("/health", _health)
    app.router.add_post("/tokenize", _tokenize(tokenizer, max_model_len))
    app.router.add_post("/detokenize", _detokenize(tokenizer))
    app.router.add_post(inbox.PATH, _post(engine))
    app.router.add_get(pictures.PATH, _picture(engine))
    app.add_routes(control.routes(engine))

    async def close(_: web.Application) -> None:
        engine.drop_all()

    app.on_shutdown.append(close)
    return app


def serve(
    host: str,
    port: int,
    tokenizer_dir: str | Path,
    ready: Callable[[str], None],
    until_stdin_closes: bool = False,
    ledger_file: Path | None = None,
    max_model_len: int = MAX_MODEL_LEN,
) -> None:
    """Serve until SIGTERM or SIGINT (or, if asked, until standard input ends, so that no upstream outlives the process
    that started it). `ready` gets the URL once connections are accepted; port 0 takes a free one. Closed calls are
    appended to `ledger_file`. Raises `TokenizerError` and `OSError` before that."""
    tokenizer = Tokenizer.load(tokenizer_dir)
    with contextlib.ExitStack() as stack:
        closed = None if ledger_file is None else stack.enter_context(ledger.LedgerFile(ledger_file)).append
        asyncio.run(_serve(host, port, application(tokenizer, closed, max_model_len), ready, until_stdin_closes))


async def _serve(
    host: str, port: int, app: web.Application, ready: Callable[[str], None], until_stdin_closes: bool
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else stopped.set())
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0, keepalive_timeout=3600
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        bound = runner.addresses[0][1]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{bound}")
        await stopped.wait()
    finally:
        await runner.cleanup()


def advice(url: str, tokenizer: Tokenizer) -> str:
    """What to tell a gateway, so that the upstream at `url` is its inference engine."""
    port = url.rsplit(":", 1)[1]
    return f"""listening on {url}

Start the gateway under test with this server as its inference engine:
  base URL, gateway that sends token ids (vLLM)   {url}/v1   (/v1/completions, prompt = token ids)
  base URL, gateway that asks vLLM's token route  {url}      (/inference/v1/generate, token_ids)
  base URL, gateway that passes chat through      {url}/v1   (/v1/chat/completions)
  base URL, gateway that calls SGLang             {url}      (/generate, input_ids)
  base URL, gateway that calls llama.cpp          {url}      (/completion, prompt = token ids)
  model name                                      {MODEL}
  tokenizer and chat template                     {tokenizer.path}
  API key                                         any; none is checked

Then judge it, while this server runs:
  pytest --gateway-url URL --gateway-upstream-port {port}"""


def _json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps(document, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, headers=_headers({"content-type": "application/json"}, headers))


def _headers(own: Mapping[str, str], scripted: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of an answer; those of the script replace the server's own."""
    return {**own, **{name.lower(): value for name, value in (scripted or {}).items()}}


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _json(errors.vllm(error.status, error.reason), error.status)
    except (BadRequest, TokenizerError) as error:
        return _json(errors.vllm(400, str(error)), 400)
    except Exception as error:
        print(f"upstream: {type(error).__name__}: {error}", file=sys.stderr)
        return _json(errors.vllm(500, f"the kit's upstream broke: {type(error).__name__}"), 500)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body must be JSON") from error
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _generate(engine: Engine, dialect: Dialect) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        ask, refusal = _read(dialect, await _body(request), engine)
        call = engine.arrive(ask, request.headers)
        if refusal is not None:
            engine.close(call, ledger.FAILED, 400, refusal)
            return _json(dialect.error(400, refusal), 400)
        try:
            step, samples = await engine.sample(ask, call)
            return await _deliver(request, engine, dialect, ask, call, step, samples)
        except Unscripted as error:
            engine.close(call, ledger.UNSCRIPTED, 500, str(error))
            return _json(dialect.error(500, str(error)), 500)
        except (asyncio.CancelledError, ConnectionError):
            engine.close(call, ledger.ABORTED, None, "the caller hung up")
            raise
        except Dropped:
            engine.close(call, ledger.ABORTED, None, "the test ended first")
            return _json(dialect.error(503, "the test that scripted this call has ended"), 503)

    return handle


def _read(dialect: Dialect, body: dict[str, Any], engine: Engine) -> tuple[Ask, str | None]:
    """What is asked, and why it is refused, if it is. A call that is refused for one of its fields, or by the model,
    stands in the ledger like any other; what has no context is no call, and raises `BadRequest`."""
    try:
        ask = dialect.read(body, engine.tokenizer)
    except BadRequest as refusal:
        try:
            ask = dialect.read({name: body[name] for name in CONTEXT if name in body}, engine.tokenizer)
        except BadRequest:
            raise refusal from None
        kept = {name: value for name, value in body.items() if name not in CONTEXT[:5]}
        return replace(ask, body=kept), str(refusal)
    return ask, dialect.refusal(ask.context, ask.max_tokens, engine.model)


async def _deliver(
    request: web.Request,
    engine: Engine,
    dialect: Dialect,
    ask: Ask,
    call: Call,
    step: Step,
    samples: list[Sample],
) -> web.StreamResponse:
    """Answer, or fail as the step says. The record is closed before the last byte leaves, so that whoever has the
    answer also finds it in the ledger."""
    if step.reset:
        engine.close(call, ledger.FAILED, None, "connection reset")
        _reset(request)
        return web.Response(status=500)
    if step.body is not None:
        status = step.status or 200
        engine.close(call, ledger.FAILED, status, "scripted body")
        headers = _headers({"content-type": step.content_type}, step.headers)
        if step.truncated:
            return await _truncated(request, step.body, headers, status)
        return web.Response(body=step.body, status=status, headers=headers)
    if step.status is not None and step.status >= 400:
        engine.close(call, ledger.FAILED, step.status, step.message)
        return _json(dialect.error(step.status, step.message), step.status, step.headers)
    engine.record(call, samples)
    status = step.status or 200
    serial = f"{(call.nonce or '')[2:-1]}-{call.index}"
    answered = ledger.UNCLAIMED if call.nonce is None else ledger.ANSWERED
    outcome = ledger.FAILED if step.truncated else answered
    if ask.stream:
        events = dialect.stream(ask, samples, serial, engine.tokenizer)
        return await _stream(
            request,
            events,
            step,
            lambda: engine.close(call, outcome, status),
            lambda: engine.resumed(call, step),
        )
    answer = _json(dialect.answer(ask, samples, serial, engine.tokenizer), status, step.headers)
    engine.close(call, outcome, status)
    if step.truncated:
        body = answer.body
        return await _truncated(request, body if isinstance(body, bytes) else b"", dict(answer.headers), status)
    return answer


async def _stream(
    request: web.Request,
    events: Iterable[dict[str, Any]],
    step: Step,
    close: Callable[[], None],
    resumed: Callable[[], Awaitable[None]],
) -> web.StreamResponse:
    """A step that pauses waits for `resumed` when so many ids have left."""
    frames = [b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n" for event in events]
    frames.append(b"data: [DONE]\n\n")
    if step.truncated:
        frames = frames[: len(frames) // 2]
    pause = None if step.pause is None else -(-step.pause // step.ids_per_event)
    headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
    response = web.StreamResponse(headers=_headers(headers, step.headers))
    response.enable_chunked_encoding()
    await response.prepare(request)
    for place, frame in enumerate(frames[:-1]):
        if place == pause:
            await resumed()
        await response.write(frame)
    close()
    for frame in frames[-1:]:
        await response.write(frame)
    if step.truncated:
        _hang_up(request)
        return response
    await response.write_eof()
    return response


async def _truncated(request: web.Request, body: bytes, headers: dict[str, str], status: int) -> web.StreamResponse:
    """Half of the body under a Content-Length for all of it, then the connection ends."""
    response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(max(len(body), 2))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2] or b"{")
    _hang_up(request)
    return response


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # With a linger time of zero the kernel sends RST instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _post(engine: Engine) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        status = await engine.post(json.dumps(body, ensure_ascii=False), body)
        if status is None:
            return _json(errors.vllm(404, "no test that is open has its nonce in this post"), 404)
        return _json({} if status < 400 else errors.vllm(status, "refused, as the test says"), status)

    return handle


def _picture(engine: Engine) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if not engine.fetch(f"#{request.match_info['nonce']}#", name):
            raise web.HTTPNotFound
        return web.Response(body=pictures.png(pictures.shade_of(name)), content_type="image/png")

    return handle


def _models(max_model_len: int) -> Handler:
    card = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "gateway-conformance", "root": MODEL}
    listed = {**card, "parent": None, "max_model_len": max_model_len, "permission": []}

    async def handle(_: web.Request) -> web.StreamResponse:
        return _json({"object": "list", "data": [listed]})

    return handle


async def _health(_: web.Request) -> web.Response:
    return web.Response(status=200)


def _tokenize(tokenizer: Tokenizer, max_model_len: int) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if isinstance(body.get("messages"), list):
            text = tokenizer.render(body["messages"], body.get("tools"), body.get("add_generation_prompt", True))
        elif isinstance(body.get("prompt"), str):
            text = body["prompt"]
        else:
            raise BadRequest("prompt must be a string, or messages a list")
        ids = tokenizer.encode(text)
        return _json({"count": len(ids), "max_model_len": max_model_len, "tokens": ids, "token_strs": None})

    return handle


def _detokenize(tokenizer: Tokenizer) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        tokens = (await _body(request)).get("tokens")
        if not isinstance(tokens, list) or not token_ids(tokens):
            raise BadRequest("tokens must be a list of token ids")
        return _json({"prompt": tokenizer.decode(tokens)})

    return handle
