"""Gateways that lose, double or mix up images and videos on their way to the engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx

import reference_gateway.app as app
import reference_gateway.backends.sglang as sglang
import reference_gateway.codec.template as template
import reference_gateway.wire.openai_chat as openai_chat
import reference_gateway.wire.openai_messages as openai_messages
from reference_gateway.codec.media import References
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session.session import Session
from reference_gateway.session.trajectory import media as media_of
from reference_gateway.types import Media, Message
from reference_gateway.wire.base import RequestRefused
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage

TAKEN = ("image_url", "video_url")


def seeing(gateway: Sabotage) -> Sabotage:
    """Start the gateway on an engine that takes media."""
    gateway.configure(backend="sglang", media="references")
    return gateway


def fetching(gateway: Sabotage, extract: Any = None) -> None:
    """Start a gateway that declares that it fetches, and does it with `extract`, by default as it should."""
    extract = extract or (lambda messages, found: [fetched(url) for url in found.images])
    seeing(gateway).patch(
        app,
        "References",
        type(
            "Fetching",
            (),
            {"extract": lambda self, messages: Media(images=tuple(extract(messages, References().extract(messages))))},
        ),
    )

    @gateway.rewrite
    def declared(answer: Answer) -> None:
        if answer.path == "/capabilities":
            document = answer.json
            document["options"]["media_urls"] = "fetched"
            answer.json = document


def fetched(url: str) -> str:
    """What stands at the URL; pictures that lead nowhere are themselves."""
    if url.startswith("http://127.0.0.1:"):
        return httpx.get(url, trust_env=False).content.hex()
    return url


def without_media(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [part for part in content if not isinstance(part, dict) or part.get("type") not in TAKEN]


def sending(gateway: Sabotage, change: Any) -> None:
    """Change what is sent, not what is noted: `change(session, plan, added, sent) -> sent`."""

    @seeing(gateway).wrap(Session, "_media")
    def media(original: Any, session: Session, plan: Any) -> tuple[Media, Media]:
        added, sent = original(session, plan)
        return added, change(session, plan, added, sent)


@mutant("MEDIA-001")
def parts_that_are_no_text_are_dropped(gateway: Sabotage) -> None:
    """The text of a message is what its text parts say; other parts are left out without a word."""

    @gateway.wrap(openai_messages, "_content")
    def content(original: Any, given: Any, *about: Any) -> Any:
        return original(without_media(given), *about)


@mutant("MEDIA-002")
def refusal_says_nothing(gateway: Sabotage) -> None:
    """A request that cannot be read is a bad request, whatever is wrong with it."""

    @gateway.rewrite
    def bare(answer: Answer) -> None:
        if answer.is_chat and answer.status == 400 and b"_url" in answer.request:
            document = answer.json
            document["error"]["message"] = "Bad request"
            answer.json = document


@mutant("MEDIA-003")
def refused_message_is_said_with_the_next_turn(gateway: Sabotage) -> None:
    """The history is kept as messages arrive, whether or not they can be used."""
    kept: list[Message] = []

    @gateway.wrap(openai_chat, "read_messages")
    def read_messages(original: Any, messages: Any, *about: Any) -> list[Message]:
        try:
            read: list[Message] = original(messages, *about)
        except RequestRefused:
            last = messages[-1] if isinstance(messages, list) and len(messages) > 1 else {}
            if isinstance(last, dict) and isinstance(last.get("content"), list):
                parts = [part for part in last["content"] if isinstance(part, dict)]
                said = [part["text"] for part in parts if isinstance(part.get("text"), str)]
                kept.append({"role": "user", "content": "".join(said)})
            raise
        if len(read) > 1 and kept:
            return [*read[:-1], kept.pop(), read[-1]]
        return read


@mutant("MEDIA-004")
def images_before_an_answer_are_old(gateway: Sabotage) -> None:
    """Of a history that the session has not seen, the images before the last answer give way to those behind it."""

    @seeing(gateway).wrap(References, "extract")
    def extract(original: Any, self: References, messages: Sequence[Message]) -> Media:
        answers = [place for place, each in enumerate(messages) if each["role"] == "assistant" and each["content"]]
        new = original(self, messages[answers[-1] + 1 :]) if answers else Media()
        return new if new.images else original(self, messages)


@mutant("MEDIA-004", also=("MEDIA-005", "MEDIA-009", "MEDIA-018"))
def images_are_taken_from_the_end(gateway: Sabotage) -> None:
    """The images of a message are collected from its last part to its first."""

    @seeing(gateway).wrap(openai_messages, "_content")
    def content(original: Any, given: Any, *about: Any) -> Any:
        read = original(given, *about)
        return [read[0], *reversed(read[1:])] if isinstance(read, list) else read


@mutant("MEDIA-005")
def videos_are_sent_the_last_first(gateway: Sabotage) -> None:
    """Videos are put in front of those that are there."""

    @seeing(gateway).wrap(sglang, "_media")
    def media(original: Any, given: Media) -> dict[str, Any]:
        return original(replace(given, videos=given.videos[::-1]))


@mutant("MEDIA-005", also=("MEDIA-021",))
def videos_are_sent_as_images(gateway: Sabotage) -> None:
    """The engine has one field for whatever is seen."""

    @seeing(gateway).wrap(sglang, "_media")
    def media(original: Any, given: Media) -> dict[str, Any]:
        return original(Media((*given.images, *map(sglang._video, given.videos))))


@mutant("MEDIA-006")
def unused_kinds_are_empty_lists(gateway: Sabotage) -> None:
    """Both kinds are always sent, however many there are."""

    @seeing(gateway).wrap(sglang, "_media")
    def media(original: Any, given: Media) -> dict[str, Any]:
        return {name: found or [] for name, found in original(given).items()}


@mutant("MEDIA-007")
def urls_are_made_safe(gateway: Sabotage) -> None:
    """Plain http is upgraded on the way."""

    @seeing(gateway).wrap(openai_messages, "_reference")
    def reference(original: Any, *given: Any) -> dict[str, Any]:
        found = original(*given)
        return {
            **found,
            "url": re.sub(r"^http://pictures\.invalid(.*png)", r"https://pictures.invalid\1", found["url"]),
        }


@mutant("MEDIA-008")
def any_reference_is_handed_on(gateway: Sabotage) -> None:
    """What stands in the URL is the engine's to judge."""
    seeing(gateway).patch(openai_messages, "media_url", lambda url, where: str(url))


