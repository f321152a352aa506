"""What a gateway is started with. Every bad value is a `ValueError` that names the field and what was expected."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference_gateway.backends.engine_url import engine_root
from reference_gateway.channel.options import resolve_channel_options
from reference_gateway.wire.base import DEFAULT_SAMPLING

BACKENDS = ("vllm", "sglang", "llama_cpp", "transformers", "scripted")
DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "float32", "bfloat16")
"""Where, and in which floats, a model in this process computes."""
VLLM_ROUTES = ("completions", "generate")
"""Over which of its two routes that take tokens a vLLM is asked."""
CONTROL_TOKENS_IN_TEXT = ("plain", "parsed")
"""What control strings in a message's text become: ordinary tokens, or control tokens as in engines given text."""
STREAM = ("synthesised", "incremental")
"""When the frames of a stream leave: all together once the turn is committed, or text as the engine samples it."""
MEDIA = ("references",)
"""What becomes of images and videos: their URLs and data URIs are passed on to the engine as they are."""
STRUCTURED_OUTPUTS = ("refuse", "engine")
"""What becomes of formats of the answer and of forced calls: they are refused, or the engine's to see to."""
STARTUP_FAILURE = ("shutdown_started", "no_shutdown")
"""What happens to the parts that did start when another one failed to: they are stopped, or left."""
MAX_BODY = 8 * 1024 * 1024
"""Bytes. Bounds how long one request can keep the event loop in the tokenizer."""
TAKEN_PATHS = ("/chat/completions", "/messages", "/models", "/responses", "/conversations", "/files", "/vector_stores")
_INVOCATIONS_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+){0,8}")


@dataclass(frozen=True, slots=True)
class Config:
    """`tokenizer` None is the built-in byte tokenizer. Lengths are in tokens, `max_body` in bytes, times in seconds.

    `max_model_len` is how many tokens the model takes; without it, the engine is asked where it matters. `model_dir`,
    `device`, `dtype` and `ledger`, a file of the calls that the engine received, are for the backend `transformers`,
    whose model is in this process; its tokenizer is in `model_dir`, too, unless `tokenizer` is given. `options` are
    the defaults for sessions. `template_kwargs` reach every render; `request_template_kwargs` lets a request add its
    own. `file_search` is the directory that responses may search. `invocations_path` is below a session's `/v1`, empty
    for `/v1` itself; `deployment` names the factory of what is around invocations. `public_url` replaces the host that
    clients used in the URLs that sessions are given. `backend_timeout` bounds one generation, `backend_idle_timeout`
    the time in which its answer, once begun, does not go on, `backend_max_answer` its size in bytes (None: what the
    tokens of the turn may need).
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tokenizer: Path | None = None
    tool_parser: str | None = "hermes"
    reasoning_parser: str | None = None
    control_tokens_in_text: str = "plain"
    stream: str = "synthesised"
    media: str | None = None
    structured_outputs: str = STRUCTURED_OUTPUTS[0]
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    request_template_kwargs: bool = False
    backend: str = "scripted"
    backend_url: str | None = None
    backend_timeout: float = 3600.0
    backend_idle_timeout: float = 300.0
    backend_max_answer: int | None = None
    backend_api_key: str | None = field(default=None, repr=False)
    model_dir: Path | None = None
    device: str = DEVICES[0]
    dtype: str = DTYPES[0]
    ledger: Path | None = None
    vllm_route: str = VLLM_ROUTES[0]
    model: str | None = None
    max_model_len: int | None = None
    prompt_length: int | None = None
    response_length: int | None = None
    sampling: frozenset[str] = DEFAULT_SAMPLING
    options: Mapping[str, str] = field(default_factory=dict)
    file_search: Path | None = None
    invocations_path: str = "/invocations"
    channel_options: Mapping[str, str] = field(default_factory=dict)
    deployment: str | None = None
    startup_failure: str = STARTUP_FAILURE[0]
    api_key: str | None = field(default=None, repr=False)
    public_url: str | None = None
    max_body: int = MAX_BODY
    shutdown_timeout: int = 60

    def __post_init__(self) -> None:
        _positive(self, "prompt_length", "response_length", "max_model_len")
        _positive(self, "max_body", "shutdown_timeout", "backend_timeout", "backend_idle_timeout", "backend_max_answer")
        if not 0 <= self.port <= 65535:
            raise ValueError("port must be between 0 and 65535")
        if self.control_tokens_in_text not in CONTROL_TOKENS_IN_TEXT:
            raise ValueError(f"control_tokens_in_text must be one of {', '.join(CONTROL_TOKENS_IN_TEXT)}")
        if self.stream not in STREAM:
            raise ValueError(f"stream must be one of {', '.join(STREAM)}")
        if self.media is not None and self.media not in MEDIA:
            raise ValueError(f"media must be None or one of {', '.join(MEDIA)}")
        if self.structured_outputs not in STRUCTURED_OUTPUTS:
            raise ValueError(f"structured_outputs must be one of {', '.join(STRUCTURED_OUTPUTS)}")
        if self.backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}")
        if self.vllm_route not in VLLM_ROUTES:
            raise ValueError(f"vllm_route must be one of {', '.join(VLLM_ROUTES)}")
        self._require_model()
        if self.backend not in ("scripted", "transformers"):
            engine_root(self.backend_url, "backend_url")
            if self.tokenizer is None:
                raise ValueError(
                    f"tokenizer must name the directory of the model's tokenizer when backend is {self.backend}"
                )
        if self.startup_failure not in STARTUP_FAILURE:
            raise ValueError(f"startup_failure must be one of {', '.join(STARTUP_FAILURE)}")
        if not _INVOCATIONS_PATH.fullmatch(self.invocations_path) or self.invocations_path in TAKEN_PATHS:
            raise ValueError(
                "invocations_path must be empty or a path like /invocations, which no other wire has, without a slash "
                "at its end"
            )
        resolve_channel_options(self.channel_options)
        if self.public_url is not None:
            engine_root(self.public_url, "public_url")
        if self.api_key is not None and not self.api_key.strip():
            raise ValueError("api_key must not be empty")
        if self.api_key is None and not is_loopback(self.host):
            raise ValueError(f"api_key must be set when host is not a loopback address (host is {self.host})")
        object.__setattr__(self, "template_kwargs", deepcopy(dict(self.template_kwargs)))
        object.__setattr__(self, "options", dict(self.options))
        object.__setattr__(self, "channel_options", dict(self.channel_options))

    def _require_model(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}")
        if self.backend == "transformers":
            if self.model_dir is None:
                raise ValueError("model_dir must name the directory of the model when backend is transformers")
            if self.tokenizer is None:
                object.__setattr__(self, "tokenizer", self.model_dir)
        elif self.model_dir is not None:
            raise ValueError("model_dir goes with backend transformers: any other engine has its model itself")
        elif self.ledger is not None:
            raise ValueError(
                "ledger goes with backend transformers: any other engine has a recorder before it "
                "(gateway-conformance record)"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def url_host(host: str) -> str:
    """`host` as it stands in a URL: an IPv6 address in brackets (contract UA-RT-08)."""
    bare = host.strip("[]")
    return f"[{bare}]" if ":" in bare else bare


def _positive(config: Config, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value is not None and (isinstance(value, bool) or value <= 0):
            raise ValueError(f"{name} must be greater than 0")
