"""A gateway over an engine that is wrong: whatever it answers, the agent gets an error that tells it nothing of the
engine, in time, and nothing is recorded."""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from conformance.fixtures import fixture_path
from reference_gateway.app import build_codec, create_app
from reference_gateway.config import Config
from reference_gateway.serving.logs import _Json, _Text
from reference_gateway.serving.server import serving

KEY = "sk-engine-5301"
SECRET = "CUDA error at /opt/engine/worker.py:88 on engine-7.internal"
BACKENDS = ("vllm", "sglang", "llama_cpp")
MIB = 2**20

Answer = Callable[["Engine"], None]


class Engine(BaseHTTPRequestHandler):
    """Answers each generation as the test says."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.say(json.dumps({"data": [{"id": "m", "max_model_len": 1000}]}))

    def do_POST(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.request_body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.server.answer(self)
        except ConnectionError:
            self.server.hung_up.set()
        self.close_connection = True

    def begin(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.flush()

    def say(self, body: str | bytes, status: int = 200, **headers: str) -> None:
        whole = body.encode() if isinstance(body, str) else body
        self.begin(status, content_type="application/json", content_length=str(len(whole)), **headers)
        self.write(whole)

    def write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.server.sent += len(data)

    def log_message(self, *_: Any) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Engine)
        self.answer: Answer = lambda engine: engine.say("{}")
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent = 0
        self.hung_up = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def engine() -> Iterator[Server]:
    with running() as server:
        yield server


CODEC = build_codec(Config(tokenizer=fixture_path("chatml")))


@contextmanager
def gateway(backend: str, engine: Server, **settings: Any) -> Iterator[httpx.Client]:
    """A client of a session of a gateway over this engine."""
    config = Config(
        tokenizer=fixture_path("chatml"), backend=backend, backend_url=engine.url, backend_api_key=KEY, **settings
    )
    engine.sent = 0
    engine.asked.clear()
    engine.hung_up.clear()
    with serving(create_app(config, codec=CODEC)) as url, httpx.Client(timeout=30, trust_env=False) as http:
        session = http.post(f"{url}/sessions", json={}).json()
        http.base_url = f"{url}/sessions/{session['session_id']}"
        yield http


def ask(http: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, **fields}
    return http.post("/v1/chat/completions", json=body)


def refused(http: httpx.Client, engine: Server, status: int = 502, **fields: Any) -> str:
    """What the agent is told of a turn that failed with this status, left nothing and told nothing of the engine."""
    reply = ask(http, **fields)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["type"] == "internal_server_error"
    for hidden in (engine.url, str(engine.server_port), KEY, SECRET, "engine-7", "Traceback"):
        assert hidden not in reply.text
    assert http.get("/trajectories").json()["trajectories"] == []
    return str(error["message"])


def answer_of(backend: str, ids: list[Any], logprobs: list[Any] | None = None, context: int = 0) -> dict[str, Any]:
    """A plain answer in the engine's form."""
    if backend == "vllm":
        told = None if logprobs is None else {"token_logprobs": logprobs}
        return {"choices": [{"index": 0, "text": "x", "token_ids": ids, "finish_reason": "stop", "logprobs": told}]}
    if backend == "sglang":
        meta: dict[str, Any] = {"finish_reason": {"type": "stop"}, "completion_tokens": len(ids)}
        if logprobs is not None:
            meta["output_token_logprobs"] = [[value, 5, None] for value in logprobs]
        return {"text": "x", "output_ids": ids, "meta_info": meta}
    told = [] if logprobs is None else [{"logprob": value} for value in logprobs]
    counts = {"tokens_predicted": len(ids), "tokens_evaluated": context}
    ended = {"stop": True, "stop_type": "eos", "stopping_word": ""}
    return {"content": "x", "tokens": ids, "completion_probabilities": told, **counts, **ended}


def says(backend: str, ids: list[Any], logprobs: list[Any] | None = None) -> Answer:
    """Answers with these ids, as a stream where one is asked for."""

    def answer(engine: Engine) -> None:
        prompt = engine.request_body.get("prompt") or engine.request_body.get("input_ids")
        text = json.dumps(answer_of(backend, ids, logprobs, len(prompt)))
        if engine.request_body.get("stream"):
            engine.begin(content_type="text/event-stream")
            engine.write(f"data: {text}\n\ndata: [DONE]\n\n".encode())
        else:
            engine.say(text)

    return answer


STREAMED = [pytest.param(False, id="plain"), pytest.param(True, id="streamed")]


