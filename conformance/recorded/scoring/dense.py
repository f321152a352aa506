"""A dense transformer in numpy alone: scores small models where neither torch nor an engine is.

Knows the Qwen3, Qwen2 and Llama architectures with their usual rotary positions, from a directory with `config.json`
and safetensors; whatever else the directory says is refused, never ignored. Computes in 32-bit floats, incrementally:
what is known of the ids that a sequence shares with the one before is kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from conformance.recorded.scoring import Unscorable

Array: TypeAlias = NDArray[np.float32]

FAMILIES = ("qwen3", "qwen2", "llama")
_PIECE = 256
"""Ids that go through the model at once."""
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}


class Dense:
    """`where` is the model's directory."""

    def __init__(self, where: str, temperature: float = 1.0) -> None:
        folder = Path(where)
        self._config = _config(folder)
        self._weights = _weights(folder)
        self._temperature = temperature
        self._layers = [
            _Layer(self._weights, self._config, number) for number in range(self._size("num_hidden_layers"))
        ]
        self._embedding = self._weights.pop("model.embed_tokens.weight")
        self._norm = self._weights.pop("model.norm.weight")
        head = self._weights.pop("lm_head.weight", self._embedding)
        self._head = np.ascontiguousarray(head.T)
        if self._weights:
            raise Unscorable(f"numpy:{where}: a tensor that this scorer does not know: {min(self._weights)}")
        self._epsilon = float(self._config.get("rms_norm_eps", 1e-6))
        self._frequencies = _frequencies(self._config, self._layers[0].head_dim)
        self._ids: list[int] = []
        self._states = np.empty((0, self._embedding.shape[1]), np.float32)

    def score(self, ids: Sequence[int], places: Sequence[int]) -> list[float]:
        if not places:
            return []
        if max(ids) >= len(self._embedding) or min(ids) < 0:
            raise Unscorable(f"id {max(ids)} is not of the model's {len(self._embedding)}")
        # What follows an id is told by the state where it stands: the last id of all is needed as an answer only.
        known = list(ids[: places[-1]])
        start = _shared(self._ids, known)
        pieces = [self._states[:start]]
        for low in range(start, len(known), _PIECE):
            pieces.append(self._through(known[low : low + _PIECE], low))
        self._ids, self._states = known, np.concatenate(pieces)
        return self._told(self._states[np.asarray(places) - 1], [ids[place] for place in places])

    def close(self) -> None:
        pass

    def _size(self, name: str) -> int:
        return int(self._config[name])

    def _through(self, ids: Sequence[int], start: int) -> Array:
        """The last hidden states of `ids`, which stand from `start` on."""
        angles = np.outer(np.arange(start, start + len(ids)), self._frequencies)
        turn = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        states = self._embedding[np.asarray(ids)]
        for layer in self._layers:
            states = layer(states, start, turn, self._epsilon)
        return _normed(states, self._norm, self._epsilon)

    def _told(self, states: Array, ids: Sequence[int]) -> list[float]:
        logprobs: list[float] = []
        for low in range(0, len(ids), _PIECE):
            logits = states[low : low + _PIECE] @ self._head
            if self._temperature != 1.0:
                logits /= np.float32(self._temperature)
            top = logits.max(-1)
            chosen = logits[np.arange(len(logits)), ids[low : low + _PIECE]].astype(np.float64)
            logits -= top[:, None]
            np.exp(logits, out=logits)
            logprobs += (chosen - top - np.log(logits.sum(-1, dtype=np.float64))).tolist()
        return logprobs


