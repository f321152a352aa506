"""The routes around responses and conversations, the objects that they answer with, and history that comes twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.reference.app.test_app_responses import OWN, WEATHER, Agent, agent, calls


@pytest.fixture
def openresponses() -> Any:
    """The types of the specification, of the extra `dev`."""
    return pytest.importorskip("openresponses_types.types")


def message(role: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text, **fields}


def output(call_id: str, text: str = "sunny") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def refusal(response: Any) -> str:
    assert response.status_code == 400, response.text
    return str(response.json()["error"]["message"])


def delete(one: Agent, path: str) -> Any:
    return one.http.delete(f"{one.base}{path}")


def test_a_response_is_that_of_the_specification(openresponses):
    with agent("One", calls(("weather", {}))) as one:
        asked = {"max_tool_calls": 3, "safety_identifier": "s", "prompt_cache_key": "k", "reasoning": {"effort": "low"}}
        plain, called = one.ask("Hi", tools=[WEATHER], temperature=0.5, **asked), one.ask("Go", tools=[WEATHER])
    for response in (plain, called):
        openresponses.ResponseResource.model_validate(response.json())
    body = plain.json()
    assert body["completed_at"] >= body["created_at"]
    assert {name: body[name] for name in asked} == {**asked, "reasoning": {"effort": "low", "summary": None}}
    assert [body[name] for name in ("temperature", "top_p", "presence_penalty")] == [0.5, 1.0, 0.0]


def test_the_events_of_a_stream_carry_it(openresponses):
    with agent("One") as one:
        stream = one.ask("Hi", stream=True).text
    for kind, form in (
        ("created", openresponses.ResponseCreatedStreamingEvent),
        ("completed", openresponses.ResponseCompletedStreamingEvent),
    ):
        [data] = [line[6:] for line in stream.split("\n") if line.startswith(f'data: {{"type":"response.{kind}"')]
        event = form.model_validate_json(data)
        assert (event.response.completed_at is None) == (kind == "created")


def test_a_response_that_was_cut_or_failed_has_not_completed(openresponses):
    with agent("abcdef") as one:
        cut = one.ask("Hi", max_output_tokens=2)
    if cut.json()["status"] == "incomplete":
        assert cut.json()["completed_at"] is None
    openresponses.ResponseResource.model_validate(cut.json())


def test_sampling_is_the_sessions_where_the_request_says_nothing():
    with agent("One") as one:
        session = one.http.post(f"{one.url}/sessions", json={"sampling_params": {"temperature": 0.3}}).json()
        body = one.http.post(f"{session['base_url']}/responses", json={"model": "m", "input": "Hi"}).json()
    assert (body["temperature"], body["top_p"]) == (0.3, 1.0)


def test_what_a_response_was_asked_for_with_can_be_read():
    with agent("One", "Two") as one:
        first = one.ask([message("user", "a"), message("user", "b")]).json()
        second = one.ask("c", previous_response_id=first["id"]).json()
        listed = one.http.get(f"{one.base}/responses/{first['id']}/input_items", params={"order": "asc"}).json()
        assert [item["content"][0]["text"] for item in listed["data"]] == ["a", "b"]
        assert listed["object"] == "list"
        assert listed["first_id"] == listed["data"][0]["id"]
        listed = one.http.get(f"{one.base}/responses/{second['id']}/input_items?limit=1").json()
        assert [item["content"][0]["text"] for item in listed["data"]] == ["c"]
        assert one.http.get(f"{one.base}/responses/resp_0/input_items").status_code == 404


def test_a_response_can_be_deleted():
    with agent("One", "Two", "Three") as one:
        first = one.ask("a").json()
        second = one.ask("b", previous_response_id=first["id"]).json()
        assert delete(one, f"/responses/{first['id']}").json() == {
            "id": first["id"],
            "object": "response",
            "deleted": True,
        }
        assert delete(one, f"/responses/{first['id']}").status_code == 404
        assert one.http.get(f"{one.base}/responses/{first['id']}").status_code == 404
        assert one.ask("c", previous_response_id=first["id"]).status_code == 404
        assert one.ask("c", previous_response_id=second["id"]).status_code == 200
        assert "One" in one.context()


def test_nothing_is_made_in_the_background():
    with agent("One") as one:
        made = one.ask("a").json()
        assert "background" in refusal(one.http.post(f"{one.base}/responses/{made['id']}/cancel", json={}))
        assert one.http.post(f"{one.base}/responses/resp_0/cancel", json={}).status_code == 404


def test_tokens_are_counted_and_nothing_is_made():
    with agent("One", "Two") as one:
        count = one.http.post(f"{one.base}/responses/input_tokens", json={"model": "m", "input": "Hi"})
        assert count.json() == {"object": "response.input_tokens", "input_tokens": count.json()["input_tokens"]}
        assert one.told.calls == []
        first = one.ask("Hi").json()
        assert count.json()["input_tokens"] == first["usage"]["input_tokens"]
        more = {"model": "m", "input": "So?", "previous_response_id": first["id"], "tools": [WEATHER]}
        count = one.http.post(f"{one.base}/responses/input_tokens", json=more)
        made = one.ask("So?", previous_response_id=first["id"], tools=[WEATHER]).json()
        assert count.json()["input_tokens"] == made["usage"]["input_tokens"]


def test_a_conversation_can_be_changed_and_closed():
    with agent("One") as one:
        conversation = one.converse(metadata={"a": "b"})
        changed = one.http.post(f"{one.base}/conversations/{conversation}", json={"metadata": {"c": "d"}}).json()
        assert (changed["id"], changed["metadata"]) == (conversation, {"c": "d"})
        assert one.http.get(f"{one.base}/conversations/{conversation}").json() == changed
        assert "metadata" in refusal(one.http.post(f"{one.base}/conversations/{conversation}", json={}))
        closed = delete(one, f"/conversations/{conversation}").json()
        assert closed == {"id": conversation, "object": "conversation.deleted", "deleted": True}
        assert one.http.get(f"{one.base}/conversations/{conversation}").status_code == 404
        assert delete(one, f"/conversations/{conversation}").status_code == 404
        assert one.ask("Hi", conversation=conversation).status_code == 404


def test_items_are_added_read_and_taken_out():
    with agent("One", "Two") as one:
        conversation = one.converse()
        route = f"{one.base}/conversations/{conversation}/items"
        added = one.http.post(route, json={"items": [message("user", "a"), message("user", "b")]}).json()
        assert [item["content"][0]["text"] for item in added["data"]] == ["a", "b"]
        assert added["has_more"] is False
        first, second = (item["id"] for item in added["data"])
        assert one.http.get(f"{route}/{second}").json() == added["data"][1]
        assert one.http.get(f"{route}/msg_0").status_code == 404
        one.ask("c", conversation=conversation)
        assert one.http.delete(f"{route}/{first}").json()["id"] == conversation
        assert one.http.delete(f"{route}/{first}").status_code == 404
        one.ask("d", conversation=conversation)
        context = one.context()
        assert "\na<" not in context
        assert [context.index(f"\n{text}<") for text in "bcd"] == sorted(context.index(f"\n{text}<") for text in "bcd")
        assert context.count("One") == 1
        assert "items" in refusal(one.http.post(route, json={"items": []}))


@pytest.mark.parametrize("kept_by", ["previous_response_id", "conversation"])
class TestHistoryThatComesTwice:
    """The whole of it, or a part: by id, by call, or by what is said."""

    def go_on(self, one: Agent, kept_by: str, given: Any, made: dict[str, Any], **fields: Any) -> Any:
        kept = made["id"] if kept_by == "previous_response_id" else made["conversation"]["id"]
        return one.ask(given, **{kept_by: kept}, **fields)

    def begin(self, one: Agent, kept_by: str, given: Any = "Hi", **fields: Any) -> dict[str, Any]:
        conversation = one.converse() if kept_by == "conversation" else None
        return dict(one.ask(given, conversation=conversation, **fields).json())

    def test_by_id(self, kept_by):
        with agent(calls(("weather", {})), "Fine") as one:
            made = self.begin(one, kept_by, tools=[WEATHER])
            call = made["output"][-1]
            result = output(call["call_id"])
            twice = refusal(self.go_on(one, kept_by, [call, result], made, tools=[WEATHER]))
            assert call["id"] in twice
            reference = {"type": "item_reference", "id": call["id"]}
            assert call["id"] in refusal(self.go_on(one, kept_by, [reference, result], made, tools=[WEATHER]))
            assert len(one.told.calls) == 1
            assert self.go_on(one, kept_by, [result], made, tools=[WEATHER]).status_code == 200

    def test_by_call(self, kept_by):
        with agent(calls(("weather", {})), "Fine", "Bye") as one:
            made = self.begin(one, kept_by, tools=[WEATHER])
            call = {name: value for name, value in made["output"][-1].items() if name not in ("id", "status")}
            result = output(call["call_id"])
            assert call["call_id"] in refusal(self.go_on(one, kept_by, [call, result], made, tools=[WEATHER]))
            made = self.go_on(one, kept_by, [result], made, tools=[WEATHER]).json()
            assert call["call_id"] in refusal(self.go_on(one, kept_by, [result, message("user", "So?")], made))

    @pytest.mark.parametrize("from_the_start", [True, False])
    def test_by_what_is_said(self, kept_by, from_the_start):
        with agent("One", "Two", "Three") as one:
            made = self.begin(one, kept_by)
            made = self.go_on(one, kept_by, "Hi", made).json()
            said = [message("user", "Hi"), message("assistant", "One"), message("user", "Hi")]
            said = [*(said if from_the_start else []), message("assistant", "Two"), message("user", "So?")]
            assert "repeat" in refusal(self.go_on(one, kept_by, said, made))
            assert self.go_on(one, kept_by, [message("user", "Hi"), message("user", "So?")], made).status_code == 200

    def test_items_of_a_clients_own_ids_are_told_apart(self, kept_by):
        with agent("One", "Two") as one:
            made = self.begin(one, kept_by, [message("user", "Hi", id="__fake_id__")])
            assert self.go_on(one, kept_by, [message("user", "So?", id="__fake_id__")], made).status_code == 200

    def test_calls_of_the_gateways_tools(self, kept_by):
        with agent(calls(("add", {"a": 1, "b": 2})), "Three", "Fine") as one:
            made = self.begin(one, kept_by, tools=[OWN])
            given = [*made["output"], message("user", "So?")]
            assert made["output"][0]["id"] in refusal(self.go_on(one, kept_by, given, made, tools=[OWN]))


def test_an_item_that_stands_twice_in_one_input_is_refused():
    with agent("One", "Two") as one:
        said = one.ask("Hi", store=False).json()["output"]
        given = [message("user", "Hi"), *said, message("user", "So?")]
        assert said[0]["id"] in refusal(one.ask([*given, *said, message("user", "And?")]))
        assert one.ask(given).status_code == 200


def test_an_item_is_added_to_a_conversation_once():
    with agent("One") as one:
        conversation = one.converse()
        said = one.ask("Hi", conversation=conversation).json()["output"]
        assert said[0]["id"] in refusal(
            one.http.post(f"{one.base}/conversations/{conversation}/items", json={"items": said})
        )
        assert len(one.items(conversation)["data"]) == 2
