"""Mutants of area DLV: who gets an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from reference_gateway.channel import delivery, task_delivery
from reference_gateway.channel.delivery import Plan, ReportedDelivery, context_of
from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.host import Host
from reference_gateway.channel.request import ALL_LINKED, ORIGINATING, Identity, ResponseTarget
from reference_gateway.examples.demo import Demo
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

Resolve = Callable[[ResponseTarget, Identity | None, Sequence[Identity], Any], Plan]


def resolves(gateway: Sabotage, change: Callable[[Resolve, Any, Any, Any, Any], Plan]) -> None:
    """Run `change(resolve, target, origin, linked, able)` instead of `resolve`."""
    for module in (delivery, task_delivery):
        gateway.wrap(module, "resolve")(change)


def names_of(linked: Sequence[Identity]) -> set[str]:
    return {name for each in linked for name in (each.channel, each.token)}


@mutant("DLV-001")
def linked_channels_are_always_served(gateway: Sabotage) -> None:
    """Whoever is linked gets a copy of each answer."""

    @gateway.wrap(Host, "_delivered")
    async def delivered(original: Any, self: Any, request: Any, result: str) -> Any:
        if request.response_target == ORIGINATING and request.attributes.get("linked"):
            await self.delivery.deliver(replace(request, response_target=ALL_LINKED), result, self.hooks)
        return await original(self, request, result)


@mutant("DLV-002")
def nobody_is_everybody(gateway: Sabotage) -> None:
    """No target counts as all of them."""
    resolves(gateway, lambda resolve, target, *rest: resolve(ALL_LINKED if target.kind == "none" else target, *rest))


@mutant("DLV-003")
def stream_is_answered_anyway(gateway: Sabotage) -> None:
    """A stream gets the answer, because the connection is there."""

    @gateway.wrap(Host, "_delivered")
    async def delivered(original: Any, self: Any, request: Any, result: str) -> Any:
        return await original(self, request, result) or request.stream


@mutant("DLV-003", also=("DLV-009", "DLV-023"))
def client_is_answered_anyway(gateway: Sabotage) -> None:
    """The client gets the answer, because the connection is there."""

    @gateway.wrap(Host, "_delivered")
    async def delivered(original: Any, self: Any, request: Any, result: str) -> Any:
        await original(self, request, result)
        return True


@mutant("DLV-004")
def active_is_all(gateway: Sabotage) -> None:
    """The active channels are all that were ever active."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        if target.kind == "active" and linked and not linked[0].is_same(origin):
            target = ALL_LINKED
        return resolve(target, origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-004", also=("DLV-005",))
def active_is_the_oldest(gateway: Sabotage) -> None:
    """The identities are looked at in the wrong order."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        return resolve(target, origin, linked[::-1] if target.kind == "active" else linked, able)

    resolves(gateway, resolved)


@mutant("DLV-005")
def active_origin_is_pushed_to(gateway: Sabotage) -> None:
    """The active channel is pushed to, whichever it is."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        return resolve(target, None if target.kind == "active" else origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-006")
def one_channel_is_the_active_one(gateway: Sabotage) -> None:
    """A user who is on the channel gets the answer where they were active last."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        if len(target.names) == 1 and target.names[0] in names_of(linked) and target.names[0] in able:
            target = replace(target, names=(linked[0].token,))
        return resolve(target, origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-007")
def attributes_are_lost(gateway: Sabotage) -> None:
    """The identity is made again from its token."""

    def resolved(resolve: Resolve, *arguments: Any) -> Plan:
        plan = resolve(*arguments)
        return replace(plan, destinations=tuple(replace(each, attributes=()) for each in plan.destinations))

    resolves(gateway, resolved)


@mutant("DLV-007")
def token_is_never_looked_up(gateway: Sabotage) -> None:
    """A token is an identity, also where it is linked with attributes."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        plan = resolve(target, origin, linked, able)
        bare = (replace(each, attributes=()) if each.token in target.names else each for each in plan.destinations)
        return replace(plan, destinations=tuple(bare))

    resolves(gateway, resolved)


@mutant("DLV-008")
def undelivered_answer_is_lost(gateway: Sabotage) -> None:
    """What cannot be delivered is acknowledged all the same."""

    def resolved(resolve: Resolve, target: Any, *rest: Any) -> Plan:
        plan = resolve(target, *rest)
        return replace(plan, include_originating=False) if plan.skipped and not plan.destinations else plan

    resolves(gateway, resolved)


@mutant("DLV-009")
def one_skipped_brings_in_the_client(gateway: Sabotage) -> None:
    """The client gets the answer as soon as one destination does not."""

    def resolved(resolve: Resolve, *arguments: Any) -> Plan:
        plan = resolve(*arguments)
        return replace(plan, include_originating=plan.include_originating or bool(plan.skipped))

    resolves(gateway, resolved)


