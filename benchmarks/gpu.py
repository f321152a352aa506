"""The reference gateway on each engine that this GPU machine has, judged by the profile live:
`python benchmarks/gpu.py --out FOLDER`, or `tox -e gpu`.

The engines: transformers in the gateway's process, and vLLM and SGLang where they can be imported, each started on a
free port. The model: the directory that GATEWAY_MODEL names, else the tiny one. How far another implementation may
differ in bfloat16 is measured before each judgement: the engine itself is asked, by token ids and without a gateway,
for answers to `QUESTIONS`, and each sampled token is scored again by the scorer of the judgement, in its context. The
tolerance is `MARGIN` times the largest difference. A gateway that loses or shifts something is 4 to 17 nats off.

FOLDER has `gpu.md` and `gpu.json` with the GPU, the versions and the figures, and the reports of the judgements.
Exit code 0 when each engine's judgement is conformant, else 1; 1 and one line where there is no GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from conformance.fixtures import tiny_model_path
from conformance.recorded.file import Read
from conformance.recorded.score import figures_of, score
from conformance.vocabulary.live import CITIES, WEATHER
from reference_gateway.app import build_backend, build_codec
from reference_gateway.config import Config
from reference_gateway.types import Media

MARGIN = 2.0
"""The tolerance is so many times the largest difference that was measured without a gateway."""
LEAST = 1e-4
"""Nats below which no tolerance is stated."""
QUESTIONS = tuple(f"How is the weather in {city}?" for city in CITIES) * 2
TOKENS = 96
"""That an answer to one of the questions may have."""
SHARE = 0.4
"""Of the GPU's memory, for the engine: the scorer has the same GPU."""
STARTS_S, JUDGES_S = 240, 300
"""Seconds for a start and a measurement, and for a judgement."""
ON_A_CPU = 10
"""Times as long, where this is tried without a GPU."""

SERVERS: Mapping[str, tuple[str, ...]] = {
    "vllm": (
        *("vllm.entrypoints.openai.api_server", "--model", "{model}", "--port", "{port}", "--dtype", "{dtype}"),
        *("--generation-config", "vllm", "--gpu-memory-utilization", str(SHARE)),
    ),
    "sglang": (
        *("sglang.launch_server", "--model-path", "{model}", "--port", "{port}", "--dtype", "{dtype}"),
        *("--mem-fraction-static", str(SHARE)),
    ),
}
"""Engine -> the module that serves it, and its arguments."""
GATEWAYS = {"vllm": "reference", "sglang": "reference-sglang"}
"""Engine -> what `--gateway` starts before it."""


class Failed(Exception):
    """The text says what did not work, in one line."""


def engines() -> list[str]:
    """Those that this machine has. A folder of that name on the path is no package."""
    specs = {name: importlib.util.find_spec(name) for name in SERVERS}
    return ["transformers", *(name for name, spec in specs.items() if spec is not None and spec.origin is not None)]


def gpu() -> str:
    """The name of the GPU. Raises `Failed` where there is none."""
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise Failed(f"{package} is not installed: pip install 'gateway-conformance[transformers]'")
    import torch

    if not torch.cuda.is_available():
        raise Failed(f"torch {torch.__version__} finds no GPU here: nothing was judged")
    return str(torch.cuda.get_device_name())


def server_command(engine: str, model: Path, port: int, dtype: str) -> list[str]:
    """What starts the engine's server."""
    values = {"model": str(model), "port": str(port), "dtype": dtype}
    return [sys.executable, "-m", *(word.format(**values) for word in SERVERS[engine])]


def judge_command(target: Sequence[str], model: Path, tolerance: float, report: Path, only: str | None) -> list[str]:
    """What judges the gateway."""
    return [
        *(sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *target),
        *("--gateway-tokenizer", str(model), "--gateway-score", f"transformers:{model}"),
        *("--gateway-tolerance", f"{tolerance:.6g}", "--gateway-report", str(report)),
        *(("--gateway-only", only) if only else ()),
    ]


def tolerance_of(figures: Mapping[str, Any]) -> float:
    """The tolerance in nats that these figures of an engine without a gateway lead to."""
    return max(MARGIN * float(figures["largest"]), LEAST)


def measure(engine: str, url: str, model: Path, device: str, dtype: str) -> dict[str, Any]:
    """The figures of what the engine samples where no gateway is in between, scored again."""
    own: dict[str, Any] = {"model_dir": model, "device": device, "dtype": dtype} if engine == "transformers" else {}
    config = Config(backend=engine, backend_url=url or None, tokenizer=model, **own)
    codec = build_codec(config)
    backend: Any = build_backend(config, codec)
    sampling = {"temperature": 1.0, "logprobs": True, "max_tokens": TOKENS}

    async def answer(number: int, question: str) -> Read:
        context = codec.encode([{"role": "user", "content": question}], [WEATHER] if number % 2 else None, {})
        told = await backend.generate(context, sampling, session_id=f"measure-{number}", media=Media())
        return Read(number, context, told.ids, [1] * len(told.ids), told.logprobs)

    async def ask() -> list[Read]:
        if hasattr(backend, "start"):
            await backend.start()
        try:
            return await asyncio.gather(*(answer(*each) for each in enumerate(QUESTIONS)))
        finally:
            await backend.close()

    answers = asyncio.run(ask())
    return figures_of(score(answers, None, f"transformers:{model}"))


