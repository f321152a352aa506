"""Mutants of area TOKEN: answers that a stop text ended."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.session.session import Session
from tests.mutants.chat_wire import on_this_wire
from tests.mutants.ends import identify_by_all_ids
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


@mutant("TOKEN-035")
def ids_of_a_first_answer_are_cut_with_its_text(gateway: Sabotage) -> None:
    """A new conversation records what was shown: the last id, which made the stop text whole, is dropped."""
    chat = on_this_wire(gateway)

    @gateway.wrap(Session, "_commit_turn")
    def commit(original: Any, self: Session, plan: Any, generation: Any, logprobs: Any, *rest: Any) -> Any:
        if plan.match.parent is None and isinstance(generation.matched, str) and chat.get():
            generation, logprobs = replace(generation, ids=generation.ids[:-1]), logprobs and logprobs[:-1]
        return original(self, plan, generation, logprobs, *rest)


@mutant("TOKEN-036")
def stopped_answer_is_known_by_all_its_ids(gateway: Sabotage) -> None:
    """The answer is identified before the stop text is cut off, so that its echo starts another conversation."""
    identify_by_all_ids(gateway, on_this_wire(gateway).get)
