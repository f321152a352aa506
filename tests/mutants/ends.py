"""How mutants of several areas let a turn end otherwise than it did; `here` says whether it is one that they mean."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from reference_gateway.session import session as session_module
from reference_gateway.session.session import Session
from reference_gateway.types import Generation
from tests.mutants.sabotage import Answer, Sabotage

Here = Callable[[], Any]


def show_stop_strings(gateway: Sabotage, here: Here) -> None:
    """The message is made of all ids, and known as that."""

    @gateway.wrap(Session, "_shown")
    def shown(original: Any, self: Session, generation: Any, turn: Any, stopped: Any) -> Any:
        return original(self, generation, turn, None if here() else stopped)


def identify_by_all_ids(gateway: Sabotage, here: Here) -> None:
    """The client is shown less than what the answer is known as."""

    @gateway.wrap(Session, "_commit_turn")
    def commit(
        original: Any, self: Session, plan: Any, generation: Any, logprobs: Any, message: Any, added: Any
    ) -> Any:
        if here() and isinstance(generation.matched, str):
            message = self._codec.decode(generation.ids, None)
        return original(self, plan, generation, logprobs, message, added)


def answer_what_was_aborted(gateway: Sabotage, here: Callable[[Generation], Any]) -> None:
    """A reason that the gateway does not know is taken for `stop`."""

    @gateway.wrap(session_module, "require_ended")
    def require_ended(original: Any, generation: Generation) -> None:
        if not here(generation):
            original(generation)


def entered(gateway: Sabotage, place: Any, name: str) -> ContextVar[bool]:
    """Whether this function or method was called for the request that is being served."""
    called: ContextVar[bool] = ContextVar(name, default=False)

    @gateway.wrap(place, name)
    def enter(original: Any, *args: Any, **named: Any) -> Any:
        called.set(True)
        return original(*args, **named)

    return called


def fail_with_500(gateway: Sabotage, where: Callable[[Answer], Any]) -> None:
    """What the engine says of itself becomes the gateway's own failure."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if where(answer):
            answer.status = 500
            answer.headers.pop("retry-after", None)


def forget_retry_after(gateway: Sabotage, where: Callable[[Answer], Any]) -> None:
    """The status is passed on, and the header beside it is not."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if where(answer):
            answer.headers.pop("retry-after", None)
