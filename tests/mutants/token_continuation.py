"""Gateways that split conversations which should go on, or go on where a new one begins."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Any

import orjson

from reference_gateway.session import identity, session
from reference_gateway.session.session import Session
from reference_gateway.session.tree import FRESH, Chain, Tree
from reference_gateway.wire import openai_chat, openai_messages
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

BRANCHES = tuple(f"SPLIT-{number:03}" for number in range(1, 54))
"""Area SPLIT, much of which hangs on a gateway that knows how to go on and how to branch."""
CONTINUATIONS = tuple(f"TOKEN-{number:03}" for number in (15, 17, 18, 19, 20, 21, 22, 23, 24, 26, 30, 36, 50))


@mutant("TOKEN-016")
def answer_in_json_is_kept_as_parsed(sabotage: Sabotage) -> None:
    """The text of an answer that is a JSON object is parsed for the record, and compared as it is written anew."""

    @sabotage.wrap(Session, "_commit_turn")
    def respelled(
        original: Any, session: Session, plan: Any, generation: Any, logprobs: Any, message: Any, *rest: Any
    ) -> None:
        if message["content"].startswith("{"):
            message = {**message, "content": orjson.dumps(orjson.loads(message["content"])).decode()}
        original(session, plan, generation, logprobs, message, *rest)


@mutant("TOKEN-016", also=("TOKEN-036", "SPLIT-040"), bugs=(31,))
def answer_is_compared_as_it_was_stripped(sabotage: Sabotage) -> None:
    """The recorded answer is stripped before it is compared, and its echo is not."""

    @sabotage.wrap(session, "identity_rules")
    def with_white_space(original: Any, options: Any) -> Any:
        return replace(original(options), whitespace=True)

    @sabotage.wrap(Session, "_commit_turn")
    def stripped(
        original: Any, session: Session, plan: Any, generation: Any, logprobs: Any, message: Any, *rest: Any
    ) -> None:
        original(session, plan, generation, logprobs, {**message, "content": message["content"].strip()}, *rest)


@mutant("TOKEN-016", also=(*CONTINUATIONS, *BRANCHES), bugs=(38,))
def every_request_starts_a_trajectory(sabotage: Sabotage) -> None:
    """Each request is a trajectory of its own, prompt and answer."""

    @sabotage.wrap(Tree, "match")
    def fresh(original: Any, *args: Any) -> Any:
        return FRESH


@mutant("TOKEN-017")
def null_content_is_not_empty_content(sabotage: Sabotage) -> None:
    """Null content and empty content are different messages, in the second place of a conversation."""

    @sabotage.wrap(openai_messages, "_content")
    def keep_null(original: Any, content: Any, where: str, *media: Any) -> Any:
        return None if content is None and where == "messages[1]" else original(content, where, *media)

    @sabotage.wrap(identity, "_content")
    def compare_null(original: Any, content: Any) -> Any:
        return ["null"] if content is None else original(content)


@mutant("TOKEN-018")
def results_of_unknown_calls_start_anew(sabotage: Sabotage) -> None:
    """Tool messages go on from the calls that they answer, found by their ids: with other ids they start anew."""
    given: dict[Session, set[str]] = {}

    @sabotage.wrap(Session, "_commit_turn")
    def note(
        original: Any, session: Session, plan: Any, generation: Any, logprobs: Any, message: Any, *rest: Any
    ) -> None:
        given.setdefault(session, set()).update(call["id"] for call in message.get("tool_calls") or ())
        original(session, plan, generation, logprobs, message, *rest)

    @sabotage.wrap(Session, "_plan")
    def plan(original: Any, session: Session, turn: Any, match: Any, *rest: Any) -> Any:
        results = takewhile(lambda message: message["role"] == "tool", turn.messages[match.depth :])
        asked = {message.get("tool_call_id") for message in results}
        return original(session, turn, match if asked <= given.get(session, set()) else FRESH, *rest)


@mutant("TOKEN-018", also=("SPLIT-034",), bugs=(10,))
def tool_call_ids_are_compared(sabotage: Sabotage) -> None:
    """The ids of tool calls are part of a message's identity."""

    @sabotage.wrap(session, "identity_rules")
    def with_ids(original: Any, options: Any) -> Any:
        return replace(original(options), tool_ids=True)