class _Layer:
    """One layer, with the keys and values of the sequence so far: [heads, places, dimension]."""

    def __init__(self, weights: dict[str, Array], config: dict[str, Any], number: int) -> None:
        def matrix(name: str) -> Array:
            return np.ascontiguousarray(taken(f"{name}.weight").T)

        def taken(name: str) -> Array:
            try:
                return weights.pop(f"model.layers.{number}.{name}")
            except KeyError:
                raise Unscorable(f"the model lacks model.layers.{number}.{name}") from None

        def perhaps(name: str) -> Array | None:
            return weights.pop(f"model.layers.{number}.{name}", None)

        self.heads, self.groups = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
        self.head_dim = int(config.get("head_dim") or config["hidden_size"] // self.heads)
        self._before, self._between = taken("input_layernorm.weight"), taken("post_attention_layernorm.weight")
        self._projections = [
            (matrix(f"self_attn.{name}_proj"), perhaps(f"self_attn.{name}_proj.bias")) for name in "qkv"
        ]
        self._out, self._out_bias = matrix("self_attn.o_proj"), perhaps("self_attn.o_proj.bias")
        self._norms = perhaps("self_attn.q_norm.weight"), perhaps("self_attn.k_norm.weight")
        self._gate, self._up, self._down = matrix("mlp.gate_proj"), matrix("mlp.up_proj"), matrix("mlp.down_proj")
        self._keys = np.empty((self.groups, self.head_dim, 0), np.float32)
        self._values = np.empty((self.groups, 0, self.head_dim), np.float32)

    def __call__(self, states: Array, start: int, turn: tuple[Array, Array], epsilon: float) -> Array:
        attended = self._attend(_normed(states, self._before, epsilon), start, turn, epsilon)
        states = states + attended
        inner = _normed(states, self._between, epsilon)
        gate = inner @ self._gate
        gate *= 1 / (1 + np.exp(-gate))
        gate *= inner @ self._up
        states += gate @ self._down
        return states

    def _attend(self, states: Array, start: int, turn: tuple[Array, Array], epsilon: float) -> Array:
        size, end = len(states), start + len(states)
        q, k, v = (states @ matrix if bias is None else states @ matrix + bias for matrix, bias in self._projections)
        q, k = (matrix.reshape(size, -1, self.head_dim) for matrix in (q, k))
        if self._norms[0] is not None and self._norms[1] is not None:
            q, k = _normed(q, self._norms[0], epsilon), _normed(k, self._norms[1], epsilon)
        q, k = _turned(q, turn), _turned(k, turn)
        self._grow(end)
        self._keys[:, :, start:end] = k.transpose(1, 2, 0)
        self._values[:, start:end] = v.reshape(size, self.groups, self.head_dim).transpose(1, 0, 2)
        # Heads that share keys stand below each other: [groups, heads of the group * places, dimension].
        queries = q.reshape(size, self.groups, -1, self.head_dim).transpose(1, 2, 0, 3)
        queries = queries.reshape(self.groups, -1, self.head_dim) * np.float32(self.head_dim**-0.5)
        scores = queries @ self._keys[:, :, :end]
        masked = scores.reshape(self.groups, -1, size, end)[..., start:]
        masked += np.triu(np.full((size, size), -np.inf, np.float32), 1)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        mixed = (scores @ self._values[:, :end]) / scores.sum(-1, keepdims=True)
        mixed = mixed.reshape(self.groups, -1, size, self.head_dim).transpose(2, 0, 1, 3).reshape(size, -1)
        out: Array = mixed @ self._out
        return out if self._out_bias is None else out + self._out_bias

    def _grow(self, end: int) -> None:
        """Make room for `end` places."""
        room = self._values.shape[1]
        if end <= room:
            return
        more = max(end, 2 * room, 1024) - room
        self._keys = np.concatenate([self._keys, np.empty((self.groups, self.head_dim, more), np.float32)], 2)
        self._values = np.concatenate([self._values, np.empty((self.groups, more, self.head_dim), np.float32)], 1)


def _normed(states: Array, weight: Array, epsilon: float) -> Array:
    mean = np.einsum("...i,...i->...", states, states)[..., None] / np.float32(states.shape[-1])
    normed: Array = states / np.sqrt(mean + np.float32(epsilon)) * weight
    return normed


def _turned(states: Array, turn: tuple[Array, Array]) -> Array:
    """Rotary positions of [places, heads, dimension]."""
    cos, sin = (angles[:, None] for angles in turn)
    half = states.shape[-1] // 2
    first, second = states[..., :half], states[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def _shared(known: Sequence[int], ids: Sequence[int]) -> int:
    """How many ids the two begin with alike."""
    size = min(len(known), len(ids))
    differing = np.nonzero(np.asarray(known[:size]) != np.asarray(ids[:size]))[0]
    return int(differing[0]) if len(differing) else size


def _frequencies(config: dict[str, Any], head_dim: int) -> NDArray[np.float64]:
    rope = config.get("rope_parameters") or {}
    theta = float(config.get("rope_theta") or rope.get("rope_theta") or 10000.0)
    frequencies: NDArray[np.float64] = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    return frequencies


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise Unscorable(f"numpy:{folder}: expected a directory with a config.json: {error}") from None
    family = config.get("model_type")
    if family not in FAMILIES:
        raise Unscorable(f"numpy:{folder}: knows {', '.join(FAMILIES)}, not {family!r}: use transformers:{folder}")
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    odd = {
        "rope_scaling": rope.get("rope_type", rope.get("type", "default")) != "default",
        "partial_rotary_factor": rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0,
        "use_sliding_window": bool(config.get("use_sliding_window")),
        "quantization_config": config.get("quantization_config") is not None,
        "hidden_act": config.get("hidden_act", "silu") != "silu",
    }
    for name, there in odd.items():
        if there:
            raise Unscorable(f"numpy:{folder}: {name} is not known here: use transformers:{folder}")
    config.setdefault("num_key_value_heads", config.get("num_attention_heads"))
    return dict(config)


def _weights(folder: Path) -> dict[str, Array]:
    """All tensors of the safetensors files: the length of a JSON header in 8 bytes, the header, the data."""
    weights: dict[str, Array] = {}
    for file in sorted(folder.glob("*.safetensors")):
        data = file.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, tensor in json.loads(data[8:start]).items():
            if name == "__metadata__":
                continue
            kind = tensor["dtype"]
            if kind not in _TYPES:
                raise Unscorable(f"{file}: {name} is {kind}; this scorer reads {', '.join(_TYPES)}")
            low, high = tensor["data_offsets"]
            raw = np.frombuffer(data, _TYPES[kind], (high - low) // np.dtype(_TYPES[kind]).itemsize, start + low)
            if kind == "BF16":
                raw = (raw.astype("<u4") << 16).view("<f4")
            weights[name] = raw.astype(np.float32).reshape(tensor["shape"])
    if not weights:
        raise Unscorable(f"numpy:{folder}: expected weights in *.safetensors, found none")
    return weights
