"""Mutants of area WIRE: what a gateway makes of bodies that are too large or cut short, and of other methods."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, App, Sabotage, Scope
from tests.mutants.wire import CHAT, INVOCATIONS, MESSAGES, RESPONSES, Receive, Send


def limited_in_plain_text(gateway: Sabotage, path: str) -> None:
    """What is too large is refused by a proxy in front."""
    gateway.configure(max_body=1_000_000)

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith(path) and answer.status == 413:
            answer.headers["content-type"] = "text/html"
            answer.body = b"<html><h1>413 Request Entity Too Large</h1></html>"


def whole_when_it_ends(gateway: Sabotage, path: str) -> None:
    """The end of a connection is taken for the end of the body."""

    @gateway.middleware
    def ending(app: App) -> App:
        async def ended(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope.get("path", "").endswith(path):
                await app(scope, receive, send)
                return
            arriving, cut = True, False

            async def listen() -> Any:
                nonlocal arriving, cut
                message = await receive()
                if arriving and message["type"] == "http.disconnect":
                    arriving, cut = False, True
                    return {"type": "http.request", "body": b"", "more_body": False}
                while cut and message["type"] == "http.disconnect":
                    await asyncio.Event().wait()  # nobody is told that the client is gone
                arriving = arriving and message.get("more_body", False)
                return message

            await app(scope, listen, send)

        return ended


def takes_any_method(gateway: Sabotage, path: str, *methods: str) -> None:
    """The route looks at the path alone."""

    @gateway.middleware
    def taking(app: App) -> App:
        async def take(scope: Scope, receive: Receive, send: Send) -> None:
            if scope.get("path", "").endswith(path) and scope["method"] in methods:
                scope = {**scope, "method": "POST"}
            await app(scope, receive, send)

        return take


def fails_a_probe(gateway: Sabotage, path: str, method: str) -> None:
    """A request without a body is an internal error."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith(path) and answer.method == method:
            answer.status = 500


@mutant("WIRE-015")
def large_message_is_refused_by_a_proxy(gateway: Sabotage) -> None:
    """A message request that is too large is refused with a page."""
    limited_in_plain_text(gateway, MESSAGES)


@mutant("WIRE-016")
def large_response_is_refused_by_a_proxy(gateway: Sabotage) -> None:
    """A request for a response that is too large is refused with a page."""
    limited_in_plain_text(gateway, RESPONSES)


@mutant("WIRE-017")
def large_invocation_is_refused_by_a_proxy(gateway: Sabotage) -> None:
    """An invocation that is too large is refused with a page."""
    limited_in_plain_text(gateway, INVOCATIONS)


@mutant("WIRE-018")
def half_a_message_request_is_one(gateway: Sabotage) -> None:
    """What has arrived of a message request when its client hangs up is taken for all of it."""
    whole_when_it_ends(gateway, MESSAGES)


@mutant("WIRE-019")
def half_a_request_for_a_response_is_one(gateway: Sabotage) -> None:
    """What has arrived of a request for a response when its client hangs up is taken for all of it."""
    whole_when_it_ends(gateway, RESPONSES)


@mutant("WIRE-020")
def half_an_invocation_is_one(gateway: Sabotage) -> None:
    """What has arrived of an invocation when its client hangs up is taken for all of it."""
    whole_when_it_ends(gateway, INVOCATIONS)


@mutant("WIRE-021")
def completion_is_made_by_put(gateway: Sabotage) -> None:
    """PUT and PATCH make a chat completion, too."""
    takes_any_method(gateway, CHAT, "PUT", "PATCH")


@mutant("WIRE-021")
def options_of_chat_fail(gateway: Sabotage) -> None:
    """A browser that asks what is allowed gets an internal error."""
    fails_a_probe(gateway, CHAT, "OPTIONS")


@mutant("WIRE-022")
def message_is_made_by_patch(gateway: Sabotage) -> None:
    """PATCH makes a message, too."""
    takes_any_method(gateway, MESSAGES, "PATCH")


@mutant("WIRE-022")
def head_at_the_route_of_messages_fails(gateway: Sabotage) -> None:
    """A client that asks whether there is a server gets an internal error."""
    fails_a_probe(gateway, MESSAGES, "HEAD")


@mutant("WIRE-023")
def response_is_made_by_patch(gateway: Sabotage) -> None:
    """PATCH makes a response, too."""
    takes_any_method(gateway, RESPONSES, "PATCH")


@mutant("WIRE-024")
def other_methods_of_responses_are_the_frameworks(gateway: Sabotage) -> None:
    """A method that a route of responses does not take is refused in the framework's envelope."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if RESPONSES in answer.path and answer.status == 405:
            answer.json = {"detail": "Method Not Allowed"}


@mutant("WIRE-024")
def unknown_routes_of_responses_are_the_frameworks(gateway: Sabotage) -> None:
    """What no route of responses takes is refused in the framework's envelope."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if RESPONSES in answer.path and answer.status in (404, 405):
            answer.json = {"detail": "Not Found"}


@mutant("WIRE-025")
def head_at_the_route_of_invocations_fails(gateway: Sabotage) -> None:
    """A client that asks whether there is a server gets an internal error."""
    fails_a_probe(gateway, INVOCATIONS, "HEAD")
