"""Area MEDIA: images over Anthropic Messages and OpenAI Responses."""

from __future__ import annotations

import pytest

from conformance.client.responses import call, item, output
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, calls_made, expect, together
from conformance.vocabulary.exported import context
from conformance.vocabulary.media import (
    DARK,
    GREY,
    LIGHT,
    PHOTO,
    block,
    exported,
    input_image,
    look,
    refused_or_handed_on,
    sent,
    text,
)
from conformance.vocabulary.session import assistant, user

SAID = {"type": "input_text", "text": "See"}
USE = {"type": "tool_use", "id": "toolu_0", "name": "camera", "input": {}}
TAKEN = {"type": "tool_result", "tool_use_id": "toolu_0"}
CAMERA = {"name": "camera", "input_schema": {"type": "object", "properties": {}}}


@pytest.mark.requirement(id="MEDIA-030")
def test_image_blocks_are_refused_or_handed_on(session, upstream):
    """A message request with an image block is refused with a client error by a gateway that does not take images,
    before the upstream is called; it is never left out in silence."""
    upstream.says("Hello")

    reply = session.message(user([text("See"), block(DARK)]))

    refused_or_handed_on(reply, upstream, DARK)


@pytest.mark.requirement(id="MEDIA-031")
def test_image_blocks_reach_the_upstream(session, upstream, streamed):
    """Image blocks with base64 data reach the upstream, in the order of the messages."""
    upstream.says("Hello")

    session.message(user([text("See"), block(DARK), text("and"), block(GREY)]), stream=streamed)

    sent(upstream, 0).are([DARK, GREY])


@pytest.mark.requirement(id="MEDIA-032")
def test_url_of_an_image_block_is_handed_on(session, upstream):
    """The URL of an image block reaches the upstream as the client wrote it."""
    upstream.says("Hello")

    session.message(user([text("See"), block(PHOTO)]))

    sent(upstream, 0).are([PHOTO])


@pytest.mark.requirement(id="MEDIA-033")
@pytest.mark.parametrize(
    "source",
    [
        pytest.param({"type": "file", "file_id": "file_0"}, id="file"),
        pytest.param({"type": "base64", "media_type": "image/png"}, id="no-data"),
        pytest.param({"type": "url", "url": "file:///etc/hostname"}, id="local"),
        pytest.param(None, id="none"),
    ],
)
def test_image_blocks_of_other_sources_are_refused(session, upstream, source):
    """An image block whose source is neither base64 data nor an http or https URL is refused with a client error,
    without a call of the upstream."""
    upstream.says("Hello")

    reply = session.message(user([text("See"), {"type": "image", "source": source}]))

    together(lambda: expect(reply).status(*REFUSED), lambda: calls_made(upstream, 0))


@pytest.mark.requirement(id="MEDIA-034")
def test_images_of_tool_results_over_messages(session, upstream):
    """Images in a `tool_result` block reach the upstream, and the result keeps its turn in the context where it is
    nothing but an image."""
    upstream.says("Hello")
    upstream.says("Hello")
    asked = [user([text("Hi"), block(DARK)]), assistant([USE])]

    for content in ([text("Taken at noon"), block(GREY)], [block(GREY)]):
        session.message(*asked, user([{**TAKEN, "content": content}]), tools=[CAMERA])

    together(
        lambda: sent(upstream, 0).are([DARK, GREY]),
        lambda: sent(upstream, 1).are([DARK, GREY]),
        lambda: context(upstream, 1).ends_as_many_turns_as(context(upstream, 0)),
    )


@pytest.mark.requirement(id="MEDIA-035")
def test_images_over_messages_are_those_over_chat(sessions, upstream):
    """A conversation with images over Anthropic messages gives the same tokens and the same media as over chat."""
    other = Conversation(sessions.open(), upstream)
    other.turn(look("See", DARK), "One")
    other.turn(look("And this", GREY), "Two")
    session = sessions.open()
    upstream.says("One")
    upstream.says("Two")
    first = user([text("See"), block(DARK)])
    answer = session.message(first).message
    session.message(first, answer, user([text("And this"), block(GREY)]))

    together(
        lambda: expect(session.trajectories()).have_ids_and_masks_of(other.trajectories()),
        lambda: exported(session.trajectories()).are([DARK, GREY]),
    )


@pytest.mark.requirement(id="MEDIA-036")
def test_input_images_are_refused_or_handed_on(session, upstream):
    """A response request with an `input_image` is refused with a client error by a gateway that does not take images,
    before the upstream is called; it is never left out in silence."""
    upstream.says("Hello")

    reply = session.respond([item("user", [SAID, input_image(DARK)])])

    refused_or_handed_on(reply, upstream, DARK)


@pytest.mark.requirement(id="MEDIA-037")
def test_input_images_reach_the_upstream(session, upstream, streamed):
    """The `input_image` parts of a response request reach the upstream, in messages and in the outputs of functions, in
    their order."""
    upstream.says("Hello")
    items = [
        item("user", [SAID, input_image(DARK)]),
        call("camera"),
        output([input_image(GREY)]),
        item("user", [SAID, input_image(LIGHT)]),
    ]

    session.respond(items, stream=streamed)

    sent(upstream, 0).are([DARK, GREY, LIGHT])


@pytest.mark.requirement(id="MEDIA-038")
def test_kept_history_keeps_its_images(session, upstream):
    """A response that continues another by its id is made with the images of that one."""
    upstream.says("One")
    upstream.says("Two")
    chain = session.chain(stream=False)
    chain.ask([item("user", [SAID, input_image(DARK)])])
    chain.ask([item("user", [SAID, input_image(GREY)])])

    sent(upstream, 1).are([DARK, GREY])


@pytest.mark.requirement(id="MEDIA-039")
@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "input_image", "file_id": "file_0"}, id="file"),
        pytest.param(input_image("file:///etc/hostname"), id="local"),
        pytest.param(input_image(""), id="empty"),
    ],
)
def test_other_input_images_are_refused(session, upstream, part):
    """An `input_image` without an http, https or data URL is refused with a client error, without a call of the
    upstream."""
    upstream.says("Hello")

    reply = session.respond([item("user", [SAID, part])])

    together(lambda: expect(reply).status(*REFUSED), lambda: calls_made(upstream, 0))


@pytest.mark.requirement(id="MEDIA-040")
def test_images_over_responses_are_those_over_chat(sessions, upstream):
    """A conversation with images over responses gives the same tokens and the same media as over chat."""
    other = Conversation(sessions.open(), upstream)
    other.turn(look("See", DARK), "One")
    other.turn(look("See", GREY), "Two")
    session = sessions.open()
    upstream.says("One")
    upstream.says("Two")
    chain = session.chain(stream=False)
    chain.ask([item("user", [SAID, input_image(DARK)])])
    chain.ask([item("user", [SAID, input_image(GREY)])])

    together(
        lambda: expect(session.trajectories()).have_ids_and_masks_of(other.trajectories()),
        lambda: exported(session.trajectories()).are([DARK, GREY]),
    )
