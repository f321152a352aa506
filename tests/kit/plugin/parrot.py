"""An engine that answers everything with the same ids, in the manner of llama.cpp, and that nobody scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from conformance.fixtures import fixture_path
from conformance.tokenizer import Tokenizer

SAYS = "Who is there, please?"
LOGPROB = -0.5
MODEL_LENGTH = 4096


class Parrot(ThreadingHTTPServer):
    """Listens on loopback once it is made; `serve_forever` is for a thread."""

    daemon_threads = True

    def __init__(self) -> None:
        tokenizer = Tokenizer.load(fixture_path("chatml"))
        ids = [*tokenizer.encode(SAYS), tokenizer.end_of_turn]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(json.dumps({"data": [{"id": "parrot", "max_model_len": MODEL_LENGTH}]}).encode())

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if len(asked["prompt"]) > MODEL_LENGTH:
                    self._send(json.dumps({"error": {"message": "the context is too long"}}).encode(), 400)
                    return
                limit = asked.get("n_predict", -1)
                told = ids if limit < 0 else ids[:limit]
                documents = list(_events(told)) if asked.get("stream") else []
                end = {"content": "", "tokens": [] if documents else told, "stop": True, "stopping_word": ""}
                end |= {"stop_type": "eos" if told == ids else "limit", "tokens_predicted": len(told)}
                end |= {"tokens_evaluated": len(asked["prompt"])}
                if not documents:
                    end["completion_probabilities"] = [{"id": token, "logprob": LOGPROB} for token in told]
                    self._send(json.dumps(end).encode())
                    return
                body = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in [*documents, end])
                self._send(body, kind="text/event-stream")

            def _send(self, body: bytes, status: int = 200, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def _events(ids: list[int]) -> Iterator[dict[str, Any]]:
    for token in ids:
        told = [{"id": token, "logprob": LOGPROB}]
        yield {"content": "", "tokens": [token], "stop": False, "completion_probabilities": told}
