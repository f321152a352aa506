"""The routes of files and vector stores, below a session's `/v1`.

| route | does |
|---|---|
| `POST /files` | keeps a text file: a form with `file` and `purpose` |
| `GET /files`, `GET`, `DELETE /files/{id}` | the session's files, newest first; one of them |
| `GET /files/{id}/content` | its bytes |
| `POST`, `GET /vector_stores` | a store with the files `file_ids`; the session's stores |
| `GET`, `POST`, `DELETE /vector_stores/{id}` | one of them; gives it another name or other metadata |
| `POST /vector_stores/{id}/search` | its best passages for a query |
| `POST`, `GET /vector_stores/{id}/files` | puts a file into it; lists its files |
| `GET`, `POST`, `DELETE /vector_stores/{id}/files/{id}` | one of them; gives it other attributes; takes it out |

A file is ready to be searched when the answer says that it was put into a store, so `status` is `completed` from the
start. What cuts files into passages and ranks them is the gateway's own: `chunking_strategy`, `expires_after` and names
of embedding models change nothing. Knows paths, forms and query strings; what is kept is in `tools.stores`. No turn
comes this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from reference_gateway.serving.access import Access
from reference_gateway.serving.errors import problem_of
from reference_gateway.serving.http import JSON, HungUp, RawHeaders, headers_of, raw, read_body, respond
from reference_gateway.serving.metrics import Metrics
from reference_gateway.serving.pages import page_of
from reference_gateway.session import Phase, Session, SessionClosed, Sessions
from reference_gateway.tools.file_search import FileSearch
from reference_gateway.tools.server_tools import EntryRefused
from reference_gateway.tools.stores import File, Files, Store
from reference_gateway.wire import openai_chat
from reference_gateway.wire.base import RequestRefused
from reference_gateway.wire.json_body import read_object, require_json

name = "files"

FORM_FIELDS = 8
"""Of an upload, beside its file."""
METHODS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("files",): ("GET", "POST"),
    ("files", "*"): ("GET", "DELETE"),
    ("files", "*", "content"): ("GET",),
    ("vector_stores",): ("GET", "POST"),
    ("vector_stores", "*"): ("GET", "POST", "DELETE"),
    ("vector_stores", "*", "search"): ("POST",),
    ("vector_stores", "*", "files"): ("GET", "POST"),
    ("vector_stores", "*", "files", "*"): ("GET", "POST", "DELETE"),
}
"""Path below `/v1`, `*` being an id -> the methods that it takes."""

BYTES: RawHeaders = ((b"content-type", b"application/octet-stream"),)
Answered = tuple[bytes, RawHeaders]


class FilesPlane:
    """Serves the files of all sessions. `max_body` are the bytes of a request, of which a file is the most."""

    def __init__(self, sessions: Sessions, access: Access, metrics: Metrics, max_body: int) -> None:
        self._sessions = sessions
        self._access = access
        self._metrics = metrics
        self._max_body = max_body

    def takes(self, path: str) -> bool:
        """Whether a path below `/v1` is one of these routes."""
        return path.startswith(("/files", "/vector_stores")) and path.split("/", 2)[1] in ("files", "vector_stores")

    async def serve(self, session_id: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens. A slash may end its path."""
        try:
            status, (body, headers) = 200, await self._answer(session_id, path.removesuffix("/"), scope, receive)
        except HungUp:
            self._metrics.hung_up += 1
            return
        except Exception as error:
            problem = problem_of(error)
            status, body = problem.status, openai_chat.error(problem.status, problem.message)
            headers = [*JSON, *raw(problem.headers)]
        self._metrics.requests[name, status] += 1
        await respond(send, status, body, headers)

    async def _answer(self, session_id: str, path: str, scope: Scope, receive: Receive) -> Answered:
        method, parts = scope["method"], path.split("/")[1:]
        _require_route(method, parts, scope["path"])
        headers = headers_of(scope)
        self._access.require_session(headers, session_id)
        session = self._sessions.get(session_id)
        if method == "GET":
            return _read(session.files, parts, scope["query_string"])
        if method == "DELETE":
            return _delete(session.files, parts)
        if parts == ["files"]:
            content_type = headers.get("content-type", "")
            if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
                raise RequestRefused("content-type is not supported here: expected multipart/form-data", status=415)
            form = await _form(scope, await read_body(receive, headers, self._max_body))
            _require_active(session)
            return _json(session.files.upload(*form).shown())
        require_json(headers.get("content-type"))
        body = read_object(await read_body(receive, headers, self._max_body))
        return _json(await _write(session, parts, body))