@pytest.mark.parametrize("stream", STREAMED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_good_engine_says_is_answered(backend, engine, stream):
    engine.answer = says(backend, [5, CODEC.vocabulary_size - 1], [-0.5, -1])
    with gateway(backend, engine, stream="incremental") as http:
        assert ask(http, stream=stream, logprobs=True).status_code == 200
        (trajectory,) = http.get("/trajectories").json()["trajectories"]
    assert trajectory["response_ids"] == [5, CODEC.vocabulary_size - 1]


ODD_IDS = [True, 1.0, -1, 2**31, 2**32, 10**30, CODEC.vocabulary_size, "5", None, [5]]


@pytest.mark.parametrize("stream", STREAMED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_id_of_the_vocabulary_is_refused(backend, engine, stream):
    with gateway(backend, engine, stream="incremental") as http:
        for odd in ODD_IDS:
            engine.answer = says(backend, [5, odd])
            assert "token ids hold" in refused(http, engine, stream=stream), odd


ODD_LOGPROBS = [float("nan"), float("inf"), float("-inf"), 0.5, True, False, "-1", None]


@pytest.mark.parametrize("stream", STREAMED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_log_probability_is_refused(backend, engine, stream):
    with gateway(backend, engine, stream="incremental") as http:
        for odd in ODD_LOGPROBS:
            engine.answer = says(backend, [5, 6], [-1, odd])
            reply = ask(http, stream=stream, logprobs=True)
            if reply.status_code == 200:  # the ids have left before: then the stream is broken off
                assert stream
                assert "error" in reply.text
                assert "[DONE]" not in reply.text
            else:
                assert reply.status_code == 502, odd
            assert http.get("/trajectories").json()["trajectories"] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("logprobs", [None, [], [-1], [-1, -1, -1]])
def test_too_few_or_too_many_log_probabilities_are_refused(backend, engine, logprobs):
    engine.answer = says(backend, [5, 6], logprobs)
    with gateway(backend, engine) as http:
        assert "logprobs" in refused(http, engine, logprobs=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_answer_is_refused(backend, engine):
    odd = [{"meta_info": 5, "choices": {"0": 1}, "tokens": 5}, {"choices": [[]]}, {"meta_info": {"finish_reason": 5}}]
    bodies = [b"\xff", b"[" * 100_000, b"5", b'"x"', b"", *(json.dumps(fields).encode() for fields in odd)]
    with gateway(backend, engine) as http:
        for body in bodies:
            engine.answer = lambda engine, body=body: engine.say(body)
            refused(http, engine)


def test_a_version_that_no_export_can_hold_is_refused(engine):
    def answer(engine: Engine) -> None:
        engine.say(json.dumps({**answer_of("vllm", [5]), "weight_version": "9" * 30}))

    engine.answer = answer
    with gateway("vllm", engine) as http:
        assert "weight version" in refused(http, engine)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(backend, engine, status):
    with running() as thief:
        thief.answer = says(backend, [5])
        engine.answer = lambda engine: engine.say("", status, location=f"{thief.url}{engine.path}")
        with gateway(backend, engine) as http:
            assert refused(http, engine) == f"BackendFailed: HTTP {status} from the engine"
        assert thief.asked == []


def endless(piece: bytes) -> Answer:
    """Begins an answer that has no end, and stops when the gateway hangs up."""

    def answer(engine: Engine) -> None:
        engine.begin(content_type="text/event-stream")
        while engine.server.sent < 512 * MIB:
            engine.write(piece)

    return answer


def event(backend: str) -> bytes:
    answer = answer_of(backend, [5])
    if backend == "vllm":
        answer["choices"][0]["finish_reason"] = None
    elif backend == "sglang":
        answer["meta_info"]["finish_reason"] = None
    else:
        answer["stop"] = False
    return b"data: " + json.dumps(answer).encode() + b"\n\n"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stream", STREAMED)
def test_an_answer_without_end_is_given_up(backend, engine, stream):
    engine.answer = endless(b" " * 2**16)
    with gateway(backend, engine, stream="incremental") as http:
        assert "is longer than" in refused(http, engine, stream=stream)
        assert engine.hung_up.wait(5)
    assert engine.sent < 16 * MIB


@pytest.mark.parametrize("backend", ["vllm", "llama_cpp"])
def test_a_stream_of_events_without_end_is_given_up(backend, engine):
    engine.answer = endless(event(backend) * 100)
    with gateway(backend, engine, stream="incremental", backend_max_answer=MIB) as http:
        reply = ask(http, stream=True)
        assert "is longer than 1048576 bytes" in reply.text
        assert "[DONE]" not in reply.text
        assert engine.hung_up.wait(5)
    assert engine.sent < 16 * MIB


def test_a_stream_that_counts_on_without_end_is_given_up(engine):
    def answer(engine: Engine) -> None:
        engine.begin(content_type="text/event-stream")
        for total in range(100, 10**9, 100):
            meta = {"finish_reason": None, "completion_tokens": total}
            document = {"output_ids": [5] * 100, "meta_info": meta}
            engine.write(b"data: " + json.dumps(document).encode() + b"\n\n")

    engine.answer = answer
    with gateway("sglang", engine, stream="incremental", backend_max_answer=10_000) as http:
        assert "is longer than 10000 bytes" in ask(http, stream=True).text
        assert engine.hung_up.wait(5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_coded_answer_is_not_unpacked(backend, engine):
    bomb = gzip.compress(b" " * 64 * MIB)
    engine.answer = lambda engine: engine.say(bomb, content_encoding="gzip")
    with gateway(backend, engine) as http:
        assert "content coding" in refused(http, engine)
    assert {headers["Accept-Encoding"] for _, headers in engine.asked} == {"identity"}


def drops(first: bytes, **headers: str) -> Answer:
    """A head and something, and then a byte now and then."""

    def answer(engine: Engine) -> None:
        engine.begin(content_type="text/event-stream", **headers)
        engine.write(first)
        while not engine.server.hung_up.wait(0.05):
            engine.write(b" ")

    return answer


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stream", STREAMED)
def test_an_answer_that_drips_is_given_up(backend, engine, stream):
    engine.answer = drops(event(backend) if stream else b"")
    with gateway(backend, engine, stream="incremental", backend_idle_timeout=0.3) as http:
        started = time.monotonic()
        reply = ask(http, stream=stream)
        assert time.monotonic() - started < 10
        assert "did not go on for 0.3 s" in reply.text
        assert reply.status_code in ((200, 504) if stream else (504,))
        assert http.get("/trajectories").json()["trajectories"] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("stream", STREAMED)
def test_an_answer_that_does_not_come_is_given_up(backend, engine, stream):
    engine.answer = lambda engine: engine.server.hung_up.wait(5)
    with gateway(backend, engine, stream="incremental", backend_timeout=0.5) as http:
        assert "did not answer within 0.5 s" in refused(http, engine, 504, stream=stream)
        engine.hung_up.set()


def test_there_is_a_limit_by_default():
    assert (Config().backend_timeout, Config().backend_idle_timeout) == (3600.0, 300.0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [401, 403, 404, 500, 502, 503])
def test_what_the_engine_says_of_itself_is_for_the_log(backend, engine, status, caplog):
    text = json.dumps({"error": {"message": f"{SECRET}, at {engine.url} with {KEY}\x1b[2J\u2028level=info"}})
    engine.answer = lambda engine: engine.say(text, status)
    with gateway(backend, engine) as http:
        refused(http, engine, 503 if status == 503 else 502)
    (record,) = [record for record in caplog.records if "from the engine:" in record.getMessage()]
    assert SECRET in record.getMessage()
    assert KEY not in caplog.text
    for form in (_Json(), _Text()):
        assert form.format(record).isprintable()


def test_a_log_stays_of_a_size(engine, caplog):
    engine.answer = lambda engine: engine.say(b"x" * 10 * MIB, 500)
    with gateway("vllm", engine) as http:
        refused(http, engine)
    assert max(len(record.getMessage()) for record in caplog.records) < 3000


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refusal_is_told_without_the_address_and_the_key(backend, engine):
    place = engine.url.partition("://")[2]
    text = json.dumps({"error": {"message": f"too long, says {engine.url}/v1, {place} and {KEY}"}})
    engine.answer = lambda engine: engine.say(text, 400)
    with gateway(backend, engine) as http:
        reply = ask(http)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "too long, says .../v1, ... and ..."


def test_every_line_of_a_log_is_one_line():
    odd = "a\x1b[2J\x85b\u2028c\u202ed\x9be\nf"
    record = logging.makeLogRecord({"msg": odd, "name": "n", "levelname": "INFO", "odd": odd})
    for form in (_Json(), _Text()):
        assert form.format(record).isprintable()
    assert json.loads(_Json().format(record))["message"] == odd


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:pass-5301@host", "backend_url must have no user name and no password in it"),
        ("http://pass-5301@host", "backend_url must have no user name and no password in it"),
        ("http://@host", "backend_url must have no user name and no password in it"),
        ("http://host:pass-5301", "backend_url must be an http or https URL"),
        ("http://host:99999", "backend_url must be an http or https URL"),
        ("http://[::1", "backend_url must be an http or https URL"),
        ("http://ho st", "backend_url must be an http or https URL"),
        ("http://host\n.example", "backend_url must be an http or https URL"),
        ("ftp://host", "backend_url must be an http or https URL"),
        ("unix:///run/engine.sock", "backend_url must be an http or https URL"),
        ("http:///v1", "backend_url must be an http or https URL"),
        ("http://host/v1?key=pass-5301", "backend_url must have no query"),
        ("http://host/v1#pass-5301", "backend_url must have no query"),
    ],
)
def test_an_address_with_more_than_an_address_in_it_is_refused(url, says):
    with pytest.raises(ValueError, match="backend_url") as error:
        Config(tokenizer=fixture_path("chatml"), backend="vllm", backend_url=url)
    assert says in str(error.value)
    assert "pass-5301" not in str(error.value)
