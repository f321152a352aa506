"""Mutants of area RESP: fields and items that change what a response is, and are not heard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.wire.base import RequestRefused
from tests.mutants.chat_fields import record_all_calls
from tests.mutants.registry import mutant
from tests.mutants.resp_wire import ASKED, Body, on_parse, on_request, remember_request
from tests.mutants.sabotage import Sabotage


@mutant("RESP-160")
def truncation_is_ignored(gateway: Sabotage) -> None:
    """The response says that nothing is truncated to a client that asked for it."""
    on_parse(gateway, lambda body: {name: value for name, value in body.items() if name != "truncation"})


@mutant("RESP-161")
def background_is_refused_whatever_it_is(gateway: Sabotage) -> None:
    """The field is refused where it is there, also for the default."""

    def change(body: Body) -> Body:
        if body.get("background") is not None:
            raise RequestRefused("background is not supported")
        return body

    on_parse(gateway, change)


@mutant("RESP-162")
def streamed_responses_show_all_calls(gateway: Sabotage) -> None:
    """One call is shown of a plain response, and all of a streamed one."""
    on_request(gateway, lambda body, request: replace(request, one_call=request.one_call and not request.stream))


@mutant("RESP-163")
def calls_of_a_response_that_were_not_shown_are_compared(gateway: Sabotage) -> None:
    """The history is compared with what was sampled, not with what was shown of it."""
    remember_request(gateway)
    record_all_calls(gateway, lambda: ASKED.get(None) is not None)


@mutant("RESP-164")
def items_of_other_tools_are_left_out(gateway: Sabotage) -> None:
    """Items are picked by the types that are known."""

    def change(body: Body) -> Body:
        items: Any = body.get("input")
        if not isinstance(items, list):
            return body
        return {**body, "input": [each for each in items if not _is_anothers(each)]}

    on_parse(gateway, change)


def _is_anothers(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "code_interpreter_call"