def _read(files: Files, parts: list[str], query: bytes) -> Answered:
    match parts:
        case ["files"]:
            return _json(page_of([file.shown() for file in files.files.values()], query))
        case ["files", file_id]:
            return _json(files.file(file_id).shown())
        case ["files", file_id, _]:
            return files.file(file_id).content, BYTES
        case [_]:
            return _json(page_of([store.shown() for store in files.stores.values()], query))
        case [_, store_id]:
            return _json(files.store(store_id).shown())
        case [_, store_id, _]:
            return _json(page_of([file.shown() for file in files.store(store_id).attached.values()], query))
        case [_, store_id, _, file_id]:
            return _json(files.store(store_id).file(file_id).shown())
    raise AssertionError(parts)


def _delete(files: Files, parts: list[str]) -> Answered:
    match parts:
        case ["files", deleted]:
            files.delete(deleted)
            kind = "file"
        case [_, deleted]:
            files.delete_store(deleted)
            kind = "vector_store.deleted"
        case [_, store_id, _, deleted]:
            files.detach(store_id, deleted)
            kind = "vector_store.file.deleted"
        case _:
            raise AssertionError(parts)
    return _json({"id": deleted, "object": kind, "deleted": True})


async def _write(session: Session, parts: list[str], body: Mapping[str, Any]) -> dict[str, Any]:
    files = session.files
    match parts:
        case [_]:
            return (await _create_store(session, body)).shown()
        case [_, store_id]:
            return files.change_store(store_id, body).shown()
        case [_, store_id, "search"]:
            return await _search(files, files.store(store_id), body)
        case [_, store_id, _]:
            file_id = body.get("file_id")
            if not isinstance(file_id, str):
                raise RequestRefused("file_id must be the id of a file")
            files.store(store_id)
            await _prepare(files.file(file_id))
            _require_active(session)
            return files.attach(store_id, file_id, body.get("attributes")).shown()
        case [_, store_id, _, file_id]:
            files.store(store_id).file(file_id)
            return files.attach(store_id, file_id, body.get("attributes")).shown()
    raise AssertionError(parts)


async def _create_store(session: Session, body: Mapping[str, Any]) -> Store:
    files, file_ids = session.files, body.get("file_ids")
    if not isinstance(file_ids, list | None) or not all(isinstance(file_id, str) for file_id in file_ids or ()):
        raise RequestRefused("file_ids must be a list of ids of files")
    for file_id in file_ids or ():
        await _prepare(files.file(file_id))
    _require_active(session)
    listed = [files.file(file_id) for file_id in file_ids or ()]
    store = files.create_store(body.get("name"), body.get("metadata"))
    for file in listed:
        files.attach(store.id, file.id)
    return store


async def _search(files: Files, store: Store, body: Mapping[str, Any]) -> dict[str, Any]:
    query = body.get("query")
    queries = query if isinstance(query, list) else [query]
    if not queries or not all(isinstance(text, str) for text in queries):
        raise RequestRefused("query must be a string or a list of strings")
    try:
        asked = FileSearch().of(files).asked({**body, "type": "file_search", "vector_store_ids": [store.id]})
    except EntryRefused as refusal:
        raise RequestRefused(str(refusal), status=refusal.status) from None
    results = await asked.results(" ".join(map(str, queries)))
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": [
            {**{key: value for key, value in result.items() if key != "text"}, "content": [_text(result["text"])]}
            for result in results
        ],
        "has_more": False,
        "next_page": None,
    }


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


async def _prepare(file: File) -> None:
    """Cut a file into passages, off the loop: it may be long."""
    if file.passages is None:
        file.passages = await asyncio.to_thread(file.cut)


async def _form(scope: Scope, body: bytes) -> tuple[str, bytes, Any]:
    """The name and the bytes of the file of an upload, and its purpose. Raises `RequestRefused`."""

    async def whole() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    plain = {key: value for key, value in scope.items() if key != "app"}
    try:
        async with Request(plain, whole).form(max_files=1, max_fields=FORM_FIELDS) as form:
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile) or not file.filename:
                raise RequestRefused("file must be a file of the form, with a filename")
            return file.filename, await file.read(), purpose
    except MultiPartException as error:
        raise RequestRefused(f"the body is no multipart/form-data: {error.message}") from None


def _require_route(method: str, parts: list[str], path: str) -> None:
    pattern = tuple("*" if place % 2 else part for place, part in enumerate(parts))
    allowed = METHODS.get(pattern)
    if not allowed or method == "HEAD":
        raise RequestRefused(f"no such route: {method} {path}", status=404)
    if method not in allowed:
        message = f"method {method} is not allowed here: expected {' or '.join(allowed)}"
        raise RequestRefused(message, status=405, headers={"allow": ", ".join(allowed)})


def _require_active(session: Session) -> None:
    if session.phase is not Phase.ACTIVE:
        raise SessionClosed(session.session_id, session.phase.value)


def _json(document: Any) -> Answered:
    return orjson.dumps(document), JSON
