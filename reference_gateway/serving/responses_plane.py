"""The routes of the Responses wire, below a session's `/v1`.

| route | does |
|---|---|
| `POST /responses` | makes a response, streamed or not |
| `POST /responses/input_tokens` | how many tokens the model would be given |
| `POST /responses/compact` | what can stand for a conversation: the user's messages and a summary of it |
| `GET`, `DELETE /responses/{id}` | a response that was made, unless its request said `store: false` |
| `GET /responses/{id}/input_items` | what it was asked for with |
| `POST /responses/{id}/cancel` | refused: responses are not made in the background |
| `POST /conversations` | an empty conversation, or one with the items that the request gives |
| `GET`, `POST`, `DELETE /conversations/{id}` | the conversation; gives it other metadata |
| `GET`, `POST /conversations/{id}/items` | its items, and more of them |
| `GET`, `DELETE /conversations/{id}/items/{id}` | one of them |

Lists take `order` (desc unless asked), `limit` (20) and `after`. Knows paths, methods and query strings; what
a response is made of is in `responses`, and a compaction in `compactions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Send

from reference_gateway.serving.compactions import compact
from reference_gateway.serving.errors import problem_of
from reference_gateway.serving.http import JSON, RawHeaders
from reference_gateway.serving.live_responses import LiveResponse, LiveTexts
from reference_gateway.serving.pages import listing, page_of
from reference_gateway.serving.responses import Responses
from reference_gateway.session import Session
from reference_gateway.session.conversations import Conversation, items
from reference_gateway.session.errors import UnknownItem
from reference_gateway.wire import sse
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.openai_responses import failure_of, read_metadata
from reference_gateway.wire.responses_body import frames

Answered = tuple[bytes, RawHeaders]

METHODS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("responses",): ("POST",),
    ("responses", "input_tokens"): ("POST",),
    ("responses", "compact"): ("POST",),
    ("responses", "*"): ("GET", "DELETE"),
    ("responses", "*", "input_items"): ("GET",),
    ("responses", "*", "cancel"): ("POST",),
    ("conversations",): ("POST",),
    ("conversations", "*"): ("GET", "POST", "DELETE"),
    ("conversations", "*", "items"): ("GET", "POST"),
    ("conversations", "*", "items", "*"): ("GET", "DELETE"),
}
"""Path below `/v1`, `*` being an id -> the methods that it takes."""


def methods_of(path: str) -> tuple[str, ...] | None:
    """The methods that a path takes; None for one that is not of this wire."""
    parts = tuple(path.split("/")[1:])
    if parts in METHODS:
        return METHODS[parts]
    return METHODS.get(tuple("*" if place % 2 else part for place, part in enumerate(parts)))


class ResponsesPlane:
    """`texts` makes text of ids as they come, where streams are incremental."""

    def __init__(self, responses: Responses, texts: LiveTexts | None = None) -> None:
        self._responses = responses
        self._texts = texts

    def read(self, session: Session, path: str, query: bytes) -> Answered:
        """Answer a GET. Raises `RequestRefused`, `UnknownResponse`, `UnknownConversation` and `UnknownItem`."""
        kept = session.conversations
        match path.split("/")[1:]:
            case ["responses", response_id]:
                return _json(kept.body(response_id))
            case ["responses", response_id, _]:
                return _json(page_of(kept.inputs(response_id), query))
            case [_, conversation_id]:
                return _json(_conversation(kept.conversation(conversation_id)))
            case [_, conversation_id, _]:
                return _json(page_of(items(kept.conversation(conversation_id).tip), query))
            case [_, conversation_id, _, item_id]:
                for item in items(kept.conversation(conversation_id).tip):
                    if item["id"] == item_id:
                        return _json(item)
                raise UnknownItem(item_id)
        raise AssertionError(path)

    async def delete(self, session: Session, path: str) -> Answered:
        """Answer a DELETE. Raises as `read`."""
        kept = session.conversations
        match path.split("/")[1:]:
            case ["responses", response_id]:
                kept.forget(response_id)
                return _json({"id": response_id, "object": "response", "deleted": True})
            case [_, conversation_id]:
                kept.close(conversation_id)
                return _json({"id": conversation_id, "object": "conversation.deleted", "deleted": True})
            case [_, conversation_id, _, item_id]:
                conversation = kept.conversation(conversation_id)
                await self._responses.remove(session, conversation, item_id)
                return _json(_conversation(conversation))
        raise AssertionError(path)

    async def write(
        self, session: Session, path: str, body: Mapping[str, Any], headers: Mapping[str, str], send: Send
    ) -> Answered | None:
        """Answer a POST; None when the answer left as it was made. Raises `RequestRefused` and what a turn raises."""
        kept = session.conversations
        match path.split("/")[1:]:
            case ["responses"]:
                return await self._respond(session, body, headers, send)
            case ["responses", "input_tokens"]:
                tokens = self._responses.count(session, self._responses.parse(session, body, headers))
                return _json({"object": "response.input_tokens", "input_tokens": tokens})
            case ["responses", "compact"]:
                return _json(await compact(self._responses, session, body, headers))
            case ["responses", response_id, "cancel"]:
                kept.body(response_id)
                raise RequestRefused("only a response that is made in the background can be cancelled")
            case ["conversations"]:
                return _json(_conversation(self._responses.create_conversation(session, body)))
            case ["conversations", conversation_id]:
                conversation = kept.conversation(conversation_id)
                conversation.metadata = read_metadata(body)
                return _json(_conversation(conversation))
            case ["conversations", conversation_id, "items"]:
                conversation = kept.conversation(conversation_id)
                return _json(listing(await self._responses.add(session, conversation, body)))
        raise AssertionError(path)

    async def _respond(
        self, session: Session, body: Mapping[str, Any], headers: Mapping[str, str], send: Send
    ) -> Answered | None:
        request = self._responses.parse(session, body, headers)
        if request.stream and self._texts is not None:
            live = LiveResponse(self._texts)
            making = self._responses.respond(session, request, live)
            await live.follow(making, send, sse.HEADERS, _failure)
            return None
        response = await self._responses.respond(session, request)
        if request.stream:
            return b"".join(frames(response)), sse.HEADERS
        return _json(response)


def _json(document: Any) -> Answered:
    return orjson.dumps(document), JSON


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
