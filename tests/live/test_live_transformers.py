"""The profile live on transformers in the process of the gateway, with the tiny model, and the backend itself."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from conformance.fixtures import tiny_model_path
from conformance.requirements import Catalogue
from conformance.upstream.ledger import ABORTED, ANSWERED, FAILED
from conformance.vocabulary.engine import RecordedEngine
from conformance.vocabulary.outcome import Outcome
from reference_gateway.app import build_backend, build_codec, create_app
from reference_gateway.config import Config
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Media
from tests.live.judging import failed, judge, over
from tests.live.wrong import WRONG
from tests.mutants.sabotage import Sabotage

pytestmark = [
    pytest.mark.live,
    # torch's and transformers' own
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TOLERANCE = 1e-4
"""Nats between transformers and numpy, both in 32-bit floats; measured: 2.1e-5."""
END = 4087
"""The id that ends an answer of the tiny model."""


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """A skip where transformers is not installed, and a failure where it has to be: `tox -e live-transformers`."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing and os.environ.get("LIVE_ENGINE") == "transformers":
        pytest.fail(f"{', '.join(missing)} is not installed, and this environment is about it")
    elif missing:
        pytest.skip(f"{', '.join(missing)} is not installed: tox -e live-transformers")


@pytest.fixture
def engine() -> Iterator[RecordedEngine]:
    """transformers, of whose calls the gateway keeps the ledger."""
    own = RecordedEngine.in_process(tiny_model_path())
    yield own
    own.close()


# The judgement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", ["synthesised", "incremental"])
def test_reference_passes(engine: RecordedEngine, tmp_path: Path, stream: str) -> None:
    with over(engine, stream=stream) as url:
        verdicts = judge(url, engine, tmp_path, tolerance=TOLERANCE)

    assert verdicts.exit_code == 0, verdicts.texts
    assert set(verdicts.outcomes) == {each.id for each in Catalogue.load().by_profile("live")}
    assert {outcome for outcomes in verdicts.outcomes.values() for outcome in outcomes} == {Outcome.PASSED}


