"""Mutants of area RESP: how a response ended."""

from __future__ import annotations

from typing import Any

from reference_gateway.serving import responses
from tests.mutants.ends import answer_what_was_aborted, entered, fail_with_500, show_stop_strings
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import Body, calls, on_body
from tests.mutants.sabotage import Sabotage


@mutant("RESP-074")
def stop_text_of_a_response_is_shown(gateway: Sabotage) -> None:
    """The text is that of all sampled ids."""
    show_stop_strings(gateway, entered(gateway, responses, "parse").get)


@mutant("RESP-075")
def cut_behind_a_call_is_completed(gateway: Sabotage) -> None:
    """A response that asks for a call has done all that it can."""

    def change(request: Any, body: Body) -> Body:
        if body["status"] == "incomplete" and calls(body):
            return {**body, "status": "completed", "incomplete_details": None}
        return body

    on_body(gateway, change)


@mutant("RESP-076")
def aborted_response_is_completed(gateway: Sabotage) -> None:
    """An abort is an end like any other."""
    responding = entered(gateway, responses, "parse")
    answer_what_was_aborted(gateway, lambda generation: responding.get())


@mutant("RESP-077")
def too_many_responses_are_a_failure(gateway: Sabotage) -> None:
    """The engine's 429 becomes a 500."""
    fail_with_500(gateway, lambda answer: answer.path.endswith("/v1/responses") and answer.status == 429)
