"""rllm-model-gateway: passes chat through to the engine and keeps one trace per call."""

from __future__ import annotations

from typing import Any

from conformance.gateway import Capability, Declaration, Driver, Handle, Refused, Trajectory


class RllmDriver(Driver):
    name = "rllm"

    def declare(self) -> Declaration:
        version = self._call("GET", "/openapi.json")["info"]["version"]
        has = {Capability.SESSIONS, Capability.SESSION_IDS, Capability.SESSION_STATE, Capability.TRAJECTORIES}
        has |= {Capability.STREAMING, Capability.TOOLS, Capability.N, Capability.LOGPROBS}
        has |= {Capability.RESPONSE_FORMAT, Capability.TOOL_CHOICE_REQUIRED}
        return Declaration("rllm-model-gateway", version, frozenset(has), {"trajectory": "call"})

    def create(self, session_id: str | None = None, **settings: Any) -> Handle:
        session = self._call("POST", "/sessions", {"session_id": session_id, **settings})
        return Handle(session["session_id"], self.url + session["url"])

    def trajectories(self, handle: Handle) -> list[Trajectory]:
        self._call("POST", "/admin/flush")
        return [_trajectory(trace) for trace in self._call("GET", f"/sessions/{handle.session_id}/traces")]

    def finalize(self, handle: Handle) -> list[Trajectory]:
        trajectories = self.trajectories(handle)
        self.abort(handle)
        return trajectories

    def abort(self, handle: Handle) -> None:
        self._call("DELETE", f"/sessions/{handle.session_id}")

    def state(self, handle: Handle) -> dict[str, Any]:
        state: dict[str, Any] = self._call("GET", f"/sessions/{handle.session_id}")
        return state

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        response = self.http.request(method, self.url + path, json=body)
        if not response.ok:
            raise Refused(response.status, response.text[:200])
        return response.json()


def _trajectory(trace: dict[str, Any]) -> Trajectory:
    ids, logprobs = trace["completion_token_ids"], trace["logprobs"]
    return Trajectory(trace["prompt_token_ids"], ids, [1] * len(ids), logprobs, extra={"trace_id": trace["trace_id"]})
