"""Mutants of area BUDGET: what a turn may sample is counted wrongly, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import reference_gateway.serving.control_plane as control_plane
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.serving.control_plane import CreateSession
from reference_gateway.session import Session
from reference_gateway.session.budget import Budget
from reference_gateway.session.tree import Match
from reference_gateway.types import Turn
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

Left = Callable[[Any, Budget, Match, int], int | None]
Sent = Callable[[int | None, int | None, Session], int | None]
SANE = 4096


def _counting(gateway: Sabotage) -> Callable[[Left], None]:
    """Decorator: `left(true, budget, match, added)` says what a turn may sample; `true()` is the right number."""

    def install(left: Left) -> None:
        @gateway.wrap(Budget, "remaining")
        def remaining(original: Any, self: Budget, match: Match, added: int) -> int | None:
            return left(lambda: original(self, match, added), self, match, added)

    return install


def _sending(gateway: Sabotage) -> Callable[[Sent], None]:
    """Decorator: `sent(right, asked, session)` is the `max_tokens` that goes to the engine. `asked` is None where
    neither the request nor the session asks."""
    turn: ContextVar[tuple[Session, int | None]] = ContextVar("turn")

    def install(sent: Sent) -> None:
        @gateway.wrap(Session, "_effective_sampling")
        def effective_sampling(original: Any, self: Session, asking: Turn) -> Any:
            sampling, asked = original(self, asking)
            turn.set((self, asked))
            return sampling, asked

        @gateway.wrap(VllmBackend, "generate")
        def generate(original: Any, self: VllmBackend, context: Any, sampling: Any, **about: Any) -> Any:
            session, asked = turn.get()
            return original(
                self, context, {**sampling, "max_tokens": sent(sampling.get("max_tokens"), asked, session)}, **about
            )

    return install


@mutant("BUDGET-001", bugs=(7,))
def limit_only_where_the_client_asks(gateway: Sabotage) -> None:
    """The lengths cut the client's `max_tokens`; a client that names none has no limit."""

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        return right if asked is not None else None


@mutant("BUDGET-002")
def huge_max_tokens_means_no_limit(gateway: Sabotage) -> None:
    """A `max_tokens` beyond any sane value is taken for "as much as you can", and goes upstream as it is."""

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        return asked if asked is not None and asked > SANE else right


@mutant("BUDGET-002", also=("BUDGET-001", "BUDGET-004", "BUDGET-006", "BUDGET-007"), bugs=(37, 39))
def max_tokens_counts_the_context(gateway: Sabotage) -> None:
    """`max_tokens` is taken for the length of context and answer together, as the lengths are."""

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        budget = session._budget
        if budget.kind != "total" or budget.prompt_length is None or budget.response_length is None:
            return right
        both = budget.prompt_length + budget.response_length
        return min(asked or both, both)


@mutant("BUDGET-003")
def small_max_tokens_is_raised(gateway: Sabotage) -> None:
    """In a session with lengths, a `max_tokens` of a few ids is taken for a mistake and raised to ten."""

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        limited = session._budget.prompt_length is not None
        return 10 if limited and right is not None and asked is not None and asked < 10 else right


@mutant("BUDGET-004")
def default_is_merged_after_the_limit(gateway: Sabotage) -> None:
    """The session's defaults are merged into what is sent, over the limit that was computed."""

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        default = session._sampling.get("max_tokens")
        return right if default is None else max(default, right or 0)


@mutant("BUDGET-005", bugs=(11,))
def each_side_has_its_own_length(gateway: Sabotage) -> None:
    """A turn may not sample more than `response_length`, however short its prompt is."""

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        budget = session._budget
        if budget.kind != "total" or budget.response_length is None or budget.prompt_length is None or right is None:
            return right
        return min(right, budget.response_length)


@mutant("BUDGET-006", bugs=(34,))
def later_turn_counts_new_ids_only(gateway: Sabotage) -> None:
    """A continuation gets the whole budget again, less what its new messages take."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        if budget.kind != "total" or match.parent is None or not added or (right := true()) is None:
            return true()
        return right + match.start


@mutant("BUDGET-007")
def last_id_is_never_used(gateway: Sabotage) -> None:
    """Room for one id counts as none."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        right = true()
        return 0 if right == 1 else right


@mutant("BUDGET-008")
def length_stop_says_why_in_its_content(gateway: Sabotage) -> None:
    """A length stop explains itself in the content, which the agent takes for the model's words."""

    @gateway.wrap(Session, "_length_stop")
    def length_stop(original: Any, self: Session, plan: Any) -> Any:
        answer = original(self, plan)
        answer.message["content"] = "The context is full."
        return answer


