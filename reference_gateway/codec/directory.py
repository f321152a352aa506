"""Reads a tokenizer directory: `tokenizer.json`, its configuration and its chat template.

Knows file names and their published forms. Never fetches anything and never runs code from the directory (a chat
template is Jinja in a sandbox). Every complaint names the file and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What a tokenizer directory holds. `templates` maps a name (`default`, `tool_use` ...) to Jinja source;
    `special_tokens` maps a variable of the template (`eos_token` ...) to the token's text. `end_ids` are the ids that
    its files say a generation ends with; `model_vocabulary` how many tokens its configuration gives the model, which
    may have more than the tokenizer."""

    tokenizer: bytes
    templates: Mapping[str, str]
    special_tokens: Mapping[str, str]
    end_ids: frozenset[int] = field(default=frozenset())
    model_vocabulary: int = 0


def read_directory(path: str | Path) -> TokenizerFiles:
    """Raises ValueError with one sentence when the directory is not a usable tokenizer."""
    directory = Path(path)
    if not directory.is_dir():
        raise ValueError(f"tokenizer {directory} is not a directory")
    file = directory / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"tokenizer {directory} has no tokenizer.json")
    config = _json(directory / "tokenizer_config.json")
    named = {**_json(directory / "special_tokens_map.json"), **config}
    special_tokens = {key: text for key, value in named.items() if key.endswith("_token") and (text := _token(value))}
    return TokenizerFiles(
        file.read_bytes(),
        _templates(directory, config),
        special_tokens,
        _end_ids(directory, config),
        _model_vocabulary(directory),
    )


def _model_vocabulary(directory: Path) -> int:
    model = _json(directory / "config.json")
    nested = model.get("text_config")
    sizes = (model.get("vocab_size"), nested.get("vocab_size") if isinstance(nested, dict) else None)
    return max((size for size in sizes if type(size) is int), default=0)


def _end_ids(directory: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """Models of several kinds of input keep those of their text beside it; what is no id is no end."""
    model = _json(directory / "config.json")
    nested = model.get("text_config")
    places = (_json(directory / "generation_config.json"), model, nested if isinstance(nested, dict) else {}, config)
    listed = [place.get("eos_token_id") for place in places]
    ids = [token for entry in listed for token in (entry if isinstance(entry, list) else [entry])]
    return frozenset(token for token in ids if type(token) is int and token >= 0)


def _templates(directory: Path, config: Mapping[str, Any]) -> dict[str, str]:
    templates: dict[str, str] = {}
    configured = config.get("chat_template") or _json(directory / "chat_template.json").get("chat_template")
    if isinstance(configured, str):
        templates["default"] = configured
    elif isinstance(configured, list):
        for entry in configured:
            if isinstance(entry, dict) and isinstance(entry.get("template"), str):
                templates[str(entry.get("name"))] = entry["template"]
    file = directory / "chat_template.jinja"
    if file.is_file():
        templates["default"] = _text(file)
    for extra in sorted((directory / "additional_chat_templates").glob("*.jinja")):
        templates[extra.stem] = _text(extra)
    if not templates:
        raise ValueError(
            f"tokenizer {directory} has no chat template: expected chat_template.jinja, or chat_template in "
            "tokenizer_config.json"
        )
    return templates


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8") from None


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{file} must hold a JSON object")
    return value


def _token(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None
