"""What an implementer writes against: `Gateway`, `Driver`, and the words in which a gateway declares itself.

A third party needs this module and nothing else of the kit. A `Gateway` says where the gateway is and what it claims;
a `Driver` says how the kit creates, reads and ends sessions on it, over the `HttpClient` that it is given. What each
`Capability` and each of `OPTIONS` means stands in docs/declaring.md, and is printed by `gateway-conformance
capabilities` and `gateway-conformance options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from conformance.declaring import GATEWAY_WIDE, OPTIONS, Capability, Option

__all__ = [
    "GATEWAY_WIDE",
    "OPTIONS",
    "Capability",
    "Declaration",
    "Driver",
    "Gateway",
    "Handle",
    "HttpClient",
    "HttpResponse",
    "NotObservable",
    "Option",
    "Refused",
    "Trajectory",
]


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


class HttpResponse(Protocol):
    """What the gateway answered to a driver, whatever the status: nothing is raised for an error."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def ok(self) -> bool:
        """Whether the status is one of success, 200 to 299."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, however that is capitalised."""

    @property
    def text(self) -> str:
        """The body as text, in the charset of its content type, by default UTF-8; what is not is replaced."""

    def json(self) -> Any:
        """The body as JSON. Raises ValueError with a sentence that says what was answered instead."""


class HttpClient(Protocol):
    """How a driver speaks to its gateway. Each call appears in the trace of a failing check.

    `url` is absolute: `self.url + "/sessions"`. `json` is sent as the JSON body, `params` as the query; the key of the
    gateway goes along as `Authorization: Bearer KEY`, unless `headers` has another. Redirects are not followed. Raises
    ValueError for what is no URL. Whatever else is raised, as where no answer comes in time, is the kit's own: let it
    pass, it ends the check.
    """

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Send a request of any method. A `json` that is None is no body."""

    def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Send a GET request."""

    def post(
        self,
        url: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Send a POST request."""


class Driver:
    """How the kit handles sessions of one kind of gateway. What is not overridden is not observable.

    A refusal of the gateway is raised as `Refused`; anything that is not JSON of the expected shape may be raised as
    `ValueError` with a sentence that says so. Of the kit, a driver sees this module and its `http`:

        class MyDriver(Driver):
            name = "mine"

            def create(self, session_id=None, **settings):
                answer = self.http.post(f"{self.url}/sessions", json={"session_id": session_id, **settings})
                if not answer.ok:
                    raise Refused(answer.status, answer.text)
                return Handle(answer.json()["id"], answer.json()["url"])
    """

    name = "driver"

    def __init__(self, url: str, http: HttpClient, api_key: str | None = None) -> None:
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
