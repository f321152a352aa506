"""The data that crosses the layers of the gateway: wire -> session -> codec -> backend, and back.

A message is a canonical OpenAI chat message (a plain dict): `role`, `content` (str, or a list of parts when it has
media), and where present `name`, `reasoning_content`, `tool_calls` (each `{"id", "type": "function", "function":
{"name", "arguments"}}`, `arguments` a dict when the client's text parsed to an object, else that text) and
`tool_call_id`. The wire modules produce messages in this form; nothing behind them sees a provider's spelling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Message = dict[str, Any]
Tool = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """One client request, stripped of its wire. `sampling` holds only what passed the allowlist of the gateway.

    `tools` is what the template sees: None when the request has none, an empty list or `tool_choice: "none"`.
    `max_tokens` is not in `sampling`. `continues_last`: the last message is an assistant's that the model goes on with,
    and not one that it answers. `one_call`: of several calls the client is shown the first one only. `constraint`: what
    the answer has to be, None where that is the model's choice. `logprobs`: the client is told how likely each token
    was. `idempotency_key` and `retry_count` come from the request's headers. `progress` hears of the turn while it
    runs.
    """

    messages: Sequence[Message]
    tools: Sequence[Tool] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    continues_last: bool = False
    one_call: bool = False
    constraint: Constraint | None = None
    logprobs: bool = False
    idempotency_key: str | None = None
    retry_count: int = 0
    progress: Progress | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer has to be: JSON that fits `schema`, or calls of the tools that `calls` names; where it has both,
    one of the two. `one_call`: of calls no more than one."""

    schema: Mapping[str, Any] | None = None
    calls: tuple[str, ...] = ()
    one_call: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """What the ids of one generation may spell, as engines take it: `text` is JSON, a JSON Schema where `kind` is
    `json`, and where it is `structural_tag` a description of text with JSON in it, which vLLM and SGLang leave to
    xgrammar."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class LogprobsOf:
    """What log-probabilities are of: `raw`, the model's own distribution, or `scaled`, that divided by a
    `temperature`."""

    kind: str
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """What the backend sampled for one context. `logprobs` is None or one float per id. `stop_reason` is the engine's
    own word for why it ended, and `matched` the stop string or the id of the stop token that ended it, where the engine
    says. `versions` is the (lowest, highest) weight version that took part, if the engine reported one. `logprobs_of`
    is put there by `backends.base.Checked`."""

    ids: list[int]
    logprobs: list[float] | None = None
    stop_reason: str | None = None
    versions: tuple[int, int] | None = None
    routed_experts: Any = None
    matched: str | int | None = None
    logprobs_of: LogprobsOf | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token as a client is told of it: its bytes, which need not be whole characters, and the logarithm of
    its probability."""

    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a turn gives to the wire: the assistant message as it is shown, why it ended (`stop`, `length`, `tool_calls`
    or `content_filter`), the stop string that ended it, if one did, and the token counts that the upstream really
    had. `tokens` are those that were sampled, where the turn asks for them."""

    message: Message
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    stop_sequence: str | None = None
    tokens: Sequence[Token] | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """Media of one chain in the order in which the context refers to them."""

    images: tuple[Any, ...] = ()
    videos: tuple[Any, ...] = ()


class MediaExtractor(Protocol):
    """Messages -> media. Asked once for each message of a chain, when a turn first sends it.

    A part with media is `{"type": "image_url", "image_url": {"url": ...}}` or the same with `video_url`; the URL is
    http, https or data. Items may be anything that the backend takes and JSON can write: they are exported.
    """

    def extract(self, messages: Sequence[Message]) -> Media:
        """The media of these messages, in the order in which the codec's tokens for them refer to it. Called on the
        event loop: it must not wait. Raises `MediaRefused` when the caller is at fault."""


class Codec(Protocol):
    """Messages <-> tokens. Stateless: the same arguments always give the same tokens."""

    mode: str
    """`incremental`, or `full` when the template cannot be continued by appending."""

    def encode(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
        *,
        continues_last: bool = False,
    ) -> list[int]:
        """The full render with the generation prompt: the context of a new chain. With `continues_last` it ends with
        the text of the last message, which is an assistant's and stays open."""

    def encode_suffix(
        self,
        history: Sequence[Message],
        suffix: Sequence[Message],
        tools: Sequence[Tool] | None,
        kwargs: Mapping[str, Any],
        last_id: int | None,
        *,
        continues_last: bool = False,
    ) -> list[int] | None:
        """What stands between a committed generation and the next one: the end of the assistant turn if `last_id` (the
        last sampled id, None if nothing was sampled) did not end it, the turn separator, `suffix`, and the generation
        prompt. `history` ends with the committed assistant message. None when the template cannot be continued here:
        the caller then starts a new chain. `continues_last` is that of `encode`."""

    def decode(
        self,
        ids: Sequence[int],
        tools: Sequence[Tool] | None,
        *,
        until: int | None = None,
        continues_last: bool = False,
    ) -> Message:
        """The assistant message for sampled ids; of their text only the first `until` characters, if that is given.
        Never raises for any ids: what cannot be parsed stays text. With `continues_last` it goes on from one that is
        there already. Called in a thread of its own for a long generation."""

    def grammar(self, constraint: Constraint, tools: Sequence[Tool] | None, context: Sequence[int]) -> Grammar:
        """The constraint in the words of the model: calls in the format that `decode` finds them in, and thoughts where
        the model thinks first."""

    def find_stop(self, ids: Sequence[int], stops: Sequence[str], matched: str | None) -> Stopped | None:
        """Where the text of sampled ids reaches one of `stops`, or the one that the engine says it `matched`. None
        when it reaches none."""

    def ends_turn(self, token: int) -> bool:
        """Whether an answer whose last id this is has ended, and is not just cut off."""

    def token_bytes(self, token: int) -> bytes:
        """What one token stands for, which need not be whole characters."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A text that reached a stop string: which, and how many characters stand before it. Control tokens, which engines
    leave out of the text that they search, do not count."""

    stop: str
    place: int


