"""`GET /v1/models`: one body that the clients of both OpenAI and Anthropic read, since they ask at the same path."""

from __future__ import annotations

import orjson


def listed(model: str) -> bytes:
    """The one model that there is. When it was made is not known: both APIs then give the epoch."""
    entry = {
        "id": model,
        "object": "model",
        "created": 0,
        "owned_by": "reference-gateway",
        "type": "model",
        "display_name": model,
        "created_at": "1970-01-01T00:00:00Z",
    }
    return orjson.dumps({"object": "list", "data": [entry], "has_more": False, "first_id": model, "last_id": model})
