"""The control plane, `/_kit/`: how the kit's client scripts the upstream and reads its ledger. JSON, loopback only."""

from __future__ import annotations

import json
import math
from typing import Any

from aiohttp import web

from conformance.upstream.dialect import KIT, MODEL, BadRequest
from conformance.upstream.engine import NONCE, Engine
from conformance.upstream.inbox import Answering
from conformance.upstream.ledger import Call
from conformance.upstream.script import ScriptError, Step

MAX_WAIT = 600.0
MAX_DIGITS = 9


def routes(engine: Engine) -> list[web.RouteDef]:
    async def identity(_: web.Request) -> web.Response:
        tokenizer = engine.tokenizer
        known = {"name": tokenizer.name, "path": str(tokenizer.path), "digest": tokenizer.digest}
        return _json({"kit": KIT, "model": MODEL, "tokenizer": known})

    async def say(request: web.Request) -> web.Response:
        document = await _document(request)
        steps = document.get("steps")
        if not isinstance(steps, list):
            raise BadRequest("steps must be a list of steps")
        try:
            parsed = [Step.from_json(step) for step in steps]
        except ScriptError as error:
            raise BadRequest(str(error)) from error
        return _json({"indices": engine.say(_nonce(request), parsed)})

    async def release(request: web.Request) -> web.Response:
        index = (await _document(request)).get("index")
        if index is not None and type(index) is not int:
            raise BadRequest(f"index must be the index of a step or null, not {index!r}")
        engine.release(_nonce(request), index)
        return _json({})

    async def calls(request: web.Request) -> web.Response:
        nonce = _nonce(request)
        since, least = _number(request, "since", 0), _number(request, "least", 0)
        outcome = request.query.get("outcome")

        def enough(known: list[Call]) -> bool:
            return sum(outcome is None or call.outcome == outcome for call in known) >= least

        reached = await engine.wait_for(nonce, enough, _timeout(request)) if least else True
        known = engine.calls(nonce)
        return _json({"reached": reached, "calls": [call.to_json() for call in known[since:]]})

    async def answer_posts(request: web.Request) -> web.Response:
        try:
            answering = Answering.from_json(await _document(request))
        except ValueError as error:
            raise BadRequest(str(error)) from error
        engine.answer_posts(_nonce(request), answering)
        return _json({})

    async def release_posts(request: web.Request) -> web.Response:
        engine.release_posts(_nonce(request))
        return _json({})

    async def posts(request: web.Request) -> web.Response:
        least = _number(request, "least", 0)
        received = await engine.posts(_nonce(request), request.query.get("when"), least, _timeout(request))
        return _json({"reached": len(received) >= least, "posts": [post.to_json() for post in received]})

    async def fetched(request: web.Request) -> web.Response:
        return _json({"fetched": engine.fetched(_nonce(request))})

    async def drop(request: web.Request) -> web.Response:
        return _json({"unused": [step.to_json() for step in engine.drop(_nonce(request))]})

    async def strays(_: web.Request) -> web.Response:
        return _json({"calls": [call.to_json() for call in engine.strays]})

    async def unclaimed(_: web.Request) -> web.Response:
        return _json({"count": engine.unclaimed})

    return [
        web.get("/_kit/", identity),
        web.get("/_kit/strays", strays),
        web.get("/_kit/unclaimed", unclaimed),
        web.post("/_kit/{nonce}/steps", say),
        web.post("/_kit/{nonce}/release", release),
        web.get("/_kit/{nonce}/calls", calls),
        web.post("/_kit/{nonce}/posts", answer_posts),
        web.post("/_kit/{nonce}/posts/release", release_posts),
        web.get("/_kit/{nonce}/posts", posts),
        web.get("/_kit/{nonce}/fetched", fetched),
        web.delete("/_kit/{nonce}", drop),
    ]


def _json(document: Any) -> web.Response:
    return web.Response(body=json.dumps(document, separators=(",", ":")).encode(), content_type="application/json")


async def _document(request: web.Request) -> dict[str, Any]:
    try:
        document = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body must be JSON") from error
    if not isinstance(document, dict):
        raise BadRequest("the body must be a JSON object")
    return document


def _nonce(request: web.Request) -> str:
    """The path has the nonce without its number signs, which a URL cannot carry."""
    nonce = f"#{request.match_info['nonce']}#"
    if NONCE.fullmatch(nonce) is None:
        raise BadRequest(f"{request.match_info['nonce']!r} is not a nonce; one is the letter k and ten digits")
    return nonce


def _timeout(request: web.Request) -> float:
    text = request.query.get("timeout", "10")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise BadRequest(f"timeout must be a number of seconds, not {text[:40]!r}")
    return min(seconds, MAX_WAIT)


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > MAX_DIGITS:
        raise BadRequest(f"{name} must be a whole number of at most {MAX_DIGITS} digits, not {text[:40]!r}")
    return int(text)
