"""What a test holds of the upstream: scripts, holds, barriers, the ledger; alone and beside seven others."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from conformance.fixtures import fixture_path
from conformance.tokenizer import TokenizerError
from conformance.upstream.client import Upstream, UpstreamError
from conformance.upstream.script import ScriptError

from .caller import Caller


def text_of(response: httpx.Response) -> str:
    return str(response.json()["choices"][0]["text"])


def test_steps_are_taken_in_the_order_in_which_they_were_said(scripted: Upstream, caller: Caller) -> None:
    for text in "abc":
        scripted.says(text)

    assert [text_of(caller.complete(scripted.nonce)) for _ in "abc"] == ["a", "b", "c"]
    assert [call.index for call in scripted.calls] == [0, 1, 2]


def test_when_selects_a_step_by_its_context(scripted: Upstream, caller: Caller) -> None:
    scripted.says("main", when="question")
    scripted.says("sub", when="subagent")
    scripted.says("any")

    assert text_of(caller.complete(f"{scripted.nonce} subagent")) == "sub"
    assert text_of(caller.complete(f"{scripted.nonce} other")) == "any"
    assert text_of(caller.complete(f"{scripted.nonce} question")) == "main"


def test_each_test_begins_with_nothing_and_leaves_nothing(server: Upstream, caller: Caller) -> None:
    server.begin()
    first = server.nonce
    server.says("left over")
    server.says("taken")
    caller.complete(first)

    unused = server.end()
    server.begin()

    assert [step.text for step in unused] == ["taken"]
    assert server.nonce != first
    assert server.calls == []
    assert caller.complete(first).status_code == 500
    assert server.end() == []


def test_every_nonce_has_the_same_number_of_tokens(server: Upstream) -> None:
    lengths = set()
    for _ in range(20):
        server.begin()
        lengths.add(len(server.tokenizer.encode(f"{server.nonce} Hi")))
        server.end()

    assert len(lengths) == 1


def test_outside_a_test_nothing_can_be_scripted(server: Upstream) -> None:
    with pytest.raises(UpstreamError, match="no test is open"):
        server.says("a")


def test_a_bad_step_is_refused_where_it_is_said(scripted: Upstream) -> None:
    with pytest.raises(ScriptError, match=r"step\.finish must be"):
        scripted.says("a", finish=7)  # type: ignore[arg-type]
    with pytest.raises(ScriptError, match="step has no field 'finsh'"):
        scripted.says("a", finsh="stop")
    with pytest.raises(ScriptError, match=r"step\.status"):
        scripted.fails(99)


def test_a_held_call_answers_when_it_is_released(scripted: Upstream, caller: Caller) -> None:
    hold = scripted.holds("late")
    scripted.says("early")
    with ThreadPoolExecutor() as threads:
        late = threads.submit(caller.complete, scripted.nonce)
        scripted.wait_for_calls(1)
        early = caller.complete(scripted.nonce)
        waiting = scripted.calls[0]

        hold.release()

        assert text_of(late.result()) == "late"
    assert text_of(early) == "early"
    assert (waiting.outcome, waiting.answered, waiting.generation) == ("pending", None, [])
    first, second = scripted.calls
    assert first.arrived < second.arrived <= (second.answered or 0) <= (first.answered or 0)
    assert first.outcome == "answered"


def test_a_hold_may_be_released_before_its_call_comes(scripted: Upstream, caller: Caller) -> None:
    scripted.holds("a").release()
    scripted.holds("b", finish="length", when="x")
    scripted.release()

    assert text_of(caller.complete(scripted.nonce)) == "a"
    assert text_of(caller.complete(f"{scripted.nonce} x")) == "b"


def test_holds_are_released_one_by_one(scripted: Upstream, caller: Caller) -> None:
    first, second = scripted.holds("first"), scripted.holds("second")
    with ThreadPoolExecutor() as threads:
        one = threads.submit(caller.complete, scripted.nonce)
        scripted.wait_for_calls(1)
        two = threads.submit(caller.complete, scripted.nonce)
        scripted.wait_for_calls(2)

        second.release()
        assert text_of(two.result()) == "second"
        assert not one.done()
        first.release()
        assert text_of(one.result()) == "first"


def test_the_end_of_a_test_lets_its_held_calls_go(server: Upstream, caller: Caller) -> None:
    server.begin()
    hold = server.holds("never")
    with ThreadPoolExecutor() as threads:
        held = threads.submit(caller.complete, server.nonce)
        server.wait_for_calls(1)

        assert server.end() == []

        assert held.result().status_code == 503
    hold.release()


def test_a_barrier_answers_only_when_all_are_there(scripted: Upstream, caller: Caller) -> None:
    scripted.barrier("a", "b", "c")
    with ThreadPoolExecutor() as threads:
        calls: list[Future[httpx.Response]] = [threads.submit(caller.complete, scripted.nonce) for _ in range(2)]
        scripted.wait_for_calls(2)
        assert [call.outcome for call in scripted.calls] == ["pending", "pending"]

        calls.append(threads.submit(caller.complete, scripted.nonce))

        assert sorted(text_of(call.result()) for call in calls) == ["a", "b", "c"]


def test_a_barrier_that_is_not_reached_can_be_released(scripted: Upstream, caller: Caller) -> None:
    scripted.barrier("a", n=2)
    with ThreadPoolExecutor() as threads:
        call = threads.submit(caller.complete, scripted.nonce)
        scripted.wait_for_calls(1)
        scripted.release()

        assert text_of(call.result()) == "a"


def test_a_caller_that_hangs_up_is_on_record(scripted: Upstream, caller: Caller) -> None:
    scripted.holds("never")
    url = httpx.URL(scripted.url)
    body = json.dumps({"prompt": caller.context(scripted.nonce)}).encode()
    with socket.create_connection((url.host, url.port or 0)) as impatient:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        impatient.sendall(head.encode() + body)
        scripted.wait_for_calls(1)

    (call,) = scripted.wait_for_calls(1, outcome="aborted")
    assert (call.status, call.message, call.generation) == (None, "the caller hung up", [])


def test_waiting_in_vain_says_what_did_arrive(scripted: Upstream, caller: Caller) -> None:
    scripted.says("a")
    caller.complete(scripted.nonce)

    with pytest.raises(TimeoutError, match=r"the upstream waited 0.05 s for 2 calls; calls so far: answered"):
        scripted.wait_for_calls(2, timeout=0.05)
    with pytest.raises(TimeoutError, match=r"for 1 calls aborted"):
        scripted.wait_for_calls(1, timeout=0.05, outcome="aborted")


def test_several_threads_may_share_one_upstream(scripted: Upstream, caller: Caller) -> None:
    def converse(name: str) -> list[str]:
        scripted.says(f"{name}!", when=f"<{name}>")
        answers = [text_of(caller.complete(f"{scripted.nonce} <{name}>"))]
        return [*answers, *(call.text for call in scripted.calls if f"<{name}>" in call.text)]

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(converse, "abcdefgh"))

    assert [result[0] for result in results] == [f"{name}!" for name in "abcdefgh"]
    assert all(len(result) == 2 for result in results)
    assert len(scripted.calls) == 8


WORKER = """
import http.client, json, sys
from urllib.parse import urlsplit
from conformance.upstream.client import Upstream

