"""Sessions: a lock, a model of what was answered, and what was asked of it. Blocking, one thread for each request."""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from tests.second_gateway.model import Model, Plan
from tests.second_gateway.text import Message, Text, identity

OPTIONS = {
    "multi_chain": ("true", "false"),
    "first_rewrite": ("reuse", "split"),
    "last_rewrite": ("split", "rollback"),
    "repeated_prompt": ("sibling", "replace"),
    "concurrency": ("serialized", "overlap"),
    "budget": ("response", "total", "none"),
    "tool_id_identity": ("compared", "ignored"),
    "reasoning_identity": ("compared", "ignored"),
    "name_identity": ("compared", "ignored"),
    "whitespace_identity": ("compared", "ignored"),
    "logprobs": ("opportunistic", "strict"),
    "idempotent_retry": ("true", "false"),
}
"""What a session can choose; the first value is declared, unless the gateway is started with another."""
DECLARED_OPTIONS = {name: values[0] for name, values in OPTIONS.items()}


class Problem(Exception):
    def __init__(self, status: int, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


class Engine:
    """The engine behind the gateway, over vLLM's completions."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url).netloc

    @cached_property
    def length(self) -> int:
        """What a context and its generation may have together, in tokens."""
        connection = http.client.HTTPConnection(self.address, timeout=600)
        try:
            connection.request("GET", "/v1/models")
            length = json.loads(connection.getresponse().read())["data"][0]["max_model_len"]
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
            raise Problem(502, "the engine does not say how long a context may be") from error
        finally:
            connection.close()
        return int(length)

    def generate(self, context: list[int], sampling: dict[str, Any], session_id: str) -> dict[str, Any]:
        """The engine's choice. Its refusal is the client's, and so is that it is busy; whatever else goes wrong is a
        502."""
        if sampling.get("max_tokens") is None:  # the engine has a default of its own, which is a few tokens
            sampling = {**sampling, "max_tokens": max(self.length - len(context), 1)}
        body = json.dumps({"model": "any", **sampling, "prompt": context, "return_token_ids": True})
        connection = http.client.HTTPConnection(self.address, timeout=600)
        try:
            head = {"content-type": "application/json", "x-session-id": session_id}
            connection.request("POST", "/v1/completions", body, head)
            answer = connection.getresponse()
            status, said = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Problem(502, "the engine gave no answer") from error
        finally:
            connection.close()
        try:
            document = json.loads(said)
        except ValueError:
            document = None
        if status in (429, 503, 529):
            raise Problem(min(status, 503), "the engine is busy", answer.headers.get("retry-after"))
        if 400 <= status < 500:
            raise Problem(400, error_message(document) or "the engine refused the request")
        try:
            choice = document["choices"][0] if status == 200 else None
            ids = choice["token_ids"]
        except (TypeError, KeyError, IndexError):
            raise Problem(502, f"the engine failed with status {status}, or gave no token ids") from None
        if not isinstance(ids, list) or not all(type(each) is int for each in ids):
            raise Problem(502, "the engine gave no token ids")
        if choice.get("prompt_token_ids") not in (None, context):
            raise Problem(502, "the engine sampled for another prompt than it was sent")
        if choice.get("finish_reason") == "abort":
            raise Problem(503, "the engine was interrupted", "0")
        said, stopped = choice.get("logprobs"), choice.get("stop_reason")
        return {
            "ids": ids,
            "finish_reason": choice.get("finish_reason"),
            "stop": stopped if isinstance(stopped, str) else None,
            "logprobs": said.get("token_logprobs") if isinstance(said, dict) else None,
            "versions": versions(document.get("weight_version")),
        }


def versions(given: Any) -> list[int]:
    """A weight version, or the first and the last of several, as numbers."""
    try:
        return [int(each) for each in (given if isinstance(given, list) else [given])]
    except (TypeError, ValueError):
        return []


def error_message(document: Any) -> str | None:
    try:
        message = document["error"]["message"]
    except (TypeError, KeyError):
        return None
    return message if isinstance(message, str) else None


class Session:
    def __init__(self, settings: dict[str, Any], declared: dict[str, str], text: Text, engine: Engine) -> None:
        self.id: str = settings.get("session_id") or uuid.uuid4().hex
        chosen: dict[str, str] = settings.get("options") or {}
        self.options = {**declared, **chosen}
        self.text, self.engine = text, engine
        self.defaults: dict[str, Any] = dict(settings.get("sampling_params") or {})
        self.model = Model(self.options, settings.get("prompt_length"), settings.get("response_length"))
        self.phase = "ACTIVE"
        self.created = self.updated = time.time()
        self.reward: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.one_at_a_time = threading.Lock()
        self.attempts: dict[str, Future[dict[str, Any]]] = {}

    def require_active(self) -> None:
        if self.phase != "ACTIVE":
            raise Problem(409, f"session {self.id} is {self.phase.lower()}")

    def close(self, phase: str) -> None:
        with self.lock:
            self.phase, self.updated = phase, time.time()

    def turn(self, asked: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Answer one request: `messages`, `tools`, `sampling` and `settings` of the template. A retry, by a key or by
        the count of an SDK, is given what its first attempt is given, if that comes to an answer."""
        if self.options["idempotent_retry"] == "false":
            return self._in_turn(asked)
        key = headers.get("idempotency-key")
        name = f"{key} {json.dumps(asked, sort_keys=True)}"
        mine: Future[dict[str, Any]] = Future()
        with self.lock:
            first = self.attempts.setdefault(name, mine)
        retry = key is not None or headers.get("x-stainless-retry-count", "0") != "0"
        if retry and first is not mine and first.exception() is None:
            return first.result()
        with self.lock:
            self.attempts[name] = mine
        try:
            answer = self._in_turn(asked)
        except BaseException as error:
            mine.set_exception(error)
            raise
        mine.set_result(answer)
        return answer

    def _in_turn(self, asked: dict[str, Any]) -> dict[str, Any]:
        with ExitStack() as stack:
            if self.options["concurrency"] == "serialized":
                stack.enter_context(self.one_at_a_time)
            return self._turn(asked)

    def _turn(self, asked: dict[str, Any]) -> dict[str, Any]:
        sampling = {**self.defaults, **asked["sampling"]}
        limit = sampling.get("max_tokens")
        if limit is not None and (type(limit) is not int or limit < 1):
            raise Problem(400, "max_tokens must be a positive integer")
        recorded = bool(sampling.pop("logprobs", False))
        if recorded:
            sampling["logprobs"] = 1
        with self.lock:
            self.require_active()
            plan = self._plan(asked, recorded and self.options["logprobs"] == "strict")
            room = self.model.remaining(plan)
            if room is not None and room <= 0:
                self.model.close(plan)
                return answered({"role": "assistant", "content": ""}, "length", len(plan.context), 0)
            if room is not None:
                sampling["max_tokens"] = min(room, limit or room)
            if plan.chain is not None:
                self.model.chains[plan.chain].busy = True
        try:
            generation = self.engine.generate(plan.context, sampling, self.id)
            message = self._message(generation["ids"], asked["tools"], generation["stop"])
            logprobs = self._logprobs(generation, plan)
        finally:
            with self.lock:
                if plan.chain in self.model.chains:
                    self.model.chains[plan.chain].busy = False
        with self.lock:
            self.require_active()
            said = identity(message, self.options)[1]
            self.model.commit(plan, generation["ids"], said, logprobs, generation["versions"])
            self.updated = time.time()
        reason = "length" if generation["finish_reason"] in ("length", "max_tokens") else "stop"
        reason = "tool_calls" if message.get("tool_calls") and reason == "stop" else reason
        return {**answered(message, reason, len(plan.context), len(generation["ids"])), "stop": generation["stop"]}

    def _logprobs(self, generation: dict[str, Any], plan: Plan) -> list[float] | None:
        """Those that the engine gave, one for each id. Where they were asked for and are wrong, nothing is."""
        given, count = generation["logprobs"], len(generation["ids"])
        numbers = isinstance(given, list) and all(isinstance(each, float) and -math.inf < each <= 0 for each in given)
        if numbers and len(given) == count:
            return given if plan.recorded or self.options["logprobs"] == "opportunistic" else None
        if plan.recorded:
            raise Problem(502, f"the engine gave no {count} logprobs for {count} ids")
        return None

    def _plan(self, asked: dict[str, Any], recorded: bool) -> Plan:
        messages, tools, settings = asked["messages"], asked["tools"], asked["settings"]
        request = tuple(identity(message, self.options) for message in messages)
        plan = self.model.plan(request, json.dumps(tools, sort_keys=True), recorded)
        if plan.parent is not None:
            seen, depth = plan.parent.context + plan.parent.sampled, len(plan.parent.history)
            context = self.text.next(seen, messages[:depth], messages[depth:], tools, settings)
            if context is not None:
                plan.context = context
                return plan
            plan.parent = plan.chain = plan.rewrites = None
        plan.context = self.text.first(messages, tools, settings)
        return plan

    def _message(self, ids: list[int], tools: list[Any], stop: str | None) -> Message:
        try:
            message = self.text.decode(ids, tools, stop)
        except (OverflowError, ValueError) as error:
            raise Problem(502, "the engine sampled what is no token") from error
        for call in message.get("tool_calls", []):
            call["id"] = f"call_{uuid.uuid4().hex}"
        return message

    def trajectories(self) -> list[dict[str, Any]]:
        with self.lock:
            told = ("prompt_ids", "response_ids", "response_mask", "response_logprobs", "num_turns", "extra_fields")
            return [{**{name: each[name] for name in told}, "reward_info": self.reward} for each in self.model.export()]

    def state(self) -> dict[str, Any]:
        with self.lock:
            return self._state()

    def _state(self) -> dict[str, Any]:
        active = {number: chain for number, chain in sorted(self.model.chains.items()) if not chain.closed}
        return {
            "session_id": self.id,
            "phase": self.phase.lower(),
            "created_at": self.created,
            "updated_at": self.updated,
            "num_trajectories": len(self.model.chains) - len(active),
            "rollback_count": self.model.rollbacks,
            "rollback_dropped_trainable_tokens_total": self.model.dropped,
        }


def answered(message: Message, finish_reason: str, prompt: int, completion: int) -> dict[str, Any]:
    return {
        "message": message,
        "finish_reason": finish_reason,
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
    }
