"""Area MEDIA: images and videos of chat requests, as they reach the upstream."""

from __future__ import annotations

from functools import partial

import pytest

from conformance.client.failure import describe
from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import REFUSED, calls_made, expect, together
from conformance.vocabulary.exported import context
from conformance.vocabulary.media import (
    CLIP,
    DARK,
    FILM,
    GREY,
    LIGHT,
    PHOTO,
    image,
    look,
    placed,
    refused_or_handed_on,
    sent,
    text,
    video,
)
from conformance.vocabulary.outcome import NotApplicable
from conformance.vocabulary.session import assistant, function, results, tool, tool_call, user
from conformance.vocabulary.spelling import respelled

KINDS = [pytest.param(image(DARK), DARK, id="image"), pytest.param(video(FILM), FILM, id="video")]


@pytest.mark.requirement(id="MEDIA-001")
@pytest.mark.parametrize(("part", "url"), KINDS)
def test_media_are_refused_or_handed_on(session, upstream, part, url):
    """A chat request with images or videos is refused with a client error by a gateway that does not take them, before
    the upstream is called; they are never left out in silence."""
    upstream.says("Hello")

    reply = session.chat(user([text("See"), part]))

    refused_or_handed_on(reply, upstream, url)


@pytest.mark.requirement(id="MEDIA-002")
@pytest.mark.parametrize("part", [image(DARK), video(FILM)], ids=["image", "video"])
def test_refusal_names_the_media(session, upstream, part):
    """The refusal of an image or a video names what is refused: the part's type, or `content`."""
    upstream.says("Hello")

    reply = session.chat(user([text("See"), part]))

    if reply.status not in REFUSED:
        raise NotApplicable("images and videos are not refused")
    refusal = reply.body.decode("utf-8", "replace").lower()
    names = [name for name in ("content", "image", "video") if name in refusal]
    expect(names).satisfies(bool, f"content, image or video in {describe(refusal)}", "what the refusal names")


@pytest.mark.requirement(id="MEDIA-003")
def test_refused_media_leave_nothing(session, upstream):
    """A request that is refused for its media leaves nothing in the session's trajectories."""
    conversation = Conversation(session, upstream)
    conversation.turn("Hi", "Hello")

    reply = conversation.ask(look("Look at this", DARK))

    if reply.status not in REFUSED:
        raise NotApplicable("images are handed on")
    conversation.turn("Never mind", "Fine")
    expect(session.trajectories()).leave_out(upstream.tokenizer, "Look at this")


@pytest.mark.requirement(id="MEDIA-004")
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([look("See", DARK, GREY)], id="one-message"),
        pytest.param([look("See", DARK), assistant("Yes"), look("And this", GREY)], id="history"),
        pytest.param([user([text("See"), image(DARK), text("and"), image(GREY), text("there")])], id="between-texts"),
    ],
)
def test_images_reach_the_upstream(session, upstream, streamed, messages):
    """The images of the first request of a conversation reach the upstream, in the order of its messages."""
    upstream.says("Hello")

    session.chat(*messages, stream=streamed)

    sent(upstream, 0).are([DARK, GREY])


@pytest.mark.requirement(id="MEDIA-005")
def test_videos_reach_the_upstream(session, upstream, streamed):
    """The videos of a request reach the upstream beside its images, each kind in the order of the messages."""
    upstream.says("Hello")

    session.chat(user([text("See"), video(FILM), image(DARK), video(CLIP)]), stream=streamed)

    sent(upstream, 0).are([DARK], [FILM, CLIP])


@pytest.mark.requirement(id="MEDIA-006")
@pytest.mark.parametrize(
    ("message", "unused"),
    [
        pytest.param(user("Hi"), ("images", "videos"), id="text"),
        pytest.param(look("See", DARK), ("videos",), id="image"),
    ],
)
def test_unused_kind_is_null(session, upstream, message, unused):
    """A kind of media of which a request has none is null or absent where the upstream is called, not an empty list."""
    upstream.says("Hello")

    session.chat(message)

    sent(upstream, 0).are_null(*unused)


@pytest.mark.requirement(id="MEDIA-007")
def test_url_is_handed_on(session, upstream):
    """The URL of an image reaches the upstream as the client wrote it."""
    upstream.says("Hello")

    session.chat(look("See", PHOTO))

    sent(upstream, 0).are([PHOTO])


@pytest.mark.requirement(id="MEDIA-008")
@pytest.mark.parametrize("url", ["file:///etc/hostname", "/etc/hostname", "ftp://pictures.invalid/pier.png", "", 7])
@pytest.mark.parametrize("part", [image, video])
def test_other_references_are_refused(session, upstream, part, url):
    """An image or a video whose URL is no http, https or data URL is refused with a client error, without a call of the
    upstream."""
    upstream.says("Hello")

    reply = session.chat(user([text("See"), part(url)]))

    together(lambda: expect(reply).status(*REFUSED), lambda: calls_made(upstream, 0))


@pytest.mark.requirement(id="MEDIA-009")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(look("See", DARK, GREY), id="images"),
        pytest.param(user([text("See"), image(DARK), text("and"), image(GREY), text("there")]), id="between-texts"),
    ],
)
def test_images_have_their_places(session, upstream, message):
    """The context of a request with images is the chat template's render of its messages, each image in its place."""
    upstream.says("Hello")

    session.chat(message)

    context(upstream, 0).is_rendered(placed(session.messages(message)))


