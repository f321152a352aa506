"""Mutants of area SHAPE: a field comes, goes or changes its type, and nothing else notices."""

from __future__ import annotations

from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage


def _has_call(answer: Answer) -> bool:
    return b'"tool_calls"' in answer.body


@mutant("SHAPE-001")
def plain_answer_gains_a_field(gateway: Sabotage) -> None:
    """A debugging field is left in the plain answer."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_plain_completion and not _has_call(answer):
            answer.json = {**answer.json, "debug": {"seconds": 0.1}}


@mutant("SHAPE-002")
def tool_call_gains_a_field(gateway: Sabotage) -> None:
    """Tool calls of the plain answer carry the parser's name."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_plain_completion and _has_call(answer):
            document = answer.json
            document["choices"][0]["message"]["tool_calls"][0]["parser"] = "hermes"
            answer.json = document


@mutant("SHAPE-003")
def text_stream_gains_a_field(gateway: Sabotage) -> None:
    """Each chunk of a text stream carries the engine's name."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chunk_stream and not _has_call(answer):
            answer.set_chunks([{**chunk, "system_fingerprint": "engine-1"} for chunk in answer.chunks()])


@mutant("SHAPE-004")
def tool_call_stream_gains_a_field(gateway: Sabotage) -> None:
    """Each chunk of a stream with a tool call carries the engine's name."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chunk_stream and _has_call(answer):
            answer.set_chunks([{**chunk, "system_fingerprint": "engine-1"} for chunk in answer.chunks()])


@mutant("SHAPE-005")
def refusal_gains_a_field(gateway: Sabotage) -> None:
    """Errors carry a request id beside the envelope's four fields."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.is_chat and answer.status == 400:
            document = answer.json
            document["error"]["request_id"] = "req-1"
            answer.json = document


@mutant("SHAPE-006")
def state_gains_a_field(gateway: Sabotage) -> None:
    """The state of a session shows how many turns are in flight."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        parts = answer.path.strip("/").split("/")
        if answer.method == "GET" and len(parts) == 2 and parts[0] == "sessions" and answer.status == 200:
            answer.json = {**answer.json, "in_flight": 0}


@mutant("SHAPE-007")
def trajectory_gains_a_field(gateway: Sabotage) -> None:
    """Exported trajectories carry the model's name."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/trajectories") and answer.status == 200:
            document = answer.json
            document["trajectories"] = [{**each, "model": "kit"} for each in document["trajectories"]]
            answer.json = document
