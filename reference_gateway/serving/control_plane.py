"""The routes that trainers and runners call: sessions, their ends, and what the gateway says about itself.

Knows the control plane's bodies and URLs. Every refusal is an OpenAI error envelope that names the field.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reference_gateway import __version__
from reference_gateway.channel.options import resolve_channel_options
from reference_gateway.config import Config, url_host
from reference_gateway.serving.access import Access
from reference_gateway.serving.http import headers_of, read_body
from reference_gateway.serving.metrics import MEDIA_TYPE, Metrics
from reference_gateway.session import Session, Sessions, Trajectory
from reference_gateway.session.options import resolve_options
from reference_gateway.types import Codec
from reference_gateway.wire.base import Policy, RequestRefused
from reference_gateway.wire.json_body import read_object, require_json

Route = Callable[[Request], Awaitable[Response]]
Body = TypeVar("Body", bound=BaseModel)

CAPABILITIES = (
    "sessions",
    "session-ids",
    "session-state",
    "session-sampling",
    "session-lengths",
    "session-options",
    "complete",
    "abort",
    "reward-info",
    "trajectories",
    "streaming",
    "openai-responses",
    "conversations",
    "compaction",
    "turn-events",
    "anthropic-messages",
    "invocations",
    "isolation-keys",
    "logprobs",
    "weight-versions",
    "control-plane",
    "token-upstream",
)
JSON_LINES = "application/jsonl"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CreateSession(_Strict):
    """What a session is created with; every field may be left out."""

    session_id: str | None = None
    sampling_params: dict[str, Any] | None = Field(None, description="Defaults for every turn; trusted, so any key.")
    prompt_length: int | None = Field(None, gt=0, description="Tokens.")
    response_length: int | None = Field(None, gt=0, description="Tokens.")
    options: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class RewardInfo(_Strict):
    """A reward for the whole session; left out or null, the one before stays."""

    reward_info: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Everything that the control routes work on."""

    config: Config
    codec: Codec
    sessions: Sessions
    access: Access
    metrics: Metrics
    backend: str
    wires: tuple[str, ...]
    policy: Policy
    server_tools: bool = False
    delivery: str = "none"
    declared: tuple[str, ...] = ()

    def router(self) -> APIRouter:
        """The routes of design "Control plane of the reference gateway"."""
        router = APIRouter(default_response_class=Response)
        add = router.add_api_route
        add("/sessions", self.create, methods=["POST"], status_code=201, openapi_extra=_takes(CreateSession))
        add("/sessions/{session_id}", self.state, methods=["GET"], openapi_extra=_OF_SESSION)
        add("/sessions/{session_id}/trajectories", self.trajectories, methods=["GET"], openapi_extra=_OF_SESSION)
        add("/sessions/{session_id}/turns", self.turns, methods=["GET"], openapi_extra=_OF_SESSION)
        add("/sessions/{session_id}/complete", self.complete, methods=["POST"], openapi_extra=_takes(RewardInfo, True))
        add("/sessions/{session_id}/finalize", self.finalize, methods=["POST"], openapi_extra=_OF_SESSION)
        add("/sessions/{session_id}/abort", self.abort, methods=["POST"], openapi_extra=_OF_SESSION)
        add("/sessions/{session_id}/reward_info", self.reward, methods=["POST"], openapi_extra=_takes(RewardInfo, True))
        add("/readiness", self.readiness, methods=["GET"])
        add("/capabilities", self.capabilities, methods=["GET"])
        add("/metrics", self.measured, methods=["GET"])
        return router

    async def create(self, request: Request) -> Response:
        """Create a session and say how it is reached."""
        self.access.require_admin(request.headers)
        body = await self._body(request, CreateSession)
        session = self.sessions.create(
            body.session_id,
            sampling_params=body.sampling_params,
            prompt_length=self.config.prompt_length if body.prompt_length is None else body.prompt_length,
            response_length=self.config.response_length if body.response_length is None else body.response_length,
            options=body.options,
            metadata=body.metadata,
        )
        return _json(self._handle(request, session), status=201)

    async def state(self, request: Request) -> Response:
        """A session's state, as it is now."""
        self.access.require_admin(request.headers)
        return _json(self._session(request).state())

    async def trajectories(self, request: Request) -> Response:
        """What `finalize` would return now; nothing changes."""
        self.access.require_admin(request.headers)
        return _exported(request, self._session(request).trajectories())

    async def turns(self, request: Request) -> Response:
        """The turns that the session's responses are, each with its events."""
        self.access.require_admin(request.headers)
        session = self._session(request)
        return _json({"session_id": session.session_id, "turns": session.turns.to_json()})

    async def complete(self, request: Request) -> Response:
        """No more turns; the session stays readable until it is finalized."""
        self.access.require_session(request.headers, _session_id(request), or_admin=True)
        body = await self._body(request, RewardInfo)
        self._session(request).complete(body.reward_info)
        return _json({"status": "ok"})

    async def finalize(self, request: Request) -> Response:
        """The session's trajectories; the session is gone."""
        self.access.require_admin(request.headers)
        return _exported(request, self.sessions.finalize(_session_id(request)))

    async def abort(self, request: Request) -> Response:
        """Discard what the session holds. Idempotent, also for an unknown session."""
        self.access.require_admin(request.headers)
        self.sessions.abort(_session_id(request))
        return _json({"status": "ok"})

    async def reward(self, request: Request) -> Response:
        """Attach a reward to every trajectory of the session. Replaces, never merges."""
        self.access.require_session(request.headers, _session_id(request), or_admin=True)
        body = await self._body(request, RewardInfo)
        self._session(request).set_reward(body.reward_info)
        return _json({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """Whether turns are taken, and how the chat template is continued."""
        codec = {"mode": self.codec.mode, **{name: getattr(self.codec, name, None) for name in ("reason", "roles")}}
        return _json({"status": "ok", "backend": self.backend, "codec": codec})

    async def capabilities(self, request: Request) -> Response:
        """What this gateway declares that it has."""
        self.access.require_admin(request.headers)
        options = {
            "trajectory": "conversation",
            "aborted": "failed",
            **resolve_options(self.config.options),
            "template_kwargs": "request" if self.config.request_template_kwargs else "config",
            "control_tokens": self.config.control_tokens_in_text,
            "media_urls": "passed",
            "conversation_create": "eager",
            "chaining": "conversation",
            "error_404_type": "not_found_error",
            "invocations_path": "invoke" if self.config.invocations_path.endswith("/invoke") else "bare",
            **resolve_channel_options(self.config.channel_options),
            "isolation_duplicates": "refused",
            "delivery": self.delivery,
        }
        names = [*CAPABILITIES, *(["tools"] if self.config.tool_parser is not None else [])]
        names += ["api-keys"] if self.config.api_key is not None else []
        names += ["incremental-streaming"] if self.config.stream == "incremental" else []
        names += ["server-tools"] if self.server_tools else []
        names += ["media"] if self.policy.media else []
        names += ["response-format"] if self.policy.formats else []
        names += ["tool-choice-required"] if self.policy.forced_calls else []
        names += self.declared
        return _json(
            {
                "name": "reference-gateway",
                "version": __version__,
                "capabilities": names,
                "options": options,
                "wires": list(self.wires),
            }
        )

    async def measured(self, request: Request) -> Response:
        """Prometheus text."""
        self.access.require_admin(request.headers)
        return Response(self.metrics.text(len(self.sessions)), headers={"content-type": MEDIA_TYPE})

    def _session(self, request: Request) -> Session:
        return self.sessions.get(_session_id(request))

    async def _body(self, request: Request, form: type[Body]) -> Body:
        headers = headers_of(request.scope)
        require_json(headers.get("content-type"))
        content = await read_body(request.receive, headers, self.config.max_body)
        if not content and not any(field.is_required() for field in form.model_fields.values()):
            return form()
        try:
            return form.model_validate(read_object(content))
        except ValidationError as error:
            raise RequestRefused("; ".join(map(_complaint, error.errors()))) from None

    def _handle(self, request: Request, session: Session) -> dict[str, Any]:
        root = f"{self._root(request)}/sessions/{quote(session.session_id, safe='')}"
        handle = {
            "session_id": session.session_id,
            "base_url": f"{root}/v1",
            "anthropic_base_url": root,
            "invocations_url": f"{root}/v1{self.config.invocations_path}",
            "reward_info_url": f"{root}/reward_info",
        }
        key = self.access.session_key(session.session_id)
        return handle if key is None else {**handle, "api_key": key}

    def _root(self, request: Request) -> str:
        if self.config.public_url is not None:
            return self.config.public_url.rstrip("/")
        host = request.headers.get("host")
        if not host:
            server = request.scope.get("server") or (self.config.host, self.config.port)
            host = f"{url_host(server[0])}:{server[1]}"
        return f"{request.scope['scheme']}://{host}"


_SESSION_ID = {"name": "session_id", "in": "path", "required": True, "schema": {"type": "string"}}
_OF_SESSION: dict[str, Any] = {"parameters": [_SESSION_ID]}


def _takes(form: type[BaseModel], of_session: bool = False) -> dict[str, Any]:
    content = {"application/json": {"schema": form.model_json_schema()}}
    return {**(_OF_SESSION if of_session else {}), "requestBody": {"content": content}}


def _session_id(request: Request) -> str:
    return str(request.path_params["session_id"])


def _complaint(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"{where} is not a field of this request"
    return f"{where}: {error['msg'].removeprefix('Input ')}"


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type="application/json")


def _exported(request: Request, trajectories: Iterable[Trajectory]) -> Response:
    documents = [trajectory.to_json() for trajectory in trajectories]
    if JSON_LINES in request.headers.get("accept", ""):
        lines = b"".join(orjson.dumps(document) + b"\n" for document in documents)
        return Response(lines, headers={"content-type": JSON_LINES})
    return _json({"trajectories": documents})
