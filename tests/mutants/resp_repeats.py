"""Mutants of area RESP: history that comes twice, items that only their maker can read, tools that nobody runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reference_gateway.serving import responses
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import ASKED, Body, on_parse, remember_request
from tests.mutants.sabotage import Sabotage

Items = list[Any]


def not_looked_for(gateway: Sabotage, where: Callable[[Any, Items], bool]) -> None:
    """Items that are there already are not noticed in requests like this: `where(request, items)`."""
    remember_request(gateway)

    @gateway.wrap(responses, "repeated")
    def repeated(original: Any, tip: Any, given: Items, *rest: Any) -> Any:
        asked = ASKED.get(None)
        return None if asked is not None and where(asked, given) else original(tip, given, *rest)


def kinds(given: Items) -> set[str]:
    return {item["type"] for item in given}


def with_id(given: Items) -> bool:
    return any("id" in item for item in given if item["type"] == "function_call")


@mutant("RESP-142")
def encrypted_reasoning_is_printed(gateway: Sabotage) -> None:
    """What a reasoning item says is its text, or else what it is encrypted to."""

    def told(body: Body) -> Body:
        given = body.get("input")
        for item in given if isinstance(given, list) else ():
            if isinstance(item, dict) and item.get("type") == "reasoning" and item.get("encrypted_content"):
                item.update(type="message", role="assistant", content=str(item["encrypted_content"]))
        return body

    on_parse(gateway, told)


@mutant("RESP-143")
def null_of_a_flat_tool_is_described(gateway: Sabotage) -> None:
    """A description that is null is a description."""

    def described(body: Body) -> Body:
        tools = body.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and tool.get("description", 0) is None:
                tool["description"] = "null"
        return body

    on_parse(gateway, described)


@mutant("RESP-144")
def output_behind_a_response_comes_twice(gateway: Sabotage) -> None:
    """Output items that are sent again beside `previous_response_id` are taken for new ones."""
    not_looked_for(gateway, lambda asked, given: asked.previous and with_id(given))


@mutant("RESP-145")
def history_behind_a_response_comes_twice(gateway: Sabotage) -> None:
    """A client that sends everything each time, and `previous_response_id` beside it, is believed."""
    not_looked_for(gateway, lambda asked, given: asked.previous and kinds(given) == {"message"})


@mutant("RESP-146")
def items_of_a_conversation_come_twice(gateway: Sabotage) -> None:
    """Items that are sent again in a conversation get other ids."""
    not_looked_for(gateway, lambda asked, given: asked.conversation and with_id(given))


@mutant("RESP-147")
def call_without_an_id_is_another(gateway: Sabotage) -> None:
    """What has no id is new."""

    def new(asked: Any, given: Items) -> bool:
        return "function_call" in kinds(given) and not with_id(given)

    not_looked_for(gateway, new)


@mutant("RESP-148")
def hosted_tool_becomes_a_function(gateway: Sabotage) -> None:
    """The type of a tool that has no name is its name."""

    def named(body: Body) -> Body:
        tools = body.get("tools")
        if not isinstance(tools, list):
            return body
        hosted = ("code_interpreter", "image_generation")
        return {
            **body,
            "tools": [
                {"type": "function", "name": tool["type"], "parameters": {}}
                if isinstance(tool, dict) and tool.get("type") in hosted
                else tool
                for tool in tools
            ],
        }

    on_parse(gateway, named)
