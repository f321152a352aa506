"""OpenAI Responses as a client sees them: what is asked in items, what is answered in items or events.

Knows that wire's bodies, never a token. `ResponseReply` has the accessors of `Reply` wherever both wires have the
thing; a `Chain` is a conversation whose history the gateway keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from conformance.client.failure import ConformanceFailure, describe
from conformance.client.http import ABSENT, Reply, at
from conformance.oracles import Violation, responses, turns, wording
from conformance.oracles.turns import ToolCall, ToolResponse

Item = dict[str, Any]

FILE_SEARCH: Item = {"type": "file_search", "vector_store_ids": ["files"]}
"""The tool that a gateway with `server-tools` runs itself."""


class ResponseReply(Reply):
    """What the gateway answered to a request for a response, streamed or not."""

    @cached_property
    def completion(self) -> dict[str, Any]:
        """The whole response: the JSON body, or what the stream's events amount to."""
        if self.status != 200:
            raise ConformanceFailure([Violation("status", "200", f"{self.status} {describe(self.body)}")])
        response = responses.assemble(self.events) if self.is_stream else self.json()
        if not isinstance(response, dict):
            raise ConformanceFailure([Violation("body", "a JSON object", describe(response))])
        return response

    @cached_property
    def raw(self) -> list[dict[str, Any]]:
        """The JSON of the stream's events, at least one. What is no JSON object is left out."""
        return self.chunks

    @property
    def output(self) -> list[Item]:
        """The items of the output, all of them objects."""
        items = at(self.completion, "output", kind=list)
        return [at(items, place, kind=dict) for place in range(len(items))]

    @property
    def text(self) -> str:
        """The text of all messages of the output."""
        messages = [item for item in self.output if item.get("type") == "message"]
        parts = [
            at(item, "content", place) for item in messages for place in range(len(at(item, "content", kind=list)))
        ]
        return "".join(at(part, "text", kind=str) for part in parts if at(part, "type") == "output_text")

    @property
    def tool_calls(self) -> list[Item]:
        """The function calls of the output."""
        return [item for item in self.output if item.get("type") == "function_call"]

    @property
    def finish_reason(self) -> str:
        """The response's `status`."""
        return at(self.completion, "status", kind=str)  # type: ignore[no-any-return]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The raw events of this type."""
        return [event for event in self.raw if event.get("type") == kind]


class OverResponses:
    """What a session sends over the Responses wire. `send` is the session's."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce
        self._begun: set[str] = set()
        """The conversations whose history carries the nonce."""

    if TYPE_CHECKING:  # the session's own
        send: Callable[..., Reply]

    def respond(self, response_input: Any = ABSENT, *, stream: bool = False, **fields: Any) -> ResponseReply:
        """Send a request for a response with this `input` (a text of the user, or items) and return whatever came
        back. The first message of a history carries the nonce."""
        return self.send_response(self.response_body(response_input, stream=stream, **fields))

    def compact(self, response_input: Any = ABSENT, **fields: Any) -> ResponseReply:
        """Ask for a compaction of a conversation, which is given as to `respond`."""
        return self.send_response(self.response_body(response_input, **fields), path="/responses/compact")

    def response_body(self, response_input: Any = ABSENT, *, stream: bool = False, **fields: Any) -> dict[str, Any]:
        """The body of the request that `respond` sends."""
        conversation = fields.get("conversation")
        known = isinstance(conversation, str) and conversation in self._begun
        if "previous_response_id" not in fields and not known:
            response_input = self._with_nonce(response_input)
        if isinstance(conversation, str):
            self._begun.add(conversation)
        body: dict[str, Any] = {"model": "kit", "input": response_input}
        if stream:
            body["stream"] = True
        body.update(fields)
        return {name: value for name, value in body.items() if value is not ABSENT}

    def send_response(self, body: Any = None, *, path: str = "/responses", **request: Any) -> ResponseReply:
        """Send any request of the Responses wire."""
        return ResponseReply(self.send(body, path=path, **request).exchange)

    def converse(self, *items: dict[str, Any], **fields: Any) -> str:
        """Open a conversation, with these items in it, and return its id. Anything but a conversation is a failure."""
        if items:
            fields["items"] = self._with_nonce(list(items))
        reply = self.send(fields, path="/conversations")
        if reply.status not in (200, 201):
            raise ConformanceFailure([Violation("POST /conversations", "status 200", f"{reply.status}")])
        conversation: str = at(reply.json(), "id", kind=str)
        if items:
            self._begun.add(conversation)
        return conversation

    def begin_again(self, conversation: str) -> None:
        """Nothing was said in this conversation yet, as what was asked failed: its next input carries the nonce."""
        self._begun.discard(conversation)

    def items(self, conversation: str) -> list[dict[str, Any]]:
        """The items of a conversation, the oldest first. Anything but a list of objects is a failure."""
        reply = self.send(path=f"/conversations/{conversation}/items?order=asc&limit=100", method="GET")
        data = at(reply.json(), "data", kind=list)
        return [at(data, place, kind=dict) for place in range(len(data))]

    def chain(self, chaining: str = "previous_response_id", *, stream: bool = True, **fields: Any) -> Chain:
        """A conversation whose history the gateway keeps."""
        return Chain(self, chaining, stream=stream, **fields)

    def _with_nonce(self, response_input: Any) -> Any:
        if isinstance(response_input, str):
            return f"{self._nonce} {response_input}"
        if not isinstance(response_input, list) or not response_input or not isinstance(response_input[0], dict):
            return response_input
        first, *rest = deepcopy(response_input)
        content = first.get("content")
        if isinstance(content, str):
            first["content"] = f"{self._nonce} {content}"
        elif isinstance(content, list) and content and isinstance(content[0].get("text"), str):
            content[0]["text"] = f"{self._nonce} {content[0]['text']}"
        return [first, *rest]


class Chain:
    """One conversation in a session, each request sending only what is new. The gateway keeps the rest: in a
    conversation, or behind the response before (`chaining`). `fields` go into each request."""

    def __init__(self, session: OverResponses, chaining: str, *, stream: bool = True, **fields: Any) -> None:
        self.session, self.stream, self.fields = session, stream, fields
        self.chaining = chaining
        self.conversation = session.converse() if chaining == "conversation" else None
        self.replies: list[ResponseReply] = []

    def ask(self, response_input: Any, **fields: Any) -> ResponseReply:
        """The next response. `response_input` is a text of the user, or items."""
        if self.conversation is not None:
            fields = {"conversation": self.conversation, **fields}
        elif self.replies:
            fields = {"previous_response_id": self.replies[-1].id, **fields}
        reply = self.session.respond(response_input, **{"stream": self.stream, **self.fields, **fields})
        self.replies.append(reply)
        return reply

    def answer(self, *outputs: str) -> ResponseReply:
        """Answer the calls of the last response, in their order."""
        return self.ask(results_of(self.replies[-1], *outputs))

    def turn(self, client_tools: Collection[str] = ()) -> list[Any]:
        """The turn and step events that the replies' streams amount to, as one turn."""
        outputs = {entry["call_id"]: entry["output"] for reply in self.replies for entry in _sent_outputs(reply)}

        def run(call: ToolCall) -> ToolResponse:
            return ToolResponse(call.call_id, call.tool_name, outputs.get(call.call_id, ""))

        streams = [reply.raw if reply.status == 200 else [] for reply in self.replies]
        made = turns.turn_events(streams, self.conversation or "session", client_tools, run=run)
        return [turns.as_json(event) for event in made]


