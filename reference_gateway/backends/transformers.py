"""transformers in this process, by its continuous batching: token ids in and out, and no network.

Knows the batching manager of `transformers`, whose thread samples for all requests at once. Never knows messages.

Invariants: what is returned is what the engine says it sampled, for the context that was sent, or an exception; ids are
never made from text; what the engine cannot do for one request is refused by its name; of a request the event loop is
handed the newest state and no other, so that nothing piles up however late it looks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.utils import is_flash_attn_2_available

from reference_gateway.backends.ledger import Entry, Ledger
from reference_gateway.types import BackendFailed, BackendRefused, Generation, Media, Progress

log = logging.getLogger(__name__)
logging.getLogger("ContinuousBatchingLogger").setLevel(logging.WARNING)  # has a handler and a format of its own

Watch = Callable[[Sequence[int]], str | None]
"""Is told the ids of a generation as they come, and says which stop string their text has reached."""

NEUTRAL: Mapping[str, float] = {
    "min_p": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
}
"""Parameters that the engine has for all requests alike or not at all, and the value of each that changes nothing."""

_PAGE = 256
"""Tokens of a page of the cache."""
_CPU_CONTEXTS, _CPU_PAGES, _CPU_BATCH = 8, 512, 512
"""On a CPU the cache is for so many whole contexts, up to so many pages, and so many tokens are computed at once: left
to itself the engine takes most of the memory."""
_SMALL = 100 << 20
"""Bytes of a model for which one thread is enough: more would wait for each other longer than they compute."""


class TransformersBackend:
    """`model` is a directory with a model in safetensors. `watch` makes what looks for stop strings in ids.
    `max_model_len` may be less than what the model takes; `device` and `dtype` are `auto` or torch's own names, `auto`
    being a GPU where there is one, and the weights' own type there, 32-bit floats on a CPU. `timeout_s` bounds one
    generation. `ledger` is a file that each call is appended to. Raises ValueError for a model that cannot be loaded.

    Log-probabilities are those of what was sampled from: scaled by `temperature`, and of what `top_k` and `top_p`
    leave.
    """

    name = "transformers"
    logprobs_kind = "scaled"
    takes_media = False

    def __init__(
        self,
        model: Path,
        watch: Callable[[Sequence[str]], Watch],
        *,
        max_model_len: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        timeout_s: float | None = None,
        ledger: Path | None = None,
    ) -> None:
        self._watch, self._timeout_s = watch, timeout_s
        self._model = _load(model, device, dtype)
        config = self._model.config.get_text_config()
        self._vocabulary = config.vocab_size
        self._length = _length(getattr(config, "max_position_embeddings", None), max_model_len)
        self._ends = _ends(self._model.generation_config.eos_token_id)
        self._requests: dict[str, _Request] = {}
        self._manager: Any = None
        self._thread: threading.Thread | None = None
        self.about = {
            "name": self.name,
            "version": transformers.__version__,
            "model": model.resolve().name,
            "max_model_len": self._length,
        }
        self._ledger = Ledger(ledger, self.about) if ledger is not None else None
        about: dict[str, Any] = {"model_dir": str(model), "parameters": self._model.num_parameters()}
        about |= {"device": str(self._model.device), "dtype": str(self._model.dtype).removeprefix("torch.")}
        about |= {"transformers": transformers.__version__, "torch": torch.__version__}
        log.info("model loaded", extra={**about, "max_model_len": self._length})

    async def start(self) -> None:
        """Start the engine's thread. Raises RuntimeError where it ends at once, for want of memory or the like."""
        self._manager = self._batching()
        self._thread = threading.Thread(target=self._run, name="transformers", daemon=True)
        self._thread.start()
        while self._manager.batch_processor is None:
            if not self._thread.is_alive():
                raise RuntimeError(f"transformers did not start: {self._manager.background_thread_status.fatal_error}")
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End the engine's thread; what it is sampling is given up."""
        manager, self._manager = self._manager, None
        if manager is not None:
            await asyncio.to_thread(manager.stop, hard_stop=True)
            manager.destroy()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
        progress: Progress | None = None,
    ) -> Generation:
        """See `types.Streaming`. `max_tokens` is cut to what fits behind the context."""
        if media.images or media.videos:
            raise BackendRefused("this backend takes no media: transformers is sent token ids only")
        ids = list(context)
        room = self._room(ids)
        limit = sampling.get("max_tokens")
        wanted = sampling.get("logprobs")
        told = wanted is not None and wanted is not False
        how, stops = _parameters(sampling, told, self._vocabulary), _stops(sampling.get("stop"))
        limit = room if limit is None else min(_number("max_tokens", limit, 1, whole=True), room)
        body = {"max_new_tokens": limit, **how, "stop": stops, "logprobs": told}
        entry = self._ledger.arrived(ids, body, session_id) if self._ledger is not None else None
        request = _Request(ids, self._watch(stops) if stops else None, progress, entry)
        try:
            async with asyncio.timeout(self._timeout_s):
                generation = await self._sample(request, limit, how)
        except TimeoutError:
            request.close("failed", message="out of time")
            raise BackendFailed("the engine did not answer in time") from None
        except asyncio.CancelledError:
            request.close("aborted", message="the gateway hung up")
            raise
        except BaseException as error:
            request.close("failed", message=str(error))
            raise
        return (
            generation
            if told
            else Generation(generation.ids, None, generation.stop_reason, None, None, generation.matched)
        )

    async def _sample(self, request: _Request, limit: int, how: Mapping[str, Any]) -> Generation:
        manager = self._manager
        name = uuid.uuid4().hex
        self._requests[name] = request
        done = False
        try:
            more = {"streaming": request.is_followed, "eos_token_id": self._ends, **how}
            if manager is None or manager.add_request(request.context, name, limit, **more) is None:
                raise BackendFailed("the engine has stopped")
            generation = None
            while generation is None:
                state = await request.state()
                done = state.is_finished()
                generation = request.read(state, self._ends)
            return generation
        finally:
            del self._requests[name]
            if not done and manager is not None:
                manager.cancel_request(name)

    def _room(self, ids: Sequence[int]) -> int:
        """How many ids fit behind a context."""
        room = self._length - len(ids)
        if not ids or room <= 0:
            raise BackendRefused(
                f"the context has {len(ids)} tokens, and the model takes {self._length} with its answer"
            )
        if not 0 <= min(ids) <= max(ids) < self._vocabulary:
            raise BackendRefused(f"the context has an id that is not among the model's {self._vocabulary}")
        return room

    def _batching(self) -> Any:
        """The manager. Its graphs and its double buffering stay off: `_Bias` knows its requests on the host only."""
        memory: dict[str, Any] = {}
        if self._model.device.type == "cpu":
            whole = -(-self._length // _PAGE)
            memory = {
                "num_blocks": max(min(_CPU_CONTEXTS * whole, _CPU_PAGES), whole + 1),
                "max_batch_tokens": _CPU_BATCH,
            }
        manager = self._model.init_continuous_batching(
            GenerationConfig(do_sample=True, eos_token_id=self._ends, max_new_tokens=self._length),
            ContinuousBatchingConfig(
                page_size=_PAGE,
                return_logprobs=True,
                auto_switch_to_flash=False,
                use_async_batching=False,
                use_cuda_graph=False,
                **memory,
            ),
        )
        warpers = (TemperatureLogitsWarper(1.0), TopKLogitsWarper(self._vocabulary), TopPLogitsWarper(1.0))
        processors = ContinuousBatchingLogitsProcessorList(
            transformers.LogitsProcessorList([_Bias(), *warpers]), per_request_processors=True
        )
        processors.tensors_required += 1  # those of transformers were counted as they were converted
        manager.logit_processor = processors
        return manager

    def _run(self) -> None:
        """The thread: starts the engine's own, which is a daemon as this one is, and hands on what comes of it."""
        manager = self._manager
        with torch.inference_mode():
            manager.start()
        for state in manager:
            if (request := self._requests.get(state.request_id)) is not None:
                request.hand_over(state)
        for request in list(self._requests.values()):
            request.hand_over(None)


class _Request:
    """One generation between the engine's thread, which hands over its states, and the loop, which reads them. Each
    state has all ids so far, so the newest is enough."""

    def __init__(self, context: list[int], watch: Watch | None, progress: Progress | None, entry: Entry | None) -> None:
        self.context = context
        self.is_followed = watch is not None or progress is not None
        self._watch, self._progress, self._entry = watch, progress, entry
        self._loop, self._came = asyncio.get_running_loop(), asyncio.Event()
        self._newest: Any = None
        self._is_told = False
        self._known = 0

    def hand_over(self, state: Any) -> None:
        """Called by the thread. None: the engine ended before the generation did."""
        self._newest = state
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._came.set)

    async def state(self) -> Any:
        """The newest state, once there is one that was not read yet. Raises `BackendFailed`."""
        await self._came.wait()
        self._came.clear()
        self._is_told = False  # before the state is looked at: what comes from now on is told again
        state = self._newest
        if state is None or state.error is not None:
            log.warning("transformers: %s", "the engine's thread ended" if state is None else state.error)
            raise BackendFailed("the engine failed in the middle of the generation")
        if list(state.prompt_ids) != self.context:
            raise BackendFailed("the engine sampled for another context than it was sent")
        return state

    def read(self, state: Any, ends: Sequence[int]) -> Generation | None:
        """The whole where this state has it, None while there is more to come."""
        ids, matched = list(state.generated_tokens), None
        if self._watch is not None:
            for place in range(self._known, len(ids)):
                if (matched := self._watch(ids[place : place + 1])) is not None:
                    ids = ids[: place + 1]
                    break
        if self._progress is not None and len(ids) > self._known:
            self._progress.sampled(ids[self._known :])
        self._known = len(ids)
        if matched is None and not state.is_finished():
            return None
        logprobs = [float(value) for value in state.logprobs[: len(ids)]]
        reason = "stop" if matched is not None or (ids and ids[-1] in ends) else "length"
        self.close("answered", ids, logprobs=logprobs, finish_reason=reason, stop_reason=matched, status=200)
        return Generation(ids, logprobs, reason, matched=matched)

    def close(self, outcome: str, ids: Sequence[int] = (), **more: Any) -> None:
        """Write into the ledger what became of it."""
        if self._entry is not None:
            self._entry.close(outcome, ids, **more)


