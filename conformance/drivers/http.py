"""The kit's own control plane: `POST /sessions`, `GET /sessions/{id}` and its siblings (docs/control-plane.md)."""

from __future__ import annotations

from typing import Any

from conformance.gateway import Capability, Declaration, Driver, Handle, HttpResponse, Refused, Trajectory

FIELDS = ("prompt_ids", "response_ids", "response_mask", "response_logprobs", "reward_info", "num_turns")


class HttpDriver(Driver):
    name = "http"

    def declare(self) -> Declaration:
        body = self._call("GET", "/capabilities")
        try:
            capabilities = frozenset(Capability(name) for name in body["capabilities"] if name in set(Capability))
            declared = Declaration(str(body["name"]), str(body["version"]), capabilities, dict(body.get("options", {})))
        except (KeyError, TypeError, ValueError):
            raise ValueError("GET /capabilities did not answer with name, version and capabilities") from None
        for name, value in declared.options.items():
            if not isinstance(value, str):
                raise ValueError(f"GET /capabilities: options.{name} is not a string")
        return declared

    def create(self, session_id: str | None = None, **settings: Any) -> Handle:
        body = self._call("POST", "/sessions", {**({"session_id": session_id} if session_id else {}), **settings})
        if (
            not isinstance(body, dict)
            or not isinstance(body.get("session_id"), str)
            or not isinstance(body.get("base_url"), str)
        ):
            raise ValueError("POST /sessions did not answer with session_id and base_url")
        for name in ("anthropic_base_url", "reward_info_url", "invocations_url", "api_key"):
            if not isinstance(body.get(name), str | None):
                raise ValueError(f"POST /sessions: {name} is neither a string nor null")
        return Handle(
            body["session_id"],
            body["base_url"],
            body.get("anthropic_base_url"),
            body.get("reward_info_url"),
            body.get("invocations_url"),
            body.get("api_key") or "unused",
        )

    def trajectories(self, handle: Handle) -> list[Trajectory]:
        return _trajectories(self._session(handle, "GET", "/trajectories"))

    def finalize(self, handle: Handle) -> list[Trajectory]:
        return _trajectories(self._session(handle, "POST", "/finalize"))

    def abort(self, handle: Handle) -> None:
        self._session(handle, "POST", "/abort")

    def complete(self, handle: Handle, reward_info: dict[str, Any] | None = None) -> None:
        self._session(handle, "POST", "/complete", None if reward_info is None else {"reward_info": reward_info})

    def reward(self, handle: Handle, reward_info: dict[str, Any]) -> None:
        self._session(handle, "POST", "/reward_info", {"reward_info": reward_info})

    def state(self, handle: Handle) -> dict[str, Any]:
        body = self._session(handle, "GET", "")
        if not isinstance(body, dict):
            raise ValueError("the session's state is not a JSON object")
        return body

    def turns(self, handle: Handle) -> list[list[dict[str, Any]]]:
        body = self._session(handle, "GET", "/turns")
        turns = body.get("turns") if isinstance(body, dict) else None
        if not isinstance(turns, list) or not all(isinstance(turn, dict) and "events" in turn for turn in turns):
            raise ValueError('no {"turns": [{"events": [...]}]} in the answer')
        return [turn["events"] for turn in turns]

    def _session(self, handle: Handle, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, f"/sessions/{handle.session_id}{path}", body)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = self.http.request(method, self.url + path, json=body)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.ok and answer is not None:
            return answer
        raise Refused(response.status, _message(response, answer))


def _message(response: HttpResponse, body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    if isinstance(message, str):
        return message
    return f"{response.headers.get('content-type', 'no content-type')}: {response.text[:200]}"


def _trajectories(body: Any) -> list[Trajectory]:
    """The exported trajectories as they are; a field that is missing or of another type is a ValueError."""
    if not isinstance(body, dict) or not isinstance(body.get("trajectories"), list):
        raise ValueError('no {"trajectories": [...]} in the answer')
    trajectories = []
    for place, trajectory in enumerate(body["trajectories"]):
        where = f"trajectories[{place}]"
        if not isinstance(trajectory, dict):
            raise ValueError(f"{where} is not an object")
        for name in FIELDS[:3]:
            ids = trajectory.get(name)
            if not isinstance(ids, list) or not all(type(token) is int for token in ids):
                raise ValueError(f"{where}.{name} is not a list of integers")
        known = {name: trajectory[name] for name in FIELDS if name in trajectory}
        trajectories.append(
            Trajectory(**known, extra={name: value for name, value in trajectory.items() if name not in FIELDS})
        )
    return trajectories
