"""Plays public reports of what went wrong behind gateways to the reference gateway, and looks at all three records.

A report is a JSON file: its public `source`, what was `reported`, what is `right` in one sentence, the settings of the
`gateway` (`tokenizer` names a fixture), the `tools` that its clients offer, and `plays`: the report itself, rebuilt
small, and others of its kind. A play is a list of exchanges in one session:

    to      chat, messages, responses, or a path below the session's base URL
    says    what the model samples: a text, or a step of the upstream's script
    sends   the body, without what every request has; @@ is the nonce of the upstream, {"$shown": n} what answer n
            showed, as its wire echoes it (other members replace its own), {"$at": [n, "path"]} a value of answer n
    offers  true: the report's tools, as the wire has them
    coding  how the body is encoded
    gets    what the client gets: `status` (200); `text`, `ended`, `calls` as [name, arguments]; `at`: path -> value;
            `refusal`: what the error must name
            `fails`: true: the engine gave no answer, and the client may ask again
    reads   what the engine reads: `once`: texts, each once; `in_order`: these, too, in their order; `never`; `ends`;
            `images`: how many; `as`: the same as for an earlier exchange. null: the engine is not asked

Whatever a play says besides, its streams follow the grammar of their wire, and what is exported is what the engine
received and sampled: `sampled` texts in their order, if the play ends with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from conformance.client.http import Reply
from conformance.client.responses import ResponseReply
from conformance.gateway import Trajectory
from conformance.oracles import token_truth
from conformance.oracles.stream_check import check
from conformance.upstream.client import Upstream
from conformance.upstream.ledger import Call
from conformance.vocabulary.bodies import CODINGS
from conformance.vocabulary.expect import expect
from conformance.vocabulary.session import Session

REPORTS = Path(__file__).parent
GRAMMARS = {"chat": "openai", "messages": "anthropic", "responses": "responses"}
"""Wire -> its name among the grammars of streams."""
_PATHS = {"chat": "/chat/completions", "messages": "/v1/messages", "responses": "/responses"}
_COMMON: dict[str, dict[str, Any]] = {"chat": {}, "messages": {"max_tokens": 512}, "responses": {}}


@dataclass
class Play:
    """A play that is going on: the exchanges so far, and the engine's call for each, None where it was not asked."""

    session: Session
    upstream: Upstream
    tools: list[Mapping[str, Any]]
    streams: bool
    replies: list[tuple[str, Reply]] = field(default_factory=list)
    calls: list[Call | None] = field(default_factory=list)

    def exchange(self, exchange: Mapping[str, Any]) -> None:
        """Do one exchange, and hold it against what it should be."""
        said = exchange.get("says")
        if said is not None:
            self.upstream.says(**({"text": said} if isinstance(said, str) else said))
        asked = len(self.upstream.calls)
        reply = self._send(exchange)
        calls = self.upstream.calls[asked:]
        assert len(calls) <= 1, f"{len(calls)} calls of the engine for one turn"
        self.replies.append((exchange["to"], reply))
        self.calls.append(calls[0] if calls else None)
        self._got(exchange["to"], reply, exchange.get("gets", {}))
        self._read(exchange.get("reads", {}), said is not None)

    def end(self, sampled: list[str] | None) -> None:
        """Hold what is exported against what the engine received and sampled. What it gave up is no answer."""
        calls = [call for call in self.upstream.calls if call.finish_reason != "abort"]
        exported, decode = self.session.finalize(), self.upstream.tokenizer.decode
        assert token_truth.judge(exported, calls, decode=decode) == []
        if sampled is not None:
            assert [decode(run) for each in exported for run in _sampled(each)] == sampled

    def _send(self, exchange: Mapping[str, Any]) -> Reply:
        wire = exchange["to"]
        body = {"model": "kit", **_COMMON.get(wire, {}), **self._filled(exchange["sends"])}
        if exchange.get("offers"):
            body["tools"] = [_as_tool(tool, wire) for tool in self.tools]
        if self.streams and wire in _PATHS:
            body["stream"] = True
        content = json.dumps(body).encode()
        how: dict[str, Any] = {}
        if "coding" in exchange:
            how = {"content": CODINGS[exchange["coding"]](content), "headers": {"content-encoding": exchange["coding"]}}
        if wire == "messages" or wire.startswith("/messages"):
            return self.session.send_message(body, path=_PATHS.get(wire, "/v1" + wire), **how)
        if wire == "responses":
            return self.session.send_response(body, **how)
        return self.session.send(body, path=_PATHS.get(wire, wire), **how)

    def _filled(self, value: Any) -> Any:
        """With the nonce, and what earlier answers showed, in their places."""
        if isinstance(value, str):
            return value.replace("@@", self.upstream.nonce)
        if isinstance(value, list):
            return [part for item in value for part in self._spliced(item)]
        if isinstance(value, dict):
            if "$at" in value:
                number, path = value["$at"]
                return _at(_document(self.replies[number][1]), path)
            return {name: self._filled(part) for name, part in value.items()}
        return value

    def _spliced(self, item: Any) -> list[Any]:
        if not isinstance(item, dict) or "$shown" not in item:
            return [self._filled(item)]
        _, reply = self.replies[item["$shown"]]
        shown = reply.output if isinstance(reply, ResponseReply) else [reply.message]
        shown = json.loads(json.dumps(shown))
        for path, value in item.get("set", {}).items():
            *way, last = path.split(".")
            place = _at(shown[0], ".".join(way)) if way else shown[0]
            place[last] = value
        return list(shown)

    def _got(self, wire: str, reply: Reply, gets: Mapping[str, Any]) -> None:
        if gets.get("fails"):
            if reply.is_stream:
                assert "error" in reply.chunks[-1] or reply.completion["status"] == "failed", reply.body
            else:
                expect(reply).status(503)
                assert "retry-after" in reply.headers
            return
        expect(reply).status(gets.get("status", 200))
        if "refusal" in gets:
            assert gets["refusal"] in str(reply.error), reply.body
        if reply.is_stream:
            wrong = check(reply.body, GRAMMARS[wire])
            assert not wrong, [str(each.violation) for each in wrong]
        if "text" in gets:
            assert reply.text == gets["text"]
        if "ended" in gets:
            assert reply.finish_reason == gets["ended"]
        if "calls" in gets:
            assert [_called(call) for call in reply.tool_calls] == gets["calls"]
        for path, value in gets.get("at", {}).items():
            assert _at(_document(reply), path) == self._filled(value), path

    def _read(self, reads: Mapping[str, Any] | None, scripted: bool) -> None:
        call = self.calls[-1]
        if reads is None:
            assert call is None, f"the engine was asked: {call}"
            return
        if scripted:
            assert call is not None, "the engine was not asked"
        if not reads:
            return
        assert call is not None
        in_order = self._filled(reads.get("in_order", []))
        for text in [*self._filled(reads.get("once", [])), *in_order]:
            assert call.text.count(text) == 1, f"{text!r} once in {call.text!r}"
        assert sorted(in_order, key=call.text.index) == in_order, call.text
        for text in reads.get("never", []):
            assert text not in call.text
        if "ends" in reads:
            assert call.text.endswith(reads["ends"]), call.text
        if "as" in reads:
            other = self.calls[reads["as"]]
            assert other is not None
            assert call.context == other.context, call.text
        if "images" in reads:
            assert len(call.images or []) == reads["images"]


