"""Mutants of area RESP: the routes around responses and conversations, and the whole response object."""

from __future__ import annotations

from typing import Any

from reference_gateway.serving import responses, responses_plane
from reference_gateway.serving.responses import Responses
from reference_gateway.session import conversations
from reference_gateway.session.conversations import Conversations
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, on_body
from tests.mutants.sabotage import Answer, Sabotage


@mutant("RESP-149")
def default_is_null(gateway: Sabotage) -> None:
    """Beside what was asked for the reasoning, what nobody asked for is null, also where a number has to stand."""
    on_body(gateway, lambda request, body: {**body, "presence_penalty": None} if body["reasoning"] else body)


@mutant("RESP-149")
def fields_that_nobody_set_are_left_out(gateway: Sabotage) -> None:
    """The answer has the fields that the author's client reads."""

    def change(request: Any, body: Body) -> Body:
        return {name: value for name, value in body.items() if name not in ("background", "completed_at")}

    on_body(gateway, change)


@mutant("RESP-150")
def tokens_are_counted_without_the_tools(gateway: Sabotage) -> None:
    """The count leaves out what the template says about tools."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/responses/input_tokens") and answer.status == 200:
            answer.json = {**answer.json, "input_tokens": answer.json["input_tokens"] - 1}


@mutant("RESP-150")
def count_makes_a_response(gateway: Sabotage) -> None:
    """To count is to ask the engine and read its usage."""

    @gateway.middleware
    def asking(app: Any) -> Any:
        async def ask(scope: Any, receive: Any, send: Any) -> None:
            if scope.get("path", "").endswith("/responses/input_tokens"):
                scope = {**scope, "path": scope["path"].removesuffix("/input_tokens")}
            await app(scope, receive, send)

        return ask


@mutant("RESP-151")
def deleted_response_can_be_continued(gateway: Sabotage) -> None:
    """A response that is deleted leaves its history."""

    @gateway.wrap(Conversations, "forget")
    def forget(original: Any, self: Conversations, response_id: str) -> None:
        entry = self._entries.get(response_id)
        original(self, response_id)
        if entry is not None:
            self._entries[response_id] = entry


@mutant("RESP-151")
def deleted_response_can_be_read(gateway: Sabotage) -> None:
    """Responses are deleted at the end of the day."""
    gateway.patch(Conversations, "forget", Conversations.body)


@mutant("RESP-152")
def first_item_of_the_input_is_listed(gateway: Sabotage) -> None:
    """What a response was asked for with is one message."""

    @gateway.wrap(Conversations, "inputs")
    def inputs(original: Any, self: Conversations, response_id: str) -> Any:
        return original(self, response_id)[-1:]


@mutant("RESP-153")
def anything_can_be_cancelled(gateway: Sabotage) -> None:
    """To cancel a response is to set its status."""

    @gateway.wrap(responses_plane.ResponsesPlane, "write")
    async def write(original: Any, self: Any, session: Any, path: str, *rest: Any) -> Any:
        if path.endswith("/cancel"):
            session.conversations.body(path.split("/")[2])["status"] = "cancelled"
        return await original(self, session, path, *rest)


@mutant("RESP-154")
def new_metadata_are_repeated_only(gateway: Sabotage) -> None:
    """The new metadata of a conversation are in the answer, and nowhere else."""

    @gateway.wrap(responses_plane, "read_metadata")
    def read_metadata(original: Any, body: Body) -> Any:
        return {**original(body), "runName": "first"}


@mutant("RESP-155")
def closed_conversation_goes_on(gateway: Sabotage) -> None:
    """A conversation that was deleted is made anew by the next response in it."""
    closed: dict[str, Any] = {}

    @gateway.wrap(Conversations, "close")
    def close(original: Any, self: Conversations, conversation_id: str) -> None:
        closed[conversation_id] = self.conversation(conversation_id)
        original(self, conversation_id)

    @gateway.wrap(Responses, "respond")
    async def respond(original: Any, self: Responses, session: Any, request: Any, *rest: Any) -> Any:
        if request.conversation in closed:
            session.conversations._conversations[request.conversation] = closed[request.conversation]
        return await original(self, session, request, *rest)


@mutant("RESP-156")
def added_items_are_listed_only(gateway: Sabotage) -> None:
    """Items that are added to a conversation are listed, and the model does not see them."""

    @gateway.wrap(Responses, "add")
    async def add(original: Any, self: Responses, session: Any, conversation: Any, body: Body) -> Any:
        before = conversation.tip
        named = await original(self, session, conversation, body)
        conversation.tip = conversations.Entry(before, named, ())
        return named


@mutant("RESP-157")
def item_is_hidden_only(gateway: Sabotage) -> None:
    """An item that is taken out of a conversation is not listed, and the model still sees it."""

    @gateway.wrap(responses, "without")
    def without(original: Any, tip: Any, item_id: str, lowered: Any) -> Any:
        behind, had = original(tip, item_id, lowered)
        return (conversations.Entry(behind.parent, behind.items, tip.messages) if had else behind), had


@mutant("RESP-158")
def any_item_is_the_first(gateway: Sabotage) -> None:
    """The id of an item is not looked at."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if "/items/" in answer.path and answer.method == "GET" and answer.status == 200:
            answer.json = {**answer.json, "id": "msg_first"}
