"""A vLLM server: `POST {url}/v1/completions` with `prompt_logprobs`, so that it says what it thinks of a prompt.

It samples a token behind each prompt, so that a prompt as long as its model takes has no room. There the last id is no
part of the prompt, but the only one that may be sampled: log-probabilities are those of the model all the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from conformance.recorded.scoring import Unscorable

_LONG_S = 600.0


class Vllm:
    """`where` is the server's root, with or without `/v1`. It tells raw log-probabilities, those at temperature 1. Not
    through the recorder: a score is no generation of the run. Its key is in `GATEWAY_ENGINE_API_KEY`."""

    def __init__(self, where: str, temperature: float = 1.0) -> None:
        if temperature != 1.0:
            raise Unscorable("vllm: scores at temperature 1 only: its prompt_logprobs are those of the raw model")
        if urlsplit(where).scheme not in ("http", "https"):
            raise Unscorable(f"vllm: expected http://HOST:PORT, not {where!r}")
        self._url = where.rstrip("/").removesuffix("/v1")
        key = os.environ.get("GATEWAY_ENGINE_API_KEY")
        self._http = httpx.Client(timeout=_LONG_S, headers={"authorization": f"Bearer {key}"} if key else {})
        try:
            card = self._answer(self._http.get(f"{self._url}/v1/models"))["data"][0]
            self._model, self._length = card["id"], card.get("max_model_len")
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Unscorable(f"vllm: {self._url}/v1/models lists no model") from None
        except httpx.HTTPError as error:
            raise Unscorable(f"vllm: no server answers at {self._url}: {error}") from None

    def score(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        if not places:
            return []
        last = places[-1]
        forced = last + 1 == self._length
        prompt = list(ids[: last if forced else last + 1])
        body = {"model": self._model, "prompt": prompt, "max_tokens": 1, "prompt_logprobs": 0}
        if forced:
            body |= {"allowed_token_ids": [ids[last]], "logprobs": 0}
        try:
            choice = self._answer(self._http.post(f"{self._url}/v1/completions", json=body))["choices"][0]
            told, within = choice["prompt_logprobs"], places[:-1] if forced else places
            values = [float(told[place][str(ids[place])]["logprob"]) for place in within]
            return [*values, float(choice["logprobs"]["token_logprobs"][0])] if forced else values
        except (LookupError, TypeError, ValueError) as error:
            raise Unscorable(f"vllm: the answer has no prompt_logprobs of the prompt's ids ({error!r})") from None
        except httpx.HTTPError as error:
            raise Unscorable(f"vllm: {self._url} did not answer: {error or type(error).__name__}") from None

    def close(self) -> None:
        self._http.close()

    def _answer(self, response: httpx.Response) -> Any:
        if response.status_code != 200:
            raise Unscorable(f"vllm: {self._url} answered {response.status_code}: {response.text[:300]}")
        return response.json()
