"""What a gateway posts by itself: found by its nonce, refused or held as the test says, waited for without a clock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from conformance.upstream.client import Upstream
from conformance.upstream.script import ScriptError

from .caller import Caller


@pytest.fixture
def scripted(scripted: Upstream) -> Upstream:
    scripted.says("A test is open once something was said.")
    return scripted


def post(upstream: Upstream, document: object) -> httpx.Response:
    return httpx.post(f"{upstream.url}/inbox", json=document)


def test_posts_are_kept_in_their_order_by_nonce(scripted: Upstream) -> None:
    first, second = {"to": f"phone:{scripted.nonce}", "text": "é"}, {"note": [scripted.nonce]}
    assert [post(scripted, each).status_code for each in (first, second)] == [200, 200]

    assert [(each.index, each.body, each.status) for each in scripted.posts] == [(0, first, 200), (1, second, 200)]
    assert [each.index for each in scripted.wait_for_posts(1, when="é")] == [0]
    times = [time for each in scripted.posts for time in (each.arrived, each.answered)]
    assert times == sorted(times), "so that a trace tells what came of what"


def test_what_belongs_to_no_open_test_is_refused(scripted: Upstream, caller: Caller) -> None:
    assert post(scripted, {"to": "phone:#k0000000000#"}).status_code == 404
    assert post(scripted, {"to": "phone"}).json()["error"]["message"].startswith("no test that is open")
    assert post(scripted, [scripted.nonce]).status_code == 400
    assert scripted.posts == []


def test_posts_are_refused_as_often_as_said(scripted: Upstream) -> None:
    scripted.refuses_posts(2, when="mail:")

    to = [f"{channel}:{scripted.nonce}" for channel in ("mail", "phone", "mail", "mail")]
    assert [post(scripted, {"to": each}).status_code for each in to] == [503, 200, 503, 200]
    assert [each.status for each in scripted.posts] == [503, 200, 503, 200]


def test_a_held_post_is_seen_and_answered_after_its_release(scripted: Upstream) -> None:
    scripted.holds_posts()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(post, scripted, {"to": scripted.nonce})
        assert [each.status for each in scripted.wait_for_posts(1)] == [None]
        assert not held.done()
        scripted.release_posts()
        assert held.result().status_code == 200
    assert [each.status for each in scripted.posts] == [200]


def test_the_end_of_a_test_lets_a_held_post_go(server: Upstream) -> None:
    server.begin()
    server.holds_posts()  # opens it, too
    with ThreadPoolExecutor() as pool:
        held = pool.submit(post, server, {"to": server.nonce})
        server.wait_for_posts(1)
        server.end()
        assert held.result(10).status_code == 200


def test_waiting_in_vain_says_what_was_posted(scripted: Upstream) -> None:
    post(scripted, {"to": f"phone:{scripted.nonce}"})
    with pytest.raises(TimeoutError, match=r"2 posts with 'phone'; posts so far: \{\"to\": \"phone:#k"):
        scripted.wait_for_posts(2, when="phone", timeout=0.01)


@pytest.mark.parametrize(
    ("how", "error"), [({"times": 0}, "times must be a count"), ({"status": 7}, "status must be 200 to 599")]
)
def test_a_wrong_answer_is_refused(scripted: Upstream, how: dict[str, int], error: str) -> None:
    with pytest.raises(ScriptError, match=error):
        scripted.refuses_posts(**how)