def item(role: str, content: Any) -> Item:
    """A message as an item of the input."""
    return {"type": "message", "role": role, "content": content}


def call(name: str, arguments: str = "{}", call_id: str = "call_0") -> Item:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def output(content: Any, call_id: str = "call_0") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": content}


def results_of(reply: ResponseReply, *contents: Any) -> list[Item]:
    """An output for each content, in answer to the calls of this response in their order."""
    ids = [str(tool_call.get("call_id")) for tool_call in reply.tool_calls]
    return [output(content, call_id) for content, call_id in zip(contents, ids, strict=False)]


def flat(function: Mapping[str, Any]) -> Item:
    """The tool of this wire for a function of the chat wire."""
    return {"type": "function", **function["function"]}


def types(items: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The types of items, or of events."""
    return [entry.get("type", entry.get("event_type")) for entry in items]


def steps(events: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each completed step of a turn: its type, and how it ended (an inference) or who ran it (a tool execution)."""
    started = {event["step_id"]: event["metadata"] or {} for event in events if event["event_type"] == "step_started"}
    done = [event for event in events if event["event_type"] == "step_completed"]
    ran = {
        event["step_id"]: "server" if started[event["step_id"]]["server_side"] else "client"
        for event in done
        if event["step_type"] == "tool_execution"
    }
    return [(event["step_type"], ran.get(event["step_id"]) or event["result"]["stop_reason"]) for event in done]


def ending(events: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The end of a turn: its type, the final text, the ids of the responses, the number of steps."""
    return [events[-1].get(name) for name in ("event_type", "final_text", "response_ids", "num_steps")]


def comparable(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The events of a turn without what each maker of events chooses: the ids of the turn and of its steps, whose
    session it is, and into how many deltas a text or the arguments of a call are cut."""
    merged: list[dict[str, Any]] = []
    for event in events:
        kept = {name: _chosen_out(value) for name, value in _chosen_out(event).items()}
        last = merged[-1].get("delta") if merged else None
        delta = kept.get("delta")
        if isinstance(last, dict) and isinstance(delta, dict) and _cut(last) == _cut(delta):
            joined = {name: last.get(name, "") + delta[name] for name in PIECES if name in delta}
            merged[-1] = {**merged[-1], "delta": {**delta, **joined}}
        else:
            merged.append(kept)
    return merged


PIECES = ("text", "arguments_delta")
"""The field of a delta that carries a piece of something longer."""


def _cut(delta: Mapping[str, Any]) -> Any:
    """What a delta is a piece of, equal for the pieces of one thing."""
    return (delta.get("delta_type"), delta.get("call_id")) if any(name in delta for name in PIECES) else object()


def _chosen_out(value: Any) -> Any:
    chosen = ("turn_id", "session_id", "step_id")
    return {name: entry for name, entry in value.items() if name not in chosen} if isinstance(value, Mapping) else value


def _sent_outputs(reply: ResponseReply) -> list[Item]:
    sent, _ = wording.parse_json(reply.exchange.request_body.decode("utf-8", "replace"))
    sent_input = sent.get("input") if isinstance(sent, dict) else None
    listed = sent_input if isinstance(sent_input, list) else []
    return [entry for entry in listed if isinstance(entry, dict) and entry.get("type") == "function_call_output"]
