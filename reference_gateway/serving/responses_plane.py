"""The routes of the Responses wire, below a session's `/v1`.

| route | does |
|---|---|
| `POST /responses` | makes a response, streamed or not |
| `GET /responses/{id}` | a response that was made, unless its request said `store: false` |
| `POST /conversations` | an empty conversation, or one with the items that the request gives |
| `GET /conversations/{id}` | the conversation |
| `GET /conversations/{id}/items` | its items; `order` (desc unless asked), `limit` (20) and `after` |

Knows paths, methods and query strings; what a response is made of is in `responses`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Send

from reference_gateway.serving.errors import problem_of
from reference_gateway.serving.http import JSON, RawHeaders
from reference_gateway.serving.live_responses import LiveResponse, LiveTexts
from reference_gateway.serving.responses import Responses
from reference_gateway.session import Session
from reference_gateway.session.conversations import Conversation, items
from reference_gateway.wire import sse
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.openai_responses import failure_of
from reference_gateway.wire.responses_body import frames

Answered = tuple[bytes, RawHeaders]

METHODS: Mapping[tuple[str, ...], str] = {
    ("responses",): "POST",
    ("responses", "*"): "GET",
    ("conversations",): "POST",
    ("conversations", "*"): "GET",
    ("conversations", "*", "items"): "GET",
}
"""Path below `/v1`, `*` being an id -> the method that it takes."""

PAGE = 20
LARGEST_PAGE = 100


def method_of(path: str) -> str | None:
    """The method that a path takes; None for one that is not of this wire."""
    return METHODS.get(tuple("*" if place == 1 else part for place, part in enumerate(path.split("/")[1:])))


class ResponsesPlane:
    """`texts` makes text of ids as they come, where streams are incremental."""

    def __init__(self, responses: Responses, texts: LiveTexts | None = None) -> None:
        self._responses = responses
        self._texts = texts

    def read(self, session: Session, path: str, query: bytes) -> Answered:
        """Answer a GET. Raises `RequestRefused`, `UnknownResponse` and `UnknownConversation`."""
        _, kind, one, *rest = path.split("/")
        if kind == "responses":
            return orjson.dumps(session.conversations.body(one)), JSON
        conversation = session.conversations.conversation(one)
        return orjson.dumps(_items(conversation, query) if rest else _conversation(conversation)), JSON

    async def write(
        self, session: Session, path: str, body: Mapping[str, Any], headers: Mapping[str, str], send: Send
    ) -> Answered | None:
        """Answer a POST; None when the answer left as it was made. Raises `RequestRefused` and what a turn raises."""
        if path == "/conversations":
            return orjson.dumps(_conversation(self._responses.create_conversation(session, body))), JSON
        request = self._responses.parse(session, body, headers)
        if request.stream and self._texts is not None:
            live = LiveResponse(self._texts)
            making = self._responses.respond(session, request, live)
            await live.follow(making, send, sse.HEADERS, _failure)
            return None
        response = await self._responses.respond(session, request)
        if request.stream:
            return b"".join(frames(response)), sse.HEADERS
        return orjson.dumps(response), JSON


def _failure(error: Exception) -> dict[str, str]:
    problem = problem_of(error)
    return failure_of(problem.status, problem.message)


def _conversation(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": conversation.created_at,
        "metadata": conversation.metadata,
    }


def _items(conversation: Conversation, query: bytes) -> dict[str, Any]:
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise RequestRefused("order must be asc or desc")
    limit = asked.get("limit", str(PAGE))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= LARGEST_PAGE:
        raise RequestRefused(f"limit must be a number from 1 to {LARGEST_PAGE}")
    found = list(items(conversation.tip))
    if order == "desc":
        found.reverse()
    if "after" in asked:
        places = [place for place, item in enumerate(found) if item["id"] == asked["after"]]
        if not places:
            raise RequestRefused("after must be the id of an item of the conversation")
        found = found[places[0] + 1 :]
    page = found[: int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(found) > len(page),
    }
