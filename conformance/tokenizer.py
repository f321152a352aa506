"""Text <-> token ids <-> rendered conversations, for any directory that holds a Hugging Face tokenizer.

Knows `tokenizer.json`, `tokenizer_config.json` and the chat template beside them; needs `tokenizers` and `jinja2`,
never `transformers`, and never the network. Knows nothing of gateways, sessions or HTTP.

Invariants: a `Tokenizer` does not change after it was loaded and may be used by several threads at once; no id is ever
added that the text did not ask for (no BOS, no EOS).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from tokenizers import Tokenizer as _Engine
from tokenizers.decoders import DecodeStream

Message = Mapping[str, Any]


KNOWN_ENDS = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<|end|>",
    "<|EOT|>",
    "<|return|>",
    "<|call|>",
    "</s>",
)
"""Tokens that published models end a turn with, whether or not a directory lists them."""


class TokenizerError(ValueError):
    """The directory holds no usable tokenizer, or its template refused a conversation. The text is one sentence."""


class TemplateRefusal(TokenizerError):
    """The chat template says itself that it has no place for a conversation. The text is one sentence."""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what a trainer would mask. For rendering it is transparent."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it as a plain class attribute)

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateRefusal(f"the chat template refused the conversation: {message}")


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes for HTML, which no model was trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class Tokenizer:
    """A tokenizer and its chat template. Made by `Tokenizer.load(directory)`."""

    def __init__(
        self,
        path: Path,
        engine: _Engine,
        template: str | None,
        special: Mapping[str, Any],
        end_ids: frozenset[int] = frozenset(),
    ) -> None:
        self.path = path
        self.name = path.name
        self._engine = engine
        self._plain: _Engine | None = None
        self._special_tokens = dict(special)
        self._special_ids = frozenset(i for i, t in engine.get_added_tokens_decoder().items() if t.special)
        self._template_text = template
        self._template: jinja2.Template | None = None
        self.digest = hashlib.sha256((engine.to_str() + "\0" + (template or "")).encode()).hexdigest()[:16]
        """16 hex digits that two loads share exactly when vocabulary, merges and template are the same."""
        eos = self._special_tokens.get("eos_token")
        end = engine.token_to_id(eos) if isinstance(eos, str) else None
        if end is None:
            raise TokenizerError(f"{path}: tokenizer_config.json names no eos_token that the vocabulary has ({eos!r})")
        self.end_of_turn_text: str = str(eos)
        """The text of the token that ends a turn (`eos_token`)."""
        self.end_of_turn: int = end
        """The id of the token that ends a turn."""
        known = {token for text in KNOWN_ENDS if (token := engine.token_to_id(text)) is not None}
        self.end_tokens: frozenset[int] = frozenset({end, *end_ids, *known})
        """All ids that a generation can end with: that one, those that the directory's files list, and those by whose
        name published models are known to end."""

    @cached_property
    def drops_thoughts(self) -> bool:
        """Whether the template leaves out of its history what stands between `<think>` and `</think>`, as it does for a
        gateway that has no reasoning parser."""
        thought = {"role": "assistant", "content": "<think>\nTea.\n</think>\n\nYes."}
        asked = {"role": "user", "content": "So?"}
        try:
            return "Tea." not in self.render([asked, thought, asked])
        except TokenizerError:
            return False

    @cached_property
    def end_of_call(self) -> int:
        """The id that ends a turn which ends with a call: the first end token that the template puts behind one, as
        `<|observation|>` of GLM; `end_of_turn` where the template puts none, or has no place for calls."""
        call = {"id": "call00000", "type": "function", "function": {"name": "look", "arguments": {"at": "Rome"}}}
        asked = {"role": "user", "content": "Look."}
        called = {"role": "assistant", "content": "", "tool_calls": [call]}
        told = {"role": "tool", "tool_call_id": "call00000", "content": "Sunny."}
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        try:
            behind = self.render([asked, called, told], tools).rpartition("Rome")[2].partition("Sunny.")[0]
        except TokenizerError:
            return self.end_of_turn
        return next((token for token in self.encode(behind) if token in self.end_tokens), self.end_of_turn)

    @classmethod
    def load(cls, directory: str | Path) -> Tokenizer:
        """Load from a directory with `tokenizer.json` and `tokenizer_config.json`. Raises `TokenizerError`."""
        path = Path(directory)
        if not path.is_dir():
            raise TokenizerError(f"{path} is not a directory; a tokenizer is a directory with a tokenizer.json")
        if not (path / "tokenizer.json").is_file():
            raise TokenizerError(f"{path} has no tokenizer.json; only tokenizers in that form can be loaded")
        try:
            engine = _Engine.from_file(str(path / "tokenizer.json"))
        except Exception as error:  # `tokenizers` raises bare Exception
            raise TokenizerError(f"{path / 'tokenizer.json'} cannot be loaded: {error}") from error
        engine.no_padding()
        engine.no_truncation()
        config = _read_config(path)
        special = {k: _token_text(v) for k, v in config.items() if k.endswith("_token") and _token_text(v) is not None}
        return cls(path.resolve(), engine, _read_template(path, config), special, _read_end_ids(path, config))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones included. Ids may be sparse."""
        return int(self._engine.get_vocab_size(with_added_tokens=True))

    @cached_property
    def last_id(self) -> int:
        """The largest id that a token has."""
        return max(self._engine.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Ids of `text`, none added. With `special` a control token written out in the text becomes that token;
        without it, it is encoded like any other text. Raises `TokenizerError` for a lone surrogate."""
        if special:
            engine = self._engine
        else:
            if self._plain is None:
                self._plain = _Engine.from_str(self._engine.to_str())
                self._plain.encode_special_tokens = True
            engine = self._plain
        try:
            return list(engine.encode(text, add_special_tokens=False).ids)
        except TypeError as error:  # what `tokenizers` calls a str that is no Unicode text
            raise TokenizerError("the text holds a lone surrogate, which is no character") from error

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        """The text of `ids`. Bytes that are no UTF-8 become U+FFFD; ids that the vocabulary lacks become nothing."""
        return str(self._engine.decode(list(ids), skip_special_tokens=skip_special))

    def token(self, token_id: int) -> str:
        """The text of one id on its own."""
        return self.decode([token_id])

    def pieces(self, ids: Sequence[int], skip_special: bool = True) -> list[str]:
        """One string per id, as a stream would show it: bytes of an unfinished character are held back until it is
        whole. Joined they are `decode(ids, skip_special)`."""
        stream = DecodeStream(skip_special_tokens=skip_special)
        pieces = [stream.step(self._engine, token) or "" for token in ids]
        text, shown = self.decode(ids, skip_special), "".join(pieces)
        if not text.startswith(shown):
            return [""] * (len(ids) - 1) + [text]
        if pieces:
            pieces[-1] += text[len(shown) :]
        return pieces

    def is_special(self, token_id: int) -> bool:
        """Whether `decode(skip_special=True)` leaves this id out."""
        return token_id in self._special_ids

    @property
    def has_template(self) -> bool:
        return self._template_text is not None

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> str:
        """The conversation as the chat template writes it. Tool-call arguments that are JSON text of an object are
        handed to the template as that object. Raises `TokenizerError` when there is no template or it fails, and
        `TemplateRefusal` when it refuses."""
        if self._template is None:
            if self._template_text is None:
                raise TokenizerError(f"{self.path} has no chat template (chat_template.jinja or tokenizer_config.json)")
            try:
                self._template = _environment().from_string(self._template_text)
            except jinja2.TemplateError as error:
                raise TokenizerError(f"{self.path}: the chat template does not compile: {error}") from error
        variables = {"documents": None, **self._special_tokens, **kwargs}
        try:
            return self._template.render(
                messages=[_with_objects(message) for message in messages],
                tools=list(tools) if tools else None,
                add_generation_prompt=add_generation_prompt,
                **variables,
            )
        except TemplateRefusal:
            raise
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise TokenizerError(f"the chat template fails at the conversation: {error}") from error


def _with_objects(message: Message) -> Message:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return {**message, "tool_calls": [_call_with_object(call) for call in calls]}


def _call_with_object(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    if not isinstance(arguments, dict):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _token_text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "tokenizer_config.json"
    if not file.is_file():
        raise TokenizerError(f"{path} has no tokenizer_config.json, so nothing says which token ends a turn")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizerError(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise TokenizerError(f"{file} must hold a JSON object, not {type(config).__name__}")
    return config


def _read_end_ids(path: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """What `eos_token_id` says wherever a directory can say it: an id, or a list of them."""
    documents: list[Any] = [config]
    for name in ("generation_config.json", "config.json"):
        file = path / name
        try:
            documents.append(json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {})
        except ValueError as error:
            raise TokenizerError(f"{file} is not JSON: {error}") from error
    documents += [document.get("text_config") for document in documents if isinstance(document, dict)]
    listed = [document.get("eos_token_id") for document in documents if isinstance(document, dict)]
    ids = [token for entry in listed for token in (entry if isinstance(entry, list) else [entry])]
    return frozenset(token for token in ids if type(token) is int and token >= 0)


def _read_template(path: Path, config: Mapping[str, Any]) -> str | None:
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if template is None and (path / "chat_template.json").is_file():
        template = json.loads((path / "chat_template.json").read_text(encoding="utf-8")).get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, Mapping)}
        template = named.get("default")
    return template if isinstance(template, str) else None
