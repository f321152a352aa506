"""The control plane: sessions and their ends, keys, URLs, what the gateway says about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from gateway_doubles import Client, Told, gateway


@pytest.fixture(scope="module")
def silent() -> Iterator[Client]:
    """A gateway whose backend is never to be called."""
    with gateway(Told()) as client:
        yield client


def test_a_session_says_how_it_is_reached(silent):
    response = silent.http.post(f"{silent.url}/sessions", json={"session_id": "s-1"})
    root = f"{silent.url}/sessions/s-1"
    assert response.status_code == 201
    assert response.json() == {
        "session_id": "s-1",
        "base_url": f"{root}/v1",
        "anthropic_base_url": root,
        "invocations_url": f"{root}/v1/invocations",
        "reward_info_url": f"{root}/reward_info",
    }


def test_urls_have_the_host_that_the_client_used_or_the_public_one():
    with gateway(Told()) as client:
        response = client.http.post(f"{client.url}/sessions", headers={"host": "gate.example:81"})
        assert response.json()["base_url"].startswith("http://gate.example:81/sessions/")
    with gateway(Told(), public_url="https://gate.example/x/") as client:
        response = client.http.post(f"{client.url}/sessions", json={})
        assert response.json()["base_url"].startswith("https://gate.example/x/sessions/")


def test_ipv6_urls_have_brackets(silent):
    response = silent.http.post(f"{silent.url}/sessions", headers={"host": "[::1]:8000"})
    assert response.json()["base_url"].startswith("http://[::1]:8000/sessions/")


def test_a_session_without_a_body_is_a_session(silent):
    ids = {silent.http.post(f"{silent.url}/sessions").json()["session_id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"session_id": 5}, "session_id"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "a/b"}, "session_id"),
        ({"session_id": ".."}, "session_id"),
        ({"session_id": "a\nb"}, "session_id"),
        ({"session_id": "x" * 300}, "session_id"),
        ({"sampling_params": []}, "sampling_params"),
        ({"prompt_length": 0}, "prompt_length"),
        ({"prompt_length": "5"}, "prompt_length"),
        ({"response_length": -1}, "response_length"),
        ({"response_length": True}, "response_length"),
        ({"options": {"nope": "x"}}, "nope"),
        ({"options": {"multi_chain": "perhaps"}}, "multi_chain"),
        ({"options": []}, "options"),
        ({"metadata": 5}, "metadata"),
        ({"sesion_id": "s"}, "sesion_id"),
    ],
)
def test_bad_settings_are_refused_by_name_and_create_nothing(silent, body, names):
    def count():
        return re.search(r"reference_gateway_sessions (\d+)", silent.http.get(f"{silent.url}/metrics").text)[1]

    before = count()
    refused = silent.http.post(f"{silent.url}/sessions", json=body)
    assert refused.status_code == 400
    assert names in refused.json()["error"]["message"]
    assert count() == before


def test_a_taken_id_is_a_conflict_and_the_session_stays():
    with gateway(Told("A")) as client:
        session = client.open(session_id="s1")
        client.chat(session, "hi")
        again = client.http.post(f"{client.url}/sessions", json={"session_id": "s1"})
        assert again.status_code == 409
        assert "already exists" in again.json()["error"]["message"]
        assert client.http.get(session).json()["num_active_chains"] == 1


def test_the_life_of_a_session():
    with gateway(Told("A")) as client:
        session = client.open()
        state = client.http.get(session).json()
        assert (state["phase"], state["has_active_trajectory"]) == ("ACTIVE", False)
        client.chat(session, "hi")
        assert client.http.post(f"{session}/reward_info", json={"reward_info": {"r": 1}}).json() == {"status": "ok"}
        assert client.http.post(f"{session}/reward_info", json={}).status_code == 200
        peek = client.http.get(f"{session}/trajectories").json()
        assert client.http.post(f"{session}/complete", json={"reward_info": {"r": 2}}).status_code == 200
        assert client.http.post(f"{session}/complete").status_code == 200
        assert client.chat(session, "hi").status_code == 409
        final = client.http.post(f"{session}/finalize").json()
        assert peek["trajectories"][0].pop("reward_info") == {"r": 1}
        assert final["trajectories"][0].pop("reward_info") == {"r": 2}
        assert peek == final
        for method, path in [("GET", ""), ("GET", "/trajectories"), ("POST", "/finalize"), ("POST", "/complete")]:
            assert client.http.request(method, session + path).status_code == 404
        assert client.http.post(f"{session}/abort").status_code == 200


def test_abort_is_idempotent_and_readable():
    with gateway(Told("A")) as client:
        session = client.open(session_id="s1")
        client.chat(session, "hi")
        for _ in range(2):
            assert client.http.post(f"{session}/abort").json() == {"status": "ok"}
        state = client.http.get(session).json()
        assert (state["phase"], state["num_trajectories"], state["num_active_chains"]) == ("ABORTED", 0, 0)
        finalized = client.http.post(f"{session}/finalize")
        assert finalized.status_code == 409
        assert "aborted" in finalized.json()["error"]["message"]
        assert client.http.post(f"{client.url}/sessions/nobody/abort").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"nope", 400, "Invalid JSON body"),
        (b"[]", 400, "expected an object"),
        (b'{"reward_info": 5}', 400, "reward_info"),
        (b'{"reward_info": []}', 400, "reward_info"),
        (b'{"reward": {}}', 400, "reward is not a field"),
    ],
)
def test_bad_rewards_are_refused(silent, body, status, says):
    refused = silent.http.post(f"{silent.open()}/reward_info", content=body)
    assert refused.status_code == status
    assert says in refused.json()["error"]["message"]


def test_rewards_for_nobody_and_for_the_closed(silent):
    unknown = silent.http.post(f"{silent.url}/sessions/nobody/reward_info", json={"reward_info": {}})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["message"].endswith("nobody")
    session = silent.open()
    silent.http.post(f"{session}/abort")
    closed = silent.http.post(f"{session}/reward_info", json={"reward_info": {}})
    assert (closed.status_code, closed.headers["x-should-retry"]) == (409, "false")


def test_trajectories_as_json_lines():
    with gateway(Told("A", "B")) as client:
        session = client.open()
        client.chat(session, "hi")
        client.chat(session, "ho")
        plain = client.http.get(f"{session}/trajectories").json()["trajectories"]
        lines = client.http.post(f"{session}/finalize", headers={"accept": "application/jsonl"})
    assert lines.headers["content-type"] == "application/jsonl"
    assert [json.loads(line) for line in lines.text.splitlines()] == plain


def test_readiness_and_capabilities():
    with gateway(Told()) as client:
        ready = client.http.get(f"{client.url}/readiness").json()
        roles = dict.fromkeys(("system", "developer", "tool"), "written")
        codec = {"mode": "incremental", "reason": None, "roles": roles}
        assert ready == {"status": "ok", "backend": "told", "codec": codec}
        said = client.http.get(f"{client.url}/capabilities").json()
        assert said["name"] == "reference-gateway"
        assert {"sessions", "streaming", "tools", "token-upstream"} <= set(said["capabilities"])
        assert said["options"]["last_rewrite"] == "rollback"
        assert said["wires"] == ["anthropic-messages", "invocations", "openai-chat", "openai-responses"]


def test_capabilities_follow_the_configuration():
    with gateway(Told(), tool_parser=None, options={"last_rewrite": "split"}) as client:
        said = client.http.get(f"{client.url}/capabilities").json()
        assert "tools" not in said["capabilities"]
        assert said["options"]["last_rewrite"] == "split"
        assert client.http.get(client.open()).json()["options"]["last_rewrite"] == "split"


def test_metrics_count_what_happened():
    with gateway(Told("A", ValueError("no"))) as client:
        session = client.open()
        client.chat(session, "hi")
        client.chat(session, "ho")
        response = client.http.get(f"{client.url}/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'reference_gateway_requests_total{wire="openai-chat",status="200"} 1' in response.text
    assert 'reference_gateway_requests_total{wire="openai-chat",status="400"} 1' in response.text
    assert "reference_gateway_completion_tokens_total 2\n" in response.text
    assert "reference_gateway_turns_in_flight 0\n" in response.text


def test_the_control_plane_documents_itself():
    with gateway(Told()) as client:
        document = client.http.get(f"{client.url}/openapi.json").json()
    fields = document["paths"]["/sessions"]["post"]["requestBody"]["content"]["application/json"]["schema"][
        "properties"
    ]
    assert {"session_id", "sampling_params", "prompt_length", "response_length", "options", "metadata"} == set(fields)
    assert "/sessions/{session_id}/finalize" in document["paths"]


ADMIN = {"authorization": "Bearer admin"}


def test_keys_are_asked_for_when_they_are_on():
    with gateway(Told("A", "B"), api_key="admin") as client:
        assert client.http.get(f"{client.url}/readiness").status_code == 200
        for method, path in [
            ("POST", "/sessions"),
            ("GET", "/capabilities"),
            ("GET", "/metrics"),
            ("GET", "/sessions/x"),
        ]:
            for headers in ({}, {"authorization": "Bearer x"}, {"authorization": "admin"}, {"x-api-key": "x"}):
                refused = client.http.request(method, client.url + path, headers=headers)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
                assert "admin" not in refused.text
        handles = [client.http.post(f"{client.url}/sessions", headers=ADMIN).json() for _ in range(2)]
        first, second = (handle["api_key"] for handle in handles)
        assert first != second != "admin"
        chat = f"{handles[0]['base_url']}/chat/completions"
        body = {"messages": [{"role": "user", "content": "hi"}]}
        for key in (None, second, "admin", "é"):
            headers = {} if key is None else {"authorization": f"Bearer {key}".encode("latin-1")}
            assert client.http.post(chat, json=body, headers=headers).status_code == 401
        assert client.http.post(chat, json=body, headers={"authorization": f"Bearer {first}"}).status_code == 200
        assert client.http.post(chat, json=body, headers={"x-api-key": first}).status_code == 200
        reward = handles[0]["reward_info_url"]
        assert client.http.post(reward, json={}, headers={"authorization": f"Bearer {first}"}).status_code == 200
        assert client.http.post(reward, json={}, headers=ADMIN).status_code == 200
        assert client.http.post(reward, json={}, headers={"authorization": f"Bearer {second}"}).status_code == 401
        assert client.http.get(reward.removesuffix("/reward_info"), headers={"x-api-key": first}).status_code == 401
