"""What the routes of engines that sample tokens take and say, as far as the ledger needs it.

Knows the fields of five routes; nothing of HTTP. A request is read once (`Route.ask`): for which contexts it asks, and
what has to be added so that the answer names the ids and their log-probabilities. An answer is read document by
document (`Answer.take`), and what was added only for the ledger is taken out of it in the same go: null where the
engine writes null for what is not asked for, else nothing.

| route | asked for, where the gateway does not ask | where the ids are |
|---|---|---|
| vLLM `/v1/completions` | `return_token_ids`, `logprobs: 0` | `choices[].token_ids` |
| vLLM `/v1/chat/completions` | `return_token_ids`, `logprobs` | `choices[].token_ids`, `prompt_token_ids` |
| vLLM `/inference/v1/generate` | `sampling_params.logprobs: 0` | `choices[].token_ids` |
| SGLang `/generate` | `return_logprob` | `output_ids`, else `output_token_logprobs` |
| llama.cpp `/completion` | `return_tokens`, `n_probs: 1` | `tokens` |

A prompt that is text has its ids in `prompt_token_ids`, which SGLang is asked for, too; llama.cpp never tells them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

IDS, LOGPROBS, PROMPT = "ids", "logprobs", "prompt"
"""What can be in an answer for the ledger alone."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as read. `contexts` are the ids of each of its prompts, None for one that is text or messages; each is
    sampled `n` times. `added` are the fields that the engine is sent beside `body`, those under `sampling_params` in
    `nested`. `hidden` is what the answer therefore holds that the gateway did not ask for. `kept` is the body less
    prompts, messages and media."""

    contexts: list[list[int] | None]
    n: int
    body: dict[str, Any]
    kept: dict[str, Any]
    added: dict[str, Any]
    nested: dict[str, Any] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    messages: list[Any] | None = None
    images: list[Any] | None = None
    videos: list[Any] | None = None


@dataclass(slots=True)
class Choice:
    """One generation, as far as it has come. `ids` is None as long as the engine told none, `sampled` how many it says
    it sampled."""

    ids: list[Any] | None = None
    logprobs: list[Any] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    sampled: int | None = None
    prompt: list[Any] | None = None


class Answer(Protocol):
    """What the engine says to one request."""

    choices: dict[int, Choice]
    weight_version: Any
    error: str | None

    def take(self, document: Any, streamed: bool) -> bool:
        """Read a plain answer or an event, and take out of it what is hidden. False: without that nothing is left of
        the event, so the gateway would not have seen it. Raises LookupError, TypeError, ValueError or AttributeError
        where it is no such answer."""


class Route(Protocol):
    """A route that samples. `ends_with_done`: its streams end with `[DONE]`."""

    name: str
    path: str
    ends_with_done: bool

    def ask(self, body: dict[str, Any]) -> Ask:
        """Raises TypeError or ValueError where the body is no such request."""

    def answer(self, ask: Ask) -> Answer: ...


# vLLM -----------------------------------------------------------------------------------------------------------------


class VllmCompletions:
    name = "vllm-completions"
    path = "/v1/completions"
    ends_with_done = True

    def ask(self, body: dict[str, Any]) -> Ask:
        added: dict[str, Any] = {}
        if body.get("return_token_ids") is not True:
            added["return_token_ids"] = True
        if body.get("logprobs") is None:
            added["logprobs"] = 0
        hidden = _hidden(added, return_token_ids=(IDS, PROMPT), logprobs=(LOGPROBS,))
        return Ask(_prompts(body["prompt"]), _count(body), body, _without(body, "prompt"), added, hidden=hidden)

    def answer(self, ask: Ask) -> Answer:
        return _VllmAnswer(ask.hidden, lambda entry: entry["token_logprobs"])


class VllmChat:
    name = "vllm-chat"
    path = "/v1/chat/completions"
    ends_with_done = True

    def ask(self, body: dict[str, Any]) -> Ask:
        messages = body["messages"]
        if not isinstance(messages, list):
            raise TypeError("messages are a list")
        added: dict[str, Any] = {}
        if body.get("return_token_ids") is not True:
            added["return_token_ids"] = True
        if body.get("logprobs") is not True:
            added["logprobs"] = True
        hidden = _hidden(added, return_token_ids=(IDS, PROMPT), logprobs=(LOGPROBS,))
        kept = _without(body, "messages")
        return Ask([None], _count(body), body, kept, added, hidden=hidden, messages=messages)

    def answer(self, ask: Ask) -> Answer:
        return _VllmAnswer(ask.hidden, _contents)


class VllmGenerate:
    name = "vllm-generate"
    path = "/inference/v1/generate"
    ends_with_done = True

    def ask(self, body: dict[str, Any]) -> Ask:
        params = body.get("sampling_params") or {}
        nested = {"logprobs": 0} if params.get("logprobs") is None else {}
        hidden = frozenset((LOGPROBS,) if nested else ())
        kept = _without(body, "token_ids", "features")
        return Ask(_prompts(body["token_ids"]), _count(params), body, kept, {}, nested, hidden)

    def answer(self, ask: Ask) -> Answer:
        return _VllmAnswer(ask.hidden, _contents)


def _contents(entry: Any) -> list[Any]:
    """The log-probabilities in the form that chat has for them."""
    return [token["logprob"] for token in entry["content"] or ()]


class _VllmAnswer:
    def __init__(self, hidden: frozenset[str], values: Any) -> None:
        self.choices: dict[int, Choice] = {}
        self.weight_version: Any = None
        self.error: str | None = None
        self._hidden, self._values = hidden, values

    def take(self, document: Any, streamed: bool) -> bool:
        get = document.get
        if get("error") is not None:
            self.error = message_of(document)
            return True
        if (version := get("weight_version")) is not None:
            self.weight_version = version
        prompt, shown, hidden = get("prompt_token_ids"), not streamed, self._hidden
        for choice in document["choices"]:
            told = choice.get
            place = told("index") or 0
            if (known := self.choices.get(place)) is None:
                known = self.choices[place] = Choice()
            if not known.prompt:
                known.prompt = told("prompt_token_ids") or prompt
            if (ids := told("token_ids")) is not None:
                known.ids = joined(known.ids, ids)
            if (entry := told("logprobs")) is not None:
                known.logprobs = joined(known.logprobs, self._values(entry))
            if (reason := told("finish_reason")) is not None:
                known.finish_reason, known.stop_reason = reason, told("stop_reason")
            if spans := told("weight_versions"):
                self.weight_version = [span["version"] for span in spans] if len(spans) > 1 else spans[0]["version"]
            if hidden:
                shown = shown or self._shown(choice)
                self._take_out(choice)
        if len(self.choices) == 1 and isinstance(usage := get("usage"), dict):
            self.choices[min(self.choices)].sampled = usage.get("completion_tokens")
        if PROMPT in hidden and prompt is not None:
            document["prompt_token_ids"] = None
        return shown or not hidden or not document["choices"]

    def _shown(self, choice: Mapping[str, Any]) -> bool:
        """Whether the engine would have sent this choice of an event, had nobody asked for ids: one whose text a parser
        held back comes for its ids alone."""
        return IDS not in self._hidden or choice.get("delta") != {} or choice.get("finish_reason") is not None

    def _take_out(self, choice: dict[str, Any]) -> None:
        for what, name in _TELLING:
            if what in self._hidden and choice.get(name) is not None:
                choice[name] = None


_TELLING = ((IDS, "token_ids"), (PROMPT, "prompt_token_ids"), (LOGPROBS, "logprobs"))


# SGLang ---------------------------------------------------------------------------------------------------------------


class SglangGenerate:
    name = "sglang-generate"
    path = "/generate"
    ends_with_done = True

    def ask(self, body: dict[str, Any]) -> Ask:
        ids = body.get("input_ids")
        contexts = _prompts(body["text"] if ids is None else ids)
        added: dict[str, Any] = {}
        if not _wanted(body.get("return_logprob")):
            added["return_logprob"] = True
        if ids is None and body.get("return_prompt_token_ids") is not True:
            added["return_prompt_token_ids"] = True
        hidden = _hidden(added, return_logprob=(LOGPROBS,), return_prompt_token_ids=(PROMPT,))
        images, videos = _listed(body.get("image_data")), _listed(body.get("video_data"))
        kept = _without(body, "input_ids", "text", "image_data", "video_data", "audio_data")
        n = _count(body.get("sampling_params") or {})
        return Ask(contexts, n, body, kept, added, hidden=hidden, images=images, videos=videos)

    def answer(self, ask: Ask) -> Answer:
        return _SglangAnswer(ask.hidden)


class _SglangAnswer:
    """An event has all ids up to it, or, where the server was told to stream incrementally, the new ones only: its
    `completion_tokens` say which."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self.choices: dict[int, Choice] = {}
        self.weight_version: Any = None
        self.error: str | None = None
        self._hidden = hidden

    def take(self, document: Any, streamed: bool) -> bool:
        if isinstance(document, list):  # to several prompts, or several generations for one
            for place, entry in enumerate(document):
                self._read(entry, place)
            return True
        if document.get("error") is not None or document.get("object") == "error":
            self.error = message_of(document)
            return True
        self._read(document, document.get("index") or 0)
        return True

    def _read(self, document: dict[str, Any], place: int) -> None:
        meta = document["meta_info"]
        choice = self.choices.setdefault(place, Choice())
        entries = meta.get("output_token_logprobs")
        values = None if entries is None else [entry[0] for entry in entries]
        ids = document.get("output_ids")
        if ids is None and entries is not None:  # an older server: the entries name the ids
            ids = [entry[1] for entry in entries]
        choice.sampled = meta.get("completion_tokens")
        whole = choice.sampled is None or ids is None or len(ids) == choice.sampled
        if ids is not None:
            choice.ids = ids if whole else joined(choice.ids, ids)
        if values is not None:
            grown = not whole or len(values) < len(choice.logprobs or ())
            choice.logprobs = joined(choice.logprobs, values) if grown else values
        if (reason := meta.get("finish_reason")) is not None:
            choice.finish_reason = reason["type"] if isinstance(reason, dict) else reason
            choice.stop_reason = reason.get("matched") if isinstance(reason, dict) else None
        if (version := meta.get("weight_version")) is not None:
            self.weight_version = version
        choice.prompt = document.get("prompt_token_ids") or choice.prompt
        if LOGPROBS in self._hidden:
            for name in [name for name in meta if "put_" in name and "logprobs" in name]:
                del meta[name]
        if PROMPT in self._hidden:
            document.pop("prompt_token_ids", None)


