"""What a check can end as, and the text that a person reads when it did not pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from _pytest.outcomes import Skipped

from conformance.client.failure import ConformanceFailure
from conformance.client.transcript import Exchange, UpstreamCall, UpstreamPost, curl, trace
from conformance.gateway import NotObservable
from conformance.oracles import Violation
from conformance.requirements import Requirement
from conformance.tokenizer import TemplateRefusal


class Outcome(StrEnum):
    """Ordered from best to worst: a requirement with several checks ends as the worst of them."""

    PASSED = "passed"
    NOT_APPLICABLE = "not_applicable"
    EXPECTED_FAILURE = "expected_failure"
    NOT_TESTED = "not_tested"
    STALE = "stale"
    FAILED = "failed"
    ERROR = "error"


SYMBOLS = {
    Outcome.PASSED: (".", "PASSED"),
    Outcome.NOT_APPLICABLE: ("-", "NOT APPLICABLE"),
    Outcome.EXPECTED_FAILURE: ("x", "EXPECTED FAILURE"),
    Outcome.NOT_TESTED: ("?", "NOT TESTED"),
    Outcome.STALE: ("S", "STALE"),
    Outcome.FAILED: ("F", "FAILED"),
    Outcome.ERROR: ("E", "ERROR"),
}


class NotApplicable(Skipped):
    """The gateway does not declare what this requirement is about."""


class NotTested(Skipped):
    """The kit cannot see what this requirement is about. Never green."""


def of_exception(error: BaseException | None) -> Outcome:
    """What a check ends as whose call phase ended with this exception."""
    match error:
        case None:
            return Outcome.PASSED
        case NotApplicable() | TemplateRefusal():
            return Outcome.NOT_APPLICABLE
        case NotTested() | NotObservable():
            return Outcome.NOT_TESTED
        case AssertionError():
            return Outcome.FAILED
        case _:
            return Outcome.ERROR


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a requirement from those of its checks. One that ran outweighs one that did not apply."""
    order = list(Outcome)
    distinct = sorted(set(outcomes), key=order.index)
    if distinct[-1] is Outcome.NOT_APPLICABLE and Outcome.PASSED in distinct:
        return Outcome.PASSED
    return distinct[-1]


def failure_text(
    requirement: Requirement,
    error: AssertionError,
    exchanges: Sequence[Exchange],
    calls: Sequence[UpstreamCall],
    rerun: str,
    posts: Sequence[UpstreamPost] = (),
) -> str:
    """Everything that a gateway's author needs, on one screen: what was demanded, all that is wrong, the exchange on
    both sides, how to repeat it, and where to look first."""
    violations = (
        error.violations
        if isinstance(error, ConformanceFailure)
        else [Violation("check", "the assertion to hold", str(error) or "an assertion failed")]
    )
    lines = [f"{requirement.id}  {requirement.level}  {requirement.text}", f"source: {requirement.source}", ""]
    for number, violation in enumerate(violations, 1):
        lines.append(f"  {number}. {violation.where}")
        lines.extend(_labelled("expected", violation.expected))
        lines.extend(_labelled("actual", violation.actual))
    lines += ["", "trace:"]
    lines.extend(f"  {line}" for line in trace(exchanges, calls, posts).splitlines())
    if exchanges:
        lines += ["", "reproduce:", f"  {curl(_telling(exchanges))}"]
    lines += ["", "rerun:", f"  {rerun}"]
    hints = list(
        dict.fromkeys([v.hint for v in violations if v.hint] or ([requirement.hint] if requirement.hint else []))
    )
    if hints:
        lines += ["", "hint:", *(f"  {hint}" for hint in hints)]
    return "\n".join(lines)


def _labelled(label: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [f"     {label + ':':10}{first}", *(f"{'':15}{line}" for line in rest)]


def _telling(exchanges: Sequence[Exchange]) -> Exchange:
    """The request to show as a command: the last one that an agent would send, else the last."""
    chats = [exchange for exchange in exchanges if "/v1/" in exchange.url]
    return (chats or list(exchanges))[-1]
