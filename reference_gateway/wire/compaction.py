"""OpenAI Responses, compactions: what a request of `POST /v1/responses/compact` asks for, and the body that answers it.

The model is asked for a summary of the conversation, as by one more message of its user (`ASK`). What is answered is
each message of the user as it was sent, and behind them one item that has the summary (`compaction_item`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reference_gateway.session.conversations import Item
from reference_gateway.types import Answer, Message
from reference_gateway.wire import compaction_item
from reference_gateway.wire.base import Policy, RequestRefused
from reference_gateway.wire.fields import COMPACT, Gate
from reference_gateway.wire.openai_responses import usage_of

ASK: Message = {
    "role": "user",
    "content": (
        "Summarise this conversation so far. You will go on with nothing but my messages and your summary, so keep "
        "what was found out, what was decided and done, what is still to do, and each name, number and path that is "
        "needed for it. Answer with the summary alone."
    ),
}
"""What the model is asked, behind the conversation."""


def require_fields(body: Mapping[str, Any], policy: Policy) -> None:
    """Raises `RequestRefused` for what a request for a response may ask for, and one for a compaction may not."""
    _GATE.check(body, policy)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise RequestRefused("model must be a non-empty string")


def body_of(response_id: str, created_at: int, items: Iterable[Item], content: str, answer: Answer) -> dict[str, Any]:
    """The body that answers. `items` are those of the whole conversation, with their ids; `content` is that of the new
    one."""
    return {
        "id": response_id,
        "object": "response.compaction",
        "created_at": created_at,
        "output": [*filter(_of_user, items), compaction_item.made(content)],
        "usage": usage_of([answer]),
    }


_GATE = Gate(COMPACT)


def _of_user(item: Item) -> bool:
    return (item["type"], item.get("role")) == ("message", "user")