def _sampled(trajectory: Trajectory) -> Iterator[list[int]]:
    """The runs of ids with mask 1."""
    marked = zip(trajectory.response_mask, trajectory.response_ids, strict=True)
    for mask, run in groupby(marked, key=itemgetter(0)):
        if mask:
            yield [token for _, token in run]


def _document(reply: Reply) -> Any:
    return reply.completion if reply.is_stream else reply.json()


def _called(call: Mapping[str, Any]) -> list[Any]:
    """Name and arguments of a call, as any wire shows it."""
    if "input" in call:
        return [call["name"], call["input"]]
    function = call.get("function", call)
    return [function["name"], json.loads(function["arguments"])]


def _as_tool(tool: Mapping[str, Any], wire: str) -> dict[str, Any]:
    """A tool of a report, `{"name", "description", "parameters"}`, as the wire has it."""
    if wire == "chat":
        return {"type": "function", "function": dict(tool)}
    if wire == "responses":
        return {"type": "function", **tool}
    parameters = tool["parameters"]
    return {"name": tool["name"], "description": tool["description"], "input_schema": parameters}


def _at(value: Any, path: str) -> Any:
    """The value at a dotted path; `length` is that of a list."""
    for step in path.split("."):
        if step == "length" and isinstance(value, list):
            return len(value)
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value
