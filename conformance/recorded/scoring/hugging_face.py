"""transformers in this process: any causal model that it loads, on a GPU where there is one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from transformers.utils import logging

from conformance.recorded.scoring import Unscorable

_PIECE = 1024
"""Ids whose logits are there at once."""


class Transformers:
    """`where` is the model's directory: nothing is downloaded. 32-bit floats on a CPU, the weights' type on a GPU."""

    def __init__(self, where: str, temperature: float = 1.0) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "auto" if self._device == "cuda" else torch.float32
        logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, local_files_only=True)
        except (OSError, ValueError) as error:
            raise Unscorable(f"transformers:{where}: {str(error).splitlines()[0]}") from None
        self._model: Any = model.eval().to(self._device)
        self._temperature = temperature
        self._vocabulary: int = model.get_input_embeddings().num_embeddings

    def score(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        if not places:
            return []
        if max(ids) >= self._vocabulary or min(ids) < 0:
            raise Unscorable(f"id {max(ids)} is not of the model's {self._vocabulary}")
        sequence = torch.tensor(ids, device=self._device)
        targets = torch.tensor(places, device=self._device)
        cache, logprobs = transformers.DynamicCache(config=self._model.config), list[float]()
        with torch.inference_mode(), warnings.catch_warnings():
            # Its name for the cache is changing; this one is known to all versions.
            warnings.simplefilter("ignore", FutureWarning)
            for low in range(0, places[-1], _PIECE):
                high = min(low + _PIECE, places[-1])
                wanted = targets[(targets > low) & (targets <= high)]
                # Of a piece in which nothing was sampled, only the keys and values are needed.
                keep = 0 if len(wanted) else 1
                told = self._model(sequence[None, low:high], past_key_values=cache, use_cache=True, logits_to_keep=keep)
                if len(wanted):
                    logits = told.logits[0, wanted - 1 - low].float() / self._temperature
                    chosen = torch.log_softmax(logits, -1).gather(1, sequence[wanted][:, None])
                    logprobs += chosen[:, 0].tolist()
        return logprobs

    def close(self) -> None:
        pass
