"""Makes compactions: one turn in which the model sums up a conversation, so that it can go on without the whole of it.

Knows how responses are made, and what a compaction is. The turn is a turn of the session like any other, behind the
conversation that it is about: what was sampled is exported, and the conversation goes on beside it, compacted or not.
It is offered no tools, as its answer is a text. Invariants: nothing is kept for later but the tokens of the turn; a
turn that fails leaves nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reference_gateway.serving.responses import Responses
from reference_gateway.session import Session
from reference_gateway.session.conversations import items, new_id
from reference_gateway.types import BackendFailed
from reference_gateway.wire import compaction
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.openai_responses import cut_short

_WITHOUT_TOOLS = {"tool_choice": "none", "parallel_tool_calls": None, "max_tool_calls": None}


async def compact(
    responses: Responses, session: Session, body: Mapping[str, Any], headers: Mapping[str, str]
) -> dict[str, Any]:
    """The compaction, as it goes over the wire. Raises `RequestRefused`, `UnknownResponse`, whatever a turn raises, and
    `BackendFailed` for a model that says nothing."""
    compaction.require_fields(body, responses.policy)
    request = responses.parse(session, {**body, **_WITHOUT_TOOLS}, headers)
    parent, turn = responses.first_turn(session, request, compaction.ASK)
    answer = await session.run(turn)
    responses.answered(answer)
    cut = cut_short(answer)
    if cut is not None:
        raise RequestRefused(f"the summary is not whole: the model was stopped by {cut}")
    summary = answer.message["content"]
    if not summary.strip():
        raise BackendFailed("the model gave no summary")
    content = responses.seal.close(session.session_id, summary)
    conversation = [*items(parent), *session.conversations.identified(request.items)]
    return compaction.body_of(new_id("resp"), responses.now(), conversation, content, answer)
