"""The rules by name, and the requirement that each stands for on each wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.ambient.turn import CHAT, INVOCATIONS, MESSAGES, RESPONSES
from conformance.client.transcript import Exchange
from conformance.oracles import Violation

EXPORT = "export"
"""In the place of a wire: what the sessions of a check left."""

_BY_RULE: Mapping[str, Mapping[str, str]] = {
    "body": {CHAT: "CHAT-001", MESSAGES: "MSG-001", RESPONSES: "RESP-001", INVOCATIONS: "INV-001"},
    "body.usage": {CHAT: "CHAT-013", MESSAGES: "MSG-011", RESPONSES: "RESP-006"},
    "body.calls": {CHAT: "CHAT-048", MESSAGES: "MSG-013", RESPONSES: "RESP-009"},
    "body.finish": {CHAT: "CHAT-012", MESSAGES: "MSG-009", RESPONSES: "RESP-004"},
    "label": {CHAT: "HTTP-001", MESSAGES: "MSG-001", RESPONSES: "RESP-001", INVOCATIONS: "INV-001"},
    "label.stream": {CHAT: "STREAM-001", MESSAGES: "MSG-067", RESPONSES: "RESP-026", INVOCATIONS: "INV-026"},
    "frames": {CHAT: "STREAM-003", MESSAGES: "MSG-068", RESPONSES: "RESP-028", INVOCATIONS: "INV-028"},
    "stream": {CHAT: "STREAM-009", MESSAGES: "MSG-069", RESPONSES: "RESP-027", INVOCATIONS: "INV-028"},
    "stream.end": {CHAT: "STREAM-004", MESSAGES: "MSG-072", RESPONSES: "RESP-031", INVOCATIONS: "INV-029"},
    "stream.usage": {CHAT: "STREAM-015", MESSAGES: "MSG-074", RESPONSES: "RESP-006"},
    "stream.calls": {CHAT: "STREAM-014", MESSAGES: "MSG-076", RESPONSES: "RESP-033"},
    "error": {CHAT: "HTTP-004", MESSAGES: "MSG-051", RESPONSES: "RESP-040", INVOCATIONS: "INV-011"},
    "error.failure": {CHAT: "HTTP-015", MESSAGES: "MSG-054", RESPONSES: "RESP-037", INVOCATIONS: "INV-019"},
    "error.leak": {CHAT: "HTTP-014", MESSAGES: "MSG-060", RESPONSES: "WIRE-027", INVOCATIONS: "INV-019"},
    "id": {CHAT: "CHAT-002", MESSAGES: "MSG-002", RESPONSES: "RESP-003"},
    "call ids": {CHAT: "CHAT-049", MESSAGES: "MSG-014", RESPONSES: "RESP-012"},
    "text": {CHAT: "CHAT-007", MESSAGES: "MSG-004", RESPONSES: "RESP-002", INVOCATIONS: "INV-002"},
    "text beside calls": {CHAT: "CHAT-052", MESSAGES: "MSG-015", RESPONSES: "RESP-011"},
    "calls": {CHAT: "CHAT-053", MESSAGES: "MSG-016", RESPONSES: "RESP-011"},
    "arguments": {CHAT: "CHAT-050", MESSAGES: "MSG-013", RESPONSES: "RESP-010"},
    "finish": {CHAT: "CHAT-010", MESSAGES: "MSG-006", RESPONSES: "RESP-004"},
    "finish.length": {CHAT: "CHAT-011", MESSAGES: "MSG-007", RESPONSES: "RESP-005"},
    "finish.calls": {CHAT: "CHAT-051", MESSAGES: "MSG-008"},
    "usage.prompt": {CHAT: "CHAT-014", MESSAGES: "MSG-011", RESPONSES: "RESP-006"},
    "usage.completion": {CHAT: "CHAT-015", MESSAGES: "MSG-012", RESPONSES: "RESP-006"},
    "context": {CHAT: "TOKEN-010", MESSAGES: "MSG-025", RESPONSES: "RESP-015", INVOCATIONS: "INV-018"},
    "context.tools": {CHAT: "TOKEN-011", MESSAGES: "MSG-026", RESPONSES: "RESP-019"},
    "context.later": {CHAT: "TOKEN-012", MESSAGES: "MSG-080", RESPONSES: "RESP-058"},
    "context.results": {CHAT: "TOKEN-014", MESSAGES: "MSG-034", RESPONSES: "RESP-018"},
    "sampling": {CHAT: "CHAT-029", MESSAGES: "MSG-020", RESPONSES: "RESP-025"},
    "sampling.stop": {CHAT: "CHAT-034", MESSAGES: "MSG-021"},
    "sampling.limit": {CHAT: "CHAT-031", MESSAGES: "MSG-019", RESPONSES: "RESP-024"},
    "sampling.precedence": dict.fromkeys((CHAT, MESSAGES, RESPONSES), "LIFE-021"),
    "sampling.unasked": {CHAT: "CHAT-035"},
    "logprobs told": {CHAT: "CHAT-152"},
    "single": {CHAT: "JOURNEY-001", MESSAGES: "JOURNEY-002", RESPONSES: "JOURNEY-003"},
    "masks": {EXPORT: "TOKEN-001"},
    "verbatim": {EXPORT: "TOKEN-005"},
    "contexts": {EXPORT: "TOKEN-006"},
    "conservation": {EXPORT: "TOKEN-007"},
    "one trajectory": {EXPORT: "TOKEN-016"},
    "logprobs": {EXPORT: "LOGP-002"},
}

REQUIREMENTS: Mapping[tuple[str, str], str] = {
    (rule, wire): requirement for rule, wires in _BY_RULE.items() for wire, requirement in wires.items()
}
"""(rule, wire) -> the requirement that is broken where the rule is. A rule says nothing of a wire that it lacks."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule that applied to a turn, or to what was exported, and what was wrong with it: mostly nothing."""

    rule: str
    wire: str
    exchange: Exchange | None
    violations: Sequence[Violation] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found wrong, as a failure of its requirement."""

    requirement: str
    violations: Sequence[Violation]
    exchange: Exchange | None
