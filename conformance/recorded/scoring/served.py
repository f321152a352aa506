"""A vLLM server: `POST {url}/v1/completions` with `prompt_logprobs`, so that it says what it thinks of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from conformance.recorded.scoring import Unscorable

_LONG_S = 600.0


class Vllm:
    """`where` is the server's root, with or without `/v1`. It tells raw log-probabilities, those at temperature 1. Not
    through the recorder: a score is no generation of the run."""

    def __init__(self, where: str, temperature: float = 1.0) -> None:
        if temperature != 1.0:
            raise Unscorable("vllm: scores at temperature 1 only: its prompt_logprobs are those of the raw model")
        if urlsplit(where).scheme not in ("http", "https"):
            raise Unscorable(f"vllm: expected http://HOST:PORT, not {where!r}")
        self._url = where.rstrip("/").removesuffix("/v1")
        self._http = httpx.Client(timeout=_LONG_S)
        try:
            self._model = self._answer(self._http.get(f"{self._url}/v1/models"))["data"][0]["id"]
        except (LookupError, TypeError):
            raise Unscorable(f"vllm: {self._url}/v1/models lists no model") from None
        except httpx.HTTPError as error:
            raise Unscorable(f"vllm: no server answers at {self._url}: {error}") from None

    def score(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        if not places:
            return []
        body = {"model": self._model, "prompt": list(ids[: places[-1] + 1]), "max_tokens": 1, "prompt_logprobs": 0}
        try:
            answer = self._answer(self._http.post(f"{self._url}/v1/completions", json=body))
            told = answer["choices"][0]["prompt_logprobs"]
            return [float(told[place][str(ids[place])]["logprob"]) for place in places]
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