# llama.cpp ------------------------------------------------------------------------------------------------------------


class LlamaCppCompletion:
    name = "llamacpp-completion"
    path = "/completion"
    ends_with_done = False

    def ask(self, body: dict[str, Any]) -> Ask:
        added: dict[str, Any] = {}
        if body.get("return_tokens") is not True:
            added["return_tokens"] = True
        if not body.get("n_probs"):
            added["n_probs"] = 1
            if _wanted(body.get("post_sampling_probs")):
                added["post_sampling_probs"] = False
        hidden = _hidden(added, return_tokens=(IDS,), n_probs=(LOGPROBS,))
        return Ask(
            _prompts(body["prompt"]), _count(body, "n_cmpl"), body, _without(body, "prompt"), added, hidden=hidden
        )

    def answer(self, ask: Ask) -> Answer:
        return _LlamaCppAnswer(ask.hidden)


class _LlamaCppAnswer:
    """The last event of a stream repeats nothing, but what it says of the whole."""

    def __init__(self, hidden: frozenset[str]) -> None:
        self.choices: dict[int, Choice] = {}
        self.weight_version: Any = None
        self.error: str | None = None
        self._hidden = hidden

    def take(self, document: Any, streamed: bool) -> bool:
        if isinstance(document, list):  # to several prompts, or several generations for one
            for place, entry in enumerate(document):
                self._read(entry, place, streamed)
            return True
        if document.get("error") is not None:
            self.error = message_of(document)
            return True
        self._read(document, document.get("index") or 0, streamed)
        return True

    def _read(self, document: dict[str, Any], place: int, streamed: bool) -> None:
        choice = self.choices.setdefault(place, Choice())
        ended = document.get("stop") is True
        if (version := document.get("weight_version")) is not None:
            self.weight_version = version
        if not (ended and streamed and choice.ids):
            if (ids := document.get("tokens")) is not None:
                choice.ids = joined(choice.ids, ids)
            if (entries := document.get("completion_probabilities")) is not None:
                choice.logprobs = joined(choice.logprobs, [entry.get("logprob") for entry in entries])
        if ended:
            choice.finish_reason = _LLAMA_CPP_ENDS.get(document.get("stop_type", ""), "stop")
            choice.stop_reason = document.get("stopping_word") or None
            choice.sampled = document.get("tokens_predicted")
        if IDS in self._hidden and not streamed and "tokens" in document:
            document["tokens"] = []
        if LOGPROBS in self._hidden:
            document.pop("completion_probabilities", None)
            settings = document.get("generation_settings")
            if isinstance(settings, dict) and "n_probs" in settings:
                settings["n_probs"] = 0


