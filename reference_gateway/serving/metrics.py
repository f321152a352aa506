"""What the gateway counts, as Prometheus text. One object per app; nothing global."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from reference_gateway.types import Answer

PREFIX = "reference_gateway"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Metrics:
    """Counters of the data plane. `requests` is keyed by (wire, status)."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    hung_up: int = 0
    in_flight: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def answered(self, answer: Answer) -> None:
        """Count the tokens of a committed turn."""
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    def text(self, sessions: int) -> str:
        """The exposition format, `sessions` being the number of live sessions."""
        lines = [f"# TYPE {PREFIX}_requests_total counter"]
        lines += [
            f'{PREFIX}_requests_total{{wire="{wire}",status="{status}"}} {count}'
            for (wire, status), count in sorted(self.requests.items())
        ]
        for name, kind, value in (
            ("hung_up_total", "counter", self.hung_up),
            ("prompt_tokens_total", "counter", self.prompt_tokens),
            ("completion_tokens_total", "counter", self.completion_tokens),
            ("turns_in_flight", "gauge", self.in_flight),
            ("sessions", "gauge", sessions),
        ):
            lines += [f"# TYPE {PREFIX}_{name} {kind}", f"{PREFIX}_{name} {value}"]
        return "\n".join(lines) + "\n"