@mutant("TOKEN-019")
def arguments_are_compared_as_text(sabotage: Sabotage) -> None:
    """Tool call arguments are the same when their text is."""

    @sabotage.wrap(openai_messages, "_arguments")
    def unparsed(original: Any, function: Any, where: str) -> Any:
        arguments = function.get("arguments")
        return arguments if isinstance(arguments, str) and arguments else original(function, where)

    @sabotage.wrap(identity, "_arguments")
    def as_text(original: Any, arguments: Any) -> Any:
        return "text", arguments if isinstance(arguments, str) else openai_chat.dump_arguments(arguments)


class _Nothing(dict[str, Any]):
    """The arguments of a call that has none, where a client wrote so by no JSON."""


@mutant("TOKEN-050")
def no_arguments_are_compared_as_text(sabotage: Sabotage) -> None:
    """An empty text is no JSON, and so is not the same as an empty object."""

    @sabotage.wrap(openai_messages, "_arguments")
    def unread(original: Any, function: Any, where: str) -> Any:
        return original(function, where) if function.get("arguments") else _Nothing()

    @sabotage.wrap(identity, "_arguments")
    def as_text(original: Any, arguments: Any) -> Any:
        return ("text", "") if isinstance(arguments, _Nothing) else original(arguments)


@mutant("TOKEN-020")
def parts_are_not_a_string(sabotage: Sabotage) -> None:
    """Content as one text part is kept as it came, and so never the same as a string."""

    @sabotage.wrap(openai_messages, "_content")
    def keep_list(original: Any, content: Any, *where: Any) -> Any:
        text = original(content, *where)
        return content if content == [{"type": "text", "text": text}] else text

    @sabotage.wrap(identity, "_content")
    def compare_list(original: Any, content: Any) -> Any:
        return ["parts", content] if isinstance(content, list) else original(content)