@mutant("DLV-010")
def token_must_be_linked(gateway: Sabotage) -> None:
    """Only those who are linked are known."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        known = names_of(linked)
        names = tuple(name if ":" not in name or name in known else name.replace(":", "_") for name in target.names)
        return resolve(replace(target, names=names), origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-011")
def originating_stream_is_forgotten(gateway: Sabotage) -> None:
    """A stream that goes to others does not go to the client that asked."""

    @gateway.wrap(Host, "_delivered")
    async def delivered(original: Any, self: Any, request: Any, result: str) -> Any:
        included = await original(self, request, result)
        return included and not (request.stream and "originating" in request.response_target.names)


@mutant("DLV-011", also=("DLV-021",))
def originating_is_a_channel(gateway: Sabotage) -> None:
    """The name `originating` is looked up as a channel, which does not exist."""
    gateway.patch(delivery, "ORIGINATING_NAME", "")


@mutant("DLV-012")
def origin_is_pushed_to(gateway: Sabotage) -> None:
    """The identity of the client is one like any other."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        return resolve(target, None if target.kind in ("channels", "identities") else origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-013")
def each_name_is_a_push(gateway: Sabotage) -> None:
    """Names are resolved one by one, and each is pushed to."""

    def resolved(resolve: Resolve, target: Any, *rest: Any) -> Plan:
        plan = resolve(target, *rest)
        again = [each for each in plan.destinations if {each.channel, each.token} <= set(target.names)]
        return replace(plan, destinations=(*again, *plan.destinations))

    resolves(gateway, resolved)


@mutant("DLV-014")
def all_linked_are_pushed_to(gateway: Sabotage) -> None:
    """All linked channels are pushed to, and the client's own is one of them."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        if target.kind == "all_linked" and len(linked) > 1:
            return resolve(replace(target, kind="identities", recipients=tuple(linked)), None, linked, able)
        return resolve(target, origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-015")
def user_without_links_gets_nothing(gateway: Sabotage) -> None:
    """An answer for all linked channels is pushed to none, where there is none, and acknowledged."""

    def resolved(resolve: Resolve, target: Any, *rest: Any) -> Plan:
        plan = resolve(target, *rest)
        return Plan(False) if target.kind == "all_linked" and not plan.destinations else plan

    resolves(gateway, resolved)


@mutant("DLV-016")
def identity_must_be_linked(gateway: Sabotage) -> None:
    """Identities are looked up among those who are linked."""

    def resolved(resolve: Resolve, target: Any, origin: Any, linked: Any, able: Any) -> Plan:
        known = tuple(each for each in target.recipients if each.token in names_of(linked))
        return resolve(replace(target, recipients=known), origin, linked, able)

    resolves(gateway, resolved)


@mutant("DLV-017")
def echo_comes_last(gateway: Sabotage) -> None:
    """Answers are sent first, and then the echoes."""

    @gateway.wrap(ReportedDelivery, "report")
    async def report(original: Any, self: Any, request: Any, result: str, hooks: Any) -> Any:
        target = request.response_target
        sent = await original(self, replace(request, response_target=replace(target, echo_input=False)), result, hooks)
        echoed = []
        for recipient in delivery.resolve(target, request.identity, self._linked(request), self._channels).destinations:
            if not target.echo_input:
                continue
            text = await hooks.behind(request.input, context_of(request, recipient, echo=True))
            try:
                await self._channels[recipient.channel].push(recipient, text, role="user")
                echoed.append(recipient.token)
            except ConnectionError:
                continue
        return replace(sent, echoed=tuple(echoed))


@mutant("DLV-018")
def echo_is_asked_for_by_its_name(gateway: Sabotage) -> None:
    """The presence of the field is taken for its value."""

    @gateway.wrap(Demo, "_changed")
    def changed(original: Any, self: Any, request: Any, target: Any, asked: dict[str, Any]) -> Any:
        return original(self, request, target, {**asked, "echo": True} if "echo" in asked else asked)


@mutant("DLV-019")
def echo_and_answer_are_one_attempt(gateway: Sabotage) -> None:
    """Echo and answer are sent in one attempt, which the first failure ends."""
    failed: set[str] = set()

    @gateway.wrap(Demo, "push")
    async def push(original: Any, self: Any, recipient: Any, text: str, *, role: str) -> None:
        if recipient.token in failed:
            raise ConnectionError("the echo failed")
        try:
            await original(self, recipient, text, role=role)
        except ConnectionError:
            if role == "user":
                failed.add(recipient.token)
            raise


@mutant("DLV-020")
def delivered_turns_are_not_kept(gateway: Sabotage) -> None:
    """A turn is kept where its reply is written, and what goes elsewhere has none."""

    @gateway.wrap(Hooks, "before")
    async def before(original: Any, self: Any, request: Any, target: Any, body: Any) -> Any:
        changed = await original(self, request, target, body)
        return changed if changed.response_target == ORIGINATING else replace(changed, session_key=None)
