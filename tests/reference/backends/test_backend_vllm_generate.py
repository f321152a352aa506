"""The vLLM backend over `/inference/v1/generate`, against answers as vLLM 0.32 gives them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from reference_gateway.backends.base import Checked
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Grammar, Media


class Heard:
    def __init__(self) -> None:
        self.ids: list[int] = []

    def started(self, prompt_tokens: int) -> None: ...

    def sampled(self, ids: Sequence[int]) -> None:
        self.ids += ids


def answer(ids: list[int], **fields: Any) -> dict[str, Any]:
    top = {"prompt_token_ids": fields.pop("prompt_token_ids")} if "prompt_token_ids" in fields else {}
    choice = {"index": 0, "finish_reason": "stop", "stop_reason": None, "token_ids": ids, "logprobs": None, **fields}
    return {"request_id": "generate-tokens-1", **top, "choices": [choice], "usage": None}


def logprobs(*values: Any) -> dict[str, Any]:
    return {"content": [{"token_id": 7, "logprob": value, "rank": 1, "top_logprobs": []} for value in values]}


def spans(*versions: str) -> list[dict[str, Any]]:
    return [{"version": version, "start": place, "end": place + 1} for place, version in enumerate(versions)]


def ask(
    documents: dict[str, Any] | Sequence[dict[str, Any]],
    sampling: dict[str, Any] | None = None,
    grammar: Grammar | None = None,
    **settings: Any,
) -> tuple[Any, dict[str, Any], list[int]]:
    """What the backend makes of a document, or of several as a stream; what it had sent, and what it told of it."""
    sent: list[dict[str, Any]] = []
    heard = Heard()
    streamed = not isinstance(documents, dict)

    async def handler(request: web.Request) -> web.Response:
        sent.append(await request.json())
        if isinstance(documents, dict):
            return web.json_response(documents)
        events = [f"data: {json.dumps(document)}\n\n" for document in documents]
        return web.Response(text="".join([*events, "data: [DONE]\n\n"]), content_type="text/event-stream")

    async def exchange() -> Generation | Exception:
        app = web.Application()
        app.router.add_post("/inference/v1/generate", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        backend = Checked(VllmBackend(url, route="generate", **settings))
        about: dict[str, Any] = {"progress": heard} if streamed else {}
        try:
            return await backend.generate(
                [1, 2, 3], sampling or {}, session_id="s", media=Media(), grammar=grammar, **about
            )
        except (BackendRefused, BackendFailed) as error:
            return error
        finally:
            await backend.close()
            await runner.cleanup()

    return asyncio.run(exchange()), sent[0], heard.ids


def test_tokens_go_in_and_come_out():
    found, body, _ = ask(answer([7, 8], prompt_token_ids=[1, 2, 3]))
    assert found == Generation([7, 8], stop_reason="stop")
    assert body == {"token_ids": [1, 2, 3], "sampling_params": {}, "return_token_ids": True}


def test_parameters_have_a_place_of_their_own():
    sampling = {"temperature": 0.5, "max_tokens": 9, "logprobs": True, "seed": None, "stop": ["x"]}
    _, body, _ = ask(answer([7]), sampling, Grammar("json", "{}"), model="m")
    assert body["model"] == "m"
    assert body["sampling_params"] == {
        "temperature": 0.5,
        "max_tokens": 9,
        "logprobs": 1,
        "stop": ["x"],
        "structured_outputs": {"json": "{}"},
    }


@pytest.mark.parametrize("limit", [{}, {"max_tokens": None}])
def test_a_limit_that_is_absent_is_left_out(limit):
    """The route takes that for what fits, and null for what fits the context that it has."""
    assert "max_tokens" not in ask(answer([7]), limit)[1]["sampling_params"]


def test_logprobs_and_ends_are_those_of_this_route():
    found, *_ = ask(answer([7, 8], logprobs=logprobs(-0.5, -1), stop_reason="END"))
    assert found == Generation([7, 8], [-0.5, -1.0], "stop", matched="END")


@pytest.mark.parametrize(
    ("versions", "span"),
    [
        (spans("3"), (3, 3)),
        (spans("3", "5", "4"), (3, 5)),
        (spans("default"), None),
        (spans("default", "4"), None),
        ([], None),
        (None, None),
        (["3"], None),
    ],
)
def test_weight_versions_are_spans(versions, span):
    assert ask(answer([7, 8, 9], weight_versions=versions))[0].versions == span


def test_a_stream_is_put_together():
    found, body, heard = ask(
        [
            answer([7], finish_reason=None, logprobs=logprobs(-0.5), prompt_token_ids=[1, 2, 3]),
            answer([8, 9], finish_reason=None, logprobs=logprobs(-1, -2)),
            answer([], finish_reason="length", logprobs=logprobs(), weight_versions=spans("3", "3", "4")),
            {"request_id": "generate-tokens-1", "choices": [], "usage": {"completion_tokens": 3}},
        ]
    )
    assert found == Generation([7, 8, 9], [-0.5, -1.0, -2.0], "length", (3, 4))
    assert (body["stream"], heard) == (True, [7, 8, 9])


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"choices": []}, "not a completion"),
        (answer([7], prompt_token_ids=[1, 2]), "another context"),
        (answer([7], logprobs=logprobs(None)), "not a list of numbers"),
        (answer([7], logprobs={"content": [5]}), "not a list of numbers"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_a_failure(document, says):
    found, *_ = ask(document)
    assert isinstance(found, BackendFailed)
    assert says in str(found)


def test_an_error_in_a_stream_is_one():
    found, *_ = ask([answer([7], finish_reason=None), {"error": {"message": "no", "code": 400}}])
    assert isinstance(found, BackendRefused)
    assert found.status == 400
