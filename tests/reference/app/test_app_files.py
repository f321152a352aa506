"""Files and vector stores over HTTP: what a session keeps of a client, and what its responses find there."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from reference_gateway.tools import stores
from tests.reference.app.gateway_doubles import Told, gateway
from tests.reference.app.test_app_responses import Agent, agent, calls

CHEESE = "Cheese is made of milk."
LIGHTHOUSE = "The lighthouse stands in Zürich."


class Keeper:
    """A session whose files are in the test's hands."""

    def __init__(self, one: Agent) -> None:
        self.agent = one

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.agent.http.post(f"{self.agent.base}{path}", json=body)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self.agent.http.get(f"{self.agent.base}{path}", params=query)

    def delete(self, path: str) -> httpx.Response:
        return self.agent.http.delete(f"{self.agent.base}{path}")

    def upload(self, text: str | bytes, name: str = "notes.md", **fields: str) -> httpx.Response:
        form = {"purpose": "assistants", **fields}
        return self.agent.http.post(f"{self.agent.base}/files", files={"file": (name, text)}, data=form)

    def file(self, text: str | bytes, name: str = "notes.md") -> str:
        answer = self.upload(text, name)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def store(self, *files: str, **fields: Any) -> str:
        answer = self.post("/vector_stores", file_ids=list(files), **fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    with agent() as one:
        yield Keeper(one)


def refusal(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"]["message"])


def test_a_file_is_kept_read_listed_and_deleted(keeper):
    made = keeper.upload(LIGHTHOUSE, "lighthouse.md").json()
    assert (made["object"], made["filename"], made["purpose"]) == ("file", "lighthouse.md", "assistants")
    assert made["bytes"] == len(LIGHTHOUSE.encode())
    assert keeper.get(f"/files/{made['id']}").json() == made
    content = keeper.get(f"/files/{made['id']}/content")
    assert content.content == LIGHTHOUSE.encode()
    assert content.headers["content-type"] == "application/octet-stream"
    other = keeper.file(CHEESE)
    assert [file["id"] for file in keeper.get("/files", order="asc").json()["data"]] == [made["id"], other]
    assert keeper.delete(f"/files/{other}").json() == {"id": other, "object": "file", "deleted": True}
    for answer in (
        keeper.get(f"/files/{other}"),
        keeper.get(f"/files/{other}/content"),
        keeper.delete(f"/files/{other}"),
    ):
        assert other in refusal(answer, 404)


def test_a_store_has_files_with_a_status(keeper):
    file, other = keeper.file(LIGHTHOUSE), keeper.file(CHEESE)
    store = keeper.store(file, name="notes", metadata={"kind": "test"})
    shown = keeper.get(f"/vector_stores/{store}").json()
    assert (shown["object"], shown["name"], shown["metadata"]) == ("vector_store", "notes", {"kind": "test"})
    assert (shown["status"], shown["file_counts"]["completed"], shown["file_counts"]["total"]) == ("completed", 1, 1)
    attached = keeper.post(f"/vector_stores/{store}/files", file_id=other, attributes={"year": 2024}).json()
    assert (attached["id"], attached["status"], attached["attributes"]) == (other, "completed", {"year": 2024})
    assert (attached["vector_store_id"], attached["last_error"]) == (store, None)
    assert keeper.get(f"/vector_stores/{store}/files/{other}").json() == attached
    listed = keeper.get(f"/vector_stores/{store}/files", order="asc").json()
    assert [each["id"] for each in listed["data"]] == [file, other]
    changed = keeper.post(f"/vector_stores/{store}/files/{other}", attributes={"year": 2025}).json()
    assert changed["attributes"] == {"year": 2025}
    gone = keeper.delete(f"/vector_stores/{store}/files/{other}").json()
    assert gone == {"id": other, "object": "vector_store.file.deleted", "deleted": True}
    assert keeper.get(f"/files/{other}").status_code == 200
    keeper.delete(f"/files/{file}")
    assert keeper.get(f"/vector_stores/{store}/files").json()["data"] == []
    assert keeper.post(f"/vector_stores/{store}", name="more").json()["name"] == "more"
    assert [each["id"] for each in keeper.get("/vector_stores").json()["data"]] == [store]
    assert keeper.delete(f"/vector_stores/{store}").json()["object"] == "vector_store.deleted"
    assert store in refusal(keeper.get(f"/vector_stores/{store}"), 404)


def test_what_is_no_text_or_no_form_is_refused_by_name(keeper):
    assert "file " in refusal(keeper.upload(b"\xff\xfe\x00"))
    assert "null bytes" in refusal(keeper.upload(b"a\0b"))
    assert "purpose" in refusal(keeper.upload("a", purpose="fun"))
    http, base = keeper.agent.http, keeper.agent.base
    assert "multipart/form-data" in refusal(http.post(f"{base}/files", json={"file": "a"}), 415)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert "the body" in refusal(http.post(f"{base}/files", content=b"nothing", headers=broken))
    assert "boundary" in refusal(
        http.post(f"{base}/files", content=b"a", headers={"content-type": "multipart/form-data"})
    )
    assert "file" in refusal(http.post(f"{base}/files", files={"other": ("a", "b")}, data={"purpose": "batch"}))
    two = [("file", ("a", "b")), ("file", ("c", "d"))]
    assert "files" in refusal(http.post(f"{base}/files", files=two, data={"purpose": "batch"}))


def test_bodies_are_bounded():
    with agent(config={"max_body": 1000}) as one:
        assert "1000 bytes" in refusal(Keeper(one).upload("x" * 1000), 413)


def test_a_session_has_limits(keeper, monkeypatch):
    monkeypatch.setattr(stores, "MAX_FILES", 2)
    monkeypatch.setattr(stores, "MAX_BYTES", 100)
    monkeypatch.setattr(stores, "MAX_STORES", 1)
    file = keeper.file("x" * 60)
    assert "100 bytes" in refusal(keeper.upload("x" * 60))
    keeper.file("x")
    assert "2 files" in refusal(keeper.upload("x"))
    store = keeper.store()
    assert "1 vector stores" in refusal(keeper.post("/vector_stores"))
    many = {str(number): 1 for number in range(17)}
    for attributes in (many, {"a": None}, {"a": []}, {"a": "x" * 513}, {"x" * 65: 1}, "a"):
        answer = keeper.post(f"/vector_stores/{store}/files", file_id=file, attributes=attributes)
        assert "attributes" in refusal(answer)
    assert "metadata" in refusal(keeper.post(f"/vector_stores/{store}", metadata=[]))
    assert "name" in refusal(keeper.post(f"/vector_stores/{store}", name=1))


def test_ids_and_routes_that_are_not_there(keeper):
    store = keeper.store()
    assert "file_id" in refusal(keeper.post(f"/vector_stores/{store}/files"))
    assert "file-0" in refusal(keeper.post(f"/vector_stores/{store}/files", file_id="file-0"), 404)
    assert "file-0" in refusal(keeper.post("/vector_stores", file_ids=["file-0"]), 404)
    assert "file_ids" in refusal(keeper.post("/vector_stores", file_ids="file-0"))
    assert "vs_0" in refusal(keeper.post("/vector_stores/vs_0/search", query="a"), 404)
    assert len(keeper.get("/vector_stores").json()["data"]) == 1
    assert "no such route" in refusal(keeper.get(f"/vector_stores/{store}/nothing"), 404)
    assert "no such route" in refusal(keeper.get("/filesystem"), 404)
    assert keeper.delete("/files").headers["allow"] == "GET, POST"
    assert "limit" in refusal(keeper.get("/files", limit=0))


def test_files_belong_to_one_session_and_its_key():
    with gateway(Told(), api_key="admin") as client:
        create, admin = f"{client.url}/sessions", {"authorization": "Bearer admin"}
        opened = [client.http.post(create, json={}, headers=admin).json() for _ in range(2)]
        mine, other = ({"authorization": f"Bearer {handle['api_key']}"} for handle in opened)
        base = opened[0]["base_url"]
        form = {"files": {"file": ("a", "b")}, "data": {"purpose": "assistants"}}
        made = client.http.post(f"{base}/files", headers=mine, **form).json()
        assert client.http.get(f"{base}/files/{made['id']}", headers=mine).json() == made
        assert client.http.get(f"{base}/files/{made['id']}", headers=other).status_code == 401
        assert client.http.get(f"{opened[1]['base_url']}/files/{made['id']}", headers=other).status_code == 404


def test_a_session_that_is_over_takes_no_files(keeper):
    store = keeper.store(file := keeper.file(CHEESE))
    keeper.agent.http.post(f"{keeper.agent.session}/complete", json={})
    assert keeper.upload("a").status_code == 409
    assert keeper.post("/vector_stores").status_code == 409
    assert keeper.post(f"/vector_stores/{store}/files", file_id=file).status_code == 409


def search(*store_ids: str, **fields: Any) -> dict[str, Any]:
    return {"type": "file_search", "vector_store_ids": list(store_ids), **fields}


def found(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    [call] = [item for item in response.json()["output"] if item["type"] == "file_search_call"]
    return [result["text"] for result in call["results"]]


ASK = calls(("file_search", {"query": "lighthouse milk"}))
SHOWN = {"include": ["file_search_call.results"]}


@pytest.mark.parametrize("stream", ["synthesised", "incremental"])
def test_a_response_searches_the_stores_that_it_names(stream):
    with agent(*[ASK, "Fine"] * 4, config={"stream": stream}) as one:
        keeper = Keeper(one)
        first, second = keeper.store(keeper.file(LIGHTHOUSE)), keeper.store(keeper.file(CHEESE))
        made = one.ask(tools=[search(first)], **SHOWN)
        assert found(made) == [LIGHTHOUSE]
        assert f"[notes.md]\n{LIGHTHOUSE}" in one.context()
        assert CHEESE not in one.context()
        more = one.ask("More", tools=[search(second)], previous_response_id=made.json()["id"], **SHOWN)
        assert found(more) == [CHEESE]
        assert set(found(one.ask(tools=[search(first, second, first)], **SHOWN))) == {LIGHTHOUSE, CHEESE}
        assert len(found(one.ask(tools=[search(first, second, max_num_results=1)], **SHOWN))) == 1


def test_filters_and_thresholds_choose():
    with agent(*[ASK, "Fine"] * 3) as one:
        keeper = Keeper(one)
        store = keeper.store()
        for text, year in ((LIGHTHOUSE, 2023), (CHEESE, 2024)):
            keeper.post(f"/vector_stores/{store}/files", file_id=keeper.file(text), attributes={"year": year})
        newer = {"type": "gt", "key": "year", "value": 2023}
        assert found(one.ask(tools=[search(store, filters=newer)], **SHOWN)) == [CHEESE]
        either = {"type": "or", "filters": [newer, {"type": "in", "key": "year", "value": [2023]}]}
        assert len(found(one.ask(tools=[search(store, filters=either)], **SHOWN))) == 2
        assert found(one.ask(tools=[search(store, ranking_options={"score_threshold": 0.99})], **SHOWN)) == []


def test_an_entry_that_asks_for_what_is_not_there_is_refused_by_name(keeper):
    store = keeper.store()
    assert "tools[0].vector_store_ids" in refusal(keeper.agent.ask(tools=[search("vs_0")]), 404)
    assert "tools[0].vector_store_ids" in refusal(keeper.agent.ask(tools=[search(vector_store_ids="vs_0")]))
    for name, value in (
        ("filters", {"type": "like"}),
        ("filters", {"type": "eq", "key": 1, "value": 1}),
        ("filters", {"type": "in", "key": "a", "value": 1}),
        ("filters", {"type": "and", "filters": {}}),
        ("max_num_results", 0),
        ("max_num_results", 51),
        ("ranking_options", []),
        ("ranking_options", {"score_threshold": 2}),
    ):
        assert f"tools[0].{name}" in refusal(keeper.agent.ask(tools=[search(store, **{name: value})]))
    assert keeper.agent.told.calls == []


def test_the_directory_is_a_store_that_every_session_has(tmp_path):
    (tmp_path / "cheese.md").write_text(CHEESE)
    with agent(*[ASK, "Fine"] * 3, config={"file_search": tmp_path}) as one:
        keeper = Keeper(one)
        store = keeper.store(keeper.file(LIGHTHOUSE))
        assert found(one.ask(tools=[search("files")], **SHOWN)) == [CHEESE]
        assert found(one.ask(tools=[search(store)], **SHOWN)) == [LIGHTHOUSE]
        assert set(found(one.ask(tools=[search("files", store)], **SHOWN))) == {CHEESE, LIGHTHOUSE}


def test_a_store_can_be_searched_by_itself(keeper):
    store = keeper.store(file := keeper.file(LIGHTHOUSE), keeper.file(CHEESE))
    page = keeper.post(f"/vector_stores/{store}/search", query="lighthouse").json()
    assert page["search_query"] == ["lighthouse"]
    [result] = page["data"]
    assert (result["file_id"], result["content"]) == (file, [{"type": "text", "text": LIGHTHOUSE}])
    assert 0 < result["score"] < 1
    assert "query" in refusal(keeper.post(f"/vector_stores/{store}/search"))
    assert "max_num_results" in refusal(keeper.post(f"/vector_stores/{store}/search", query="a", max_num_results=0))


def data_of(text: str | bytes, uri: bool = True) -> str:
    written = base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
    return f"data:text/plain;base64,{written}" if uri else written


def asks(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "input_text", "text": "What is this?"}, *parts]}]


