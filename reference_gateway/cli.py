"""`reference-gateway serve`: flags -> `Config` -> a listening server.

One line goes to standard output, once the socket accepts: `listening on http://HOST:PORT`. Everything else is log, on
standard error. A configuration that can't work ends with status 2 and one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import reference_gateway
from reference_gateway import __version__
from reference_gateway.channel.options import CHANNEL_OPTIONS
from reference_gateway.codec.parsers import PARSERS
from reference_gateway.codec.reasoning import REASONING
from reference_gateway.config import (
    BACKENDS,
    CONTROL_TOKENS_IN_TEXT,
    DEVICES,
    DTYPES,
    MEDIA,
    STARTUP_FAILURE,
    STREAM,
    STRUCTURED_OUTPUTS,
    VLLM_ROUTES,
    Config,
)
from reference_gateway.serving import logs
from reference_gateway.session.options import OPTIONS
from reference_gateway.wire.base import DEFAULT_SAMPLING


def main(argv: Sequence[str] | None = None) -> int:
    """The `reference-gateway` command. Returns the exit status."""
    arguments = _parser().parse_args(argv)
    logs.configure(arguments.log_level, arguments.log_format)
    try:
        return _serve(_config(arguments))
    except (ValueError, OSError) as error:
        print(f"reference-gateway: error: {error}", file=sys.stderr)
        return 2


def _serve(config: Config) -> int:
    # Imported late: what answers `--help` and a wrong flag need not wait for a web framework.
    from reference_gateway.app import create_app
    from reference_gateway.serving.server import Server

    server = Server(
        create_app(config),
        config.host,
        config.port,
        shutdown_timeout=config.shutdown_timeout,
        on_listening=lambda url: print(f"listening on {url}", flush=True),
    )
    with contextlib.suppress(KeyboardInterrupt, SystemExit):  # the latter is how uvicorn says that it can't listen
        server.run()
    return 0 if server.started else 1


def _config(arguments: argparse.Namespace) -> Config:
    settings = {name: value for name, value in vars(arguments).items() if name in _FIELDS and value is not None}
    settings["options"] = dict(arguments.option or [])
    settings["channel_options"] = dict(arguments.channel_option or [])
    for name in ("api_key", "backend_api_key"):
        # An argument shows in the list of processes; the environment does not.
        settings.setdefault(name, os.environ.get(f"REFERENCE_GATEWAY_{name.upper()}"))
    for name in ("tool_parser", "reasoning_parser", "media"):
        if settings[name] == "none":
            settings[name] = None
    if arguments.sampling is not None:
        settings["sampling"] = frozenset(filter(None, (name.strip() for name in arguments.sampling.split(","))))
    return Config(**settings)


_FIELDS = frozenset(field.name for field in fields(Config))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reference-gateway", description=reference_gateway.__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    serve = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "serve", help="run a gateway", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    default = Config()

    where = serve.add_argument_group("where it listens")
    where.add_argument("--host", default=default.host, help="address to bind; beyond loopback --api-key is required")
    where.add_argument("--port", type=int, default=default.port, help="0 takes a free port")
    where.add_argument(
        "--public-url", metavar="URL", help="what agents reach it by, when that is not the Host they send"
    )
    where.add_argument(
        "--api-key", metavar="KEY", help="admin key; each session then has its own. Also from REFERENCE_GATEWAY_API_KEY"
    )
    where.add_argument("--max-body", type=int, default=default.max_body, metavar="BYTES")
    where.add_argument(
        "--shutdown-timeout", type=int, default=default.shutdown_timeout, metavar="S", help="for turns in flight"
    )

    model = serve.add_argument_group("the model")
    model.add_argument("--backend", choices=BACKENDS, default=default.backend)
    model.add_argument("--backend-url", metavar="URL", help="root of the engine's server")
    model.add_argument("--backend-api-key", metavar="KEY", help="also from REFERENCE_GATEWAY_BACKEND_API_KEY")
    model.add_argument(
        "--backend-timeout", type=float, default=default.backend_timeout, metavar="S", help="for one generation"
    )
    model.add_argument(
        "--backend-idle-timeout",
        type=float,
        default=default.backend_idle_timeout,
        metavar="S",
        help="from one event of the engine's stream to the next, and from the head of a plain answer to its end",
    )
    model.add_argument(
        "--backend-max-answer",
        type=int,
        metavar="BYTES",
        help="of one generation; unset: 1 MiB, and 2048 for each token of the context and of the turn's limit",
    )
    model.add_argument(
        "--model-dir", type=Path, metavar="DIR", help="the model of the backend transformers, and its tokenizer"
    )
    model.add_argument("--device", choices=DEVICES, default=default.device, help="of the backend transformers")
    model.add_argument("--dtype", choices=DTYPES, default=default.dtype, help="of the backend transformers")
    model.add_argument(
        "--ledger", type=Path, metavar="FILE", help="each call of the backend transformers, for pytest --gateway-ledger"
    )
    model.add_argument(
        "--vllm-route",
        choices=VLLM_ROUTES,
        default=default.vllm_route,
        help="where vllm is asked: /v1/completions, or /inference/v1/generate (vllm serve --enable-scale-out)",
    )
    model.add_argument("--model", metavar="NAME", help="sent to the engine; unset: the engine's own")
    model.add_argument(
        "--max-model-len",
        type=int,
        metavar="N",
        help="tokens that the model takes; unset: what GET /v1/models or the model's config says",
    )
    model.add_argument("--tokenizer", type=Path, metavar="DIR", help="unset: a built-in byte tokenizer")
    model.add_argument("--tool-parser", choices=(*PARSERS, "none"), default=default.tool_parser)
    model.add_argument(
        "--reasoning-parser",
        choices=(*REASONING, "none"),
        default="none",
        help="split thoughts off the text",
    )
    model.add_argument(
        "--control-tokens-in-text",
        choices=CONTROL_TOKENS_IN_TEXT,
        default=default.control_tokens_in_text,
        help="what control tokens that are written in a message become",
    )
    model.add_argument(
        "--media",
        choices=(*MEDIA, "none"),
        default="none",
        help="references: images and videos reach the engine (sglang) as URLs",
    )
    model.add_argument(
        "--structured-outputs",
        choices=STRUCTURED_OUTPUTS,
        default=default.structured_outputs,
        help="formats of the answer and forced calls: refused, or the engine's to see to (vllm or sglang, started "
        "without a reasoning parser of its own; llama_cpp holds to formats only)",
    )
    model.add_argument("--template-kwargs", type=_json_object, metavar="JSON", help="reach every render")
    model.add_argument(
        "--request-template-kwargs",
        action="store_true",
        help="a request's chat_template_kwargs reach the template, too",
    )

    turns = serve.add_argument_group("turns and sessions")
    turns.add_argument(
        "--stream",
        choices=STREAM,
        default=default.stream,
        help="synthesised: a stream leaves once its turn is committed; incremental: text leaves as it is sampled",
    )
    turns.add_argument("--prompt-length", type=int, metavar="TOKENS")
    turns.add_argument("--response-length", type=int, metavar="TOKENS")
    turns.add_argument(
        "--sampling",
        metavar="NAMES",
        help=f"parameters that a request may set (default: {','.join(sorted(DEFAULT_SAMPLING))})",
    )
    turns.add_argument(
        "--option",
        action="append",
        type=_option,
        metavar="NAME=VALUE",
        help=f"default of a session option: {', '.join(OPTIONS)}",
    )

    turns.add_argument(
        "--invocations-path",
        default=default.invocations_path,
        metavar="PATH",
        help="below a session's /v1; empty: /v1 itself",
    )
    turns.add_argument(
        "--channel-option",
        action="append",
        type=_option,
        metavar="NAME=VALUE",
        help=f"option of invocations: {', '.join(CHANNEL_OPTIONS)}",
    )
    turns.add_argument(
        "--deployment",
        metavar="MODULE:FACTORY",
        help="hooks and deliveries of invocations, and what starts and stops with the gateway",
    )
    turns.add_argument(
        "--startup-failure",
        choices=STARTUP_FAILURE,
        default=default.startup_failure,
        help="what did start, when something else could not: stopped, or left",
    )
    turns.add_argument(
        "--file-search", type=Path, metavar="DIR", help="responses may search the text files of this directory"
    )

    log = serve.add_argument_group("log")
    log.add_argument("--log-level", choices=logs.LEVELS, default="info")
    log.add_argument("--log-format", choices=logs.FORMATS, default="text")
    return parser


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def _option(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
