"""What an implementer writes against: `Gateway`, `Driver`, and the words in which a gateway declares itself.

A third party needs this module and nothing else of the kit. A `Gateway` says where the gateway is and what it claims;
a `Driver` says how the kit creates, reads and ends sessions on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


class Capability(StrEnum):
    """What a gateway may declare that it has. What is declared is mandatory; what is not declared must be refused
    wherever ignoring it would change the meaning of an answer."""

    SESSIONS = "sessions"
    """Sessions are created through the control plane, and each has its own base URL."""
    SESSION_IDS = "session-ids"
    """The creator of a session may choose its id."""
    SESSION_STATE = "session-state"
    """A session's state can be read while it lives."""
    SESSION_SAMPLING = "session-sampling"
    """A session can be created with default sampling parameters."""
    SESSION_LENGTHS = "session-lengths"
    """A session can be created with `prompt_length` and `response_length`."""
    COMPLETE = "complete"
    """A session can be marked complete; it is then read-only until it is finalized."""
    ABORT = "abort"
    """A session can be aborted: what it holds is discarded."""
    REWARD_INFO = "reward-info"
    """A reward can be posted to a session and comes back on each of its trajectories."""
    TRAJECTORIES = "trajectories"
    """Token-exact trajectories can be read from a session."""
    STREAMING = "streaming"
    """`stream: true` is answered with server-sent events."""
    INCREMENTAL_STREAMING = "incremental-streaming"
    """The text of a stream leaves while the model is still sampling."""
    ANTHROPIC_MESSAGES = "anthropic-messages"
    """Sessions take Anthropic messages at their `anthropic_base_url`."""
    OPENAI_RESPONSES = "openai-responses"
    """`POST {base_url}/responses` takes OpenAI Responses, and a response can be continued by its id."""
    CONVERSATIONS = "conversations"
    """`POST {base_url}/conversations` opens a conversation, whose items the gateway keeps for its responses."""
    SERVER_TOOLS = "server-tools"
    """A response whose request has the tool `{"type": "file_search"}` offers the model the function `file_search` with
    the parameter `query`. The gateway runs it within the response."""
    TURN_EVENTS = "turn-events"
    """The turns of a session's responses can be read as turn and step events."""
    INVOCATIONS = "invocations"
    """Sessions take invocations: one message in, one text or a stream of text out, history kept by `session_id`."""
    ISOLATION_KEYS = "isolation-keys"
    """The headers `x-agent-user-isolation-key` and `x-agent-chat-isolation-key` partition what a session keeps."""
    HOOKS = "hooks"
    """What is put before and behind the target of an invocation can be judged: the gateway has the demo's hooks
    (docs/invocations.md)."""
    DELIVERY = "delivery"
    """Answers to invocations can go to others than the client that asked: the gateway has the demo's destinations."""
    BACKGROUND_TASKS = "background-tasks"
    """An invocation can leave tasks behind that are tried until they succeed: the gateway has the demo's task."""
    TOOLS = "tools"
    """Tool calls in the model's text come back as `tool_calls`."""
    TOOL_CHOICE_REQUIRED = "tool-choice-required"
    """`tool_choice` `required` and a named function are honoured."""
    MEDIA = "media"
    """Images and videos in messages reach the upstream with the context that has their places, and are exported with
    the trajectory."""
    N = "n"
    """`n` greater than 1 is honoured with that many choices."""
    RESPONSE_FORMAT = "response-format"
    """`response_format` is honoured."""
    LOGPROBS = "logprobs"
    """Trajectories carry the log-probabilities that the upstream reported."""
    WEIGHT_VERSIONS = "weight-versions"
    """Trajectories carry the lowest and highest weight version that the upstream reported for their generations:
    `min_global_steps` and `max_global_steps` in `extra_fields`."""
    SESSION_OPTIONS = "session-options"
    """A session can be created with other values of `OPTIONS` than the declared ones, but for those that are
    `GATEWAY_WIDE`. The gateway is then judged for every value of the options that it declares."""
    CONTROL_PLANE = "control-plane"
    """The gateway speaks the kit's own control plane (`POST /sessions`, `GET /sessions/{id}` ...)."""
    TOKEN_UPSTREAM = "token-upstream"
    """The gateway renders the chat template itself and sends token ids to the upstream."""


OPTIONS: Mapping[str, tuple[str, ...]] = {
    "trajectory": ("conversation", "call"),
    "multi_chain": ("true", "false"),
    "first_rewrite": ("split", "reuse"),
    "last_rewrite": ("rollback", "split"),
    "repeated_prompt": ("sibling", "replace"),
    "idempotent_retry": ("false", "true"),
    "concurrency": ("overlap", "serialized"),
    "budget": ("total", "response", "none"),
    "logprobs": ("strict", "opportunistic"),
    "tool_id_identity": ("ignored", "compared"),
    "reasoning_identity": ("ignored", "compared"),
    "name_identity": ("ignored", "compared"),
    "whitespace_identity": ("ignored", "compared"),
    "template_kwargs": ("config", "request"),
    "control_tokens": ("plain", "parsed"),
    "media_urls": ("passed", "fetched"),
    "stream": ("sse", "fallback"),
    "conversation_create": ("eager", "lazy"),
    "chaining": ("conversation", "previous_response_id"),
    "error_404_type": ("not_found_error", "api_error"),
    "invocations_path": ("bare", "invoke"),
    "stream_flag": ("strict_bool", "truthy"),
    "sse_newline": ("exact", "splitlines"),
    "invocations_frames": ("text", "json"),
    "run_hook": ("inside_host", "before_stream_decision"),
    "isolation_duplicates": ("refused", "first"),
    "delivery": ("report", "task_runner", "none"),
    "startup_failure": ("shutdown_started", "no_shutdown"),
}
"""Where good gateways differ: option -> allowed values. An option that a gateway does not declare is undeclared: only
the invariant that holds for every value is then checked."""

