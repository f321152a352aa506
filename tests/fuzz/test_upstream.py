"""The upstream on scripts and requests that are right but for a place or two: played or refused, never a failure of
its own."""

from __future__ import annotations

import base64
import http.client
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.upstream.client import Upstream
from conformance.upstream.inbox import Answering
from conformance.upstream.script import ScriptError, Step
from tests.fuzz.documents import JSON, TEXT, bodies, spoiled

STEPS: list[Any] = [
    {"text": "Hi", "tool_calls": [{"name": "f", "arguments": {"a": 1}}], "finish": "stop", "when": "x"},
    {"ids": [1, 2], "logprobs": [-0.5, -1], "prompt_ids": [1], "weight_version": [1, 2], "obeys_limits": True},
    {"status": 500, "message": "boom", "hold": True, "pause": 2, "barrier": 1, "headers": {"retry-after": "7"}},
    {"text": "Hi", "ids_per_event": 3, "prompt_ids": "missing"},
    {"body": base64.b64encode(b"odd").decode(), "content_type": "text/plain", "status": 200, "truncated": True},
]
ANSWERING = {"when": "x", "status": 503, "times": 2, "hold": True}
COMPLETIONS = {
    "model": "m",
    "prompt": [1, 2, 3],
    "max_tokens": 5,
    "temperature": 0.5,
    "logprobs": 1,
    "return_token_ids": True,
    "stop": ["x"],
    "stream": False,
}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": [], "max_tokens": 5, "n": 1}
SGLANG = {"input_ids": [1, 2], "sampling_params": {"max_new_tokens": 5}, "return_logprob": True, "stream": False}
TOKENS = {"token_ids": [1, 2], "sampling_params": {"max_tokens": 5, "logprobs": 1, "stop": "x"}, "stream": False}
ROUTES: dict[str, Any] = {
    "/v1/completions": COMPLETIONS,
    "/v1/chat/completions": CHAT,
    "/inference/v1/generate": TOKENS,
    "/generate": SGLANG,
    "/tokenize": {"prompt": "Hi", "add_special_tokens": False},
    "/detokenize": {"tokens": [1, 2]},
    "/_kit/k0123456789/steps": {"steps": STEPS},
    "/_kit/k0123456789/release": {"index": 0},
    "/_kit/k0123456789/posts": ANSWERING,
}


@given(spoiled(*STEPS))
def test_any_step_is_read_or_refused(document):
    try:
        step = Step.from_json(document)
    except ScriptError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert refusal.startswith("step") or Step.from_json(json.loads(json.dumps(step.to_json()))) == step


@given(spoiled(ANSWERING) | st.dictionaries(TEXT, JSON))
def test_any_way_to_answer_posts_is_read_or_refused(document):
    if isinstance(document, dict):
        with suppress(ValueError):
            Answering.from_json(document)


@pytest.fixture(scope="module")
def connection(shared_upstream: Upstream) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(shared_upstream.url)
    opened = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    yield opened
    opened.close()


NONCES = itertools.count()


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> int:
    """The status of the answer, which is JSON."""
    connection.request(method, path, body, {"content-type": "application/json"})
    reply = connection.getresponse()
    text = reply.read()
    assert b"Traceback" not in text
    assert reply.status < 500 or b"scripted" in text, (reply.status, text[:300])
    return reply.status


@given(st.data())
@pytest.mark.parametrize("path", ROUTES)
def test_any_body_is_answered_or_refused(connection, path, data):
    """A call that no step answers is told so with a 5xx that says that it is not scripted."""
    ask(connection, "POST", path, data.draw(bodies(ROUTES[path])))


@given(
    st.sampled_from(["calls", "posts", "fetched", "", "strays"]),
    st.dictionaries(
        st.sampled_from(["since", "timeout", "outcome", "when"]),
        TEXT | st.sampled_from(["0", "-1", "nan", "inf", "9" * 5000, "1e9", "\u0663"]),
        max_size=3,
    ),
)
def test_any_question_about_the_ledger_is_answered_or_refused(connection, what, query):
    asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    ask(connection, "GET", f"/_kit/k0123456789/{what}?{asked}")


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "-inf", "1e-9", "soon"])
@pytest.mark.parametrize("what", ["calls", "posts"])
def test_a_wait_has_an_end(connection, what, timeout):
    status = ask(connection, "GET", f"/_kit/k0123456780/{what}?least=1&timeout={quote(timeout)}")
    assert status == (400 if timeout in ("nan", "soon") else 200)
