"""Area MEDIA: what trajectories export of images and videos."""

from __future__ import annotations

from functools import partial

import pytest

from conformance.vocabulary.conversation import Conversation
from conformance.vocabulary.expect import expect, together
from conformance.vocabulary.lengths import open_with_room
from conformance.vocabulary.media import DARK, FILM, GREY, LIGHT, exported, image, look, sent, text, video
from conformance.vocabulary.session import function, results, user

LONG = "And now look at this, and tell me everything that you see there. " * 12
"""More than fits where there is room for a few short turns."""


@pytest.mark.requirement(id="MEDIA-018")
def test_images_are_exported(session, upstream, streamed):
    """A trajectory exports the images of its conversation in `multi_modal_data.images`, those of all its turns in their
    order, each once."""
    conversation = Conversation(session, upstream, stream=streamed)
    conversation.turn(look("See", DARK), "One")
    conversation.turn("Go on", "Two")
    conversation.turn(look("And these", GREY, LIGHT), "Three")

    exported(session.trajectories()).are([DARK, GREY, LIGHT])


@pytest.mark.requirement(id="MEDIA-019")
def test_videos_are_exported(session, upstream):
    """A trajectory exports the videos of its conversation in `multi_modal_data.videos`, beside its images."""
    upstream.says("Hello")
    session.chat(user([text("See"), video(FILM), image(DARK)]))

    exported(session.trajectories()).are([DARK], [FILM])


@pytest.mark.requirement(id="MEDIA-020")
def test_images_of_tool_results_are_exported(session, upstream):
    """A trajectory exports the images in the results of its tools."""
    conversation = Conversation(session, upstream, tools=[function("camera")])
    conversation.turn("Hi", tool_calls=[{"name": "camera", "arguments": {}}])
    conversation.turn(results(conversation.messages[-1], look("Taken", GREY)["content"]), "Fine")

    exported(session.trajectories()).are([GREY])


@pytest.mark.requirement(id="MEDIA-021")
def test_what_is_said_of_a_video_stays_with_it(session, upstream):
    """What a request says of a video beside its URL reaches the upstream with that video, and is exported with it."""
    upstream.says("Hello")
    session.chat(user([text("See"), video(FILM, fps=2.5)]))

    together(
        lambda: sent(upstream, 0).say_of(FILM, 2.5),
        lambda: exported(session.trajectories()).say_of(FILM, 2.5),
    )


@pytest.mark.requirement(id="MEDIA-022")
def test_conversation_without_media_exports_null(session, upstream):
    """The `multi_modal_data` of a conversation without media is null, also in a session in which others have some."""
    Conversation(session, upstream).turn(look("See", DARK), "One")
    Conversation(session, upstream).turn("Hi", "Two")

    media = [trajectory.multi_modal_data for trajectory in session.trajectories()]
    expect(media[-1:]).equals([None], "multi_modal_data of the conversation without media")


@pytest.mark.requirement(id="MEDIA-023")
def test_unused_kind_is_not_exported(session, upstream):
    """A kind of media of which a trajectory has none is null or absent in its `multi_modal_data`."""
    upstream.says("Hello")
    session.chat(look("See", DARK))

    exported(session.trajectories()).are_null("videos")


@pytest.mark.requirement(id="MEDIA-024")
def test_another_image_is_another_conversation(session, upstream):
    """A history with another image in the place of one is another history: its turn leads to a trajectory of its own,
    with its own images."""
    conversation = Conversation(session, upstream)
    conversation.turn(look("See", DARK), "One")
    answer = conversation.messages[-1]
    conversation.as_if(look("See", GREY), answer).turn("Go on", "Two")

    trajectories = session.trajectories()
    together(
        lambda: sent(upstream, 1).are([GREY]),
        lambda: exported(trajectories, 0).are([DARK]),
        lambda: exported(trajectories, 1).are([GREY]),
    )


@pytest.mark.requirement(id="MEDIA-025")
def test_branch_has_the_images_that_it_shares(session, upstream):
    """A branch sends and exports the images of the history that it shares and its own, none of the branch beside it."""
    conversation = Conversation(session, upstream)
    conversation.turn(look("See", DARK), "One")
    beside = conversation.back(0)
    conversation.turn(look("And this", GREY), "Two")
    beside.turn(look("Or this", LIGHT), "Three")

    trajectories = session.trajectories()
    together(
        lambda: sent(upstream, 2).are([DARK, LIGHT]),
        lambda: exported(trajectories, 0).are([DARK, GREY]),
        lambda: exported(trajectories, 1).are([DARK, LIGHT]),
    )


@pytest.mark.requirement(id="MEDIA-026")
def test_failed_turn_leaves_no_images(session, upstream):
    """The images of a turn that fails are neither sent with the turns after it nor exported."""
    conversation = Conversation(session, upstream)
    conversation.turn("Hi", "Hello")
    conversation.fails(look("See", DARK))
    conversation.turn(look("This then", GREY), "Fine")

    together(lambda: sent(upstream, 2).are([GREY]), lambda: exported(session.trajectories()).are([GREY]))


@pytest.mark.requirement(id="MEDIA-027")
def test_rewritten_answer_leaves_its_images_once(session, upstream):
    """Where the last answer is rewritten, images in the messages before it are sent and exported once, whatever becomes
    of that answer."""
    conversation = Conversation(session, upstream)
    conversation.turn("Hi", "Hello")
    conversation.turn(look("See", DARK), "A cat")
    conversation.back().turn("No. Look again", "A dog")

    trajectories = session.trajectories()
    together(
        lambda: sent(upstream, 2).are([DARK]),
        *(partial(exported(trajectories, number).are, [DARK]) for number in range(len(trajectories))),
    )


@pytest.mark.requirement(id="MEDIA-028")
def test_images_without_room_are_not_exported(sessions, upstream):
    """The images of messages for which there is no room are neither sent nor exported."""
    session = open_with_room(sessions, upstream, "Hi", room=60)
    conversation = Conversation(session, upstream)
    conversation.turn("Hi", "Hello")
    conversation.ask(look(LONG, DARK))

    together(
        lambda: expect(len(upstream.calls)).equals(2, "upstream calls, with that of measuring"),
        lambda: exported(session.trajectories()).are(),
    )


@pytest.mark.requirement(id="MEDIA-029")
def test_images_without_room_are_not_requested(sessions, upstream):
    """A gateway that fetches images requests none of messages for which there is no room."""
    session = open_with_room(sessions, upstream, "Hi", room=60)
    conversation = Conversation(session, upstream)
    conversation.turn("Hi", "Hello")
    conversation.ask(look(LONG, upstream.picture("pier.png")))

    expect(upstream.fetched).equals([], "URLs that were requested")
