"""The Responses wire over HTTP: histories that the gateway keeps, tools that it runs, and one chain for all wires."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from reference_gateway.app import create_app
from reference_gateway.config import Config
from reference_gateway.serving.server import serving
from reference_gateway.tools.file_search import FileSearch
from reference_gateway.tools.server_tools import FunctionTool
from reference_gateway.types import BackendFailed, Generation
from tests.reference.app.gateway_doubles import Told, byte_codec

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
OWN = {"type": "mcp", "server_label": "gateway"}


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def broken() -> str:
    """Never works."""
    raise RuntimeError("no luck")


def calls(*named: tuple[str, dict[str, Any]]) -> str:
    written = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in named]
    return "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in written)


class Agent:
    """A session as a client of the Responses wire has it."""

    def __init__(self, url: str, http: httpx.Client, told: Told) -> None:
        self.url, self.http, self.told = url, http, told
        self.open()

    def open(self) -> None:
        self.base = self.http.post(f"{self.url}/sessions", json={}).json()["base_url"]
        self.session = self.base.removesuffix("/v1")

    def ask(self, given: Any = "Hi", **fields: Any) -> httpx.Response:
        return self.http.post(f"{self.base}/responses", json={"model": "m", "input": given, **fields})

    def converse(self, **fields: Any) -> str:
        return str(self.http.post(f"{self.base}/conversations", json=fields).json()["id"])

    def items(self, conversation: str, **query: Any) -> dict[str, Any]:
        found = self.http.get(f"{self.base}/conversations/{conversation}/items", params={"order": "asc", **query})
        assert found.status_code == 200, found.text
        return dict(found.json())

    def trajectories(self) -> list[dict[str, Any]]:
        return list(self.http.get(f"{self.session}/trajectories").json()["trajectories"])

    def turns(self) -> list[dict[str, Any]]:
        return list(self.http.get(f"{self.session}/turns").json()["turns"])

    def context(self, call: int = -1) -> str:
        return str(self.told.codec.vocabulary.decode(self.told.calls[call][0], keep_control=True))


@contextmanager
def agent(
    *steps: Any,
    config: dict[str, Any] | None = None,
    hold: bool = False,
    told: Told | None = None,
    tools: Sequence[Callable[..., Any]] = (add, broken),
) -> Iterator[Agent]:
    """The agent of a gateway that runs these tools, and whose backend says these steps, or is the one that is given."""
    told = told or Told(*steps, hold=hold)
    server_tools = [FunctionTool(tool) for tool in tools]
    app = create_app(Config(**(config or {})), codec=told.codec, backend=told, server_tools=server_tools)
    with serving(app) as url, httpx.Client(timeout=10, trust_env=False, verify=False) as http:
        yield Agent(url, http, told)


def text_of(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    output = response.json()["output"]
    return "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])


def types(items: list[dict[str, Any]]) -> list[str]:
    return [item["type"] for item in items]


def outputs(response: httpx.Response, *texts: str) -> list[dict[str, Any]]:
    issued = [item["call_id"] for item in response.json()["output"] if item["type"] == "function_call"]
    return [
        {"type": "function_call_output", "call_id": call_id, "output": text}
        for call_id, text in zip(issued, texts, strict=True)
    ]


@pytest.mark.parametrize("chaining", ["conversation", "previous_response_id"])
def test_a_kept_history_is_one_trajectory(chaining: str) -> None:
    with agent("One", calls(("weather", {"city": "X"})), "Sunny") as one:
        field = {"conversation": one.converse()} if chaining == "conversation" else {}
        first = one.ask("Hi", tools=[WEATHER], **field)
        field = field or {chaining: first.json()["id"]}
        second = one.ask("Weather?", tools=[WEATHER], **field)
        field = field if chaining == "conversation" else {chaining: second.json()["id"]}
        third = one.ask(outputs(second, "sun"), tools=[WEATHER], **field)
        assert (text_of(first), text_of(third)) == ("One", "Sunny")
        assert len(one.trajectories()) == 1
        assert "<tool_response>\nsun\n</tool_response>" in one.context()


def test_a_previous_response_can_be_continued_twice() -> None:
    with agent("One", "Two", "Three") as one:
        first = one.ask("Hi").json()["id"]
        assert text_of(one.ask("A", previous_response_id=first)) == "Two"
        assert text_of(one.ask("B", previous_response_id=first)) == "Three"
        assert "A<|im_end|>" not in one.context()


def test_the_same_history_sent_again_goes_on() -> None:
    with agent("One", "Two") as one:
        first = one.ask("Hi", store=False).json()
        sent = [{"role": "user", "content": "Hi"}, *first["output"], {"role": "user", "content": "More"}]
        assert text_of(one.ask(sent)) == "Two"
        assert len(one.trajectories()) == 1
        assert one.http.get(f"{one.base}/responses/{first['id']}").status_code == 404


def test_a_chat_goes_on_where_a_response_ended() -> None:
    with agent(calls(("weather", {"city": "X"})), "Sunny") as one:
        item = one.ask("Weather?", tools=[WEATHER], instructions="Help.").json()["output"][0]
        call = {"name": item["name"], "arguments": item["arguments"]}
        messages = [
            {"role": "system", "content": "Help."},
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "x", "type": "function", "function": call}]},
            {"role": "tool", "tool_call_id": "x", "content": "sun"},
        ]
        tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
        chat = one.http.post(f"{one.base}/chat/completions", json={"model": "m", "messages": messages, "tools": [tool]})
        assert chat.json()["choices"][0]["message"]["content"] == "Sunny"
        assert len(one.trajectories()) == 1


def test_a_conversation_begins_with_the_items_it_is_given() -> None:
    with agent("Yes") as one:
        made = one.http.post(
            f"{one.base}/conversations", json={"items": [{"role": "user", "content": "Hi"}], "metadata": {"name": "n"}}
        ).json()
        assert made["metadata"] == {"name": "n"}
        assert one.http.get(f"{one.base}/conversations/{made['id']}").json() == made
        one.ask("Really?", conversation={"id": made["id"]})
        texts = [item["content"][0]["text"] for item in one.items(made["id"])["data"]]
        assert texts == ["Hi", "Really?", "Yes"]


def test_items_come_in_pages() -> None:
    with agent() as one:
        given = [{"role": "user", "content": str(number)} for number in range(5)]
        conversation = one.converse(items=given)
        first = one.items(conversation, limit=2)
        rest = one.items(conversation, after=first["last_id"])
        newest = one.items(conversation, order="desc", limit=1)
        assert [len(first["data"]), first["has_more"], len(rest["data"]), rest["has_more"]] == [2, True, 3, False]
        assert newest["data"] == rest["data"][-1:]
        assert len({item["id"] for item in first["data"] + rest["data"]}) == 5
        for query in ({"order": "up"}, {"limit": "0"}, {"limit": "x"}, {"after": "msg_0"}):
            bad = one.http.get(f"{one.base}/conversations/{conversation}/items", params=query)
            assert bad.status_code == 400
            assert next(iter(query)) in bad.json()["error"]["message"]


def test_an_id_that_is_taken_is_given_anew() -> None:
    with agent() as one:
        twice = [{"id": "msg_x", "role": "user", "content": "A"}, {"id": "msg_x", "role": "user", "content": "B"}]
        ids = [item["id"] for item in one.items(one.converse(items=twice))["data"]]
        assert ids[0] == "msg_x"
        assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/responses", {"input": "Hi", "conversation": "conv_0"}, 404),
        ("POST", "/responses", {"input": "Hi", "previous_response_id": "resp_0"}, 404),
        ("POST", "/responses", {"input": "Hi", "previous_response_id": "a", "conversation": "b"}, 400),
        ("GET", "/responses/resp_0", None, 404),
        ("GET", "/conversations/conv_0", None, 404),
        ("GET", "/conversations/conv_0/items", None, 404),
        ("GET", "/responses", None, 405),
        ("PUT", "/conversations/conv_0", None, 405),
        ("GET", "/conversations/conv_0/other", None, 404),
        ("POST", "/conversations", {"items": 7}, 400),
        ("POST", "/conversations", {"metadata": 7}, 400),
    ],
)
def test_refusals(method: str, path: str, body: Any, status: int) -> None:
    with agent() as one:
        refused = one.http.request(method, f"{one.base}{path}", json=body)
        assert refused.status_code == status
        assert refused.json()["error"]["message"]
        assert one.told.calls == []


def test_no_conversation_in_a_session_that_is_complete() -> None:
    with agent() as one:
        one.http.post(f"{one.session}/complete")
        assert one.http.post(f"{one.base}/conversations", json={}).status_code == 409
        assert one.ask().status_code == 409


def test_what_fails_at_once_is_an_error_and_leaves_nothing() -> None:
    with agent(BackendFailed("boom"), "Fine") as one:
        conversation = one.converse()
        failed = one.ask("Hi", conversation=conversation, stream=True)
        assert (failed.status_code, failed.headers["content-type"]) == (502, "application/json")
        assert one.items(conversation)["data"] == []
        assert one.turns() == []
        assert text_of(one.ask("Hi", conversation=conversation)) == "Fine"


def test_the_gateway_runs_its_own_tools_in_one_response() -> None:
    with agent(calls(("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})), "3 and 7") as one:
        conversation = one.converse()
        response = one.ask("Add.", conversation=conversation, tools=[OWN])
        assert types(response.json()["output"]) == ["mcp_call", "mcp_call", "message"]
        assert [item["output"] for item in response.json()["output"][:2]] == ["3", "7"]
        assert types(one.items(conversation)["data"]) == ["message", "mcp_call", "mcp_call", "message"]
        assert len(one.trajectories()) == 1
        usage = response.json()["usage"]
        assert usage["input_tokens"] == sum(len(context) for context, *_ in one.told.calls)


def test_a_history_with_the_gateways_calls_goes_on_when_it_is_sent_again() -> None:
    with agent(calls(("add", {"a": 1, "b": 2})), "3", "Bye") as one:
        first = one.ask("Add.", tools=[OWN], store=False).json()
        sent = [{"role": "user", "content": "Add."}, *first["output"], {"role": "user", "content": "Thanks"}]
        assert text_of(one.ask(sent, tools=[OWN])) == "Bye"
        assert len(one.trajectories()) == 1


def test_calls_of_both_sides_are_answered_in_their_order() -> None:
    mixed = calls(("weather", {"city": "X"}), ("add", {"a": 1, "b": 2}), ("weather", {"city": "Y"}))
    with agent(mixed, "Done") as one:
        conversation = one.converse()
        fields = {"conversation": conversation, "tools": [WEATHER, OWN]}
        first = one.ask("Both.", **fields)
        assert types(first.json()["output"]) == ["function_call", "mcp_call", "function_call"]
        one.ask(outputs(first, "sun", "rain"), **fields)
        said = [part.split("\n</tool_response>")[0] for part in one.context().split("<tool_response>\n")[1:]]
        assert said == ["sun", "3", "rain"]
        (turn,) = one.turns()
        assert turn["status"] == "completed"
        assert turn["session_id"] == conversation
        assert turn["events"][-1]["num_steps"] == 5


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (("broken", {}), "Error when running tool: no luck"),
        (("add", {"a": 1}), "Error when running tool: missing a required argument: 'b'"),
    ],
)
def test_a_tool_that_fails_is_news_for_the_model(written: Any, told: str) -> None:
    with agent(calls(written), "Sorry") as one:
        response = one.ask("Try.", tools=[OWN])
        item = response.json()["output"][0]
        assert (item["status"], item["error"]) == ("failed", told)
        assert text_of(response) == "Sorry"
        assert told in one.context()


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_after_a_generation_is_a_failed_response(stream: bool) -> None:
    with agent(calls(("add", {"a": 1, "b": 2})), BackendFailed("boom"), "Fine") as one:
        conversation = one.converse()
        fields = {"conversation": conversation, "tools": [OWN]}
        failed = one.ask("Add.", stream=stream, **fields)
        assert failed.status_code == 200
        body = json.loads(failed.text.rsplit("data: ", 1)[1])["response"] if stream else failed.json()
        assert (body["status"], body["error"]["message"]) == ("failed", "BackendFailed: boom")
        assert ("event: response.failed\n" in failed.text) is stream
        assert one.http.get(f"{one.base}/responses/{body['id']}").json() == body
        assert one.items(conversation)["data"] == []
        assert one.turns()[0]["status"] == "failed"
        assert text_of(one.ask("Add.", **fields)) == "Fine"


def test_a_model_that_never_ends_is_stopped() -> None:
    with agent(*[calls(("add", {"a": 1, "b": 2}))] * 20) as one:
        body = one.ask("Add.", tools=[OWN]).json()
        assert body["status"] == "failed"
        assert len(one.told.calls) == 16


def test_max_output_tokens_bounds_all_generations() -> None:
    with agent(calls(("add", {"a": 1, "b": 2})), "never") as one:
        first = len(byte_codec().vocabulary.encode(one.told.steps[0])) + 1
        body = one.ask("Add.", tools=[OWN], max_output_tokens=first).json()
        assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert [sampling["max_tokens"] for _, sampling, _ in one.told.calls] == [first]


def test_length_is_incomplete() -> None:
    with agent(Generation(list(b"Hel"), stop_reason="length")) as one:
        body = one.ask().json()
        assert (body["status"], body["output"][0]["status"]) == ("incomplete", "incomplete")
        assert one.turns()[0]["events"][-1]["error_message"] == "The response is incomplete: max_output_tokens"


def test_responses_of_a_conversation_are_made_one_after_another() -> None:
    with agent("One", "Two", hold=True) as one:
        conversation = one.converse()
        replies: list[httpx.Response] = []
        threads = [
            threading.Thread(target=lambda each=each: replies.append(one.ask(each, conversation=conversation)))
            for each in ("A", "B")
        ]
        for thread in threads:
            thread.start()
        assert one.told.entered.wait(5)
        one.told.release()
        for thread in threads:
            thread.join(5)
        assert [reply.status_code for reply in replies] == [200, 200]
        assert types(one.items(conversation)["data"]) == ["message"] * 4
        roles = [item["role"] for item in one.items(conversation)["data"]]
        assert roles == ["user", "assistant"] * 2


def test_a_retry_in_a_conversation_is_the_first_attempt() -> None:
    with agent("One", "Two") as one:
        settings = {"options": {"idempotent_retry": "true"}}
        one.base = one.http.post(f"{one.url}/sessions", json=settings).json()["base_url"]
        conversation = one.converse()
        body = {"input": "Hi", "conversation": conversation}
        first = one.http.post(f"{one.base}/responses", json=body)
        again = one.http.post(f"{one.base}/responses", json=body, headers={"x-stainless-retry-count": "1"})
        assert again.json() == first.json()
        assert types(one.items(conversation)["data"]) == ["message", "message"]
        assert text_of(one.http.post(f"{one.base}/responses", json=body)) == "Two"


def test_a_turn_waits_for_the_clients_tools() -> None:
    with agent(calls(("weather", {})), "Other") as one:
        conversation = one.converse()
        one.ask("Weather?", conversation=conversation, tools=[WEATHER])
        (turn,) = one.turns()
        assert turn["status"] == "waiting"
        assert turn["events"][-1]["metadata"] == {"server_side": False}
        one.ask("Never mind.", conversation=conversation, tools=[WEATHER])
        assert [each["status"] for each in one.turns()] == ["waiting", "completed"]


def test_files_are_searched(tmp_path: Any) -> None:
    (tmp_path / "france.md").write_text("Paris is the capital of France.\n\nIt lies on the Seine.")
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "purr.txt").write_text("Cats purr. Cats sleep.")
    (tmp_path / ".secret").write_text("capital capital capital")
    (tmp_path / "image.bin").write_bytes(b"\xff\xfe capital")
    with agent(calls(("file_search", {"query": "capital"})), "Paris", config={"file_search": tmp_path}) as one:
        names = one.http.get(f"{one.url}/capabilities").json()["capabilities"]
        assert {"openai-responses", "conversations", "server-tools"} <= set(names)
        asked = {"tools": [{"type": "file_search", "vector_store_ids": []}], "include": ["file_search_call.results"]}
        item = one.ask("Capital?", **asked).json()["output"][0]
        assert (item["type"], item["queries"]) == ("file_search_call", ["capital"])
        assert [result["filename"] for result in item["results"]] == ["france.md"]
        assert "Paris is the capital of France." in one.context()
    search = FileSearch(tmp_path)
    assert [found["filename"] for found in search.search("where do cats sleep")] == ["cats/purr.txt"]
    assert search.search("zebra") == []
    with pytest.raises(ValueError, match="file_search"):
        FileSearch(tmp_path / "france.md")


def test_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="server_tools"):
        create_app(Config(), codec=byte_codec(), backend=Told(), server_tools=[FunctionTool(add), FunctionTool(add)])