GATEWAY_WIDE = frozenset(
    {"trajectory", "template_kwargs", "stream", "error_404_type", "conversation_create", "chaining"}
    | {"invocations_path", "stream_flag", "sse_newline", "invocations_frames", "run_hook"}
    | {"isolation_duplicates", "delivery", "startup_failure", "control_tokens", "media_urls"}
)
"""Options that no session can choose, also where there are `session-options`."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One token-exact trajectory as the gateway exports it.

    `prompt_ids` and `response_ids` are token ids; `response_mask` has one entry per response id: 1 = sampled by the
    model, 0 = put there by the gateway. `response_logprobs` is None or one float per response id, 0.0 where the mask
    is 0. `extra` holds whatever else the gateway exported, untouched.
    """

    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    response_logprobs: list[float] | None = None
    reward_info: dict[str, Any] = field(default_factory=dict)
    num_turns: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def multi_modal_data(self) -> Any:
        """Its media as they were exported: `{"images": [...], "videos": [...]}`, each kind only where there is one, or
        null without any."""
        return self.extra.get("multi_modal_data")


@dataclass(frozen=True, slots=True)
class Handle:
    """How a session is reached. `base_url` is what an OpenAI SDK is pointed at (it ends in `/v1`), `anthropic_base_url`
    what an Anthropic SDK is (it adds `/v1/messages`); None means the former without its `/v1`. `invocations_url` is
    where invocations are posted; None means `/invocations` below `base_url`."""

    session_id: str
    base_url: str
    anthropic_base_url: str | None = None
    reward_info_url: str | None = None
    invocations_url: str | None = None
    api_key: str = "unused"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a gateway says about itself."""

    name: str
    version: str
    capabilities: frozenset[Capability]
    options: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The gateway's control plane answered with an error. `status` is the HTTP status, `message` its text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class NotObservable(Exception):
    """This driver has no way to do or see that. The check that asked ends as `not_tested`."""


class Driver:
    """How the kit handles sessions of one kind of gateway. What is not overridden is not observable.

    `http` is a client of the kit; every call made with it appears in the trace of a failing check. A refusal of the
    gateway is raised as `Refused`; anything that is not JSON of the expected shape may be raised as `ValueError` with a
    sentence that says so.
    """

    name = "driver"

    def __init__(self, url: str, http: httpx.Client, api_key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.http = http
        self.api_key = api_key

    def declare(self) -> Declaration:
        """What the gateway has. Asked once, before the first check."""
        raise NotObservable("the driver does not say what the gateway has: give `capabilities` to Gateway(...)")

    def create(self, session_id: str | None = None, **settings: Any) -> Handle:
        """Create a session with `sampling_params`, `prompt_length`, `response_length`, `metadata` or `options`."""
        raise NotObservable("sessions")

    def trajectories(self, handle: Handle) -> list[Trajectory]:
        """What `finalize` would return now, changing nothing."""
        raise NotObservable("trajectories of a live session")

    def finalize(self, handle: Handle) -> list[Trajectory]:
        """Return the session's trajectories in order and remove the session."""
        raise NotObservable("finalize")

    def abort(self, handle: Handle) -> None:
        """Discard the session. Idempotent."""
        raise NotObservable("abort")

    def complete(self, handle: Handle, reward_info: dict[str, Any] | None = None) -> None:
        """Mark the session complete."""
        raise NotObservable("complete")

    def reward(self, handle: Handle, reward_info: dict[str, Any]) -> None:
        """Attach a reward to the session."""
        raise NotObservable("reward_info")

    def state(self, handle: Handle) -> dict[str, Any]:
        """The session's state, as JSON."""
        raise NotObservable("state")

    def turns(self, handle: Handle) -> list[list[dict[str, Any]]]:
        """The events of each turn of the session's responses, as JSON, in the order in which the turns began."""
        raise NotObservable("turn events")


@dataclass(frozen=True)
class Gateway:
    """The gateway under test.

    `driver` is a `Driver` class, an instance is made per worker. `capabilities` and `options` override what the driver
    declares. `tokenizer` is the directory of the gateway's tokenizer, when it does not use the kit's.
    """

    url: str
    driver: type[Driver] | str = "http"
    capabilities: frozenset[str] | set[str] | None = None
    options: Mapping[str, str] | None = None
    name: str | None = None
    version: str | None = None
    api_key: str | None = None
    tokenizer: Path | None = None
