"""Puts a gateway together: codec, backend, sessions and the two planes, as one FastAPI app.

Invariant: everything belongs to the app that `create_app` returns. Nothing is global, so any number of gateways live in
one process, each in its own thread and loop if need be.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from reference_gateway import __version__, isolation
from reference_gateway.backends.base import Checked
from reference_gateway.backends.http_engine import Limits
from reference_gateway.backends.scripted import ScriptedBackend
from reference_gateway.channel.host import Host
from reference_gateway.channel.options import resolve_channel_options
from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.directory import read_directory
from reference_gateway.codec.media import References
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.config import Config
from reference_gateway.deployment import Deployment, load_deployment
from reference_gateway.serving.access import Access
from reference_gateway.serving.control_plane import ControlPlane
from reference_gateway.serving.data_plane import OPENAI, WIRES, DataPlane, envelope_of, locate
from reference_gateway.serving.errors import problem_of
from reference_gateway.serving.files_plane import FilesPlane
from reference_gateway.serving.http import JSON, HungUp, respond
from reference_gateway.serving.invocations_plane import InvocationsPlane, Settings
from reference_gateway.serving.lifespan import Part, running
from reference_gateway.serving.metrics import Metrics
from reference_gateway.serving.responses import Responses
from reference_gateway.serving.responses_plane import ResponsesPlane
from reference_gateway.session import SessionError, Sessions
from reference_gateway.session.options import resolve_options
from reference_gateway.tools.file_search import FileSearch
from reference_gateway.tools.server_tools import ServerTool
from reference_gateway.types import Backend, Codec, MediaExtractor
from reference_gateway.wire import invocations, openai_responses
from reference_gateway.wire.base import Policy
from reference_gateway.wire.compaction_item import Seal

log = logging.getLogger(__name__)


class Gateway(FastAPI):
    """The control plane as a FastAPI app, and in front of it the data plane, whose turns don't pay for a framework."""

    def __init__(
        self, data_plane: DataPlane, invocations: InvocationsPlane, files: FilesPlane, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._data_plane = data_plane
        self._files = files
        self._invocations = invocations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server. Whatever a request does, it does under its isolation keys."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        place = locate(scope["path"])
        invocation = place is not None and self._invocations.takes(place.path)
        try:
            keys = isolation.keys_of(scope["headers"])
        except isolation.AmbiguousKeys as error:
            refuse = invocations.error if invocation else envelope_of(place.path if place else "").error
            await respond(send, 400, refuse(400, str(error)), JSON)
            return
        with isolation.bound(keys):
            if place is None:
                await super().__call__(scope, receive, send)
            elif invocation:
                await self._invocations.serve(place.session_id, place.path, scope, receive, send)
            elif self._files.takes(place.path):
                await self._files.serve(place.session_id, place.path, scope, receive, send)
            else:
                await self._data_plane.serve(place, scope, receive, send)


def create_app(
    config: Config,
    *,
    codec: Codec | None = None,
    backend: Backend | None = None,
    media: MediaExtractor | None = None,
    server_tools: Iterable[ServerTool] = (),
    deployment: Deployment | None = None,
) -> FastAPI:
    """The gateway as an ASGI app. `codec`, `backend`, `media` and `deployment` replace what `config` describes;
    `server_tools` are run for responses that ask for them, beside the file search that `config` may have. The parts of
    a deployment start after the gateway's own and stop before them, see `lifespan`. Raises ValueError for a
    configuration that can't work."""
    resolve_options(config.options)
    if deployment is None:
        deployment = load_deployment(config.deployment, config) if config.deployment else Deployment()
    codec = codec or build_codec(config)
    backend = backend or build_backend(config, codec)
    checked = Checked(backend, getattr(codec, "vocabulary_size", None))
    if media is None and config.media == "references":
        media = References()
    if media is not None and isinstance(codec, TemplateCodec) and not codec.takes_media():
        raise ValueError("media needs a chat template that has a place for images, and this one has none")
    if media is not None and not getattr(backend, "takes_media", True):
        raise ValueError(f"media needs a backend that takes it, such as sglang: {backend.name} has no field for it")
    constrains = config.structured_outputs == "engine"
    if constrains and not getattr(backend, "takes_grammars", False):
        raise ValueError(
            f"structured_outputs needs a backend that holds answers to a format, such as vllm: {backend.name} does not"
        )
    tags = "structural_tag" in getattr(backend, "grammar_kinds", ("json", "structural_tag"))
    if constrains and not tags and getattr(codec, "thinks", False):
        raise ValueError(
            "structured_outputs needs reasoning_parser none with this backend: "
            f"{backend.name} can't leave thoughts free in front of a format"
        )
    sessions = Sessions(codec, checked, media=media, options=config.options)
    access, metrics = Access(config.api_key), Metrics()
    policy = Policy(
        config.sampling,
        template_kwargs=config.request_template_kwargs,
        media=media is not None,
        formats=constrains,
        forced_calls=constrains and tags and getattr(codec, "forces_calls", False),
    )
    server_tools = tuple(server_tools)
    tools = build_tools(config, server_tools)
    live = codec.live if config.stream == "incremental" and isinstance(codec, TemplateCodec) else None
    responses = ResponsesPlane(Responses(policy, tools, seal=Seal(config.api_key), answered=metrics.answered), live)
    wires = tuple(sorted({invocations.name, openai_responses.name, *(wire.name for wire in WIRES.values())}))
    control = ControlPlane(
        config,
        codec,
        sessions,
        access,
        metrics,
        backend.name,
        wires,
        policy,
        server_tools=config.file_search is not None or bool(server_tools),
        delivery="none" if deployment.delivery is None else deployment.delivery.option,
        declared=tuple(deployment.declares),
    )
    channel = resolve_channel_options(config.channel_options)
    invoked = InvocationsPlane(
        Host(deployment.hooks, deployment.delivery),
        sessions,
        access,
        metrics,
        config.max_body,
        Settings(
            config.invocations_path,
            channel["stream_flag"],
            channel["run_hook"],
            invocations.Framing(channel["sse_newline"], channel["invocations_frames"]),
        ),
        live,
    )

    # The server has let the turns in flight finish before anything is stopped.
    parts = [
        Part(startup=getattr(backend, "start", None), shutdown=checked.close),
        Part(shutdown=sessions.clear),
        *deployment.parts,
    ]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(parts, config.startup_failure):
            log.info("gateway ready", extra={"backend": checked.name, "codec": codec.mode})
            yield
        log.info("gateway stopped")

    app = Gateway(
        DataPlane(sessions, access, metrics, policy, responses, config.max_body, config.model, live),
        invoked,
        FilesPlane(sessions, access, metrics, config.max_body),
        title="reference-gateway",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.sessions = sessions
    app.include_router(control.router())
    app.add_exception_handler(HTTPException, _framework_error)
    # The framework treats `Exception` apart: what arrives there was expected by nobody.
    for kind in (ValueError, SessionError, HungUp, Exception):
        app.add_exception_handler(kind, _error)
    return app


def build_codec(config: Config) -> TemplateCodec:
    """The codec that `config` describes. Raises ValueError naming the file or field at fault."""
    files = read_directory(config.tokenizer) if config.tokenizer is not None else byte_files()
    codec = TemplateCodec(
        files,
        tool_parser=config.tool_parser,
        reasoning_parser=config.reasoning_parser,
        template_kwargs=config.template_kwargs,
        parse_control=config.control_tokens_in_text == "parsed",
    )
    if codec.reason is not None:
        log.warning("chat template", extra={"mode": codec.mode, "reason": codec.reason})
    if set(codec.roles.values()) != {"written"}:
        log.info("roles of the chat template", extra={"roles": codec.roles})
    for name in codec.vocabulary.leaks:
        log.warning("the vocabulary makes a control token of plain text", extra={"token": name})
    return codec


def build_backend(config: Config, codec: Codec) -> Backend:
    """The backend that `config` describes."""
    url, key = config.backend_url or "", config.backend_api_key
    limits = Limits(config.backend_timeout, config.backend_idle_timeout, config.backend_max_answer)
    if config.max_model_len is not None:
        limits = replace(limits, assumed_tokens=config.max_model_len)
    if config.backend == "vllm":
        from reference_gateway.backends.vllm import VllmBackend

        length, route = config.max_model_len, config.vllm_route
        return VllmBackend(url, model=config.model, api_key=key, limits=limits, max_model_len=length, route=route)
    if config.backend == "sglang":
        from reference_gateway.backends.sglang import SglangBackend

        return SglangBackend(url, api_key=key, limits=limits)
    if config.backend == "llama_cpp":
        from reference_gateway.backends.llama_cpp import LlamaCppBackend

        return LlamaCppBackend(url, api_key=key, limits=limits)
    if config.backend == "transformers":
        return _transformers(config, codec)
    end = codec.vocabulary.token_id("<|im_end|>") if isinstance(codec, TemplateCodec) else None
    if not isinstance(codec, TemplateCodec) or end is None:
        raise ValueError("tokenizer must be a ChatML one (with <|im_end|>) when backend is scripted")
    vocabulary = codec.vocabulary
    return ScriptedBackend(lambda ids: vocabulary.decode(ids, keep_control=True), vocabulary.encode, end)


def _transformers(config: Config, codec: Codec) -> Backend:
    if not isinstance(codec, TemplateCodec) or config.model_dir is None:
        raise ValueError("backend transformers needs a model_dir, and a codec that looks for stop strings")
    if not config.model_dir.is_dir():
        raise ValueError(f"model_dir must be a directory: there is none at {config.model_dir}")
    try:
        from reference_gateway.backends.transformers import TransformersBackend
    except ImportError as error:
        missing = f"{error.name} is missing" if isinstance(error, ModuleNotFoundError) else str(error)
        raise ValueError(
            f"backend transformers needs the extra of that name ({missing}): "
            "pip install 'gateway-conformance[gateway,transformers]'"
        ) from error
    return TransformersBackend(
        config.model_dir,
        codec.watch,
        max_model_len=config.max_model_len,
        device=config.device,
        dtype=config.dtype,
        timeout_s=config.backend_timeout,
        ledger=config.ledger,
    )


def build_tools(config: Config, more: Iterable[ServerTool] = ()) -> tuple[ServerTool, ...]:
    """The search over files, unless one of `more` has its name and there is no directory to search, and `more`. Raises
    ValueError for two of one name."""
    more = tuple(more)
    replaced = config.file_search is None and any(tool.name == FileSearch.name for tool in more)
    tools: tuple[ServerTool, ...] = more if replaced else (FileSearch(config.file_search), *more)
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise ValueError(f"server_tools must have a name each: {', '.join(names)}")
    return tools


async def _framework_error(request: Request, error: Exception) -> Response:
    # The framework's own refusals: no such route, or a method that the route does not have.
    refusal = cast("HTTPException", error)
    status = 404 if request.method == "HEAD" else refusal.status_code
    what = {404: "no such route", 405: "method not allowed"}.get(status, str(refusal.detail))
    message = f"{what}: {request.method} {request.url.path}"
    return Response(OPENAI.error(status, message), status, refusal.headers, "application/json")


async def _error(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    return Response(
        OPENAI.error(problem.status, problem.message), problem.status, dict(problem.headers), "application/json"
    )
