"""The SGLang backend against a server that says exactly what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from reference_gateway.backends.base import Checked
from reference_gateway.backends.sglang import SglangBackend
from reference_gateway.types import BackendFailed, BackendRefused, BackendUnavailable, Generation, Grammar, Media

STOP = {"type": "stop", "matched": 8}


@asynccontextmanager
async def engine(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/generate", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def generated(ids: Any = (7, 8), *, finish: Any = STOP, total: int | None = None, **fields: Any) -> dict[str, Any]:
    """What SGLang answers; `fields` are those of `meta_info`, but for the prompt's ids."""
    ids = list(ids) if isinstance(ids, tuple) else ids
    top = {name: fields.pop(name) for name in ("prompt_token_ids",) if name in fields}
    count = len(ids) if total is None and isinstance(ids, list) else total
    return {
        "text": "x",
        "output_ids": ids,
        "meta_info": {"finish_reason": finish, "completion_tokens": count, **fields},
        **top,
    }


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
    headers: Any = None,
    media: Media | None = None,
    progress: Heard | None = None,
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
            backend = Checked(SglangBackend(url + settings.pop("path", ""), **settings))
            try:
                return await backend.generate(
                    [1, 2, 3],
                    sampling or {},
                    session_id="s-1",
                    media=media or Media(),
                    progress=progress,
                    grammar=grammar,
                )
            except (BackendRefused, BackendFailed) as error:
                return error
            finally:
                await backend.close()

    return asyncio.run(exchange()), *(seen[0] if seen else ({}, {}))


@pytest.mark.parametrize(("kind", "name"), [("json", "json_schema"), ("structural_tag", "structural_tag")])
def test_a_grammar_is_a_sampling_parameter(kind, name):
    _, body, _ = ask(generated(), grammar=Grammar(kind, "{}"))
    assert body["sampling_params"][name] == "{}"


def streamed(*events: Any, done: bool = True) -> bytes:
    lines = [*map(json.dumps, events), *(["[DONE]"] if done else [])]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def test_tokens_go_in_and_come_out():
    found, body, headers = ask(generated())
    assert found == Generation([7, 8], stop_reason="stop", matched=8)
    assert body == {
        "input_ids": [1, 2, 3],
        "sampling_params": {"max_new_tokens": None},
        "image_data": None,
        "video_data": None,
        "return_prompt_token_ids": True,
    }
    assert headers["x-session-id"] == "s-1"
    assert "authorization" not in headers


def test_key_and_sampling_are_sent():
    sampling = {"temperature": 0.5, "seed": 7, "stop": ["END"], "max_tokens": 9}
    _, body, headers = ask(generated(), sampling, api_key="k", path="/v1/")
    assert body["sampling_params"] == {"temperature": 0.5, "sampling_seed": 7, "stop": ["END"], "max_new_tokens": 9}
    assert headers["authorization"] == "Bearer k"


def test_media_are_sent_beside_the_ids():
    media = Media(
        images=("http://h/a.png", {"format": "processor_output"}), videos=("v", ("w", {"fps": 2}), ["x", {"fps": 3}])
    )
    found, body, _ = ask(generated(prompt_token_ids=[1, 9, 9, 9, 2, 3]), media=media)
    assert found.ids == [7, 8], "the engine writes an image as more ids than one"
    assert body["image_data"] == ["http://h/a.png", {"format": "processor_output"}]
    assert body["video_data"] == [
        "v",
        {"url": "w", "preprocess_kwargs": {"fps": 2}},
        {"url": "x", "preprocess_kwargs": {"fps": 3}},
    ]
    assert "return_prompt_token_ids" not in body


@pytest.mark.parametrize("asked", [True, 1, 0])
def test_logprobs_that_are_wanted(asked):
    found, body, _ = ask(generated(output_token_logprobs=[[-0.5, 7, None], [-1, 8, "x"]]), {"logprobs": asked})
    assert body["return_logprob"] is True
    assert "logprobs" not in body["sampling_params"]
    assert found.logprobs == [-0.5, -1.0]


@pytest.mark.parametrize("asked", [False, None])
def test_logprobs_that_are_not_wanted_are_not_asked_for(asked):
    _, body, _ = ask(generated(), {"logprobs": asked})
    assert "return_logprob" not in body
    assert "logprobs" not in body["sampling_params"]


@pytest.mark.parametrize(
    ("version", "span"),
    [(3, (3, 3)), ("4", (4, 4)), ([3, 5], (3, 5)), ("default", None), (None, None)],
)
def test_weight_versions(version, span):
    assert ask(generated(weight_version=version))[0].versions == span


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        (STOP, "stop"),
        ({"type": "length", "length": 2}, "length"),
        ("stop", "stop"),
        ({"type": "odd"}, "odd"),
        ({"type": "abort", "message": "paused", "status_code": None}, "abort"),
        (None, None),
    ],
)
def test_stop_reasons(finish, reason):
    assert ask(generated(finish=finish))[0].stop_reason == reason