@mutant("BUDGET-008", also=("BUDGET-009", "BUDGET-010"), bugs=(12,))
def prompt_without_room_is_sent_all_the_same(gateway: Sabotage) -> None:
    """A first prompt that is too long still goes to the engine, with room for four ids."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        right = true()
        fresh = budget.kind == "total" and match.parent is None and match.chain is None
        return 4 if fresh and right is not None and right <= 0 else right


@mutant("BUDGET-009")
def length_stop_counts_no_prompt(gateway: Sabotage) -> None:
    """The usage of a length stop is all zeros, as the engine said nothing."""

    @gateway.rewrite
    def zeros(answer: Answer) -> None:
        if answer.is_plain_completion and answer.json["usage"]["completion_tokens"] == 0:
            document = answer.json
            if document["choices"][0]["finish_reason"] == "length":
                document["usage"] = dict.fromkeys(document["usage"], 0)
                answer.json = document


@mutant("BUDGET-012", bugs=(9,))
def room_is_looked_at_for_new_messages_only(gateway: Sabotage) -> None:
    """A request without new messages goes to the engine without a look at the room."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        return true() if added else None


@mutant("BUDGET-016", bugs=(11,))
def missing_length_counts_as_zero(gateway: Sabotage) -> None:
    """A length that the session does not give counts as 0."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        if budget.kind != "total" or (budget.prompt_length is None) == (budget.response_length is None):
            return true()
        return (budget.prompt_length or 0) + (budget.response_length or 0) - match.start - added


@mutant("BUDGET-017")
def lengths_are_not_looked_at(gateway: Sabotage) -> None:
    """The lengths of a new session are stored as they come."""

    class Anything(CreateSession):
        prompt_length: Any = None
        response_length: Any = None

    gateway.patch(control_plane, "CreateSession", Anything)
    gateway.patch(Budget, "__post_init__", lambda self: None)


@mutant("BUDGET-017")
def bad_length_is_refused_without_its_name(gateway: Sabotage) -> None:
    """A bad length is refused with a sentence that does not say what is bad."""

    @gateway.rewrite
    def vague(answer: Answer) -> None:
        if answer.path == "/sessions" and answer.status == 400 and "prompt_length" in (answer.asked or ()):
            document = answer.json
            document["error"]["message"] = "the session could not be created"
            answer.json = document


@mutant("BUDGET-020")
def prompt_counts_for_the_response(gateway: Sabotage) -> None:
    """The context of a first turn is taken off the length of the response."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        right = true()
        fresh = budget.kind == "response" and match.parent is None and right is not None
        return right - added if fresh else right


@mutant("BUDGET-021", bugs=(34,))
def each_turn_has_the_whole_response_length(gateway: Sabotage) -> None:
    """Every turn of a conversation gets `response_length` again."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        again = budget.kind == "response" and match.parent is not None and budget.response_length is not None
        return budget.response_length - added if again and budget.response_length else true()


@mutant("BUDGET-021")
def response_of_a_branch_begins_at_its_root(gateway: Sabotage) -> None:
    """What a trajectory shares with the one that it branched off counts for its response, too."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        right = true()
        if budget.kind != "response" or right is None or match.chain is None or match.parent is None:
            return right
        own = [node for node in match.parent.path() if node.chain == match.chain]
        root = match.parent.path()[0]
        return right - (own[0].start + len(own[0].context) - len(root.context) if own else 0)


@mutant("BUDGET-022", bugs=(9,))
def engine_is_asked_for_one_id_at_least(gateway: Sabotage) -> None:
    """Where the response has no room left, the engine is asked for one more id, as it takes no 0."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        right = true()
        return max(1, right) if budget.kind == "response" and right is not None else right


@mutant("BUDGET-023")
def lengths_are_a_budget_after_all(gateway: Sabotage) -> None:
    """The lengths limit a turn also where the session says that they are no budget."""

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        if budget.kind != "none" or budget.prompt_length is None or budget.response_length is None:
            return true()
        return budget.prompt_length + budget.response_length - match.start - added


@mutant("BUDGET-024", bugs=(45,))
def what_is_left_is_sent_whatever_it_is(gateway: Sabotage) -> None:
    """The client's `max_tokens` is cut to what is left and sent, also where nothing or less is left."""
    turn_asks: ContextVar[bool] = ContextVar("turn_asks", default=False)
    negative: ContextVar[int | None] = ContextVar("negative", default=None)

    @_sending(gateway)
    def sent(right: int | None, asked: int | None, session: Session) -> int | None:
        below = negative.get()
        return right if below is None else below

    @gateway.wrap(Session, "_attempt")
    def attempt(original: Any, self: Session, turn: Turn, *rest: Any) -> Any:
        turn_asks.set(turn.max_tokens is not None)
        negative.set(None)
        return original(self, turn, *rest)

    @_counting(gateway)
    def left(true: Any, budget: Budget, match: Match, added: int) -> int | None:
        right = true()
        if right is not None and right <= 0 and turn_asks.get() and match.parent is None:
            negative.set(right)
            return None
        return right
