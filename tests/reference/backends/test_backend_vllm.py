"""The vLLM backend against a server that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from reference_gateway.backends.base import Checked, EngineError
from reference_gateway.backends.http_engine import Limits
from reference_gateway.backends.model_length import ASSUMED_ROOM
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.types import BackendFailed, BackendRefused, BackendUnavailable, Generation, Grammar, Media

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def engine(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def completion(**fields: Any) -> dict[str, Any]:
    top = {name: fields.pop(name) for name in ("weight_version",) if name in fields}
    return {"choices": [{"index": 0, "text": "x", "token_ids": [7, 8], "finish_reason": "stop", **fields}], **top}


def ask(
    answer: Any,
    sampling: dict[str, Any] | None = None,
    *,
    status: int = 200,
    headers: Any = None,
    grammar: Grammar | None = None,
    **settings: Any,
) -> Any:
    """What the backend makes of `answer` (a document, or bytes), and what it had sent: (outcome, body, headers)."""
    seen: list[tuple[dict[str, Any], dict[str, str]]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((await request.json(), {name.lower(): value for name, value in request.headers.items()}))
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(body=body, status=status, headers=headers, content_type="application/json")

    async def exchange() -> Generation | Exception:
        async with engine(handler) as url:
            backend = Checked(VllmBackend(url + settings.pop("path", ""), **settings))
            try:
                return await backend.generate(
                    [1, 2, 3], sampling or {}, session_id="s-1", media=Media(), grammar=grammar
                )
            except (BackendRefused, BackendFailed) as error:
                return error
            finally:
                await backend.close()

    return asyncio.run(exchange()), *(seen[0] if seen else ({}, {}))


@pytest.mark.parametrize("kind", ["json", "structural_tag"])
def test_a_grammar_is_a_structured_output(kind):
    _, body, _ = ask(completion(), grammar=Grammar(kind, "{}"))
    assert body["structured_outputs"] == {kind: "{}"}


def test_tokens_go_in_and_come_out():
    found, body, headers = ask(completion())
    assert found == Generation([7, 8], stop_reason="stop")
    assert body == {"prompt": [1, 2, 3], "return_token_ids": True, "max_tokens": ASSUMED_ROOM}
    assert headers["x-session-id"] == "s-1"
    assert "authorization" not in headers


def test_model_key_and_sampling_are_sent():
    _, body, headers = ask(completion(), {"temperature": 0.5, "max_tokens": 9}, model="m", api_key="k", path="/v1/")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.5, 9)
    assert headers["authorization"] == "Bearer k"


@pytest.mark.parametrize(("asked", "sent"), [(True, 1), (5, 5), (0, 0)])
def test_logprobs_are_asked_for_as_this_route_takes_them(asked, sent):
    logprobs = {"token_logprobs": [-0.5, -1]}
    found, body, _ = ask(completion(logprobs=logprobs), {"logprobs": asked})
    assert body["logprobs"] == sent
    assert found.logprobs == [-0.5, -1.0]


@pytest.mark.parametrize("asked", [False, None])
def test_logprobs_that_are_not_wanted_are_not_asked_for(asked):
    assert "logprobs" not in ask(completion(), {"logprobs": asked})[1]


@pytest.mark.parametrize(
    ("version", "span"),
    [(3, (3, 3)), ("4", (4, 4)), ([3, 5], (3, 5)), ("v3", None), (None, None), ([], None), ({}, None)],
)
def test_weight_versions(version, span):
    assert ask(completion(weight_version=version))[0].versions == span


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    "answer", [{"error": {"message": "too long"}}, {"message": "too long"}, {"detail": "too long"}, b"too long"]
)
def test_a_refused_request_is_the_callers_fault(status, answer):
    found, *_ = ask(answer, status=status)
    assert isinstance(found, BackendRefused)
    assert (found.status, str(found)) == (status, "too long")


@pytest.mark.parametrize("status", [401, 404, 500, 502])
def test_other_statuses_are_the_engines_fault(status, caplog):
    found, *_ = ask({"error": {"message": "sick"}}, status=status)
    assert type(found) is BackendFailed
    assert str(found) == f"HTTP {status} from the engine"
    assert f"HTTP {status} from the engine: sick" in caplog.text


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize(
    ("after", "passed_on"),
    [("7", "7"), ("Fri, 27 Nov 2026 07:28:00 GMT", "Fri, 27 Nov 2026 07:28:00 GMT"), ("<7>", None), (None, None)],
)
def test_an_engine_that_takes_nothing_now_may_later(status, after, passed_on):
    headers = {} if after is None else {"Retry-After": after}
    found, *_ = ask({"error": {"message": "sick"}}, status=status, headers=headers)
    assert isinstance(found, BackendUnavailable)
    assert (found.status, found.retry_after) == (status, passed_on)
    assert "sick" not in str(found)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "not a completion"),
        (b"{", "not a completion"),
        (b"[]", "not a completion"),
        (b"null", "not a completion"),
        ({}, "not a completion"),
        ({"choices": []}, "not a completion"),
        ({"choices": [5]}, "not a completion"),
        (completion(token_ids=None), "no token_ids"),
        (completion(token_ids="7"), "no token_ids"),
        (completion(token_ids=[7, "8"]), "no token id"),
        (completion(token_ids=[7, -1]), "no token id"),
        (completion(token_ids=[7, 2**40]), "no token id"),
        (completion(token_ids=[7, None]), "no token id"),
        (completion(prompt_token_ids=[1, 2]), "another context"),
        (completion(logprobs={"token_logprobs": [None, 1]}), "not a list of numbers"),
        (completion(logprobs={"token_logprobs": 5}), "not a list of numbers"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_a_failure(answer, says):
    found, *_ = ask(answer)
    assert isinstance(found, BackendFailed)
    assert says in str(found)


def test_the_same_context_back_is_fine():
    assert ask(completion(prompt_token_ids=[1, 2, 3]))[0].ids == [7, 8]


def test_no_engine_is_a_failure_that_says_so():
    async def exchange() -> Exception:
        backend = VllmBackend("http://127.0.0.1:1")
        with pytest.raises(BackendFailed) as failed:
            await backend.generate([1], {}, session_id="s", media=Media())
        await backend.close()
        return failed.value

    assert str(asyncio.run(exchange())) == "no answer from the engine (ClientConnectorError)"


@pytest.mark.parametrize(
    ("fields", "matched"),
    [
        ({"stop_reason": "END"}, "END"),
        ({"stop_reason": 7}, 7),
        ({"stop_reason": None}, None),
        ({"stop_reason": "repetition_detected", "finish_reason": "repetition"}, None),
        ({}, None),
    ],
)
def test_what_was_matched(fields, matched):
    assert ask(completion(**fields))[0].matched == matched


def test_a_page_of_a_proxy_is_not_passed_on():
    found, *_ = ask(b"<html><h1>413</h1>engine-7.internal</html>", status=413)
    assert (found.status, str(found)) == (413, "no message")


def test_a_slow_engine_is_given_up():
    async def exchange() -> str:
        never = asyncio.Event()

        async def handler(request: web.Request) -> web.Response:
            await never.wait()
            return web.Response()

        async with engine(handler) as url:
            backend = VllmBackend(url, limits=Limits(total_s=0.05))
            try:
                with pytest.raises(BackendFailed) as failed:
                    await backend.generate([1], {}, session_id="s", media=Media())
            finally:
                never.set()
                await backend.close()
        return str(failed.value)

    assert asyncio.run(exchange()) == "the engine did not answer within 0.05 s"


def test_media_are_refused():
    async def exchange() -> None:
        backend = VllmBackend("http://127.0.0.1:1")
        with pytest.raises(BackendRefused, match="no media"):
            await backend.generate([1], {}, session_id="s", media=Media(images=("x",)))

    asyncio.run(exchange())


class Raising:
    name = "raising"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def generate(self, context: Any, sampling: Any, *, session_id: str, media: Media) -> Generation:
        raise self.error

    async def close(self) -> None: ...


def raised_by(error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as found:  # noqa: PT011  (cancellation is one)
        asyncio.run(Checked(Raising(error)).generate([1], {}, session_id="s", media=Media()))
    return found.value


def test_a_value_error_is_the_callers_fault():
    found = raised_by(ValueError("too long"))
    assert isinstance(found, BackendRefused)
    assert str(found) == "too long"


def test_any_other_exception_is_described_by_its_class():
    found = raised_by(RuntimeError("boom"))
    assert isinstance(found, EngineError)
    assert found.described == "RuntimeError: boom"


def test_own_exceptions_pass():
    refused, failed = BackendRefused("a"), BackendFailed("b")
    assert raised_by(refused) is refused
    assert raised_by(failed) is failed
    assert isinstance(raised_by(asyncio.CancelledError()), asyncio.CancelledError)
