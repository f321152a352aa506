"""Mutants of areas CHAT, MSG and RESP: ids of tool calls that come back later in a conversation."""

from __future__ import annotations

from itertools import count
from typing import Any

from reference_gateway.codec import template
from tests.mutants.cross import served_path
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage
from tests.mutants.wire import CHAT, MESSAGES, RESPONSES

AGAIN = 7
"""So many calls have ids of their own; the next has that of the first."""


def ids_come_back(gateway: Sabotage, path: str) -> None:
    """Ids are counted, in a number that is too small."""
    served, numbers = served_path(gateway), count()

    @gateway.wrap(template, "parse_calls")
    def parse_calls(original: Any, *read: Any) -> Any:
        rest, calls = original(*read)
        if served.get().endswith(path):
            calls = [{**call, "id": f"call_{next(numbers) % AGAIN}"} for call in calls]
        return rest, calls


@mutant("CHAT-103")
def ids_of_calls_come_back(gateway: Sabotage) -> None:
    """The calls of chat completions are counted, and the count begins anew after seven."""
    ids_come_back(gateway, CHAT)


@mutant("MSG-153")
def ids_of_blocks_come_back(gateway: Sabotage) -> None:
    """The `tool_use` blocks of messages are counted, and the count begins anew after seven."""
    ids_come_back(gateway, MESSAGES)


@mutant("RESP-123")
def ids_of_items_come_back(gateway: Sabotage) -> None:
    """The `function_call` items of responses are counted, and the count begins anew after seven."""
    ids_come_back(gateway, RESPONSES)