class Progress(Protocol):
    """Hears of a turn while it runs; what it hears is not committed yet. Must not raise."""

    def started(self, prompt_tokens: int) -> None:
        """The context is about to be sent to the backend."""

    def sampled(self, ids: Sequence[int]) -> None:
        """These ids were sampled, behind those that it heard of before."""


class Backend(Protocol):
    """Tokens -> tokens. Knows nothing of messages, sessions or HTTP clients. One that can tell of ids as they are
    sampled takes a `progress` as well (`Streaming`); one with no field for media says so: `takes_media = False`.
    One that can hold a generation to a grammar says `takes_grammars = True`, and takes a `grammar`; one that takes JSON
    Schemas only says `grammar_kinds = ("json",)` beside it. One that knows says
    what its log-probabilities are of, `logprobs_kind`: `raw`, the model's own distribution, or `scaled`, divided by the
    temperature that was asked for. One that has something to start has an async `start()`, which is awaited before the
    first generation."""

    name: str

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
    ) -> Generation:
        """Sample once. `context` is a sequence of ids, not a list (`context.Context`, which keeps its JSON). Raises
        `BackendRefused` when the caller is at fault (context too long), and anything else when the engine is."""

    async def close(self) -> None: ...


class MediaRefused(ValueError):
    """A media item of the request can't be used: it is answered with 400 and this text."""


class Streaming(Backend, Protocol):
    """A backend that tells of ids as they are sampled; what it returns in the end is the whole generation."""

    async def generate(
        self,
        context: Sequence[int],
        sampling: Mapping[str, Any],
        *,
        session_id: str,
        media: Media,
        progress: Progress | None = None,
    ) -> Generation: ...


class BackendRefused(ValueError):
    """The engine refused the request and the caller is at fault: it is answered with `status` and this text."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class BackendFailed(RuntimeError):
    """The engine failed: it is answered with `status`, which is 502 unless it is 504, and `BackendFailed: text`.
    `detail` is what the log has to say of it, and no client may read."""

    def __init__(self, message: str, status: int = 502, *, detail: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class BackendUnavailable(BackendFailed):
    """The engine gave no answer now and may give one when it is asked again: it is answered with `status` and this
    text. `retry_after` is the value of that header, as the engine gave it."""

    def __init__(
        self, message: str, status: int = 503, retry_after: str | None = None, *, detail: str | None = None
    ) -> None:
        super().__init__(message, status, detail=detail)
        self.retry_after = retry_after