@contextmanager
def running(command: Sequence[str], log: Path, ready: str | None = None) -> Iterator[str]:
    """A process that serves, until the block ends. Gives the URL that it prints once it listens, or `ready`, which is
    its URL where it prints none. Raises `Failed`."""
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE if ready is None else file, stderr=file, text=True)
        try:
            if ready is None:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line.startswith("listening on "):
                    raise Failed(f"{command[2]} did not start: {_last_line(log)}")
                ready = line.removeprefix("listening on ").strip()
            else:
                _wait_for(f"{ready}/health", process, log)
            yield ready
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _wait_for(url: str, process: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + STARTS_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Failed(f"the engine did not start: {_last_line(log)}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.5)
    raise Failed(f"the engine did not start within {STARTS_S} s: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


def judged(engine: str, model: Path, out: Path, device: str, dtype: str, tool_format: str, only: str | None) -> Any:
    """What came of one engine: its figures without a gateway, the tolerance, and the verdict."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = "" if engine == "transformers" else f"http://127.0.0.1:{port}"
    started, patience = time.monotonic(), ON_A_CPU if device == "cpu" else 1
    server = (
        running(server_command(engine, model, port, dtype), out / f"{engine}.log", url) if url else nullcontext(url)
    )
    with server, tempfile.TemporaryDirectory() as folder:
        # A process of its own, so that its memory is free again before the gateway takes some.
        measuring = [sys.executable, "-P", __file__, "--measure", engine, "--url", url, "--model", str(model)]
        told = _run([*measuring, "--device", device, "--dtype", dtype], Path(folder), STARTS_S * patience)
        if told.returncode:
            raise Failed(f"{engine} could not be measured: {(told.stderr.strip() or 'no word').splitlines()[-1]}")
        figures = json.loads(told.stdout.splitlines()[-1])
        tolerance, report = tolerance_of(figures), out / f"{engine}.json"
        calls = Path(folder) / "calls.jsonl"
        serve = [sys.executable, "-m", "reference_gateway", "serve", "--port", "0", "--log-level", "warning"]
        serve += ["--backend", "transformers", "--model-dir", str(model), "--ledger", str(calls)]
        serve += ["--device", device, "--dtype", dtype, "--tool-parser", tool_format]
        gateway = nullcontext("") if url else running(serve, out / f"{engine}.log")
        with gateway as place:
            if url:
                target = ["--gateway", GATEWAYS[engine], "--gateway-engine", url, "--gateway-tool-format", tool_format]
            else:
                target = ["--gateway-url", place, "--gateway-ledger", str(calls)]
            verdict = _run(judge_command(target, model, tolerance, report, only), Path(folder), JUDGES_S * patience)
        (out / f"{engine}.txt").write_text(verdict.stdout + verdict.stderr)
    document = json.loads(report.read_text()) if report.is_file() else {}
    rescored = [
        check["rescore"]
        for entry in document.get("requirements", ())
        for check in entry["checks"]
        if check.get("rescore")
    ]
    return {
        "engine": engine,
        "version": importlib.metadata.version(engine),
        "measured": figures,
        "tolerance": tolerance,
        "verdict": document.get("verdict", "none: the judgement did not end"),
        "exit_code": verdict.returncode,
        "rescore": rescored[0] if rescored else None,
        "seconds": round(time.monotonic() - started),
    }


def _run(command: Sequence[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"not done within {seconds:g} s")


def as_markdown(document: Mapping[str, Any]) -> str:
    """The summary for people."""
    lines = [
        f"# The reference gateway on {document['gpu']}",
        "",
        f"The model `{document['model']}`, {document['dtype']}; torch {document['torch']}; {document['date']}.",
        "",
        "| engine | verdict | re-score through the gateway | the engine without a gateway | tolerance | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for each in document["engines"]:
        if "failed" in each:
            lines.append(f"| {each['engine']} | failed: {each['failed'].replace('|', ' ')} | | | | |")
            continue
        measured, told = each["measured"], each["rescore"]
        through = f"{told['largest']:.1e} at most, of {told['tokens']} tokens" if told else "none"
        alone = f"{measured['largest']:.1e} at most, mean {measured['mean']:.1e}, of {measured['tokens']} tokens"
        row = (f"{each['engine']} {each['version']}", each["verdict"], through, alone, f"{each['tolerance']:.1e} nats")
        lines.append(f"| {' | '.join(row)} | {each['seconds']} |")
    return "\n".join(
        [
            *lines,
            "",
            f"Tolerance: {MARGIN:g} times the largest difference between what the engine told, asked by token ids and "
            "without a gateway, and the scorer `transformers`, in the same contexts "
            f"({len(QUESTIONS)} questions, up to {TOKENS} tokens each, temperature 1).",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="default %(default)s")
    parser.add_argument("--model", type=Path, default=os.environ.get("GATEWAY_MODEL") or None, metavar="DIR")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try this without a GPU")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--tool-format", default="hermes", help="of the model's calls; default %(default)s")
    parser.add_argument("--only", metavar="IDS", help="requirements to check")
    parser.add_argument("--measure", metavar="ENGINE", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    model = (chosen.model or tiny_model_path()).resolve()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.url, model, chosen.device, chosen.dtype)))
        return 0
    try:
        name = gpu() if chosen.device == "cuda" else "a CPU"
        if not (model / "config.json").is_file():
            raise Failed(f"GATEWAY_MODEL must name a directory with a model: there is no {model / 'config.json'}")
    except Failed as failure:
        print(f"gpu: {failure}", file=sys.stderr)
        return 1
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for engine in engines():
        try:
            how = (model, out, chosen.device, chosen.dtype, chosen.tool_format, chosen.only)
            results.append(judged(engine, *how))
        except Failed as failure:
            results.append({"engine": engine, "failed": str(failure)})
    document = {
        "gpu": name,
        "model": model.name,
        "dtype": chosen.dtype,
        "torch": importlib.metadata.version("torch"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "engines": results,
    }
    (out / "gpu.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "gpu.md").write_text(as_markdown(document))
    print(as_markdown(document))
    return 0 if all(each.get("exit_code") == 0 for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
