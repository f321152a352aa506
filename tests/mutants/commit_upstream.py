"""Mutants of area COMMIT: answers of the engine that are taken for what they are not."""

from __future__ import annotations

from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import aiohttp

import reference_gateway.backends.base as base
import reference_gateway.backends.http_engine as http_engine
import reference_gateway.backends.vllm as vllm
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.session import Session
from reference_gateway.session import session as session_module
from reference_gateway.types import BackendFailed, BackendRefused, BackendUnavailable, Generation, Media
from tests.mutants.commit import _plans, streaming
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage


@mutant("COMMIT-010", bugs=(49, 63))
def missing_token_ids_are_none(gateway: Sabotage) -> None:
    """An answer without token ids counts as one that sampled nothing."""

    @gateway.wrap(vllm, "_generation")
    def generation(original: Any, document: Any, context: Any) -> Generation:
        try:
            return original(document, context)
        except BackendFailed as error:
            if "token_ids" in str(error):
                return Generation([], stop_reason="stop")
            raise


@mutant("COMMIT-010", bugs=(50,))
def missing_token_ids_are_made_from_the_text(gateway: Sabotage) -> None:
    """Where an answer has no token ids, its text is tokenised."""

    @gateway.wrap(Session, "_checked_logprobs")
    def checked(original: Any, self: Session, found: Generation, requested: bool) -> Any:
        if found.stop_reason is not None and found.stop_reason.startswith("text:"):
            found.ids.extend(self._codec.vocabulary.encode(found.stop_reason.removeprefix("text:")))
        return original(self, found, requested)

    @gateway.wrap(vllm, "_generation")
    def generation(original: Any, document: Any, context: Any) -> Generation:
        try:
            return original(document, context)
        except BackendFailed as error:
            if "token_ids" in str(error):
                return Generation([], stop_reason=f"text:{document['choices'][0]['text']}")
            raise


@mutant("COMMIT-011", bugs=(71,))
def broken_off_answer_counts_as_cut_for_length(gateway: Sabotage) -> None:
    """A plain answer that breaks off is taken for one that was cut for its length."""
    streamed = streaming(gateway)

    @gateway.wrap(VllmBackend, "_post")
    async def post(original: Any, self: VllmBackend, *args: Any) -> bytes:
        try:
            return await original(self, *args)
        except BackendFailed as error:
            if streamed.get() is False and isinstance(error.__cause__, aiohttp.ClientPayloadError):
                return b'{"choices": [{"token_ids": [], "finish_reason": "length"}]}'
            raise


@mutant("COMMIT-012")
def reset_connection_is_the_caller_s_fault(gateway: Sabotage) -> None:
    """For a plain request a reset connection is answered with status 400, as it is no error of HTTP."""
    streamed = streaming(gateway)

    @gateway.wrap(VllmBackend, "_post")
    async def post(original: Any, self: VllmBackend, *args: Any) -> bytes:
        try:
            return await original(self, *args)
        except BackendFailed as error:
            if streamed.get() is False and isinstance(error.__cause__, aiohttp.ClientConnectionError):
                raise BackendRefused(str(error)) from error
            raise


@mutant("COMMIT-013", bugs=(57,))
def missing_fields_are_read_with_defaults(gateway: Sabotage) -> None:
    """Whatever comes with status 200 is a generation; what is missing in it is empty."""

    @gateway.wrap(vllm, "_generation")
    def generation(original: Any, document: Any, context: Any) -> Generation:
        try:
            return original(document, context)
        except BackendFailed as error:
            if "not a completion" in str(error):
                return Generation([], stop_reason="stop")
            raise


def trusting(gateway: Sabotage) -> None:
    """Any number is an id of the vocabulary."""
    gateway.wrap(base, "check_ids")(lambda original, ids, largest: original(ids, base.LARGEST_ID))


@mutant("COMMIT-014")
def turn_is_recorded_before_it_is_decoded(gateway: Sabotage) -> None:
    """A generation is recorded first, and then cannot be decoded."""
    trusting(gateway)

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, plan: Any, found: Generation, *rest: Any) -> None:
        original(self, plan, found, *rest)
        if any(token >= 1_000_000 for token in found.ids):
            raise BackendFailed("a token is not in the vocabulary")


@mutant("COMMIT-014")
def unknown_ids_are_left_out(gateway: Sabotage) -> None:
    """Ids that the tokenizer does not know are dropped."""
    trusting(gateway)

    @gateway.wrap(Session, "_commit_turn")
    def commit_turn(original: Any, self: Session, plan: Any, found: Generation, *rest: Any) -> None:
        found.ids[:] = [token for token in found.ids if token < 1_000_000]
        original(self, plan, found, *rest)


@mutant("COMMIT-031")
def true_is_the_id_1(gateway: Sabotage) -> None:
    """What can be made a number is an id."""

    @gateway.wrap(vllm, "_generation")
    def generation(original: Any, document: Any, context: Any) -> Generation:
        sampled = original(document, context)
        sampled.ids[:] = [int(token) for token in sampled.ids]
        return sampled


@mutant("COMMIT-031")
def id_below_0_is_left_out(gateway: Sabotage) -> None:
    """A negative id counts as padding, which batches are filled up with."""

    @gateway.wrap(vllm, "_generation")
    def generation(original: Any, document: Any, context: Any) -> Generation:
        sampled = original(document, context)
        sampled.ids[:] = [token for token in sampled.ids if type(token) is not int or token >= 0]
        return sampled


class _Elsewhere(BackendFailed):
    """The engine's answer is at another place."""


@mutant("COMMIT-032")
def redirect_is_followed(gateway: Sabotage) -> None:
    """The HTTP client does what HTTP clients do by default."""

    @gateway.wrap(http_engine, "refuse")
    def refuse(original: Any, status: int, answer: bytes, headers: Any = MappingProxyType({})) -> None:
        if status in (302, 303):
            raise _Elsewhere(headers["location"])
        original(status, answer, headers)

    @gateway.wrap(VllmBackend, "_post")
    async def post(original: Any, self: VllmBackend, *args: Any) -> bytes:
        try:
            return await original(self, *args)
        except _Elsewhere as place:
            async with self._pool().get(str(place)) as response:
                return await http_engine._read(response, 2**20)


@mutant("COMMIT-030")
def aborted_generation_is_recorded(gateway: Sabotage) -> None:
    """The turn fails, and what was sampled by then is recorded all the same."""
    plans = _plans(gateway)
    aborted: ContextVar[Generation | None] = ContextVar("aborted", default=None)

    @gateway.wrap(session_module, "require_ended")
    def require_ended(original: Any, generation: Generation) -> None:
        aborted.set(generation if generation.stop_reason == "abort" else None)
        original(generation)

    @gateway.wrap(Session, "_attempt")
    async def attempt(original: Any, self: Session, turn: Any, *rest: Any) -> Any:
        try:
            return await original(self, turn, *rest)
        except BackendUnavailable:
            half = aborted.get()
            if half is not None:
                message = self._codec.decode(half.ids, turn.tools)
                self._commit_turn(plans[self], half, half.logprobs, message, Media())
            raise


@mutant("COMMIT-019")
def reported_prompt_is_not_looked_at(gateway: Sabotage) -> None:
    """The engine is asked what its prompt was, and nobody compares it with what was sent."""

    @gateway.wrap(vllm, "_generation")
    def generation(original: Any, document: Any, context: Any) -> Generation:
        try:
            return original(document, context)
        except BackendFailed as error:
            if "prompt_token_ids" not in str(error):
                raise
            return original({"choices": [{**document["choices"][0], "prompt_token_ids": None}]}, context)
