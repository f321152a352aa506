"""A stateless server: one base URL for everything, no sessions, no trajectories."""

from __future__ import annotations

from typing import Any

from conformance.gateway import Capability, Declaration, Driver, Handle


class OpenAIDriver(Driver):
    name = "openai"

    def declare(self) -> Declaration:
        return Declaration("openai-compatible server", "unknown", frozenset({Capability.STREAMING, Capability.TOOLS}))

    def create(self, session_id: str | None = None, **settings: Any) -> Handle:
        base = self.url if self.url.endswith("/v1") else f"{self.url}/v1"
        return Handle(session_id or "stateless", base, api_key=self.api_key or "unused")