@pytest.mark.requirement(id="MEDIA-010")
def test_continuation_sends_all_images_again(session, upstream, streamed):
    """With each turn of a conversation the upstream receives the images of all its turns, those of earlier turns first,
    each once."""
    conversation = Conversation(session, upstream, stream=streamed)
    conversation.turn(look("See", DARK), "One")
    conversation.turn("Go on", "Two")
    conversation.turn(look("And this", GREY), "Three")

    together(lambda: sent(upstream, 1).are([DARK]), lambda: sent(upstream, 2).are([DARK, GREY]))


@pytest.mark.requirement(id="MEDIA-011")
def test_images_in_tool_results_reach_the_upstream(session, upstream):
    """Images in the results of tools reach the upstream in the order of the messages."""
    conversation = Conversation(session, upstream, tools=[function("camera")])
    conversation.turn(look("See", DARK), tool_calls=[{"name": "camera", "arguments": {}}])
    answers = results(conversation.messages[-1], look("Taken", GREY)["content"])
    conversation.turn([*answers, look("And mine", LIGHT)], "Fine")

    sent(upstream, 1).are([DARK, GREY, LIGHT])


@pytest.mark.requirement(id="MEDIA-012")
@pytest.mark.parametrize(
    ("called", "new"),
    [
        pytest.param(False, [look("And this", GREY)], id="user"),
        pytest.param(True, [tool(look("Taken", GREY)["content"])], id="tool"),
        pytest.param(True, [tool(look("Taken", GREY)["content"]), look("And mine", LIGHT)], id="tool-user"),
    ],
)
def test_new_images_are_appended_to_the_context(session, upstream, called, new):
    """The context of a turn with new images begins with the context before and the ids that were sampled, and goes on
    as the chat template writes the new messages."""
    tools, tokenizer = [function("camera")], upstream.tokenizer
    spelled = {"ids": [*respelled(tokenizer, "Hello there"), tokenizer.end_of_turn]}
    conversation = Conversation(session, upstream, tools=tools)
    conversation.turn(
        look("See", DARK), **({"tool_calls": [{"name": "camera", "arguments": {}}]} if called else spelled)
    )
    conversation.turn(new, "Two")

    messages = placed(session.messages(*conversation.messages[:-1]))
    context(upstream, 1).holds_generation_before().continues_as_rendered(messages, tools)


@pytest.mark.requirement(id="MEDIA-013")
def test_conversations_do_not_share_images(session, upstream):
    """The upstream receives with a turn the images of its conversation only, whatever others of the session have."""
    seeing, blind, other = (Conversation(session, upstream) for _ in range(3))
    seeing.turn(look("See", DARK), "One")
    blind.turn("Hi", "Two")
    other.turn(look("Look", GREY), "Three")
    seeing.turn("Go on", "Four")

    together(
        lambda: sent(upstream, 1).are(),
        lambda: sent(upstream, 2).are([GREY]),
        lambda: sent(upstream, 3).are([DARK]),
    )


@pytest.mark.requirement(id="MEDIA-014")
def test_overlapping_turns_have_their_own_images(session, upstream):
    """Turns of one session that are with the upstream at the same time have their own images each."""
    upstream.barrier("One", "Two")
    pending = [session.start(look(question, url)) for question, url in (("See", DARK), ("Look", GREY))]
    for turn in pending:
        expect(turn.reply()).status(200)

    own = [GREY if "Look" in call.text else DARK for call in calls_made(upstream, 2)]
    together(*(partial(sent(upstream, number).are, [url]) for number, url in enumerate(own)))


@pytest.mark.requirement(id="MEDIA-015")
def test_urls_are_not_requested(session, upstream, streamed):
    """A gateway that hands URLs on requests none of them."""
    conversation = Conversation(session, upstream, stream=streamed)
    pier, tide = upstream.picture("pier.png"), upstream.picture("tide.mp4")
    conversation.turn(user([text("See"), image(pier), video(tide)]), "One")
    conversation.turn("Go on", "Two")

    expect(upstream.fetched).equals([], "URLs that were requested")


@pytest.mark.requirement(id="MEDIA-016")
def test_urls_are_requested_once(session, upstream):
    """A gateway that fetches images requests each once in a conversation, however often its message is sent."""
    conversation = Conversation(session, upstream)
    conversation.turn(look("See", upstream.picture("pier.png")), "One")
    conversation.turn("Go on", "Two")
    conversation.turn(look("And this", upstream.picture("gull.png")), "Three")
    conversation.turn("Go on", "Four")

    expect(upstream.fetched).equals(["pier.png", "gull.png"], "URLs that were requested")


@pytest.mark.requirement(id="MEDIA-017")
def test_tool_call_history_keeps_its_images(session, upstream):
    """Images in a history with tool calls that the session has not seen reach the upstream, in the order of the
    messages."""
    upstream.says("Hello")

    session.chat(
        look("See", DARK),
        assistant(None, tool_calls=[tool_call("camera")]),
        tool(look("Taken", GREY)["content"]),
        look("And mine", LIGHT),
        tools=[function("camera")],
    )

    sent(upstream, 0).are([DARK, GREY, LIGHT])
