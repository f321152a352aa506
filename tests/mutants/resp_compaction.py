"""Mutants of area RESP: compactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from reference_gateway.serving import compactions, responses_plane
from reference_gateway.serving.responses import Responses
from reference_gateway.session.conversations import Conversations, Entry, Item
from reference_gateway.session.errors import UnknownResponse
from reference_gateway.session.session import Session
from reference_gateway.session.tree import Tree
from reference_gateway.types import BackendFailed, Turn
from reference_gateway.wire import compaction, compaction_item
from reference_gateway.wire.base import RequestRefused
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, on_parse
from tests.mutants.sabotage import Sabotage


def on_compaction(gateway: Sabotage, change: Callable[[Body, list[Item]], Body]) -> None:
    """Change each compaction; `change` is also told the items that it is made of."""

    @gateway.wrap(compaction, "body_of")
    def body_of(
        original: Any, response_id: str, created_at: int, items: Iterable[Item], content: str, answer: Any
    ) -> Body:
        listed = list(items)
        return change(original(response_id, created_at, listed, content, answer), listed)


def on_messages(gateway: Sabotage, change: Callable[[list[Item]], list[Item]]) -> None:
    """Change the messages of the user that a compaction has."""

    def changed(body: Body, _: list[Item]) -> Body:
        *said, made = body["output"]
        return {**body, "output": [*change(said), made]}

    on_compaction(gateway, changed)


def _sums_up(turn: Turn) -> bool:
    return turn.messages[-1] == compaction.ASK


def _is_compacted(items: Any) -> bool:
    return isinstance(items, list) and any(isinstance(it, dict) and it.get("type") == "compaction" for it in items)


@mutant("RESP-200")
def usage_of_a_compaction_has_no_details(gateway: Sabotage) -> None:
    """The usage has the three counts and no more."""

    def change(body: Body, _: list[Item]) -> Body:
        return {**body, "usage": {name: count for name, count in body["usage"].items() if "details" not in name}}

    on_compaction(gateway, change)


@mutant("RESP-200")
def outputs_of_tools_are_kept(gateway: Sabotage) -> None:
    """What the client sent is kept as it was: also what its tools said."""

    def change(body: Body, items: list[Item]) -> Body:
        results = [entry for entry in items if entry["type"] == "function_call_output"]
        return {**body, "output": [*results, *body["output"]]}

    on_compaction(gateway, change)


def _with_text(entry: Item, change: Callable[[str], str]) -> Item:
    content = [{**part, "text": change(part["text"])} if "text" in part else part for part in entry["content"]]
    return {**entry, "content": content}


@mutant("RESP-201")
def kept_messages_are_trimmed(gateway: Sabotage) -> None:
    """Blanks around the messages that are kept are cut."""
    on_messages(gateway, lambda said: [_with_text(entry, str.strip) for entry in said])


@mutant("RESP-201")
def what_was_said_twice_is_kept_once(gateway: Sabotage) -> None:
    """Messages with the same text are one."""
    on_messages(gateway, lambda said: list({str(entry["content"]): entry for entry in said}.values()))


@mutant("RESP-202")
def compaction_is_skipped_in_streams(gateway: Sabotage) -> None:
    """Where the response is streamed, items of types that the stream does not know are left out of the input."""

    def change(body: Body) -> Body:
        if not body.get("stream") or not _is_compacted(body.get("input")):
            return body
        return {**body, "input": [entry for entry in body["input"] if entry.get("type") != "compaction"]}

    on_parse(gateway, change)


@mutant("RESP-203")
def end_of_a_turn_behind_a_compaction_is_not_trained(gateway: Sabotage) -> None:
    """The third answer behind a compaction is measured by its text, so that its end has the mask 0."""
    behind: Counter[str] = Counter()

    @gateway.wrap(Session, "run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        behind[self.session_id] += any("was compacted" in str(message["content"]) for message in turn.messages)
        return await original(self, turn)

    @gateway.wrap(Session, "trajectories")
    def trajectories(original: Any, self: Session) -> Any:
        exported = original(self)
        if behind[self.session_id] > 2:
            exported[-1].response_mask[-1] = 0
        return exported


@mutant("RESP-204")
def summary_is_asked_for_beside_the_session(gateway: Sabotage) -> None:
    """The summary of a kept conversation is asked for in a session of its own, so that nothing disturbs the other."""

    @gateway.wrap(Session, "run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        if _sums_up(turn) and len(self._tree.chains()) > 0:
            self = Session(self.session_id, self._codec, self._backend)
        return await original(self, turn)


@mutant("RESP-205")
def failed_compaction_begins_anew(gateway: Sabotage) -> None:
    """Where a compaction fails, nobody knows what is left, so the session begins anew."""

    @gateway.wrap(Session, "run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        try:
            return await original(self, turn)
        except BackendFailed:
            if _sums_up(turn):
                self._tree = Tree(self._tree.policy)
            raise


@mutant("RESP-206")
def summary_is_counted_without_its_end(gateway: Sabotage) -> None:
    """The usage counts the tokens of the summary's text."""

    def change(body: Body, _: list[Item]) -> Body:
        usage = body["usage"]
        less = {name: usage[name] - 1 for name in ("output_tokens", "total_tokens")}
        return {**body, "usage": {**usage, **less}}

    on_compaction(gateway, change)


