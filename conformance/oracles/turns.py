"""Turn and step events: what a client sees of an agent's turn over the Responses wire.

`Turn` makes them of raw events, sans-IO; `turn_events` of recorded streams; `grammar` judges a list of them, whoever
made it. The vocabulary is in `turns_events`.

Sources: contract 3.1 to 3.5.
"""

from __future__ import annotations

from conformance.oracles.turns_events import ToolCall, ToolResponse, TurnEvent, as_json
from conformance.oracles.turns_grammar import grammar
from conformance.oracles.turns_synthesis import Finished, FollowUp, NextEvent, RunTools, Turn, Wants, turn_events

__all__ = [
    "Finished",
    "FollowUp",
    "NextEvent",
    "RunTools",
    "ToolCall",
    "ToolResponse",
    "Turn",
    "TurnEvent",
    "Wants",
    "as_json",
    "grammar",
    "turn_events",
]
