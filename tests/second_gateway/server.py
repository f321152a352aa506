"""HTTP: the kit's control plane and the wires of each session, one thread for a connection."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.second_gateway import chat, messages
from tests.second_gateway.chat import demand
from tests.second_gateway.sessions import OPTIONS, Engine, Problem, Session
from tests.second_gateway.text import Text

DECLARED: dict[str, Any] = {
    "name": "second-gateway",
    "version": "1",
    "capabilities": [
        *("control-plane", "sessions", "session-ids", "session-state", "session-sampling", "session-lengths"),
        *("session-options", "complete", "abort", "reward-info", "trajectories", "token-upstream", "tools"),
        *("streaming", "anthropic-messages", "logprobs", "weight-versions"),
    ],
    "options": {
        "trajectory": "conversation",
        "aborted": "failed",
        "template_kwargs": "request",
        "control_tokens": "parsed",
        "error_404_type": "api_error",
    },
}
JSON = "application/json"
STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache"}


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": JSON})


def as_json(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


class Gateway:
    def __init__(self, text: Text, engine: Engine, declared: dict[str, str]) -> None:
        self.text, self.engine, self.declared = text, engine, declared
        self.sessions: dict[str, Session] = {}
        self.url = ""

    def serve(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        wire = messages if re.fullmatch(r"/sessions/[^/]+/v1/messages(/.*)?", path) else chat
        try:
            return self._serve(method, path, body, headers)
        except Problem as problem:
            answer = as_json(wire.error(problem.status, str(problem)), problem.status)
            if problem.status == 409:
                answer.headers["x-should-retry"] = "false"
            if problem.retry_after is not None:
                answer.headers["retry-after"] = problem.retry_after
            return answer
        except Exception:
            return as_json(wire.error(500, "Internal server error"), 500)

    def _serve(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        coding = headers.get("content-encoding") or "identity"
        if coding != "identity":
            raise Problem(415, f"content-encoding {coding} is not supported: send the body as it is")
        if (method, path) == ("GET", "/capabilities"):
            return as_json({**DECLARED, "options": {**DECLARED["options"], **self.declared}})
        if (method, path) == ("GET", "/readiness"):
            return as_json({"ready": True})
        if (method, path) == ("POST", "/sessions"):
            return as_json(self.create(chat.read_json(body or b"{}")), 201)
        found = re.fullmatch(r"/sessions/([^/]+)(/.*)?", path)
        if found is None:
            raise Problem(404, f"no such route: {path}")
        session = self.sessions.get(found[1])
        if session is None:
            raise Problem(404, f"no session {found[1]}")
        match method, found[2] or "":
            case "POST", "/v1/chat/completions":
                return self.chat(session, chat.read_json(body), headers)
            case "POST", "/v1/messages":
                return self.message(session, chat.read_json(body), headers)
            case "GET", "":
                return as_json(session.state())
            case "GET", "/trajectories":
                return as_json({"trajectories": session.trajectories()})
            case "POST", "/complete" | "/reward_info":
                return self.reward(session, chat.read_json(body or b"{}"), found[2])
            case "POST", "/finalize":
                return self.finalize(session)
            case "POST", "/abort":
                session.close("ABORTED")
                return as_json({"status": "ok"})
            case _, "/v1/chat/completions" | "/v1/messages":
                raise Problem(404 if method == "HEAD" else 405, f"{method} is not for this route")
        raise Problem(404, f"no such route: {method} {path}")

    def create(self, settings: dict[str, Any]) -> dict[str, str]:
        wanted = settings.get("session_id")
        fit = wanted is None or (isinstance(wanted, str) and re.fullmatch(r"[\w-][\w.-]*", wanted, re.ASCII))
        demand(fit, "session_id must be letters, digits, dots and dashes")
        if wanted in self.sessions:
            raise Problem(409, f"session {wanted} already exists")
        demand(isinstance(settings.get("sampling_params") or {}, dict), "sampling_params must be an object")
        for name in ("prompt_length", "response_length"):
            length = settings.get(name)
            demand(length is None or (type(length) is int and length > 0), f"{name} must be a positive integer")
        options = settings.get("options") or {}
        demand(isinstance(options, dict), "options must be an object")
        for name, value in options.items():
            demand(value in OPTIONS.get(name, ()), f"options.{name} does not take {value!r}")
        session = Session(settings, self.declared, self.text, self.engine)
        self.sessions[session.id] = session
        base = f"{self.url}/sessions/{session.id}"
        return {"session_id": session.id, "base_url": f"{base}/v1", "reward_info_url": f"{base}/reward_info"}

    def chat(self, session: Session, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        answer = session.turn(chat.read(body), headers)
        if body.get("stream") is not True:
            return as_json(chat.completion(answer, body.get("model")))
        wanted = body.get("stream_options")
        usage = isinstance(wanted, dict) and wanted.get("include_usage") is True
        return Answer(200, chat.stream(answer, body.get("model"), usage), STREAM)

    def message(self, session: Session, body: dict[str, Any], headers: Mapping[str, str]) -> Answer:
        whole = messages.message(session.turn(messages.read(body), headers), body.get("model"))
        return Answer(200, messages.stream(whole), STREAM) if body.get("stream") is True else as_json(whole)

    def reward(self, session: Session, body: dict[str, Any], route: str) -> Answer:
        session.require_active()
        reward = body.get("reward_info")
        demand(reward is None or isinstance(reward, dict), "reward_info must be an object")
        if reward is not None:
            session.reward = reward
        if route == "/complete":
            session.close("COMPLETED")
        return as_json({"status": "ok"})

    def finalize(self, session: Session) -> Answer:
        if session.phase == "ABORTED":
            raise Problem(409, f"session {session.id} is aborted")
        session.close("FINALIZED")
        self.sessions.pop(session.id, None)
        return as_json({"trajectories": session.trajectories()})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, gateway: Gateway, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_request(self) -> None:
                body = self.read_body()
                if body is None:  # the client hung up in the middle of it
                    self.close_connection = True
                    return
                answer = gateway.serve(self.command, self.path.partition("?")[0], body, self.headers)
                self.send_response(answer.status)
                for name, value in {**answer.headers, "content-length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else answer.body)

            def read_body(self) -> bytes | None:
                if self.headers.get("transfer-encoding", "").lower() != "chunked":
                    length = int(self.headers.get("content-length") or 0)
                    body = self.rfile.read(length)
                    return body if len(body) == length else None
                body = b""
                while True:
                    line = self.rfile.readline()
                    if not line.strip():
                        return None
                    size = int(line.split(b";")[0], 16)
                    body += self.rfile.read(size)
                    self.rfile.readline()
                    if size == 0:
                        return body

            do_GET = do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_request  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", port), Handler)
        gateway.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client that hung up is no news."""