@mutant("MEDIA-009")
def places_stand_behind_the_text(gateway: Sabotage) -> None:
    """A message is its text, and then the places of its images."""

    @seeing(gateway).wrap(template, "placed")
    def placed(original: Any, messages: Any) -> Any:
        def ordered(content: Any) -> Any:
            return sorted(content, key=lambda part: part["type"] != "text") if isinstance(content, list) else content

        return [{**each, "content": ordered(each.get("content"))} for each in original(messages)]


@mutant("MEDIA-010")
def only_the_turn_before_is_sent_again(gateway: Sabotage) -> None:
    """With a turn go the images of the turn before, and no earlier ones."""
    sending(gateway, lambda session, plan, added, sent: media_of(plan.path[-1:], added))


@mutant("MEDIA-010", also=("MEDIA-011", "MEDIA-013", "MEDIA-025", "MEDIA-038"))
def only_new_images_are_sent(gateway: Sabotage) -> None:
    """The engine is thought to know what it was sent before."""
    sending(gateway, lambda session, plan, added, sent: added)


@mutant("MEDIA-011")
def new_images_of_tools_are_not_sent(gateway: Sabotage) -> None:
    """A continuation sends the images of its user's messages, and notes those of tools for later."""

    def change(session: Session, plan: Any, added: Media, sent: Media) -> Media:
        if plan.match.parent is None or plan.suffix[:1] == [] or plan.suffix[0]["role"] != "tool":
            return sent
        said = [message for message in plan.suffix if message["role"] != "tool"]
        return media_of(plan.path, References().extract(said))

    sending(gateway, change)


@mutant("MEDIA-012")
def turn_with_images_is_encoded_anew(gateway: Sabotage) -> None:
    """Messages with images go through the processor as a whole history."""

    @seeing(gateway).wrap(TemplateCodec, "encode_suffix")
    def encode_suffix(original: Any, codec: TemplateCodec, history: Any, suffix: Any, *rest: Any, **how: Any) -> Any:
        if any(isinstance(message["content"], list) for message in suffix):
            return None
        return original(codec, history, suffix, *rest, **how)


@mutant("MEDIA-012")
def new_places_are_doubled(gateway: Sabotage) -> None:
    """The place of a new image is written by the template and by the processor."""

    @seeing(gateway).wrap(TemplateCodec, "encode_suffix")
    def encode_suffix(original: Any, codec: TemplateCodec, *rest: Any, **how: Any) -> Any:
        place = codec.vocabulary.token_id("<|image|>")
        ids = original(codec, *rest, **how)
        return ids and [one for each in ids for one in ([each, each] if each == place else [each])]


@mutant("MEDIA-013")
def text_gets_the_images_of_others(gateway: Sabotage) -> None:
    """A turn without images is sent with those that the session had last."""
    last: dict[str, Media] = {}

    def change(session: Session, plan: Any, added: Media, sent: Media) -> Media:
        if sent.images:
            last[session.session_id] = sent
        return last.get(session.session_id, sent)

    sending(gateway, change)


@mutant("MEDIA-014")
def images_wait_in_one_place(gateway: Sabotage) -> None:
    """The images of a turn are put where its session finds them, until they are sent."""
    waiting: dict[str, Media] = {}

    def change(session: Session, plan: Any, added: Media, sent: Media) -> Media:
        if session.in_flight == 1:
            waiting[session.session_id] = sent
        return waiting.get(session.session_id, sent)

    sending(gateway, change)


@mutant("MEDIA-015")
def urls_are_looked_at(gateway: Sabotage) -> None:
    """What is behind a URL is looked at, to know that it is an image."""

    @seeing(gateway).wrap(References, "extract")
    def extract(original: Any, self: References, messages: Sequence[Message]) -> Media:
        found: Media = original(self, messages)
        for url in found.images:
            fetched(url)
        return found


@mutant("MEDIA-016")
def images_are_requested_for_their_type_and_for_their_data(gateway: Sabotage) -> None:
    """An image is requested to learn what it is, and again to read it."""

    def extract(messages: Sequence[Message], found: Media) -> list[str]:
        return [fetched(url) for url in found.images if fetched(url)]

    fetching(gateway, extract)


@mutant("MEDIA-017")
def tools_of_a_given_history_are_text(gateway: Sabotage) -> None:
    """In a history that the session has not seen, the results of tools are read for their text."""

    @seeing(gateway).wrap(Session, "_plan")
    def plan(original: Any, session: Session, turn: Any, *about: Any) -> Any:
        made = original(session, turn, *about)
        if made.match.parent is not None or not turn.tools:
            return made
        return replace(made, suffix=[message for message in made.suffix if message["role"] != "tool"])
