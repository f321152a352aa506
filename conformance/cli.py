"""`gateway-conformance`: the parts of the kit that are of use outside pytest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import conformance
from conformance.fixtures import fixture_path, names
from conformance.recorded.recorder import PORT as RECORDER_PORT
from conformance.recorded.scoring import TOLERANCE
from conformance.upstream import PORT


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 something was found wrong, 2 wrong usage."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except (ValueError, LookupError, OSError) as error:
        parser.exit(2, f"gateway-conformance {chosen.command}: {error}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gateway-conformance", description="A conformance kit for agent gateways.")
    parser.add_argument("--version", action="version", version=conformance.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    upstream = commands.add_parser("upstream", help="run the scripted model server and say what to tell a gateway")
    upstream.add_argument("--port", type=int, default=PORT, help="default %(default)s; 0 = any free port")
    upstream.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    upstream.add_argument("--tokenizer", type=Path, default=None, metavar="DIR", help="default: the kit's chatml")
    upstream.add_argument("--ledger", type=Path, metavar="FILE", help="append every closed call as a line of JSON")
    upstream.set_defaults(run=_upstream)

    record = commands.add_parser(
        "record", help="stand between a gateway and its engine, and keep a ledger of all calls"
    )
    record.add_argument("--engine", required=True, metavar="URL", help="the engine's root; a trailing /v1 is taken off")
    record.add_argument("--ledger", required=True, type=Path, metavar="FILE", help="every call is appended as a line")
    record.add_argument("--port", type=int, default=RECORDER_PORT, help="default %(default)s; 0 = any free port")
    record.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    record.add_argument(
        "--passive", action="store_true", help="ask the engine for no ids and log-probabilities by ourselves"
    )
    record.add_argument(
        "--arrivals", action="store_true", help="a line also when a call arrives: for pytest --gateway-ledger"
    )
    record.set_defaults(run=_record)

    requirements = commands.add_parser("requirements", help="print the requirement catalogue")
    requirements.add_argument("ids", nargs="*", help="ids or patterns such as STREAM-*; default: all")
    requirements.add_argument("--profile")
    requirements.add_argument(
        "--level", choices=["MUST", "SHOULD", "MAY"], help="this level and the more demanding ones"
    )
    requirements.add_argument("--area")
    requirements.add_argument("--format", choices=["text", "markdown", "json"], default="text")
    requirements.set_defaults(run=_requirements)

    for name, text, run in (
        ("capabilities", "print what a gateway may declare that it has, and what that demands", _capabilities),
        ("options", "print where good gateways differ, and what each value means", _options),
    ):
        declared = commands.add_parser(name, help=text)
        declared.add_argument("name", nargs="?", help="of one alone, with the ids of its requirements; default: all")
        declared.add_argument("--format", choices=["text", "markdown", "json"], default="text")
        declared.set_defaults(run=run)

    report = commands.add_parser("report", help="render a JSON report of a run")
    report.add_argument("file", type=Path)
    report.add_argument("--format", choices=["markdown"], default="markdown")
    report.set_defaults(run=_report)

    stream = commands.add_parser("check-stream", help="judge a recorded stream, with line and column of what is wrong")
    stream.add_argument("file", help="the recording, the body alone; - reads standard input")
    stream.add_argument("--wire", required=True, choices=["openai", "anthropic", "responses", "invocations", "turns"])
    stream.add_argument("--format", choices=["text", "json"], default="text")
    stream.set_defaults(run=_check_stream)

    trajectory = commands.add_parser("check-trajectory", help="judge trajectories, whoever made them")
    trajectory.add_argument("file", type=Path, help="a trajectory a line; see docs/trajectory-files.md")
    trajectory.add_argument("--ledger", type=Path, metavar="FILE", help="what the engine received and returned")
    trajectory.add_argument("--tokenizer", type=Path, metavar="DIR", help="judge what stands between generations, too")
    trajectory.add_argument(
        "--superseded",
        type=_superseded,
        metavar="N",
        help="generations of the ledger that were given up for others, or any; default: as the trajectories say",
    )
    trajectory.add_argument(
        "--score",
        metavar="SCORER",
        help="score each sampled token again: numpy:DIR, transformers:DIR, vllm:URL or gguf:FILE",
    )
    trajectory.add_argument(
        "--tolerance", type=_positive, metavar="NATS", help=f"of a score that differs; default {TOLERANCE:g}"
    )
    trajectory.add_argument(
        "--temperature",
        type=_positive,
        metavar="T",
        help="at which the engine told log-probabilities; default 1, or raw",
    )
    trajectory.add_argument("--format", choices=["text", "json"], default="text")
    trajectory.set_defaults(run=_check_trajectory)

    tokenizer = commands.add_parser("tokenizer", help="print the directory of one of the kit's tokenizers")
    tokenizer.add_argument("name", choices=list(names()))
    tokenizer.set_defaults(run=_tokenizer)
    return parser


def _upstream(chosen: argparse.Namespace) -> int:
    from conformance.tokenizer import Tokenizer
    from conformance.upstream.server import advice, serve

    tokenizer = Tokenizer.load(chosen.tokenizer or fixture_path("chatml"))

    def ready(url: str) -> None:
        print(advice(url, tokenizer), flush=True)

    serve(chosen.host, chosen.port, tokenizer.path, ready, ledger_file=chosen.ledger)
    return 0


def _record(chosen: argparse.Namespace) -> int:
    try:
        from conformance.recorded.recorder.server import advice, engine_at, serve
    except ModuleNotFoundError as missing:
        raise LookupError(f"{missing.name} is missing: pip install 'gateway-conformance[record]'") from None
    engine = engine_at(chosen.engine)

    def ready(url: str) -> None:
        print(advice(url, engine, chosen.ledger), flush=True)

    serve(engine, chosen.ledger, chosen.host, chosen.port, ready, chosen.passive, chosen.arrivals)
    return 0


def _requirements(chosen: argparse.Namespace) -> int:
    from conformance.requirements import Catalogue, render_table

    requirements = Catalogue.load().select(
        profile=chosen.profile, level=chosen.level, area=chosen.area, ids=chosen.ids or None
    )
    print(render_table(requirements, format=chosen.format))
    return 0


def _capabilities(chosen: argparse.Namespace) -> int:
    from conformance.requirements import Catalogue
    from conformance.requirements.declared import capabilities, render_capabilities

    print(render_capabilities(capabilities(Catalogue.load(), chosen.name), chosen.format))
    return 0


def _options(chosen: argparse.Namespace) -> int:
    from conformance.requirements import Catalogue
    from conformance.requirements.declared import options, render_options

    print(render_options(options(Catalogue.load(), chosen.name), chosen.format))
    return 0


def _report(chosen: argparse.Namespace) -> int:
    from conformance.report.markdown import load_report, render_markdown

    print(render_markdown(load_report(chosen.file)), end="")
    return 0


def _check_stream(chosen: argparse.Namespace) -> int:
    from conformance.recorded.stream import check_stream

    return check_stream(chosen.file, chosen.wire, chosen.format)


def _check_trajectory(chosen: argparse.Namespace) -> int:
    from conformance.recorded.trajectory import Scoring, check_trajectory

    scoring = None
    if chosen.score:
        scoring = Scoring(chosen.score, chosen.tolerance or TOLERANCE, chosen.temperature or 1.0)
    elif chosen.tolerance or chosen.temperature:
        raise ValueError("--tolerance and --temperature go with --score")
    return check_trajectory(chosen.file, chosen.ledger, chosen.tokenizer, chosen.format, chosen.superseded, scoring)


def _superseded(text: str) -> int | str:
    if text != "any" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number or any, got {text!r}")
    return text if text == "any" else int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _tokenizer(chosen: argparse.Namespace) -> int:
    print(fixture_path(chosen.name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