class _Bias(ContinuousBatchingLogitsProcessor):  # type: ignore[misc]
    """Adds the `logit_bias` of each request to its logits, before all else."""

    supported_kwargs: ClassVar[dict[str, type]] = {"logit_bias": dict}
    ignored_kwargs = ()

    def __init__(self) -> None:
        self._biases: list[dict[int, float]] = []

    def fill_defaults(self, int32_tensor: Any) -> None:
        """Nothing is kept in tensors."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> Any:
        """Called in the engine's thread before each step, with the requests of that step."""
        self._biases = [each.state.logit_processor_kwargs["logit_bias"] for each in requests_with_new_token]
        return torch.zeros(len(self._biases), dtype=torch.int32)

    def __call__(self, scores: Any, tensor_arg: Any) -> Any:
        """`scores` has a row for each of these requests."""
        if any(self._biases):
            scores = scores.clone()
            for row, bias in enumerate(self._biases):
                if bias:
                    places = torch.tensor(list(bias), device=scores.device)
                    scores[row, places] += torch.tensor(list(bias.values()), device=scores.device)
        return scores


def _load(path: Path, device: str, dtype: str) -> Any:
    if not (path / "config.json").is_file():
        raise ValueError(f"model_dir must be a directory with a model: there is no {path / 'config.json'}")
    if not any(path.glob("*.safetensors")):
        raise ValueError(f"model_dir must have weights as safetensors: there are none in {path}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device must be cpu or auto: torch {torch.__version__} finds no GPU here")
    if dtype == "auto" and device == "cpu":
        dtype = "float32"
    flash = device.startswith("cuda") and dtype != "float32" and is_flash_attn_2_available()
    transformers.utils.logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            attn_implementation="flash_attention_2" if flash else "sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        ).to(device)
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"model_dir: transformers cannot load {path}: {why}") from error
    if device == "cpu" and model.get_memory_footprint() < _SMALL:
        torch.set_num_threads(1)
    return model.eval()


