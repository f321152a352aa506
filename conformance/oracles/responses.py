"""OpenAI Responses and Conversations on the wire: the shape of a response, a conversation and its items. (The grammar
of a stream is in `responses_stream`.)

Knows the two wires; never what the model was asked or what it sampled. `response` judges a plain body, the response
inside an event, and a body that `assemble` made from a stream alike.

Sources: wire_facts (OpenAI Responses), contract LS-RAW-04, -05, LS-REQ-03, -07.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.oracles.responses_assembly import assemble
from conformance.oracles.responses_body import compaction_findings, findings_of, seconds
from conformance.oracles.responses_items import CLIENT_CALLS, item, own_ids
from conformance.oracles.responses_stream import stream
from conformance.oracles.schema import Finding, in_reading_order, mismatches
from conformance.oracles.wording import brief, described

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.oracles import Violation

__all__ = ["assemble", "compaction", "conversation", "conversation_items", "response", "stream"]


def response(body: object, conversation: str | None = None, strict: bool = False) -> list[Violation]:
    """Judge a response. `conversation` is the id that the request gave; it must be echoed. `strict` adds what the
    OpenResponses specification marks required and engines omit."""
    findings = findings_of(body, conversation)
    if strict:
        findings += mismatches(body, "responses.strict")
    return in_reading_order(body, findings)


def compaction(body: object) -> list[Violation]:
    """Judge a compaction, as `POST /v1/responses/compact` answers it."""
    return in_reading_order(body, compaction_findings(body))


def conversation(body: object) -> list[Violation]:
    """Judge a conversation, as `POST /v1/conversations` answers it."""
    findings = mismatches(body, "responses#conversation")
    if isinstance(body, dict):
        findings += seconds(body)
    return in_reading_order(body, findings)


def conversation_items(body: object) -> list[Violation]:
    """Judge the list of a conversation's items, in the order of the conversation (`order=asc`): each of its own id, and
    each tool output behind the call that it answers."""
    findings = mismatches(body, "responses#items")
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(body, dict) and isinstance(data, list):
        for number, entry in enumerate(data):
            findings += item(("data", number), entry)
        findings += own_ids(("data",), data)
        findings += _answers(data)
        ids = [entry.get("id") if isinstance(entry, dict) else None for entry in data]
        for key, wanted in (("first_id", ids[0] if ids else None), ("last_id", ids[-1] if ids else None)):
            if key in body and isinstance(body[key], str | None) and body[key] != wanted:
                findings.append(Finding((key,), brief(wanted), described(body[key])))
    return in_reading_order(body, findings)


def _answers(data: list[Any]) -> Iterator[Finding]:
    called: set[str] = set()
    answered: set[str] = set()
    for number, entry in enumerate(data):
        call_id = entry.get("call_id") if isinstance(entry, dict) else None
        if not isinstance(call_id, str) or not isinstance(entry.get("type"), str):
            continue
        if entry["type"] in CLIENT_CALLS:
            called.add(call_id)
        elif entry["type"].endswith("_output"):
            path = ("data", number, "call_id")
            if call_id not in called:
                yield Finding(path, "the call_id of a call before it", brief(call_id), "the call itself was not kept")
            elif call_id in answered:
                yield Finding(path, "one output for a call", f"another one for {brief(call_id)}")
            answered.add(call_id)