@pytest.mark.parametrize(
    "name",
    [
        "answers_are_tokenised_again",
        "logprobs_are_shifted",
        "end_token_is_dropped",
        "hang_ups_are_not_heard",
        "limit_of_a_chat_is_dropped",
    ],
)
def test_wrong_gateway_is_found_out(
    engine: RecordedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A gateway that keeps the ledger itself is found out by it."""
    wrong = WRONG[name]
    sabotage = Sabotage(monkeypatch)
    wrong.apply(sabotage)
    with over(engine, sabotage) as url:
        assert failed(judge(url, engine, tmp_path, TOLERANCE, [wrong.kills])) == {wrong.kills}


def test_a_backend_that_loses_an_id_is_found_out(
    engine: RecordedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger has what the engine told, and not what the backend makes of it."""
    from reference_gateway.backends import transformers

    class Losing(Generation):
        def __init__(self, ids: list[int], logprobs: list[float] | None, *more: Any, **named: Any) -> None:
            super().__init__(ids[1:], logprobs and logprobs[1:], *more, **named)

    monkeypatch.setattr(transformers, "Generation", Losing)
    with over(engine) as url:
        assert failed(judge(url, engine, tmp_path, TOLERANCE, ["LIVE-012"])) == {"LIVE-012"}


def test_the_judgement_of_a_gpu_machine_on_a_cpu(tmp_path: Path) -> None:
    """In 16-bit floats: the tolerance is measured, and the gateway is within it. Two requirements are no verdict."""
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    command = [sys.executable, str(script), "--device", "cpu", "--only", "LIVE-012,LIVE-021", "--out", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tmp_path / "gpu.json").exists(), ended.stdout + ended.stderr
    document = json.loads((tmp_path / "gpu.json").read_text())
    own = next(each for each in document["engines"] if each["engine"] == "transformers")
    assert 1e-4 < own["rescore"]["largest"] < own["tolerance"] < 1
    assert own["measured"]["tokens"] > 300


# The backend ----------------------------------------------------------------------------------------------------------


class Heard:
    def __init__(self) -> None:
        self.pieces: list[list[int]] = []

    def started(self, prompt_tokens: int) -> None: ...

    def sampled(self, ids: Sequence[int]) -> None:
        self.pieces.append(list(ids))

    @property
    def ids(self) -> list[int]:
        return [token for piece in self.pieces for token in piece]


class Asking:
    """A backend that runs, and what asks it."""

    def __init__(self, backend: Any, codec: Any) -> None:
        self.backend, self.codec = backend, codec
        self.context = codec.encode([{"role": "user", "content": "Who are you?"}], None, {})

    async def __call__(self, progress: Heard | None = None, context: list[int] | None = None, **sampling: Any) -> Any:
        context = self.context if context is None else context
        return await self.backend.generate(context, sampling, session_id="s-1", media=Media(), progress=progress)

    @property
    def running(self) -> int:
        """Requests that the engine holds."""
        return len(self.backend._manager.batch_processor.scheduler.active_requests)


def running(use: Callable[[Asking], Awaitable[Any]], **config: Any) -> Any:
    """What `use` makes of a backend that is started and closed around it."""
    settings = Config(backend="transformers", model_dir=tiny_model_path(), **config)
    codec = build_codec(settings)
    backend: Any = build_backend(settings, codec)

    async def around() -> Any:
        await backend.start()
        try:
            return await use(Asking(backend, codec))
        finally:
            await backend.close()

    return asyncio.run(around())


def test_a_generation_has_ids_logprobs_and_its_reason() -> None:
    async def use(ask: Asking) -> None:
        heard = Heard()
        ended = await ask(heard, logprobs=True, logit_bias={str(END): 100})
        assert (ended.ids, ended.stop_reason, heard.ids) == ([END], "stop", [END])
        cut = await ask(max_tokens=3, logit_bias={END: -100})
        assert (len(cut.ids), cut.logprobs, cut.stop_reason, cut.matched) == (3, None, "length", None)
        several = await asyncio.gather(*(ask(logprobs=True, max_tokens=20) for _ in range(5)))
        assert all(len(each.ids) == len(each.logprobs) and max(each.logprobs) <= 0 for each in several)

    running(use)


def test_what_is_heard_is_what_comes_whole() -> None:
    async def use(ask: Asking) -> None:
        heard = Heard()
        generation = await ask(heard, max_tokens=60, logit_bias={END: -100})
        assert heard.ids == generation.ids
        assert len(heard.pieces) > 5

    running(use)


def test_a_loop_that_is_late_is_handed_the_newest_state_only() -> None:
    async def use(ask: Asking) -> None:
        heard = Heard()
        asked = asyncio.create_task(ask(heard, max_tokens=60, logit_bias={END: -100}))
        while not heard.pieces:
            await asyncio.sleep(0)
        while ask.running:  # the loop is kept from all else
            time.sleep(0.01)
        generation = await asked
        assert heard.ids == generation.ids
        assert len(heard.pieces) <= 3

    running(use)


def test_a_stop_string_ends_at_the_id_that_makes_it_whole(tmp_path: Path) -> None:
    engine = RecordedEngine.in_process(tiny_model_path(), _touched(tmp_path / "calls.jsonl"))

    async def use(ask: Asking) -> None:
        for _ in range(5):
            generation = await ask(stop=["e", "the "], logprobs=True, max_tokens=50, temperature=1.5)
            if generation.matched is not None:
                break
        assert (generation.matched, generation.stop_reason) == ("e", "stop")
        text = ask.codec.vocabulary.decode(generation.ids, keep_control=False)
        assert "e" in text
        assert "e" not in ask.codec.vocabulary.decode(generation.ids[:-1], keep_control=False)
        assert len(generation.logprobs) == len(generation.ids)
        assert ask.codec.find_stop(generation.ids, ["e", "the "], generation.matched).place == text.index("e")
        while ask.running:
            await asyncio.sleep(0.01)

    engine.begin()
    running(use, ledger=engine.ledger)
    lines = _calls(engine)
    assert (lines[-1].outcome, lines[-1].stop_reason) == (ANSWERED, "e")


def test_whoever_hangs_up_ends_it_at_the_engine(tmp_path: Path) -> None:
    ledger = _touched(tmp_path / "calls.jsonl")
    engine = RecordedEngine.in_process(tiny_model_path(), ledger)

    async def use(ask: Asking) -> None:
        heard = Heard()
        asked = asyncio.create_task(ask(heard, max_tokens=2000, logit_bias={END: -100}))
        while len(heard.ids) < 3:
            await asyncio.sleep(0.005)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        async with asyncio.timeout(5):
            while ask.running:
                await asyncio.sleep(0.005)
        assert not ask.backend._requests
        assert (await ask(max_tokens=3)).ids

    engine.begin()
    running(use, ledger=ledger)
    assert [call.outcome for call in _calls(engine)] == [ABORTED, ANSWERED]
    assert engine.max_model_len == 4096
    assert engine.about["name"] == "transformers"
    assert engine.about["model"] == "tiny-model"


def test_one_that_takes_too_long_fails_and_is_given_up(tmp_path: Path) -> None:
    ledger = _touched(tmp_path / "calls.jsonl")
    engine = RecordedEngine.in_process(tiny_model_path(), ledger)

    async def use(ask: Asking) -> None:
        with pytest.raises(BackendFailed, match="did not answer in time"):
            await ask(max_tokens=2000, logit_bias={END: -100})
        async with asyncio.timeout(5):
            while ask.running:
                await asyncio.sleep(0.005)

    engine.begin()
    running(use, ledger=ledger, backend_timeout=0.3)
    assert [call.outcome for call in _calls(engine)] == [FAILED]


def test_greedy_is_the_likeliest_and_has_no_logprobs() -> None:
    async def use(ask: Asking) -> None:
        first, second = await ask(temperature=0, max_tokens=20), await ask(temperature=0.0, max_tokens=20)
        assert first.ids == second.ids
        nucleus = await ask(top_k=1, temperature=0.5, max_tokens=20, logprobs=True)
        assert nucleus.ids == first.ids
        assert set(nucleus.logprobs) == {0.0}
        assert (await ask(top_p=1e-6, max_tokens=20)).ids == first.ids

    running(use)


REFUSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 7}, "cannot do seed for one request"),
    "penalties": ({"presence_penalty": 0.5, "frequency_penalty": 1}, "cannot do frequency_penalty, presence_penalty"),
    "min_p": ({"min_p": 0.1}, "cannot do min_p"),
    "unknown": ({"beams": 3}, "cannot do beams"),
    "temperature": ({"temperature": -1}, "temperature must be a number of at least 0"),
    "certain": ({"temperature": 0, "logprobs": True}, "temperature must be greater than 0 where logprobs"),
    "top_p": ({"top_p": 1.5}, "top_p must be a number from 0 to 1"),
    "no top_p": ({"top_p": 0}, "top_p must be greater than 0"),
    "top_k": ({"top_k": 0.5}, "top_k must be an integer of at least -1"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens must be an integer of at least 1"),
    "bias": ({"logit_bias": {"4096": 1}}, "logit_bias must be an object of numbers by ids from 0 to 4095"),
    "stop": ({"stop": [1]}, "stop must be a string or a list of strings"),
    "long": ({"context": [1] * 4096}, "the context has 4096 tokens, and the model takes 4096"),
    "foreign": ({"context": [1, 4096]}, "the context has an id that is not among the model's 4096"),
}