def _length(model: Any, wanted: int | None) -> int:
    if not isinstance(model, int):
        if wanted is None:
            raise ValueError("max_model_len must be given: the model's config.json has no max_position_embeddings")
        return wanted
    if wanted is not None and wanted > model:
        raise ValueError(f"max_model_len must not be greater than {model}, which the model takes")
    return wanted or model


def _ends(ids: Any) -> list[int]:
    ends = [ids] if isinstance(ids, int) else list(ids or ())
    if not ends:
        raise ValueError("model_dir: generation_config.json must name the ids that end an answer as eos_token_id")
    return ends


def _parameters(sampling: Mapping[str, Any], told: bool, vocabulary: int) -> dict[str, Any]:
    """What the engine can do for one request, each value as it wants it."""
    rest = {name: value for name, value in sampling.items() if value is not None}
    for name in ("max_tokens", "logprobs", "stop"):
        rest.pop(name, None)
    temperature = float(_number("temperature", rest.pop("temperature", 1.0), 0))
    top_p = float(_number("top_p", rest.pop("top_p", 1.0), 0, 1))
    top_k = _number("top_k", rest.pop("top_k", -1), -1, whole=True)
    bias = rest.pop("logit_bias", {})
    if top_p == 0:
        raise BackendRefused("top_p must be greater than 0")
    for name, neutral in NEUTRAL.items():
        if rest.get(name) == neutral:
            del rest[name]
    if rest:
        raise BackendRefused(
            f"transformers' continuous batching cannot do {', '.join(sorted(rest))} for one request: leave it out"
        )
    if temperature == 0:
        if told:
            raise BackendRefused(
                "temperature must be greater than 0 where logprobs are asked for: at 0 every token is certain"
            )
        temperature, top_k = 1.0, 1
    return {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k if 0 < top_k < vocabulary else vocabulary,
        "logit_bias": _bias(bias, vocabulary),
    }


def _bias(bias: Any, vocabulary: int) -> dict[int, float]:
    try:
        known = {int(token): float(value) for token, value in bias.items()}
    except (AttributeError, TypeError, ValueError):
        known = {-1: 0.0}
    if not all(0 <= token < vocabulary for token in known):
        raise BackendRefused(f"logit_bias must be an object of numbers by ids from 0 to {vocabulary - 1}")
    return known


def _stops(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise BackendRefused("stop must be a string or a list of strings")
    return [text for text in stops if text]


def _number(name: str, value: Any, least: float, most: float | None = None, *, whole: bool = False) -> Any:
    kinds = (int,) if whole else (int, float)
    if type(value) not in kinds or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise BackendRefused(f"{name} must be {'an integer' if whole else 'a number'} {span}")
    return value