def test_an_aborted_generation_is_a_failure_whatever_it_sampled():
    found, *_ = ask(generated(finish={"type": "abort", "message": "out of memory", "status_code": 503}))
    assert isinstance(found, BackendUnavailable)
    assert (found.status, "memory" in str(found)) == (503, False)


def test_an_abort_for_which_the_caller_is_at_fault():
    found, *_ = ask(generated(finish={"type": "abort", "message": "too long", "status_code": 400}))
    assert isinstance(found, BackendRefused)
    assert (found.status, str(found)) == (400, "too long")


@pytest.mark.parametrize("matched", ["END", 7, None])
@pytest.mark.parametrize("heard", [None, Heard()], ids=["plain", "streamed"])
def test_what_was_matched(matched, heard):
    answer = generated(finish={"type": "stop", "matched": matched})
    assert ask(streamed(answer) if heard else answer, progress=heard)[0].matched == matched


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("answer", [{"error": {"message": "too long"}}, {"object": "error", "message": "too long"}])
def test_a_refused_request_is_the_callers_fault(status, answer):
    found, *_ = ask(answer, status=status)
    assert isinstance(found, BackendRefused)
    assert (found.status, str(found)) == (status, "too long")


@pytest.mark.parametrize("status", [401, 404, 500, 502])
def test_other_statuses_are_the_engines_fault(status, caplog):
    found, *_ = ask({"object": "error", "message": "sick", "code": status}, status=status)
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
    found, *_ = ask({"object": "error", "message": "sick", "code": status}, status=status, headers=headers)
    assert isinstance(found, BackendUnavailable)
    assert (found.status, found.retry_after) == (status, passed_on)
    assert "sick" not in str(found)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "not a generation"),
        (b"{", "not a generation"),
        ([], "not a generation"),
        ({}, "not a generation"),
        ({"output_ids": [7], "meta_info": None}, "not a generation"),
        (generated(None), "no output_ids"),
        (generated("7"), "no output_ids"),
        (generated([7, "8"]), "no token id"),
        (generated([7, -1]), "no token id"),
        (generated(prompt_token_ids=[1, 2]), "another context"),
        (generated(output_token_logprobs=[None]), "not a list of pairs"),
        (generated(output_token_logprobs=5), "not a list of pairs"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_a_failure(answer, says):
    found, *_ = ask(answer)
    assert isinstance(found, BackendFailed)
    assert says in str(found)


def test_a_stream_repeats_what_came_before():
    heard = Heard()
    events = streamed(
        generated((5,), finish=None, output_token_logprobs=[[-1, 5, None]]),
        generated((5, 6, 7), finish=None, output_token_logprobs=[[-1, 5, None], [-2, 6, None], [-3, 7, None]]),
        generated((5, 6, 7), output_token_logprobs=[[-1, 5, None], [-2, 6, None], [-3, 7, None]], weight_version="4"),
    )
    found, body, _ = ask(events, {"logprobs": True}, progress=heard)
    assert body["stream"] is True
    assert found == Generation([5, 6, 7], [-1.0, -2.0, -3.0], "stop", (4, 4), matched=8)
    assert heard.ids == [5, 6, 7]


def test_a_stream_may_be_incremental():
    heard = Heard()
    events = streamed(
        generated((5,), finish=None, total=1, output_token_logprobs=[[-1, 5, None]]),
        generated((6, 7), total=3, output_token_logprobs=[[-2, 6, None], [-3, 7, None]]),
    )
    found, *_ = ask(events, progress=heard)
    assert found == Generation([5, 6, 7], [-1.0, -2.0, -3.0], "stop", matched=8)
    assert heard.ids == [5, 6, 7]


@pytest.mark.parametrize(
    ("events", "says"),
    [
        (streamed(generated((5,), finish=None)), "broke off"),
        (streamed(generated((5,)), done=False), "broke off"),
        (streamed(generated((5,), finish=None), {"error": {"message": "out of memory"}}), "HTTP 500"),
        (streamed(generated((5,), finish=None), generated((6, 7), total=9)), "has 1 and 2 ids, and says 9"),
        (b"data: {\n\n", "no JSON"),
        (
            streamed(generated((5,), finish={"type": "abort", "message": "stop", "status_code": 500})),
            "HTTP 500",
        ),
    ],
)
def test_a_stream_that_cannot_be_trusted_is_a_failure(events, says):
    found, *_ = ask(events, progress=Heard())
    assert isinstance(found, BackendFailed)
    assert says in str(found)
