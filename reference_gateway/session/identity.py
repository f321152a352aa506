"""When two messages are the same message (contract UA-HASH).

Knows canonical chat messages and nothing else. A client sends its whole history with each request and respells it on
the way: what it may respell is left out of the identity here, once, so that matching is a comparison of digests.

- A message is never changed, only read.
- Always out: unknown fields, `tool_calls: []`, `content: null`, the list around a single text part, `cache_control`.
- Out unless compared: tool-call ids, `reasoning_content`, the `name` that a client gives an assistant, white space
  around an assistant's text.
- Tool arguments are compared as JSON, whichever way they are spelled; text that is no JSON is compared as it is, and
  none at all (null, an empty text) is an empty object.
- Prefixes are hashed by rolling: the key of a history is the key of the history before, extended by one message, so a
  request of n messages costs n digests whatever it is compared with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from reference_gateway.session.errors import InvalidField
from reference_gateway.types import Message, Tool


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """What is compared beside what always is (contract section 5)."""

    tool_ids: bool = False
    reasoning: bool = False
    names: bool = False
    whitespace: bool = False


def identify(message: Message, rules: IdentityRules) -> bytes:
    """The digest of one message, 32 bytes."""
    return _digest(b"message-v1", _canonical(message, rules, calls=_calls(message, rules)))


def identify_echo(message: Message, rules: IdentityRules) -> bytes:
    """The digest of an assistant message as a client echoes it when its wire cannot carry arguments that are no JSON
    object: Anthropic shows `{}` in their place (contract UA-ANS-04). Equal to `identify` for every other message."""
    return _digest(b"message-v1", _canonical(message, rules, calls=_calls(message, rules, objects_only=True)))


def identify_tools(tools: Sequence[Tool] | None, partition: bytes = b"") -> bytes:
    """The key of an empty history under these tools, 32 bytes. No tools and an empty list are equal (trap 4). Histories
    of different partitions never meet (contract AF-ISO-08)."""
    return _digest(b"tools-v1" + partition, list(tools or ()))


def extend(key: bytes, identities: Iterable[bytes]) -> bytes:
    """The key of a history, from the key of its beginning and the identities of the rest."""
    for identity in identities:
        key = hashlib.sha256(b"prefix-v1" + key + identity).digest()
    return key


def prefix_keys(root: bytes, identities: Iterable[bytes]) -> list[bytes]:
    """The keys of every prefix of a history; entry i is the key of its first i messages, entry 0 is `root`."""
    keys = [root]
    for identity in identities:
        keys.append(hashlib.sha256(b"prefix-v1" + keys[-1] + identity).digest())
    return keys


def _canonical(message: Message, rules: IdentityRules, calls: list[Any]) -> list[Any]:
    role = message["role"]
    content = _content(message.get("content"))
    if role == "assistant" and isinstance(content, str) and not rules.whitespace:
        content = content.strip()
    return [
        role,
        content,
        message.get("name") if role != "assistant" or rules.names else None,
        (message.get("reasoning_content") or None) if rules.reasoning else None,
        calls,
        message.get("tool_call_id") if rules.tool_ids else None,
    ]


def _content(content: Any) -> Any:
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    parts = [_part(part) for part in content]
    if not parts:
        return ""
    if len(parts) == 1 and parts[0][0] == "text":
        return parts[0][1]
    return parts


def _part(part: Any) -> list[Any]:
    if not isinstance(part, dict):
        return ["text", part] if isinstance(part, str) else ["", part]
    kind = part.get("type")
    if kind == "text":
        return ["text", part.get("text")]
    # Media take part by reference: the URL or the data, in either of the two spellings that clients use.
    reference = part.get(kind) if isinstance(kind, str) else None
    if isinstance(reference, str):
        reference = {"url": reference}
    if reference is not None:
        return [kind, reference]
    return [kind, {name: value for name, value in part.items() if name not in ("type", "cache_control")}]


def _calls(message: Message, rules: IdentityRules, objects_only: bool = False) -> list[Any]:
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function", {})
        spelling, arguments = _arguments(function.get("arguments"))
        if objects_only and not isinstance(arguments, dict):
            spelling, arguments = "json", {}
        calls.append([call.get("id") if rules.tool_ids else None, function.get("name"), spelling, arguments])
    return calls


def _arguments(arguments: Any) -> tuple[str, Any]:
    if not isinstance(arguments, str):
        return "json", {} if arguments is None else arguments
    try:
        value = json.loads(arguments) if arguments.strip() else {}
        return "json", {} if value is None else value
    except (ValueError, RecursionError):
        return "text", arguments


def _digest(domain: bytes, value: Any) -> bytes:
    try:
        canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # What orjson refuses and JSON allows: integers over 64 bits, lone surrogates.
        try:
            canonical = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        except RecursionError:
            raise InvalidField("messages", "must not be nested this deeply") from None
    return hashlib.sha256(domain + canonical).digest()
