"""Files in a request of the Responses wire: parts of type `input_file`, which become text in the context.

A part has its file as `file_data` (base64, or a data URI of it), or names one of the session's by `file_id`. That is
put in its place here, so that a history keeps what it said when the file is deleted. Text in UTF-8 only: anything else
is refused by name, as is `file_url`, since the gateway fetches nothing. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from reference_gateway.tools.stores import FileRefused, Files, require_text
from reference_gateway.wire.base import RequestRefused

TYPE = "input_file"
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,")


def with_files(body: Mapping[str, Any], field: str, files: Files) -> Mapping[str, Any]:
    """The body, with the files of the session that the items of `field` name."""
    items = body.get(field)
    if not files.files or not isinstance(items, list):
        return body
    return {**body, field: [_item(item, files) for item in items]}


def _item(item: Any, files: Files) -> Any:
    if not isinstance(item, dict):
        return item
    lists = {name: item[name] for name in ("content", "output") if isinstance(item.get(name), list)}
    return {**item, **{name: [_filled(part, files) for part in parts] for name, parts in lists.items()}}


def _filled(part: Any, files: Files) -> Any:
    if not isinstance(part, dict) or part.get("type") != TYPE or part.get("file_data") is not None:
        return part
    file_id = part.get("file_id")
    file = files.files.get(file_id) if isinstance(file_id, str) else None
    if file is None:
        return part
    data = f"data:text/plain;base64,{base64.b64encode(file.content).decode()}"
    return {**part, "filename": part.get("filename") or file.filename, "file_data": data}


def read_file(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The part in full form. Raises `RequestRefused` naming the field."""
    for name in ("filename", "file_id"):
        if not isinstance(part.get(name), str | None):
            raise RequestRefused(f"{where}.{name} must be a string or null")
    data = part.get("file_data")
    if data is None and part.get("file_url") is not None:
        raise RequestRefused(f"{where}.file_url is not supported: this gateway fetches nothing; give file_data")
    if data is None and part.get("file_id") is not None:
        raise RequestRefused(f"{where}.file_id must be the id of a file of this session")
    if not isinstance(data, str):
        raise RequestRefused(f"{where}.file_data must be a string of base64")
    try:
        require_text(_decoded(data), f"{where}.file_data")
    except FileRefused as refusal:
        raise RequestRefused(str(refusal)) from None
    except binascii.Error:
        raise RequestRefused(f"{where}.file_data must be base64, or a data URI of it") from None
    read = {"type": TYPE, "filename": part.get("filename"), "file_data": data}
    return {**read, **({"file_id": part["file_id"]} if part.get("file_id") else {})}


def text_of(part: Mapping[str, Any]) -> str:
    """What the model reads of a part in full form: the name of the file, where it has one, and its text."""
    text = require_text(_decoded(part["file_data"]), "file_data")
    return f"[{part['filename']}]\n{text}" if part["filename"] else text


def _decoded(data: str) -> bytes:
    prefix = _DATA_URI.match(data)
    return base64.b64decode(data[prefix.end() :] if prefix else data, validate=True)
