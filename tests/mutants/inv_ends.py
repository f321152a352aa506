"""Mutants of area INV: how an invocation ended."""

from __future__ import annotations

from reference_gateway.channel.target import SessionTarget
from tests.mutants.ends import answer_what_was_aborted, entered, fail_with_500, show_stop_strings
from tests.mutants.inv import invoked
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


@mutant("INV-060")
def stop_text_of_an_invocation_is_shown(gateway: Sabotage) -> None:
    """The text is that of all sampled ids."""
    show_stop_strings(gateway, entered(gateway, SessionTarget, "run").get)


@mutant("INV-061")
def aborted_invocation_is_half_an_answer(gateway: Sabotage) -> None:
    """An abort is an end like any other."""
    invoking = entered(gateway, SessionTarget, "run")
    answer_what_was_aborted(gateway, lambda generation: invoking.get())


@mutant("INV-062")
def too_many_invocations_are_a_failure(gateway: Sabotage) -> None:
    """The engine's 429 becomes a 500."""
    fail_with_500(gateway, lambda answer: invoked(answer) and answer.status == 429)