_LLAMA_CPP_ENDS = {"limit": "length"}

ROUTES: tuple[Route, ...] = (
    VllmCompletions(),
    VllmChat(),
    VllmGenerate(),
    SglangGenerate(),
    LlamaCppCompletion(),
)


def message_of(document: Any) -> str:
    """What the document of an error says is wrong, in the forms that engines use; at most 300 characters."""
    error = document.get("error", document) if isinstance(document, dict) else document
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or "no message"
    return str(error)[:300]


def are_ids(values: Sequence[Any]) -> bool:
    """Whether all of these can be token ids."""
    return not values or (set(map(type, values)) == {int} and min(values) >= 0)


def joined(known: list[Any] | None, more: Any) -> list[Any]:
    """What is known, and what came. Raises TypeError where that is no list."""
    if not isinstance(more, list):
        raise TypeError("expected a list")
    if known is None:
        return more
    known += more
    return known


def _hidden(added: Mapping[str, Any], **fields: Sequence[str]) -> frozenset[str]:
    return frozenset(what for name, several in fields.items() if name in added for what in several)


def _without(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def _prompts(prompt: Any) -> list[list[int] | None]:
    """The ids of each prompt; None for one that is text, or text and ids in turn. Whether all ids of a list are some is
    for the engine to say."""
    if not isinstance(prompt, list):
        return [None]
    if type(prompt[0]) is int:
        return [prompt]
    return [ids if isinstance(ids, list) and type(ids[0]) is int else None for ids in prompt]


def _wanted(value: Any) -> bool:
    return any(value) if isinstance(value, list) else bool(value)


def _listed(media: Any) -> list[Any] | None:
    return None if media is None else media if isinstance(media, list) else [media]


def _count(params: Mapping[str, Any], name: str = "n") -> int:
    count = params.get(name)
    return count if type(count) is int and count > 0 else 1