class TestInputFiles:
    """Parts of type `input_file`."""

    @pytest.mark.parametrize("uri", [True, False])
    @pytest.mark.parametrize("stream", [True, False])
    def test_data_becomes_text_in_the_context(self, uri, stream):
        with agent("Fine") as one:
            part = {"type": "input_file", "filename": "l.md", "file_data": data_of(LIGHTHOUSE, uri)}
            assert one.ask(asks(part), stream=stream).status_code == 200
            assert f"What is this?\n\n[l.md]\n{LIGHTHOUSE}" in one.context()

    def test_a_file_of_the_session_stays_in_the_history_when_it_is_deleted(self):
        with agent("Fine", "Still") as one:
            keeper = Keeper(one)
            file = keeper.file(LIGHTHOUSE)
            made = one.ask(asks({"type": "input_file", "file_id": file})).json()
            keeper.delete(f"/files/{file}")
            one.ask("So?", previous_response_id=made["id"])
            assert f"[notes.md]\n{LIGHTHOUSE}" in one.context()
            assert len(one.trajectories()) == 1
            [item] = keeper.get(f"/responses/{made['id']}/input_items").json()["data"]
            assert (item["content"][1]["file_id"], item["content"][1]["filename"]) == (file, "notes.md")

    def test_behind_a_call_and_in_a_conversation(self):
        with agent("Fine", "Fine") as one:
            keeper = Keeper(one)
            part = {"type": "input_file", "file_id": keeper.file(LIGHTHOUSE)}
            call = {"type": "function_call", "call_id": "c", "name": "read", "arguments": "{}"}
            one.ask([*asks(), call, {"type": "function_call_output", "call_id": "c", "output": [part]}])
            assert LIGHTHOUSE in one.context()
            one.ask("So?", conversation=one.converse(items=asks(part)))
            assert LIGHTHOUSE in one.context()

    @pytest.mark.parametrize(
        ("part", "field"),
        [
            ({"file_id": "file-0"}, "file_id"),
            ({"file_id": 1}, "file_id"),
            ({"file_url": "https://example.com/a.pdf"}, "file_url"),
            ({"file_data": data_of(b"%PDF-1.7\xff")}, "file_data"),
            ({"file_data": "no base64!"}, "file_data"),
            ({"file_data": 1}, "file_data"),
            ({"filename": 1, "file_data": data_of("a")}, "filename"),
            ({}, "file_data"),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name(self, keeper, part, field):
        answer = keeper.agent.ask(asks({"type": "input_file", **part}))
        assert f"input[0].content[1].{field}" in refusal(answer)
