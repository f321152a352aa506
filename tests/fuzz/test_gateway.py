"""The reference gateway on requests that are right but for a place or two, each route of each wire: what it cannot
serve it refuses, in the envelope of the wire, and no request makes it fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_gateway.app import create_app
from reference_gateway.config import Config
from tests.fuzz.documents import TEXT, bodies

PARAMETERS = {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"n": 1}'}}
CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "call f {}"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": PARAMETERS}}],
    "tool_choice": "auto",
    "temperature": 0.5,
    "stop": ["x"],
    "max_tokens": 9,
    "stream": True,
    "stream_options": {"include_usage": True},
    "chat_template_kwargs": {"enable_thinking": False},
}
MESSAGES = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "Be brief"}],
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"n": 1}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1"}]}],
        },
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": PARAMETERS}],
    "tool_choice": {"type": "auto"},
    "stop_sequences": ["x"],
    "stream": True,
}
RESPONSES = {
    "model": "m",
    "instructions": "Be brief",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_1", "status": "completed"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "1", "annotations": []}]},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": PARAMETERS, "strict": False},
        {"type": "file_search", "vector_store_ids": []},
    ],
    "tool_choice": "auto",
    "metadata": {"a": "b"},
    "conversation": {"id": "conv_1"},
    "max_output_tokens": 9,
    "stream": True,
}
CONVERSATION = {"items": [{"role": "user", "content": "Hi"}], "metadata": {"a": "b"}}
SESSION = {
    "session_id": "s",
    "sampling_params": {"temperature": 1},
    "prompt_length": 99,
    "response_length": 99,
    "options": {"multi_chain": True},
    "metadata": {},
}
ROUTES: dict[str, Any] = {
    "/sessions/open/v1/chat/completions": CHAT,
    "/sessions/open/v1/messages": MESSAGES,
    "/sessions/open/v1/messages/count_tokens": MESSAGES,
    "/sessions/open/v1/responses": RESPONSES,
    "/sessions/open/v1/conversations": CONVERSATION,
    "/sessions/open/v1/invocations": {"message": "Hi", "session_id": "s", "stream": False},
    "/sessions": SESSION,
    "/sessions/open/reward_info": {"reward_info": {"a": 1}},
}


class Gateway:
    """A gateway that answers by rule, in this thread."""

    def __init__(self) -> None:
        config = Config(request_template_kwargs=True)
        transport = httpx.ASGITransport(create_app(config), raise_app_exceptions=False)
        self.loop = asyncio.new_event_loop()
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        return self.request("POST", path, body, {"content-type": "application/json", **headers})

    def request(self, method: str, path: str, body: bytes, headers: dict[str, Any]) -> httpx.Response:
        async def sent() -> httpx.Response:
            return await self.http.request(method, path, content=body, headers=headers)

        return self.loop.run_until_complete(sent())

    def close(self) -> None:
        self.loop.run_until_complete(self.http.aclose())
        self.loop.close()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    served = Gateway()
    assert served.post("/sessions", b'{"session_id": "open"}').status_code == 201
    yield served
    served.close()


def judge(reply: httpx.Response) -> None:
    """Served or refused; an answer is JSON or an event stream, and no traceback is in it."""
    assert reply.status_code < 500, reply.text
    assert "Traceback" not in reply.text
    if "event-stream" in reply.headers["content-type"]:
        assert reply.content.endswith(b"\n\n")
    else:
        document = json.loads(reply.content)
        assert reply.status_code < 400 or document["error"]


@pytest.mark.parametrize("path", ROUTES)
def test_a_request_without_a_fault_is_served(gateway, path):
    document = {**ROUTES[path]}
    document.pop("session_id", None)
    document.pop("conversation", None)
    reply = gateway.post(path, json.dumps(document).encode())
    judge(reply)
    assert reply.status_code < 300, reply.text


@given(st.data())
@pytest.mark.parametrize("path", ROUTES)
def test_a_body_with_faults_is_served_or_refused(gateway, path, data):
    judge(gateway.post(path, data.draw(bodies(ROUTES[path]))))


HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "authorization", "x-api-key", "idempotency-key", "x-stainless-retry-count", "accept", "host"]
    ),
    HEADER,
    max_size=3,
)
PATHS = st.lists(
    st.sampled_from(["sessions", "open", "v1", "chat", "completions", "responses", "conversations", "items", "turns"])
    | TEXT,
    max_size=5,
).map("/".join)


@given(st.sampled_from(sorted(ROUTES)), HEADERS)
def test_odd_headers_are_taken_or_refused(gateway, path, headers):
    given = {"content-type": "application/json", **headers}
    raw = {name: value.encode("latin-1") for name, value in given.items()}
    judge(gateway.request("POST", path, json.dumps(ROUTES[path]).encode(), raw))


@given(st.sampled_from(["GET", "POST", "DELETE", "PUT", "OPTIONS", "BREW"]), PATHS)
def test_odd_paths_are_answered(gateway, method, path):
    reply = gateway.request(method, f"http://gateway/{quote(path)}", b"{}", {"content-type": "application/json"})
    assert reply.status_code < 500
    assert "Traceback" not in reply.text
