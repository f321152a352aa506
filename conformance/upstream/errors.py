"""What engines say when they refuse or fail: each engine's body of an error, and its words for the two things that no
reading of a request can know: that it does not fit the model, and that the model has no such token.

Knows status codes, lengths and ids; nothing of HTTP. The words are those of vLLM 0.32, SGLang 0.5.23 and llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """What the engine's model takes: `max_model_len` tokens, those of the context and of the generation together, with
    ids below `vocabulary`."""

    max_model_len: int
    vocabulary: int

    def foreign(self, context: Sequence[int]) -> int | None:
        """The largest id of `context` if the model has no such token."""
        largest = max(context, default=0)
        return largest if largest >= self.vocabulary else None


def vllm(status: int, message: str) -> dict[str, Any]:
    """The error body of vLLM's routes."""
    named = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}
    return {"error": {"message": message, "type": named.get(status) or _phrase(status), "param": None, "code": status}}


def vllm_refusal(context: Sequence[int], limit: int | None, model: Model) -> str | None:
    """Why vLLM refuses to sample `limit` tokens behind `context`; None if it does not."""
    asked, whole = limit or 0, len(context) + (limit or 0)
    if whole > model.max_model_len:
        return (
            f"This model's maximum context length is {model.max_model_len} tokens. However, you requested {asked} "
            f"output tokens and your prompt contains {len(context)} input tokens, for a total of {whole} tokens. "
            "Please reduce the length of the input prompt or the number of requested output tokens."
        )
    foreign = model.foreign(context)
    return None if foreign is None else f"Token id {foreign} is out of vocabulary"


def sglang(status: int, message: str) -> dict[str, Any]:
    """The error body of SGLang's `/generate`: a refusal has one form, what broke has another."""
    if status == 400:
        return {"error": {"message": message}}
    return {"object": "error", "message": message, "type": str(status), "param": None, "code": status}


def sglang_refusal(context: Sequence[int], limit: int | None, model: Model) -> str | None:
    """Why SGLang refuses to sample `limit` tokens behind `context`; None if it does not. `limit` is the request's own:
    the engine's default is cut to what fits."""
    if len(context) >= model.max_model_len:
        return (
            f"The input ({len(context)} tokens) is longer than the model's context length "
            f"({model.max_model_len} tokens)."
        )
    whole = len(context) + (limit or 0)
    if limit is not None and whole >= model.max_model_len:
        return (
            f"Requested token count exceeds the model's maximum context length of {model.max_model_len} tokens. You "
            f"requested a total of {whole} tokens: {len(context)} tokens from the input messages and {limit} tokens "
            "for the completion. Please reduce the number of tokens in the input messages or the completion to fit "
            "within the limit."
        )
    if model.foreign(context) is None:
        return None
    return f"The input_ids {list(context)} contains values greater than the vocab size ({model.vocabulary})."


def llama_cpp(status: int, message: str) -> dict[str, Any]:
    """The error body of llama.cpp's server."""
    named = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
    named |= {500: "server_error", 501: "not_supported_error", 503: "unavailable_error"}
    return {"error": {"code": status, "message": message, "type": named.get(status, "server_error")}}


def llama_cpp_refusal(context: Sequence[int], limit: int | None, model: Model) -> str | None:
    """Why llama.cpp refuses to sample behind `context`; None if it does not. A `limit` that does not fit is cut."""
    if len(context) >= model.max_model_len:
        return (
            f"request ({len(context)} tokens) exceeds the available context size ({model.max_model_len} tokens), try "
            "increasing it"
        )
    return None if model.foreign(context) is None else "Prompt contains invalid tokens"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # 529 is what overloaded servers say, and no registered status
        return "Overloaded" if status == 529 else f"HTTP {status}"
