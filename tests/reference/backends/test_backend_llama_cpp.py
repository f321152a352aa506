"""The llama.cpp backend against a server that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from reference_gateway.backends.base import Checked
from reference_gateway.backends.llama_cpp import LlamaCppBackend
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Grammar, Media

OWN = {
    "n_predict": -1,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
    "return_tokens": True,
}


def completion(ids: Any = (7, 8), **fields: Any) -> dict[str, Any]:
    """What llama.cpp answers."""
    told = list(ids) if isinstance(ids, tuple) else ids
    counts = {"tokens_predicted": len(told) if isinstance(told, list) else 0, "tokens_evaluated": 3}
    return {"content": "x", "tokens": told, "stop": True, "stop_type": "eos", "stopping_word": "", **counts, **fields}


def event(*ids: int, logprobs: list[float] | None = None) -> dict[str, Any]:
    told = [] if logprobs is None else [{"logprob": value} for value in logprobs]
    return {"content": "x", "tokens": list(ids), "stop": False, "completion_probabilities": told}


class Heard:
    def __init__(self) -> None:
        self.ids: list[int] = []

    def started(self, prompt_tokens: int) -> None: ...

    def sampled(self, ids: Any) -> None:
        self.ids += ids


def ask(
    answer: Any,
    sampling: dict[str, Any] | None = None,
    *,
    status: int = 200,
    media: Media | None = None,
    progress: Heard | None = None,
    api_key: str | None = None,
    grammar: Grammar | None = None,
) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """What the backend makes of `answer` (a document, or the events of a stream), and what it had sent."""
    seen: list[tuple[dict[str, Any], dict[str, str]]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((await request.json(), {name.lower(): value for name, value in request.headers.items()}))
        if isinstance(answer, list):
            events = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in answer)
            return web.Response(body=events, content_type="text/event-stream")
        return web.json_response(answer, status=status)

    async def exchange() -> Generation | Exception:
        app = web.Application()
        app.router.add_post("/completion", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        inner = LlamaCppBackend(f"http://127.0.0.1:{runner.addresses[0][1]}", api_key=api_key)
        try:
            return await Checked(inner).generate(
                [1, 2, 3], sampling or {}, session_id="s-1", media=media or Media(), progress=progress, grammar=grammar
            )
        except (BackendRefused, BackendFailed) as error:
            return error
        finally:
            await inner.close()
            await runner.cleanup()

    outcome = asyncio.run(exchange())
    body, headers = seen[0] if seen else ({}, {})
    return outcome, body, headers


def test_ids_go_in_and_come_out() -> None:
    found, body, headers = ask(completion(), api_key="sk-1")

    assert found == Generation([7, 8], None, "stop")
    assert body == {**OWN, "prompt": [1, 2, 3]}
    assert headers["authorization"] == "Bearer sk-1"
    assert headers["x-session-id"] == "s-1"
    assert headers["connection"] == "close"


def test_what_a_turn_asks_for_has_other_names() -> None:
    asked = {"max_tokens": 9, "repetition_penalty": 1.1, "stop": "x", "seed": 5, "top_k": 4, "logprobs": True}
    _, body, _ = ask(completion(), {**asked, "logit_bias": {"5": -1.5}, "temperature": 0.5, "min_p": None})

    renamed = {"n_predict": 9, "repeat_penalty": 1.1, "repeat_last_n": 12, "n_probs": 1, "post_sampling_probs": False}
    same = {"stop": ["x"], "seed": 5, "top_k": 4, "temperature": 0.5, "logit_bias": {"5": -1.5}}
    assert body == {**OWN, **renamed, **same, "prompt": [1, 2, 3]}


def test_what_the_route_would_ignore_is_refused() -> None:
    found, body, _ = ask(completion(), {"min_tokens": 3, "bad_words": ["x"]})
    assert isinstance(found, BackendRefused)
    assert str(found) == "llama.cpp's completion route has no field for bad_words, min_tokens"
    assert body == {}
    found, _, _ = ask(completion(), media=Media(images=("http://x/a.png",)))
    assert isinstance(found, BackendRefused)


@pytest.mark.parametrize(
    ("fields", "reason", "matched"),
    [
        ({}, "stop", None),
        ({"stop_type": "word", "stopping_word": "END"}, "stop", "END"),
        ({"stop_type": "limit"}, "length", None),
        ({"stop_type": "none"}, "abort", None),
        ({"stop_type": "new"}, "new", None),
    ],
)
def test_why_it_ended(fields: dict[str, Any], reason: str, matched: str | None) -> None:
    found, _, _ = ask(completion(**fields))
    assert (found.stop_reason, found.matched) == (reason, matched)


def test_logprobs_are_those_of_all_ids_or_none() -> None:
    told = [{"logprob": -1}, {"logprob": -2.5}]
    assert ask(completion(completion_probabilities=told))[0].logprobs == [-1.0, -2.5]
    assert ask(completion(completion_probabilities=told[:1]))[0].logprobs is None
    assert ask(completion(completion_probabilities=[]))[0].logprobs is None


def test_a_stream_is_told_as_it_comes() -> None:
    heard = Heard()
    events = [event(7, logprobs=[-1]), event(8, 9, logprobs=[-2, -3]), completion((), tokens_predicted=3)]

    found, body, _ = ask(events, {"logprobs": True}, progress=heard)

    assert found == Generation([7, 8, 9], [-1.0, -2.0, -3.0], "stop")
    assert heard.ids == [7, 8, 9]
    assert body["stream"] is True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"content": "x"}, "the engine's answer has no tokens"),
        ([1], "the engine's answer has no tokens"),
        (completion(None), "the engine's answer has no tokens"),
        (completion(tokens_predicted=3), "the engine sampled 3 tokens, and told the ids of 2"),
        (completion(tokens_evaluated=2), "the engine sampled for another context than it was sent"),
        (completion(truncated=True), "the engine left out a part of the context"),
        (completion(completion_probabilities=[{"prob": 1}] * 2), "are not a list of logprobs"),
        (completion(stop=False), "the engine's answer broke off before its generation was whole"),
        (completion(stop_type=None), "the engine's answer broke off before its generation was whole"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_not_whole_fails(answer: Any, said: str, stream: bool) -> None:
    found, _, _ = ask([answer] if stream or isinstance(answer, list) else answer, progress=Heard() if stream else None)
    if isinstance(answer, list) and not stream:
        return
    assert isinstance(found, BackendFailed)
    assert said in str(found)


def test_an_error_within_a_stream_fails() -> None:
    found, _, _ = ask([event(7), {"error": {"code": 500, "message": "no memory"}}], progress=Heard())
    assert isinstance(found, BackendFailed)


def test_a_context_that_is_too_long_is_refused_in_the_engines_words() -> None:
    error = {"code": 400, "message": "request (9 tokens) exceeds the available context size (4 tokens)"}
    found, _, _ = ask({"error": error}, status=400)
    assert isinstance(found, BackendRefused)
    assert str(found) == error["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_a_field_of_the_request(stream: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    answer = [event(7, 8), completion((), tokens_predicted=2)] if stream else completion()
    found, body, _ = ask(answer, grammar=Grammar("json", json.dumps(schema)), progress=Heard() if stream else None)
    assert found.ids == [7, 8]
    assert body["json_schema"] == schema


def test_text_around_json_is_refused() -> None:
    found, body, _ = ask(completion(), grammar=Grammar("structural_tag", "{}"))
    assert isinstance(found, BackendRefused)
    assert "holds an answer to a JSON Schema only" in str(found)
    assert body == {}