def remembering(sabotage: Sabotage, *fields: str) -> None:
    """Let these fields of a message take part in its identity, where it has them."""

    @sabotage.wrap(openai_messages, "_message")
    def keep(original: Any, message: Any, *where: Any) -> Any:
        return {**original(message, *where), "kept": {name: message[name] for name in fields if name in message}}

    @sabotage.wrap(identity, "_canonical")
    def compare(original: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        return [*original(message, *args, **kwargs), message.get("kept") or None]


@mutant("TOKEN-021")
def every_field_is_compared(sabotage: Sabotage) -> None:
    """Every field that an SDK adds to a message is part of its identity."""
    remembering(sabotage, "audio", "function_call", "annotations")


@mutant("TOKEN-021")
def empty_tool_calls_are_compared(sabotage: Sabotage) -> None:
    """An empty list of tool calls makes another message."""

    @sabotage.wrap(openai_messages, "_message")
    def keep(original: Any, message: Any, *where: Any) -> Any:
        read = original(message, *where)
        return {**read, "tool_calls": []} if message.get("tool_calls") == [] else read

    @sabotage.wrap(identity, "_canonical")
    def compare(original: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        return [*original(message, *args, **kwargs), message.get("tool_calls") == []]


@mutant("TOKEN-022")
def empty_tools_are_not_absent_tools(sabotage: Sabotage) -> None:
    """An empty list of tools makes another conversation."""

    @sabotage.wrap(openai_chat, "_tools")
    def keep(original: Any, body: Any) -> Any:
        found = original(body)
        return [] if found is None and body.get("tools") == [] else found

    @sabotage.wrap(session, "identify_tools")
    def compare(original: Any, tools: Any, *partition: Any) -> Any:
        return original(["absent"] if tools is None else tools, *partition)


def comparing_the_request(sabotage: Sabotage, *fields: str) -> None:
    """Let these fields of the request take part in its conversation's identity."""
    read = openai_chat.read_messages
    asked: dict[str, Any] = {}

    @sabotage.wrap(openai_chat, "parse")
    def note(original: Any, body: Any, *args: Any) -> Any:
        asked.clear()
        asked.update({name: body[name] for name in fields if name in body})
        return original(body, *args)

    @sabotage.wrap(openai_chat, "read_messages")
    def mark(original: Any, messages: Any, *args: Any) -> Any:
        first, *rest = read(messages, *args)
        return [{**first, "asked": dict(asked)}, *rest]

    @sabotage.wrap(identity, "_canonical")
    def compare(original: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        return [*original(message, *args, **kwargs), message.get("asked") or None]


@mutant("TOKEN-023")
def model_is_compared(sabotage: Sabotage) -> None:
    """Another model name makes another conversation."""
    comparing_the_request(sabotage, "model")


@mutant("TOKEN-023")
def sampling_is_compared(sabotage: Sabotage) -> None:
    """Other sampling values make another conversation."""
    comparing_the_request(sabotage, "temperature", "top_p")


@mutant("TOKEN-024", bugs=(27,))
def system_message_is_not_compared(sabotage: Sabotage) -> None:
    """A chat goes on under another system prompt."""
    chat = on_this_wire(sabotage)

    @sabotage.wrap(identity, "_canonical")
    def without_system(original: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        if chat.get() and message["role"] == "system":
            return ["system"]
        return original(message, *args, **kwargs)


@mutant(
    "TOKEN-024",
    also=(
        "SPLIT-024",
        "SPLIT-047",
    ),
    bugs=(27,),
)
def text_is_compared_by_length(sabotage: Sabotage) -> None:
    """Two messages of a user with the same number of characters are the same message."""

    @sabotage.wrap(identity, "_canonical")
    def by_length(original: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        role, content, *rest = original(message, *args, **kwargs)
        return [role, len(content) if role == "user" and isinstance(content, str) else content, *rest]


@mutant("TOKEN-024", also=("TOKEN-026", *BRANCHES), bugs=(38,))
def only_roles_are_compared(sabotage: Sabotage) -> None:
    """A request continues whatever has as many messages of the same roles."""

    @sabotage.wrap(identity, "_canonical")
    def by_role(original: Any, message: Any, *args: Any, **kwargs: Any) -> Any:
        return [message["role"]]


@mutant("TOKEN-025")
def tools_are_not_compared(sabotage: Sabotage) -> None:
    """A conversation goes on with tools that its context does not have."""

    @sabotage.wrap(session, "identify_tools")
    def alike(original: Any, tools: Any, *partition: Any) -> Any:
        return original(None, *partition)


@mutant("TOKEN-026", bugs=(25,))
def detour_with_tools_closes_the_conversation(sabotage: Sabotage) -> None:
    """Other tools are taken for another agent: its first request closes what the agent without tools had."""
    tools: dict[Session, bool] = {}

    @sabotage.wrap(Session, "_plan")
    def plan(original: Any, session: Session, turn: Any, match: Any, *rest: Any) -> Any:
        if match == FRESH and turn.tools and tools.get(session) is False:
            for chain in session._tree.chains():
                chain.closed = True
        tools[session] = bool(turn.tools)
        return original(session, turn, match, *rest)


@mutant("TOKEN-026", also=(*BRANCHES,), bugs=(5,))
def one_conversation_at_a_time(sabotage: Sabotage) -> None:
    """A new conversation closes the one before, although the gateway declares that it has several."""

    @sabotage.wrap(session, "policy")
    def single(original: Any, options: Any) -> Any:
        return replace(original(options), multi_chain=False)


@mutant("TOKEN-026", also=(*BRANCHES,), bugs=(25,))
def only_the_latest_conversation_goes_on(sabotage: Sabotage) -> None:
    """A conversation that is not the latest is rendered anew when it goes on."""

    @sabotage.wrap(Tree, "match")
    def latest(original: Any, tree: Tree, *args: Any) -> Any:
        match, chains = original(tree, *args), tree.chains()
        return FRESH if chains and match.chain != chains[-1].id else match


def exporting_one_per(sabotage: Sabotage, key: Any) -> None:
    """Export the latest of the trajectories that have the same key only."""

    @sabotage.wrap(Tree, "chains")
    def latest(original: Any, tree: Tree) -> list[Chain]:
        chains: list[Chain] = original(tree)
        kept = {key(chain): chain for chain in chains}
        return [chain for chain in chains if kept[key(chain)] is chain]


@mutant(
    "TOKEN-027",
    also=(
        "SPLIT-001",
        "SPLIT-025",
    ),
)
def later_answer_overwrites_the_earlier(sabotage: Sabotage) -> None:
    """Answers are kept by their request, so that a repeat overwrites the answer before."""
    exporting_one_per(sabotage, lambda chain: chain.tip.asked[0])


@mutant("TOKEN-027")
def equal_answers_are_kept_once(sabotage: Sabotage) -> None:
    """Two answers to the same request with the same ids are taken for one that was sent twice."""
    exporting_one_per(sabotage, lambda chain: (chain.tip.asked[0], orjson.dumps(chain.tip.sampled.tolist())))
