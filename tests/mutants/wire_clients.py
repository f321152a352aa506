"""Mutants of area WIRE: what a gateway makes of keys, of clients that hang up, and of those that take compressed
answers."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

from reference_gateway.serving import access
from reference_gateway.serving.access import Access
from tests.mutants.cross import served_path
from tests.mutants.registry import mutant
from tests.mutants.sabotage import App, Message, Sabotage, Scope
from tests.mutants.wire import CHAT, INVOCATIONS, MESSAGES, RESPONSES, Receive, Send

ADMIN = "admin-key"


def lets_in(gateway: Sabotage, path: str, opens: Callable[[str, str, set[str]], bool]) -> None:
    """On this route a key is good if it `opens`, as the session's id and all keys that were given out say."""
    gateway.configure(api_key=ADMIN)
    served, given_out = served_path(gateway), set[str]()

    @gateway.wrap(Access, "session_key")
    def session_key(original: Any, self: Access, session_id: str) -> Any:
        key = original(self, session_id)
        given_out.add(str(key))
        return key

    @gateway.wrap(Access, "require_session")
    def require_session(original: Any, self: Access, headers: Any, session_id: str, **how: Any) -> None:
        presented = access._presented(headers).decode()
        if not (served.get().endswith(path) and opens(presented, session_id, given_out)):
            original(self, headers, session_id, **how)


def is_the_id(presented: str, session_id: str, given_out: set[str]) -> bool:
    return presented == session_id


def is_anyones(presented: str, session_id: str, given_out: set[str]) -> bool:
    return presented in given_out


def never_hears_of_a_hang_up(gateway: Sabotage, path: str) -> None:
    """Behind the body nobody listens to the connection of this route."""

    @gateway.middleware
    def deaf(app: App) -> App:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if not scope.get("path", "").endswith(path):
                await app(scope, receive, send)
                return
            arriving = True

            async def listen() -> Any:
                nonlocal arriving
                message = await receive()
                if message["type"] == "http.disconnect" and not arriving:
                    await asyncio.Event().wait()
                arriving = arriving and message.get("more_body", False)
                return message

            await app(scope, listen, send)

        return serve


def compressed_without_its_end(gateway: Sabotage, path: str) -> None:
    """Plain answers of this route are compressed for those who accept it, and the end is never flushed."""

    @gateway.middleware
    def compressing(app: App) -> App:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            accepted = dict(scope.get("headers", ())).get(b"accept-encoding", b"")
            if not scope.get("path", "").endswith(path) or b"gzip" not in accepted:
                await app(scope, receive, send)
                return
            held: list[Message] = []

            async def sent(message: Message) -> None:
                held.append(message)
                if message["type"] != "http.response.body" or message.get("more_body"):
                    return
                start, *rest = held
                headers, body = list(start["headers"]), b"".join(each.get("body", b"") for each in rest)
                if (b"content-type", b"application/json") in headers:
                    body = gzip.compress(body)[:-8]
                    headers = [header for header in headers if header[0] != b"content-length"]
                    headers += [(b"content-encoding", b"gzip"), (b"content-length", b"%d" % len(body))]
                await send({**start, "headers": headers})
                await send({"type": "http.response.body", "body": body, "more_body": False})

            await app(scope, receive, sent)

        return serve


@mutant("WIRE-042")
def id_of_a_session_is_its_key_for_chat(gateway: Sabotage) -> None:
    """Chat takes the session's id for its key, as whoever knows its URL does."""
    lets_in(gateway, CHAT, is_the_id)


@mutant("WIRE-042")
def any_key_opens_every_chat(gateway: Sabotage) -> None:
    """Chat asks whether a key was given out, and not to whom."""
    lets_in(gateway, CHAT, is_anyones)


@mutant("WIRE-043")
def id_of_a_session_is_its_key_for_messages(gateway: Sabotage) -> None:
    """Messages take the session's id for its key, as whoever knows its URL does."""
    lets_in(gateway, MESSAGES, is_the_id)


@mutant("WIRE-043")
def any_key_opens_all_messages(gateway: Sabotage) -> None:
    """Messages ask whether a key was given out, and not to whom."""
    lets_in(gateway, MESSAGES, is_anyones)


@mutant("WIRE-044")
def id_of_a_session_is_its_key_for_responses(gateway: Sabotage) -> None:
    """Responses take the session's id for its key, as whoever knows its URL does."""
    lets_in(gateway, RESPONSES, is_the_id)


@mutant("WIRE-044")
def any_key_opens_all_responses(gateway: Sabotage) -> None:
    """Responses ask whether a key was given out, and not to whom."""
    lets_in(gateway, RESPONSES, is_anyones)


@mutant("WIRE-045")
def id_of_a_session_is_its_key_for_invocations(gateway: Sabotage) -> None:
    """Invocations take the session's id for its key, as whoever knows its URL does."""
    lets_in(gateway, INVOCATIONS, is_the_id)


@mutant("WIRE-045")
def any_key_opens_all_invocations(gateway: Sabotage) -> None:
    """Invocations ask whether a key was given out, and not to whom."""
    lets_in(gateway, INVOCATIONS, is_anyones)


@mutant("WIRE-046")
def chat_samples_for_nobody(gateway: Sabotage) -> None:
    """A chat request is answered to its end, whoever still waits for it."""
    never_hears_of_a_hang_up(gateway, CHAT)


@mutant("WIRE-047")
def message_is_sampled_for_nobody(gateway: Sabotage) -> None:
    """A message request is answered to its end, whoever still waits for it."""
    never_hears_of_a_hang_up(gateway, MESSAGES)


@mutant("WIRE-048")
def response_is_sampled_for_nobody(gateway: Sabotage) -> None:
    """A request for a response is answered to its end, whoever still waits for it."""
    never_hears_of_a_hang_up(gateway, RESPONSES)


@mutant("WIRE-049")
def message_is_compressed_without_its_end(gateway: Sabotage) -> None:
    """Messages are compressed for clients that accept it, and the end is never flushed."""
    compressed_without_its_end(gateway, MESSAGES)


@mutant("WIRE-050")
def response_is_compressed_without_its_end(gateway: Sabotage) -> None:
    """Responses are compressed for clients that accept it, and the end is never flushed."""
    compressed_without_its_end(gateway, RESPONSES)


@mutant("WIRE-051")
def invocation_is_compressed_without_its_end(gateway: Sabotage) -> None:
    """Answers to invocations are compressed for clients that accept it, and the end is never flushed."""
    compressed_without_its_end(gateway, INVOCATIONS)


@mutant("WIRE-052")
def completion_is_compressed_without_its_end(gateway: Sabotage) -> None:
    """Chat completions are compressed for clients that accept it, and the end is never flushed."""
    compressed_without_its_end(gateway, CHAT)
