"""Isolation keys: read, bound, and what they part (contract AF-ISO, AF-SES)."""

from __future__ import annotations

import asyncio
from itertools import combinations

import pytest

from reference_gateway import isolation
from reference_gateway.isolation import AmbiguousKeys, Keys
from reference_gateway.session.histories import Histories

USER, CHAT = (b"x-agent-user-isolation-key", b"x-agent-chat-isolation-key")


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        ([], None),
        ([(USER, b"a")], Keys("a")),
        ([(CHAT, b"c")], Keys(None, "c")),
        ([(USER, b"a"), (CHAT, b"c"), (b"x-agent-other", b"x")], Keys("a", "c")),
        ([(USER, b""), (CHAT, b" ")], None),
        ([(USER, b""), (USER, b"a")], Keys("a")),
    ],
)
def test_keys_are_lifted_from_headers(headers, keys):
    assert isolation.keys_of(headers) == keys


@pytest.mark.parametrize("headers", [[(USER, b"a"), (USER, b"a")], [(USER, b"a, b")], [(CHAT, b"x" * 1025)]])
def test_keys_that_are_not_one_value_are_refused(headers):
    with pytest.raises(AmbiguousKeys, match="isolation-key must have"):
        isolation.keys_of(headers)


def test_every_pair_of_keys_is_a_partition_of_its_own():
    keys = [None, "a", "b", "ab", "1:a", "-", "2:"]
    pairs = [Keys(user, chat) for user in keys for chat in keys if user or chat]
    assert all(one.partition != other.partition for one, other in combinations(pairs, 2))
    assert b"" not in {each.partition for each in pairs}


def test_keys_are_bound_for_a_block_also_when_it_fails():
    def failing() -> None:
        with isolation.bound(Keys("a")):
            seen.append(isolation.current())
            raise LookupError

    seen: list[Keys | None] = []
    with pytest.raises(LookupError):
        failing()
    assert seen == [Keys("a")]
    assert isolation.current() is None
    assert isolation.partition() == b""


def test_concurrent_requests_never_see_each_others_keys():
    async def request(name: str, mine: asyncio.Event, other: asyncio.Event) -> list[str | None]:
        with isolation.bound(Keys(name)):
            seen = [isolation.current()]
            mine.set()
            await other.wait()
            seen.append(isolation.current())
        return [each.user for each in seen] + [isolation.current()]

    async def story() -> list[list[str | None]]:
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(request("a", one, two), request("b", two, one))

    assert asyncio.run(story()) == [["a", "a", None], ["b", "b", None]]


@pytest.mark.parametrize("key", ["telegram:42", "entra:abc-def_0123", "responses:user.name", "x" * 200])
def test_keys_that_may_be_a_path(key):
    assert isolation.path_key(key) == key


@pytest.mark.parametrize("key", ["", ".", "..", "....", "a/b", "/a", "a\\b", "a\0b", "C:foo", "c:\\x", 7, None, b"a"])
def test_keys_that_may_not_be_a_path(key):
    with pytest.raises(ValueError, match="a key must"):
        isolation.path_key(key)


def test_a_history_is_the_same_object_for_its_key_and_partition():
    histories = Histories()
    plain = histories.of("k")
    with isolation.bound(Keys("a")):
        of_a = histories.of("k")
        assert histories.of("k") is of_a
    assert histories.of("k") is plain
    assert of_a is not plain
    assert histories.of("other") is not plain
    assert len(histories) == 3


def test_a_reset_rotates_the_id_and_outlives_a_restart():
    histories = Histories()
    before = histories.of("k")
    before.add({"role": "user", "content": "hi"})
    with isolation.bound(Keys("a")):
        histories.of("k").add({"role": "user", "content": "ho"})
    new = histories.reset("k")
    name, _, suffix = new.partition("#")
    assert (before.id, name, len(suffix)) == ("k", "k", 8)
    assert int(suffix, 16) >= 0
    assert (histories.of("k").id, histories.of("k").messages) == (new, ())
    with isolation.bound(Keys("a")):
        assert len(histories.of("k").messages) == 1
    assert Histories(histories.aliases).of("k").id == new