upstream = Upstream.attach(sys.argv[1])
caller = http.client.HTTPConnection(urlsplit(upstream.url).netloc)
for turn in range(20):
    upstream.begin()
    upstream.says(f"worker {sys.argv[2]} turn {turn}")
    context = upstream.tokenizer.encode(f"{upstream.nonce} hello")
    caller.request("POST", "/v1/completions", json.dumps({"prompt": context}))
    answer = json.load(caller.getresponse())
    assert answer["choices"][0]["text"] == f"worker {sys.argv[2]} turn {turn}", answer
    assert [call.context for call in upstream.calls] == [context]
    assert upstream.end() == []
upstream.close()
"""


def test_eight_processes_may_share_one_upstream(server: Upstream) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, server.url, str(number)]) for number in range(8)]

    assert [worker.wait(timeout=60) for worker in workers] == [0] * 8


def test_a_long_context_is_found_and_returned_whole(scripted: Upstream, caller: Caller) -> None:
    scripted.says("at the start")
    scripted.says("far behind")
    filler = caller.tokenizer.encode(" word") * 20_000

    front = caller.post("/v1/completions", {"prompt": caller.context(scripted.nonce) + filler})
    back = caller.post("/v1/completions", {"prompt": filler + caller.context(scripted.nonce)})

    assert (text_of(front), text_of(back)) == ("at the start", "far behind")
    assert [len(call.context) for call in scripted.calls] == [len(filler) + len(caller.context(scripted.nonce))] * 2


def test_the_ledger_is_read_once_per_closed_call(scripted: Upstream, caller: Caller) -> None:
    scripted.says("a")
    scripted.says("b")
    caller.complete(scripted.nonce)
    first = scripted.calls
    caller.complete(scripted.nonce)

    second = scripted.calls

    assert second[0] is first[0]
    assert [call.index for call in second] == [0, 1]


class _Foreign(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"hello": "world"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _attach_to_nothing() -> None:
    Upstream.attach("http://127.0.0.1:9")


def _attach_to_no_url() -> None:
    Upstream.attach("127.0.0.1")


def _attach_to_another_server() -> None:
    server = HTTPServer(("127.0.0.1", 0), _Foreign)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        Upstream.attach(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("attach", "message"),
    [
        (_attach_to_nothing, "no upstream answers at http://127.0.0.1:9: .*refused"),
        (_attach_to_no_url, "'127.0.0.1' is not the URL of an upstream"),
        (_attach_to_another_server, "is not the kit's scripted upstream"),
    ],
)
def test_only_the_kits_upstream_can_be_attached(attach: Callable[[], None], message: str) -> None:
    with pytest.raises(UpstreamError, match=message):
        attach()


def test_that_nothing_answers_is_told_by_its_cause() -> None:
    with pytest.raises(UpstreamError) as refused:
        _attach_to_nothing()

    assert isinstance(refused.value.__cause__, OSError)


def test_another_tokenizer_is_told_by_its_digest(server: Upstream) -> None:
    with pytest.raises(UpstreamError, match="has another tokenizer"):
        Upstream.attach(server.url, fixture_path("chars"))

    attached = Upstream.attach(server.url, fixture_path("chatml"))
    assert attached.tokenizer.digest == server.tokenizer.digest
    attached.close()


def test_starting_with_no_tokenizer_or_on_a_taken_port_is_one_sentence(server: Upstream, tmp_path: Path) -> None:
    port = int(server.url.rsplit(":", 1)[1])

    with pytest.raises(TokenizerError, match=r"has no tokenizer\.json"):
        Upstream.start(tmp_path)
    with pytest.raises(UpstreamError, match=f"the kit's upstream did not start: cannot listen on 127.0.0.1:{port}"):
        Upstream.start(fixture_path("chatml"), port=port)


def test_a_closed_upstream_says_that_nothing_answers() -> None:
    upstream = Upstream.start(fixture_path("chatml"))
    upstream.begin()
    upstream.close()

    with pytest.raises(UpstreamError, match="no upstream answers"):
        upstream.says("a")
