"""The client-side agent against a stand-in server that answers with what a test wrote down, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from conformance.client.agent_loop import Agent, AsyncAgent, TurnDidNotComplete
from conformance.oracles.turns import as_json, grammar


class StandIn:
    """Answers the conversations with `conv_1`, `conv_2` ..., and each request for a response with the next script."""

    def __init__(self):
        self.requests = []
        self.scripts = []
        self.conversations = 0

        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                stand_in.answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, handler):
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.requests.append((handler.path, body, handler.headers))
        if handler.path == "/v1/conversations":
            self.conversations += 1
            return self.reply(handler, 200, "application/json", json.dumps({"id": f"conv_{self.conversations}"}))
        script = self.scripts.pop(0)
        if isinstance(script, tuple):
            return self.reply(handler, *script)
        wire = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in script)
        # A length that the body does not reach is a connection that breaks.
        broken = bool(script) and script[-1]["type"] == "response.in_progress"
        return self.reply(handler, 200, "text/event-stream; charset=utf-8", wire, missing=10 * broken)

    def reply(self, handler, status, kind, text, missing=0):
        body = text.encode()
        handler.send_response(status)
        handler.send_header("content-type", kind)
        handler.send_header("content-length", str(len(body) + missing))
        handler.end_headers()
        handler.wfile.write(body)

    @property
    def inputs(self):
        return [body["input"] for path, body, _ in self.requests if path == "/v1/responses"]


@pytest.fixture
def server():
    stand_in = StandIn()
    thread = threading.Thread(target=stand_in.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stand_in
    stand_in.server.shutdown()
    thread.join()
    stand_in.server.server_close()


def opening(response_id):
    response = {"id": response_id}
    return [{"type": "response.created", "response": response}, {"type": "response.in_progress", "response": response}]


def says(text, response_id="r1"):
    item = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": text}]}
    return [
        *opening(response_id),
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
        },
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {"id": response_id, "output": [item]}},
    ]


def calls(*asked, response_id="r1"):
    items = [
        {"id": f"fc_{number}", "type": "function_call", "call_id": f"c{number}", "name": name, "arguments": arguments}
        for number, (name, arguments) in enumerate(asked, 1)
    ]
    done = [{"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(items)]
    return [
        *opening(response_id),
        *done,
        {"type": "response.completed", "response": {"id": response_id, "output": items}},
    ]


def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: where
        days: how many, from today on
    """
    return f"sunny in {city} for {days}"


def broken():
    raise RuntimeError("out of order")


def structured():
    return {"content": {"n": 1}, "metadata": {"cached": True}}


TOOLS = (weather, broken, structured)


def run(kind, server, input="hi", tools=TOOLS, **settings):
    """One turn of an agent of this kind, to its end: its chunks."""
    if kind == "sync":
        with Agent(server.url, "m", tools=tools, **settings) as agent:
            return list(agent.turn(input, session_id=agent.create_session("demo")))

    async def collected():
        async with AsyncAgent(server.url, "m", tools=tools, **settings) as agent:
            session_id = await agent.create_session("demo")
            return [chunk async for chunk in agent.turn(input, session_id=session_id)]

    return asyncio.run(collected())


both = pytest.mark.parametrize("kind", ["sync", "async"])


def kinds(chunks):
    return [as_json(chunk.event)["event_type"] for chunk in chunks]


def judged(chunks):
    """The grammar of the events of a turn holds, and the last of them."""
    assert grammar([chunk.event for chunk in chunks]) == []
    return as_json(chunks[-1].event)


@both
def test_a_turn_sends_what_a_request_needs_and_no_history(kind, server):
    server.scripts = [says("Hello")]
    judged(run(kind, server, instructions="Be brief.", headers={"authorization": "Bearer k"}))
    conversation, response = server.requests
    assert conversation[:2] == ("/v1/conversations", {"metadata": {"name": "demo"}})
    assert response[0] == "/v1/responses"
    assert {key: value for key, value in response[1].items() if key != "tools"} == {
        "model": "m",
        "instructions": "Be brief.",
        "conversation": "conv_1",
        "input": "hi",
        "stream": True,
    }
    assert {headers["authorization"] for _, _, headers in server.requests} == {"Bearer k"}


@both
def test_tools_run_in_order_and_their_answers_are_one_follow_up(kind, server):
    server.scripts = [calls(("weather", '{"city": "Rome"}'), ("structured", "")), says("Done", "r2")]
    chunks = run(kind, server)
    last = judged(chunks)
    assert (last["final_text"], last["response_ids"], last["num_steps"]) == ("Done", ["r1", "r2"], 3)
    assert server.inputs[1] == [
        {"type": "function_call_output", "call_id": "c1", "output": '"sunny in Rome for 1"'},
        {"type": "function_call_output", "call_id": "c2", "output": '{"n": 1}'},
    ]
    first, second = (body for path, body, _ in server.requests if path == "/v1/responses")
    assert {key: value for key, value in second.items() if key != "input"} == {
        key: value for key, value in first.items() if key != "input"
    }
    results = [as_json(chunk.event)["result"] for chunk in chunks if hasattr(chunk.event, "result")]
    assert [one["metadata"] for one in results[1]["tool_responses"]] == [{}, {"cached": True}]


@both
@pytest.mark.parametrize(
    ("name", "arguments", "output"),
    [
        ("nobody", "{}", "Unknown tool `nobody` was called."),
        ("broken", "{}", "Error when running tool: out of order"),
        ("weather", "[1]", "Error when running tool: the arguments are not a JSON object"),
        ("weather", "{", "Error when running tool: "),
        ("weather", '{"town": "Rome"}', "Error when running tool: "),
    ],
)
def test_a_turn_goes_on_whatever_a_tool_does(kind, server, name, arguments, output):
    server.scripts = [calls((name, arguments)), says("Done", "r2")]
    assert judged(run(kind, server))["event_type"] == "turn_completed"
    assert server.inputs[1][0]["output"].startswith(output)