def test_what_cannot_be_done_is_refused_by_its_name() -> None:
    async def use(ask: Asking) -> None:
        for asked, sentence in REFUSED.values():
            with pytest.raises(BackendRefused, match=sentence):
                await ask(**asked)
        neutral = {"presence_penalty": 0, "frequency_penalty": 0.0, "repetition_penalty": 1.0, "min_p": 0, "seed": None}
        assert (await ask(max_tokens=2, **neutral)).ids
        assert (await ask(context=[1] * 4095)).stop_reason in ("length", "stop")

    running(use)


def test_it_ends_with_its_thread_and_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"connected to {address}")

    monkeypatch.setattr(socket.socket, "connect", connect)
    before = set(threading.enumerate())
    settings = Config(backend="transformers", model_dir=tiny_model_path())
    codec = build_codec(settings)
    backend: Any = build_backend(settings, codec)

    async def around() -> None:
        await backend.start()
        ask = Asking(backend, codec)
        await ask(max_tokens=2)
        asked = asyncio.create_task(ask(max_tokens=2000, logit_bias={END: -100}))
        await asyncio.sleep(0.2)
        await backend.close()
        with pytest.raises(BackendFailed):
            await asked
        with pytest.raises(BackendFailed, match="has stopped"):
            await ask(max_tokens=2)
        await backend.close()

    asyncio.run(around())
    assert not [thread for thread in set(threading.enumerate()) - before if not thread.daemon]
    assert "transformers" not in {thread.name for thread in threading.enumerate()}


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    def error_of(**config: Any) -> str:
        with pytest.raises(ValueError, match="model") as caught:
            create_app(Config(backend="transformers", tokenizer=tiny_model_path(), **config))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert (
        error_of(model_dir=tmp_path / "none") == f"model_dir must be a directory: there is none at {tmp_path / 'none'}"
    )
    assert f"there is no {tmp_path / 'config.json'}" in error_of(model_dir=tmp_path)
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((tiny_model_path() / name).read_bytes())
    assert f"there are none in {tmp_path}" in error_of(model_dir=tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    assert error_of(model_dir=tmp_path).startswith(f"model_dir: transformers cannot load {tmp_path}: ")
    (tmp_path / "model.safetensors").write_bytes((tiny_model_path() / "model.safetensors").read_bytes())
    assert error_of(model_dir=tmp_path, max_model_len=5000) == (
        "max_model_len must not be greater than 4096, which the model takes"
    )
    (tmp_path / "generation_config.json").write_text("{}")
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"eos_token_id": 4087,', ""))
    assert "must name the ids that end an answer as eos_token_id" in error_of(model_dir=tmp_path)


def _touched(path: Path) -> Path:
    path.touch()
    return path


def _calls(engine: RecordedEngine) -> list[Any]:
    """The calls in the ledger; none of them has the nonce of a check."""
    engine._nonce = ""
    return engine._look()
