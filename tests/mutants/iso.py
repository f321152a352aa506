"""Mutants of area ISO: keys that are lost, mixed up, left behind or not looked at."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reference_gateway import isolation
from reference_gateway.channel import host
from reference_gateway.channel.target import SessionTarget
from reference_gateway.isolation import CHAT_HEADER, USER_HEADER, Keys
from reference_gateway.session import Session
from reference_gateway.session import session as session_module
from reference_gateway.session.histories import Histories
from tests.mutants.inv import declares
from tests.mutants.registry import mutant
from tests.mutants.sabotage import App, Sabotage, Scope

HEADERS = {USER_HEADER.encode(), CHAT_HEADER.encode()}


@mutant("ISO-001")
def headers_are_known_in_lower_case_only(gateway: Sabotage) -> None:
    """The headers are looked up as they are written in the documentation."""

    @gateway.wrap(HttpToolsProtocol, "on_header")
    def on_header(original: Any, self: Any, name: bytes, value: bytes) -> Any:
        if name.lower() not in HEADERS or name in HEADERS:
            original(self, name, value)


@mutant("ISO-002", also=("ISO-004", "ISO-005", "ISO-007", "ISO-008", "ISO-012", "ISO-014"))
def user_is_no_part_of_the_key(gateway: Sabotage) -> None:
    """What is kept is keyed by the chat alone."""
    gateway.patch(Keys, "partition", property(lambda self: b"chat %b" % (self.chat or "").encode()))


@mutant("ISO-002")
def new_user_is_given_a_conversation_that_is_there(gateway: Sabotage) -> None:
    """A user who has no conversation of that id is given the last one of any user."""
    owners: dict[int, list[tuple[str, Any]]] = {}

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Any, key: str) -> Any:
        found, keys = original(self, key), isolation.current()
        if keys is None or keys.user is None or keys.chat is not None:
            return found
        known = owners.setdefault(id(self), [])
        taken = [each for name, each in known if name == key and each.messages]
        if found.messages or not taken:
            known.append((key, found))
            return found
        return taken[-1]


@mutant("ISO-003", also=("ISO-005",))
def chat_is_no_part_of_the_key(gateway: Sabotage) -> None:
    """What is kept is keyed by the user alone."""
    gateway.patch(Keys, "partition", property(lambda self: b"user %b" % (self.user or "").encode()))


@mutant("ISO-003")
def any_chat_is_the_same_chat(gateway: Sabotage) -> None:
    """The key says whether there is a chat, and not which."""
    whose = property(lambda self: b"%b %d" % ((self.user or "").encode(), self.chat is not None))
    gateway.patch(Keys, "partition", property(lambda self: whose.fget(self) if self.user else _partition(self)))


@mutant("ISO-004")
def keys_are_joined(gateway: Sabotage) -> None:
    """The two keys are joined with a colon."""
    gateway.patch(Keys, "partition", property(lambda self: f"{self.user}:{self.chat}".encode()))


@mutant("ISO-005", also=("ISO-008", "ISO-009", "ISO-010"))
def no_key_is_any_key(gateway: Sabotage) -> None:
    """Who comes without keys is given the last conversation of that id, whosever it is."""

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Any, key: str) -> Any:
        if isolation.current() is None:
            kept = [each for (_, name), each in self._live.items() if name == key and each.messages]
            if kept:
                return kept[-1]
        return original(self, key)


@mutant("ISO-005")
def chat_without_a_user_is_any_users(gateway: Sabotage) -> None:
    """Who names a chat and no user is given that chat, whosever it is."""

    @gateway.wrap(Histories, "of")
    def of(original: Any, self: Any, key: str) -> Any:
        keys = isolation.current()
        if keys is not None and keys.user is None and keys.chat == "room":
            kept = [each for (_, name), each in self._live.items() if name == key]
            if kept:
                return kept[-1]
        return original(self, key)


@mutant("ISO-006")
def empty_header_is_a_key(gateway: Sabotage) -> None:
    """A header without a value is a key like any other."""

    @gateway.wrap(isolation, "keys_of")
    def keys_of(original: Any, headers: Any) -> Any:
        return original([(name, value or b"empty" if name in HEADERS else value) for name, value in headers])


@mutant("ISO-007")
def keys_are_global(gateway: Sabotage) -> None:
    """A turn is kept under the keys that the gateway has when it ends: those of the last request that began."""
    latest: list[Keys | None] = [None]

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        latest[0] = isolation.current()
        return await kept_under(lambda: isolation.current() if request.stream else latest[0], original, self, request)


@mutant("ISO-008")
def stream_outlives_its_keys(gateway: Sabotage) -> None:
    """The context is reset when the response starts, so a streamed turn is kept under no keys."""

    @gateway.wrap(SessionTarget, "run")
    async def run(original: Any, self: Any, request: Any) -> Any:
        return await kept_under(lambda: None if request.stream else isolation.current(), original, self, request)


@mutant("ISO-009")
def failure_leaves_its_keys(gateway: Sabotage) -> None:
    """The context is reset where the handler returns, and a failure does not get there."""
    left_behind(gateway, lambda status: status is not None and status >= 500)


@mutant("ISO-010")
def hang_up_leaves_its_keys(gateway: Sabotage) -> None:
    """The context is reset behind the answer, and cancellation does not get there."""
    left_behind(gateway, lambda status: status is None)


@mutant("ISO-011")
def key_is_a_path(gateway: Sabotage) -> None:
    """The key is a directory, and a key that can be none is an error."""

    @gateway.wrap(host, "keyed")
    def keyed(original: Any, request: Any) -> Any:
        if keys := isolation.current():
            for key in filter(None, (keys.user, keys.chat)):
                isolation.path_key(key)
        return original(request)


@mutant("ISO-012")
def last_value_of_a_key_counts(gateway: Sabotage) -> None:
    """Headers are read into a dictionary, so the last of two counts, and the gateway says that the first does."""
    declares(gateway, isolation_duplicates="first")
    one_of(gateway, -1)


@mutant("ISO-013")
def first_value_of_a_key_counts(gateway: Sabotage) -> None:
    """Two values are said to be refused, and the first of them is taken."""
    one_of(gateway, 0)


@mutant("ISO-014")
def histories_of_all_users_are_one(gateway: Sabotage) -> None:
    """Histories are matched by their messages alone."""

    @gateway.wrap(session_module, "identify_tools")
    def identify(original: Any, tools: Any, partition: bytes) -> Any:
        return original(tools)


@mutant("ISO-015")
def turns_of_a_users_chat_are_not_exported(gateway: Sabotage) -> None:
    """What has both keys is recorded elsewhere, and never exported."""

    @gateway.wrap(Session, "_commit")
    def commit(original: Any, self: Any, record: Any) -> Any:
        keys = isolation.current()
        if keys is None or keys.user is None or keys.chat is None:
            original(self, record)


_partition = Keys.partition.fget


async def kept_under(keys: Any, original: Any, target: Any, request: Any) -> Any:
    """Run the turn with the history of its own keys, and keep it in that of `keys()`."""
    if not request.session_key:
        return await original(target, request)
    own = target.session.histories.of(request.session_key)
    before = own.messages
    text = await original(target, request)
    added, own.messages = own.messages[len(before) :], before
    with isolation.bound(keys()):
        target.session.histories.of(request.session_key).add(*added)
    return text


def left_behind(gateway: Sabotage, leaves: Any) -> None:
    """The keys of a request that ended with a status (None: with none) for which `leaves` holds stay for the requests
    of the same path that have none."""
    left: dict[str, Any] = {}

    @gateway.middleware
    def wrap(app: App) -> App:
        async def served(scope: Scope, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or "/invocations" not in scope["path"]:
                await app(scope, receive, send)
                return
            own = [pair for pair in scope["headers"] if pair[0] in HEADERS]
            if not own:
                scope = {**scope, "headers": [*scope["headers"], *left.get(scope["path"], ())]}
            status = None

            async def note(message: Any) -> None:
                nonlocal status
                status = message.get("status", status)
                await send(message)

            await app(scope, receive, note)
            if own and leaves(status):
                left[scope["path"]] = own

        return served


def one_of(gateway: Sabotage, place: int) -> None:
    """Of several values of a key, the one in this place counts."""

    @gateway.wrap(isolation, "keys_of")
    def keys_of(original: Any, headers: Any) -> Any:
        values: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in HEADERS:
                values.setdefault(name, []).extend(part.strip() for part in value.split(b","))
        return original([(name, found[place]) for name, found in values.items()])
