"""The upstream as a server: the routes beside generation, the control plane, and the process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from conformance.fixtures import fixture_path
from conformance.tokenizer import Tokenizer
from conformance.upstream.client import Upstream
from conformance.upstream.server import advice

from .caller import Caller


def spawn(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "conformance.upstream", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_small_routes_answer_as_vllm_does(caller: Caller) -> None:
    models = caller.http.get("/v1/models").json()
    tokens = caller.post("/tokenize", {"prompt": "Hello <|im_end|>"}).json()
    chat = caller.post("/tokenize", {"messages": [{"role": "user", "content": "Hi"}]}).json()
    text = caller.post("/detokenize", {"tokens": tokens["tokens"]}).json()

    assert caller.http.get("/health").status_code == 200
    assert [model["id"] for model in models["data"]] == ["scripted"]
    assert tokens["count"] == len(tokens["tokens"])
    assert tokens["tokens"] == caller.tokenizer.encode("Hello <|im_end|>")
    assert chat["tokens"] == caller.context("Hi")
    assert text == {"prompt": "Hello <|im_end|>"}


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/tokenize", {}, "prompt must be a string, or messages a list"),
        ("/detokenize", {"tokens": ["a"]}, "tokens must be a list of token ids"),
        ("/_kit/k0123456789/steps", {"steps": {}}, "steps must be a list of steps"),
        ("/_kit/k0123456789/steps", {"steps": [{"text": 1}]}, "step.text must be a string"),
        ("/_kit/k0123456789/release", {"index": "a"}, "index must be the index of a step or null"),
        ("/_kit/nonce/steps", {"steps": []}, "'nonce' is not a nonce"),
    ],
)
def test_what_is_refused_is_named(path: str, body: object, message: str, caller: Caller) -> None:
    refused = caller.post(path, body)

    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]


@pytest.mark.parametrize("query", ["since=a", "least=-1", "least=1&timeout=soon"])
def test_a_bad_query_is_refused(query: str, caller: Caller) -> None:
    refused = caller.http.get(f"/_kit/k0123456789/calls?{query}")

    assert refused.status_code == 400
    assert "must be" in refused.json()["error"]["message"]


def test_an_unknown_path_and_a_wrong_method_are_errors_of_the_same_form(caller: Caller) -> None:
    assert caller.http.get("/nothing").json()["error"]["code"] == 404
    assert caller.http.get("/v1/completions").json()["error"]["code"] == 405


def test_credentials_never_enter_the_ledger(scripted: Upstream, caller: Caller) -> None:
    scripted.says("a")
    headers = {"Authorization": "Bearer s3cret", "X-API-Key": "s3cret", "Cookie": "s=s3cret", "X-Trace": "t1"}

    caller.http.post("/v1/completions", json={"prompt": caller.context(scripted.nonce)}, headers=headers)

    recorded = scripted.calls[0].headers
    assert recorded["authorization"] == recorded["x-api-key"] == recorded["cookie"] == "<redacted>"
    assert recorded["x-trace"] == "t1"
    raw = httpx.get(f"{scripted.url}/_kit/{scripted.nonce.strip('#')}/calls").text
    assert "s3cret" not in raw


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly_while_a_call_is_held(number: signal.Signals) -> None:
    process = spawn()
    assert process.stdout is not None
    url = process.stdout.readline().removeprefix("listening on ").strip()
    upstream = Upstream.attach(url)
    upstream.begin()
    upstream.holds("never")
    parts = httpx.URL(url)
    body = b'{"prompt": "%s"}' % upstream.nonce.encode()
    with socket.create_connection((parts.host, parts.port or 0)) as caller:
        caller.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        upstream.wait_for_calls(1)

        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

        assert caller.recv(100).startswith(b"HTTP/1.1 503")
    upstream.close()
    assert process.returncode == 0
    assert errors == ""


def test_it_ends_with_the_process_that_started_it() -> None:
    process = spawn("--until-stdin-closes")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("listening on http://127.0.0.1:")

    process.communicate(timeout=10)

    assert process.returncode == 0


def test_a_taken_port_and_a_bad_tokenizer_are_one_sentence_each(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = spawn("--port", str(port))
        _, busy_error = busy.communicate(timeout=10)
    lost = spawn("--tokenizer", str(tmp_path))
    _, lost_error = lost.communicate(timeout=10)

    assert busy.returncode == lost.returncode == 2
    assert busy_error.startswith(f"error: cannot listen on 127.0.0.1:{port}: ")
    assert lost_error == f"error: {tmp_path} has no tokenizer.json; only tokenizers in that form can be loaded\n"


def test_the_advice_names_all_that_a_gateway_needs() -> None:
    text = advice("http://127.0.0.1:8765", Tokenizer.load(fixture_path("chatml")))

    assert text.splitlines()[0] == "listening on http://127.0.0.1:8765"
    assert "http://127.0.0.1:8765/v1" in text
    assert str(fixture_path("chatml").resolve()) in text
    assert "scripted" in text
    assert "--gateway-upstream-port 8765" in text


def test_it_serves_the_character_tokenizer_too() -> None:
    chars = Tokenizer.load(fixture_path("chars"))
    with Upstream.start(fixture_path("chars")) as upstream:
        upstream.begin()
        upstream.says("A1")
        context = chars.encode(chars.render([{"role": "user", "content": upstream.nonce}]))
        answer = httpx.post(f"{upstream.url}/v1/completions", json={"prompt": context, "return_token_ids": True}).json()

        assert answer["choices"][0]["token_ids"] == [ord("A"), ord("1"), 10]
        assert answer["choices"][0]["text"] == "A1"
        assert upstream.calls[0].text == f"user:{upstream.nonce}\nassistant:"
        upstream.end()