@mutant("RESP-207")
def unknown_response_is_nothing_to_compact(gateway: Sabotage) -> None:
    """A response that is not known has nothing to say, so what is left is compacted."""

    @gateway.wrap(Responses, "first_turn")
    def first_turn(original: Any, self: Responses, session: Session, request: Any, *behind: Any) -> Any:
        try:
            return original(self, session, request, *behind)
        except UnknownResponse:
            if not behind:
                raise
            return original(self, session, replace(request, previous=None), *behind)


@mutant("RESP-208")
def messages_of_the_request_are_kept(gateway: Sabotage) -> None:
    """What the output has are the messages of the request."""
    gateway.patch(compactions, "items", lambda tip: ())


@mutant("RESP-209")
def content_is_believed(gateway: Sabotage) -> None:
    """What stands in a compaction is decoded, and that is all."""

    @gateway.wrap(compaction_item.Seal, "_require_own")
    def require(original: Any, self: Any, session_id: str, content: Any, where: str) -> None:
        if not isinstance(content, str):
            original(self, session_id, content, where)


@mutant("RESP-209")
def end_of_the_content_is_not_looked_at(gateway: Sabotage) -> None:
    """The code is that of the first words of the summary."""

    @gateway.wrap(compaction_item.Seal, "_code")
    def code(original: Any, self: Any, session_id: str, text: bytes) -> Any:
        return original(self, session_id, text[:8])


@mutant("RESP-210")
def compaction_needs_no_model(gateway: Sabotage) -> None:
    """There is one model, so it need not be named."""

    @gateway.wrap(compaction, "require_fields")
    def require_fields(original: Any, body: Body, policy: Any) -> None:
        original({**body, "model": "any"}, policy)


@mutant("RESP-210")
def bad_item_is_left_out_of_a_compaction(gateway: Sabotage) -> None:
    """What cannot be read of a conversation is left out of its summary."""

    @gateway.wrap(responses_plane, "compact")
    async def compact(original: Any, responses: Any, session: Session, body: Body, headers: Any) -> Any:
        try:
            return await original(responses, session, body, headers)
        except RequestRefused as refusal:
            if "input[0].type" not in str(refusal):
                raise
            return await original(responses, session, {**body, "input": "?"}, headers)


@mutant("RESP-211")
def compaction_takes_the_place_of_its_response(gateway: Sabotage) -> None:
    """What was compacted goes on from the compaction, to save tokens."""
    asked: list[str | None] = [None]

    @gateway.wrap(Responses, "first_turn")
    def first_turn(original: Any, self: Responses, session: Session, request: Any, *behind: Any) -> Any:
        asked[0] = request.previous
        return original(self, session, request, *behind)

    @gateway.wrap(Session, "run")
    async def run(original: Any, self: Session, turn: Turn) -> Any:
        answer = await original(self, turn)
        kept: Conversations = self.conversations
        if _sums_up(turn) and asked[0] in kept._entries:
            kept._entries[asked[0]] = Entry(None, (), (*turn.messages, answer.message))
        return answer


@mutant("RESP-212")
def compactions_pile_up(gateway: Sabotage) -> None:
    """The output has the compactions before, too."""

    def change(body: Body, items: list[Item]) -> Body:
        earlier = [entry for entry in items if entry["type"] == "compaction"]
        return {**body, "output": [*body["output"], *earlier]}

    on_compaction(gateway, change)


@mutant("RESP-213")
def instructions_of_a_compaction_are_not_read(gateway: Sabotage) -> None:
    """The gateway has its own instructions for a summary."""

    @gateway.wrap(Responses, "first_turn")
    def first_turn(original: Any, self: Responses, session: Session, request: Any, *behind: Any) -> Any:
        return original(self, session, replace(request, instructions=None) if behind else request, *behind)
