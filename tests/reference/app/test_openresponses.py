"""What the acceptance tests of the OpenResponses specification ask of a server: each response, and each event of its
stream, is held against the published types (`openresponses-types`, of `dev`).

The cases are those of `src/lib/compliance-tests.ts` in https://github.com/openresponses/openresponses, in whatever
version, under its names and with texts of our own. Of those over HTTP all are here but `response-output-phase-schema`,
which asks nothing of a server. The gateway does not serve the seven over WebSockets.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from reference_gateway.codec.template import TemplateCodec
from reference_gateway.types import Generation
from tests.reference.app.gateway_doubles import Told, byte_codec
from tests.reference.app.test_app_constraints import Held
from tests.reference.app.test_app_responses import WEATHER, Agent, agent, calls
from tests.reference.codec.codec_templates import vision

types = pytest.importorskip("openresponses_types.types")

HELLO = [{"type": "message", "role": "user", "content": "Say hello in three words."}]
FILE = "The lighthouse stands in Zürich."
DATA = f"data:text/plain;base64,{base64.b64encode(FILE.encode()).decode()}"
KINDS_OF_OUR_OWN = ("response.file_search_call.", "response.mcp_call")
"""Events of tools that the gateway runs, which the specification leaves to the server."""


@cache
def forms() -> Mapping[str, Any]:
    """Type of an event -> its published form."""
    named = {}
    for name, form in vars(types).items():
        if name.endswith("StreamingEvent"):
            kind = form.model_fields["type"]
            [value] = list(kind.annotation)
            named[str(value)] = form
    return named


def asked(one: Agent, given: Any, stream: bool, **fields: Any) -> dict[str, Any]:
    """The response, held against the types, and its events, too, where it is streamed."""
    types.CreateResponseBody.model_validate({"model": "m", "input": given, "stream": stream, **fields})
    answer = one.ask(given, stream=stream, **fields)
    assert answer.status_code == 200, answer.text
    body = streamed(answer.text) if stream else answer.json()
    types.ResponseResource.model_validate(body)
    return dict(body)


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]


def streamed(text: str) -> dict[str, Any]:
    """The response that a stream ends with."""
    events = events_of(text)
    for event in events:
        if not event["type"].startswith(KINDS_OF_OUR_OWN):
            forms()[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    body = dict(events[-1]["response"])
    assert "".join(deltas) == "".join(said(body))
    return body


def said(body: Mapping[str, Any]) -> Iterator[str]:
    return (part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"])


@pytest.fixture(params=["plain", "stream"])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "stream")


@pytest.fixture(params=["synthesised", "incremental"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"stream": request.param}


def test_text(stream, config):
    with agent("Hello to you.", config=config) as one:
        body = asked(one, HELLO, stream)
    assert (body["status"], list(said(body))) == ("completed", ["Hello to you."])


def test_a_text_as_the_whole_input(stream, config):
    with agent("Hello to you.", config=config) as one:
        assert asked(one, "Say hello.", stream)["status"] == "completed"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_prompt(stream, role):
    with agent("Arr!") as one:
        body = asked(one, [{"type": "message", "role": role, "content": "You are a pirate."}, *HELLO], stream)
        assert one.context().index("pirate") < one.context().index("three words")
    assert body["status"] == "completed"


def test_instructions(stream):
    with agent("Arr!") as one:
        assert asked(one, HELLO, stream, instructions="You are a pirate.")["instructions"] == "You are a pirate."
        assert "pirate" in one.context()


def test_tools(stream, config):
    with agent(calls(("weather", {"city": "Zürich"})), "It is sunny.", config=config) as one:
        first = asked(one, HELLO, stream, tools=[WEATHER])
        [call] = [item for item in first["output"] if item["type"] == "function_call"]
        assert json.loads(call["arguments"]) == {"city": "Zürich"}
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        second = asked(one, [*HELLO, call, output], stream, tools=[WEATHER])
        assert list(said(second)) == ["It is sunny."]
        assert len(one.trajectories()) == 1


def test_three_calls_at_once(stream):
    named = [("weather", {"city": city}) for city in "abc"]
    with agent(calls(*named)) as one:
        body = asked(one, HELLO, stream, tools=[WEATHER])
    assert [item["type"] for item in body["output"]] == ["function_call"] * 3
    assert len({item["call_id"] for item in body["output"]}) == 3


def test_many_turns_in_one_input(stream):
    turns = [
        {"type": "message", "role": "user", "content": "I am Ada."},
        {"type": "message", "role": "assistant", "content": "Hello, Ada."},
        {"type": "message", "role": "user", "content": "Who am I?"},
    ]
    with agent("Ada.") as one:
        assert list(said(asked(one, turns, stream))) == ["Ada."]
        assert one.context().count("<|im_start|>") == 4


def test_a_response_that_goes_on_by_id(stream, config):
    with agent("Hello, Ada.", "Ada.", "Still Ada.", config=config) as one:
        body = asked(one, "I am Ada.", stream)
        for _ in range(2):
            before, body = body, asked(one, "Who am I?", stream, previous_response_id=body["id"])
            assert body["previous_response_id"] == before["id"]
        assert list(said(body)) == ["Still Ada."]
        assert len(one.trajectories()) == 1


def test_a_file(stream):
    part = {"type": "input_file", "filename": "lighthouse.txt", "file_data": DATA}
    asks = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is it?"}, part]}
    with agent("A lighthouse.", "So it is.") as one:
        body = asked(one, [asks], stream)
        assert FILE in one.context()
        asked(one, "Is it?", stream, previous_response_id=body["id"])
        assert one.context().count(FILE) == 1


def test_a_length_that_cuts(stream):
    cut = Generation(byte_codec().vocabulary.encode("Hello to you all"), stop_reason="length")
    with agent(cut) as one:
        body = asked(one, HELLO, stream, max_output_tokens=16)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_a_refusal_is_an_error_object():
    with agent() as one:
        answer = one.ask([{"type": "nothing"}])
    assert answer.status_code == 400
    types.ErrorPayload.model_validate(answer.json()["error"])


def test_an_image_is_refused_by_name_where_none_is_taken():
    image = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
    with agent() as one:
        answer = one.ask([{"type": "message", "role": "user", "content": [image]}])
    assert answer.status_code == 400
    assert "input[0].content[0].type" in answer.json()["error"]["message"]


# The cases of the acceptance tests


def user(*content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text, **fields}


def attached(name: str, kind: str, data: bytes) -> dict[str, Any]:
    return {
        "type": "input_file",
        "filename": name,
        "file_data": f"data:{kind};base64,{base64.b64encode(data).decode()}",
    }


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)
TEXT = {"type": "input_text", "text": "What is this?"}
IMAGE = {"type": "input_image", "image_url": PIXEL}
WEATHER_OF = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}
ASKS_FOR_WEATHER = {"input": [user("How is the weather in Zürich?")], "tools": [WEATHER_OF]}
CALL = calls(("get_weather", {"place": "Zürich"}))
FORCING = {"structured_outputs": "engine"}

ONE_REQUEST = [
    pytest.param({"input": HELLO}, "Hello to you.", id="basic-response"),
    pytest.param({"input": [user("Count to 3.")]}, "1 2 3", id="streaming-response"),
    pytest.param(
        {
            "input": [
                assistant("I look it up.", phase="commentary"),
                assistant("It is four.", phase="final_answer"),
                user("Again?"),
            ]
        },
        "Four.",
        id="assistant-phase",
    ),
    pytest.param(
        {"input": [{"type": "message", "role": "system", "content": "You are a pirate."}, user("Hello.")]},
        "Arr!",
        id="system-prompt",
    ),
    pytest.param(ASKS_FOR_WEATHER, CALL, id="tool-calling"),
    pytest.param({"input": [user("I am Ada."), assistant("Hello."), user("Who am I?")]}, "Ada.", id="multi-turn"),
]
"""The fields of the request, and what the model says."""


@pytest.mark.parametrize(("fields", "text"), ONE_REQUEST)
def test_a_case_of_one_request(fields, text, stream, config):
    with agent(text, config=config) as one:
        body = asked(one, fields["input"], stream, **{key: fields[key] for key in fields if key != "input"})
    assert body["status"] == "completed"
    assert [item["type"] for item in body["output"]] == ["function_call" if text == CALL else "message"]


def test_tool_calling_streaming(config):
    with agent(CALL, config=config) as one:
        answer = one.ask(ASKS_FOR_WEATHER["input"], stream=True, tools=[WEATHER_OF])
    assert streamed(answer.text)["status"] == "completed"
    told = [
        event["type"]
        for event in events_of(answer.text)
        if event.get("item", {}).get("type", "function_call") == "function_call"
    ]
    for kind in ("output_item.added", "function_call_arguments.delta", "function_call_arguments.done"):
        assert f"response.{kind}" in told
    assert told.index("response.output_item.done") > told.index("response.function_call_arguments.done")


def test_image_input(stream, config):
    seeing = Told("A dot.", codec=TemplateCodec(vision()))
    with agent(told=seeing, config={**config, "media": "references"}) as one:
        body = asked(one, [user(TEXT, IMAGE)], stream)
    assert (body["status"], len(body["output"])) == ("completed", 1)


def test_function_call_roundtrip(stream, config):
    forced = {"type": "function", "name": "get_weather"}
    with agent(told=Held(CALL, "It is sunny."), config={**config, **FORCING}) as one:
        first = asked(one, "How is it in Zürich?", stream, tools=[WEATHER_OF], tool_choice=forced)
        [call] = [item for item in first["output"] if item["type"] == "function_call"]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        second = asked(one, [output], stream, previous_response_id=first["id"])
        assert (second["status"], list(said(second))) == ("completed", ["It is sunny."])


def test_previous_response_id(stream, config):
    with agent("OK.", "Plum.", config=config) as one:
        first = asked(one, "The word is plum.", stream)
        second = asked(one, "Which word is it?", stream, previous_response_id=first["id"])
        assert (second["status"], list(said(second))) == ("completed", ["Plum."])
        assert "The word is plum." in one.context()


@pytest.mark.parametrize("kind", ["text/plain", "application/pdf"])
def test_file_input_whose_bytes_are_text(stream, config, kind):
    with agent("A lighthouse.", config=config) as one:
        body = asked(one, [user(TEXT, attached("lighthouse", kind, FILE.encode()))], stream)
        assert FILE in one.context()
    assert (body["status"], len(body["output"])) == ("completed", 1)


def test_file_search(stream, config):
    """The published types have no place for such a tool, so they are not asked."""
    held = Held(calls(("file_search", {"query": "lighthouse"})), "In Zürich.")
    with agent(told=held, config={**config, **FORCING}) as one:
        files = {"file": ("lighthouse.md", FILE.encode())}
        file = one.http.post(f"{one.base}/files", files=files, data={"purpose": "assistants"}).json()["id"]
        store = one.http.post(f"{one.base}/vector_stores", json={"file_ids": [file]}).json()["id"]
        fields = {
            "tools": [{"type": "file_search", "vector_store_ids": [store]}],
            "tool_choice": {"type": "file_search"},
            "include": ["file_search_call.results"],
        }
        answer = one.ask("Where is the lighthouse?", stream=stream, **fields)
        assert answer.status_code == 200, answer.text
        body = events_of(answer.text)[-1]["response"] if stream else answer.json()
    assert body["status"] == "completed"
    [search] = [item for item in body["output"] if item["type"] == "file_search_call"]
    assert [FILE in str(result) for result in search["results"]] == [True]


def test_compact_response():
    agreed = [user("We sail on Friday. Tell the harbour first."), assistant("Friday it is, and the harbour first.")]
    fields = {"model": "m", "prompt_cache_key": "a-voyage", "input": agreed}
    types.CompactResponseMethodPublicBody.model_validate(fields)
    with agent("Sailing on Friday; the harbour is told first.") as one:
        answer = one.http.post(f"{one.base}/responses/compact", json=fields)
    assert answer.status_code == 200, answer.text
    types.CompactResource.model_validate(answer.json())
    assert answer.json()["object"] == "response.compaction"
    assert [item["type"] for item in answer.json()["output"]] == ["message", "compaction"]


def test_compact_missing_model():
    with agent() as one:
        answer = one.http.post(f"{one.base}/responses/compact", json={"input": [user("Compact this.")]})
        assert not one.told.calls
    assert answer.status_code == 400
    assert "model" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "fields", "status", "named"),
    [
        pytest.param(
            "/responses",
            {"input": [user(TEXT, attached("a.pdf", "application/pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3"))]},
            400,
            "input[0].content[1].file_data",
            id="file-input of bytes that are no text",
        ),
        pytest.param(
            "/responses",
            {
                "input": "Look it up.",
                "tools": [{"type": "web_search", "external_web_access": False}],
                "tool_choice": {"type": "web_search"},
            },
            400,
            "tool_choice",
            id="offline-web-search",
        ),
    ],
)
def test_a_case_that_is_not_met_is_refused(path, fields, status, named):
    with agent(told=Held(), config=FORCING) as one:
        answer = one.http.post(f"{one.base}{path}", json={"model": "m", **fields})
        assert not one.told.calls
    assert answer.status_code == status, answer.text
    assert named in answer.json()["error"]["message"]
