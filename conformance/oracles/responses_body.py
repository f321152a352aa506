"""OpenAI Responses on the wire: what is wrong with one response object, wherever it stands.

Knows the response object; never events. (`responses` words what is found here for a body, `responses_stream` for the
response inside an event.)

Sources: wire_facts (OpenAI Responses), contract LS-RAW-05.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.oracles.responses_items import item, own_ids
from conformance.oracles.schema import Finding, mismatches
from conformance.oracles.wording import brief

if TYPE_CHECKING:
    from collections.abc import Iterator

MILLISECONDS = 100_000_000_000
"""A `created_at` beyond this (the year 5138 in seconds) counts milliseconds."""

ENDED = ("completed", "incomplete", "failed", "cancelled")


def findings_of(body: object, conversation: str | None = None) -> list[Finding]:
    """What is wrong with a response, not yet worded."""
    findings = mismatches(body, "responses#response")
    if isinstance(body, dict):
        findings += seconds(body)
        findings += _output(body)
        findings += _status(body)
        findings += _usage(body.get("usage"))
        if conversation is not None:
            findings += _echoed(body, conversation)
    return findings


def compaction_findings(body: object) -> list[Finding]:
    """What is wrong with a compaction, not yet worded."""
    findings = mismatches(body, "responses#compaction")
    if isinstance(body, dict):
        findings += seconds(body)
        findings += _retained(body.get("output"))
        findings += _usage(body.get("usage"))
    return findings


def _retained(output: object) -> Iterator[Finding]:
    """Messages of the user, and one item behind them that stands for all the rest."""
    if not isinstance(output, list):
        return
    for number, entry in enumerate(output):
        yield from item(("output", number), entry)
        if not isinstance(entry, dict):
            continue
        kind = entry.get("type")
        if kind == "message" and isinstance(entry.get("role"), str) and entry["role"] != "user":
            yield Finding(("output", number, "role"), '"user"', brief(entry["role"]), "the compaction stands for it")
        elif kind == "compaction" and number < len(output) - 1:
            yield Finding(("output", number), "one compaction, the last item", "a compaction with items behind it")
        elif isinstance(kind, str) and kind not in ("message", "compaction"):
            yield Finding(("output", number, "type"), '"message" or "compaction"', brief(kind))
    last = output[-1] if output else None
    if not isinstance(last, dict) or last.get("type") != "compaction":
        yield Finding(("output",), "a compaction, the last item", "none")
    yield from own_ids(("output",), output)


def seconds(body: dict[Any, Any]) -> Iterator[Finding]:
    """`created_at` counts seconds."""
    created = body.get("created_at")
    if isinstance(created, int | float) and created >= MILLISECONDS:
        yield Finding(("created_at",), "seconds since the epoch", brief(created), "this looks like milliseconds")


def _output(body: dict[Any, Any]) -> Iterator[Finding]:
    output = body.get("output")
    if not isinstance(output, list):
        return
    for number, entry in enumerate(output):
        yield from item(("output", number), entry, whole=body.get("status") in ENDED)
        if not isinstance(entry, dict):
            continue
        if entry.get("type") == "message" and entry.get("role") in ("user", "system", "developer"):
            yield Finding(("output", number, "role"), '"assistant"', brief(entry["role"]), "the input is not output")
        if body.get("status") == "completed" and entry.get("status") in ("in_progress", "incomplete"):
            expected = '"completed", as the response is'
            yield Finding(("output", number, "status"), expected, brief(entry["status"]))
    yield from own_ids(("output",), output)


def _status(body: dict[Any, Any]) -> Iterator[Finding]:
    """`error` and `incomplete_details` are there exactly for the status that they explain."""
    status = body.get("status")
    for key, explained in (("error", "failed"), ("incomplete_details", "incomplete")):
        if not isinstance(status, str) or key not in body:
            continue
        if status == explained and body[key] is None:
            yield Finding((key,), f"an object, as status is {brief(status)}", "null")
        elif status in ("completed", "in_progress", "queued") and isinstance(body[key], dict):
            yield Finding((key,), f"null, as status is {brief(status)}", brief(body[key]))


def _usage(usage: object) -> Iterator[Finding]:
    if not isinstance(usage, dict):
        return
    prompt, sampled, total = (usage.get(f"{part}_tokens") for part in ("input", "output", "total"))
    if isinstance(prompt, int) and isinstance(sampled, int) and isinstance(total, int) and total != prompt + sampled:
        expected = f"{brief(prompt + sampled)}, input_tokens + output_tokens"
        yield Finding(("usage", "total_tokens"), expected, brief(total))


def _echoed(body: dict[Any, Any], wanted: str) -> Iterator[Finding]:
    known = body.get("conversation")
    if known is None:
        actual = "null" if "conversation" in body else "nothing: the field is missing"
        yield Finding(("conversation",), f"the conversation {brief(wanted)} of the request", actual)
    elif isinstance(known, dict) and isinstance(known.get("id"), str) and known["id"] != wanted:
        yield Finding(("conversation", "id"), f"{brief(wanted)}, as in the request", brief(known["id"]))