def test_an_asynchronous_tool_is_awaited_where_that_is_possible(server):
    async def slow(n: int):
        await asyncio.get_running_loop().run_in_executor(None, int)
        return n + 1

    server.scripts = [calls(("slow", '{"n": 1}')), says("Done", "r2")] * 2
    judged(run("async", server, tools=[slow]))
    judged(run("sync", server, tools=[slow]))
    assert [inputs[0]["output"] for inputs in server.inputs[1::2]] == [
        "2",
        "Error when running tool: this tool is asynchronous: it needs the AsyncAgent",
    ]


@both
@pytest.mark.parametrize(
    ("scripts", "message"),
    [
        pytest.param([opening("r1")], "RemoteProtocolError: ", id="connection-broken"),
        pytest.param([opening("r1")[:1]], "The stream ended without a terminal event", id="cut"),
        pytest.param([[]], "The stream was empty", id="empty"),
        pytest.param([calls(("weather", "{}")), opening("r2")], "RemoteProtocolError: ", id="follow-up-broken"),
        pytest.param([calls(("weather", "{}")), []], "The stream was empty", id="follow-up-empty"),
        pytest.param(
            [(409, "application/json", '{"error": {"message": "a turn is under way"}}')],
            "a turn is under way",
            id="409",
        ),
        pytest.param([(502, "text/html", "<h1>")], "The server answered with status 502", id="502"),
        pytest.param([(200, "text/html", "<h1>")], "The server answered with text/html", id="not-a-stream"),
        pytest.param([[{"type": "error", "message": "boom"}]], "boom", id="error"),
    ],
)
def test_whatever_happens_on_the_way_the_turn_fails_once_and_last(kind, server, scripts, message):
    server.scripts = list(scripts)
    chunks = run(kind, server)
    assert judged(chunks)["error_message"].startswith(message)
    assert kinds(chunks).count("turn_failed") == 1
    assert [chunk.response for chunk in chunks] == [None] * len(chunks)


@both
def test_a_server_that_is_not_there_fails_the_turn(kind, server):
    server.server.shutdown()
    server.server.server_close()

    async def collected():
        async with AsyncAgent(server.url, "m") as agent:
            return [chunk async for chunk in agent.turn("hi", session_id="conv_1")]

    chunks = (
        list(Agent(server.url, "m").turn("hi", session_id="conv_1")) if kind == "sync" else asyncio.run(collected())
    )
    assert kinds(chunks) == ["turn_started", "turn_failed"]
    assert judged(chunks)["error_message"].startswith("ConnectError: ")


@both
def test_a_limit_ends_in_failure_not_in_silence(kind, server):
    server.scripts = [calls(("weather", "{}")), calls(("weather", "{}"), response_id="r2")]
    assert judged(run(kind, server, max_rounds=1))["error_message"] == "The model asked for tools more than 1 times"


def test_both_agents_show_the_same_events(server):
    server.scripts = [calls(("weather", '{"city": "Rome"}')), says("Done", "r2")] * 2
    told = []
    for kind in ("sync", "async"):
        events = [json.dumps(as_json(chunk.event)) for chunk in run(kind, server)]
        turn_id = json.loads(events[0])["turn_id"]
        told.append([one.replace(turn_id, "turn").replace("conv_2", "conv_1") for one in events])
    assert told[0] == told[1]


def test_only_the_last_chunk_has_the_response(server):
    server.scripts = [says("Hello")]
    chunks = run("sync", server)
    assert [chunk.response is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].response["id"] == "r1"


def test_run_gives_the_response_or_raises(server):
    server.scripts = [says("Hello"), [{"type": "error", "message": "boom"}], says("Hello"), []]
    with Agent(server.url, "m") as agent:
        assert agent.run("hi", session_id="conv_1")["id"] == "r1"
        with pytest.raises(TurnDidNotComplete, match="Turn did not complete: boom"):
            agent.run("hi", session_id="conv_1")

    async def asynchronous():
        async with AsyncAgent(server.url, "m") as agent:
            assert (await agent.run("hi", session_id="conv_1"))["id"] == "r1"
            with pytest.raises(TurnDidNotComplete, match="The stream was empty"):
                await agent.run("hi", session_id="conv_1")

    asyncio.run(asynchronous())


def test_a_turn_needs_a_session():
    with Agent("http://127.0.0.1:1/v1", "m") as agent, pytest.raises(ValueError, match="needs the session_id"):
        agent.turn("hi", session_id="")


def test_a_refused_conversation_is_an_exception(server):
    server.scripts = [(404, "application/json", "{}")]
    with Agent(server.url + "/nowhere", "m") as agent, pytest.raises(httpx.HTTPStatusError):
        agent.create_session("demo")


def test_two_sessions_of_one_agent_share_nothing(server):
    server.scripts = [calls(("weather", '{"city": "Rome"}')), says("Other", "r7"), says("Done", "r2")]
    with Agent(server.url, "m", tools=TOOLS) as agent:
        one, other = agent.create_session("one"), agent.create_session("other")
        first = agent.turn("hi", session_id=one)
        chunks = [next(first)]
        between = list(agent.turn("hello", session_id=other))
        chunks += first
    assert (judged(between)["session_id"], judged(between)["response_ids"]) == ("conv_2", ["r7"])
    assert (judged(chunks)["session_id"], judged(chunks)["response_ids"]) == ("conv_1", ["r1", "r2"])
    assert [body["conversation"] for path, body, _ in server.requests[2:]] == ["conv_1", "conv_2", "conv_1"]
