"""Gateways that export other images and videos than the model was shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import reference_gateway.codec.media as references
import reference_gateway.session.identity as identity
import reference_gateway.session.trajectory as trajectory
from reference_gateway.codec.media import References
from reference_gateway.session.session import Session
from reference_gateway.types import Media
from tests.mutants.media import fetched, fetching, seeing, sending
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Sabotage

Kinds = dict[str, Any] | None


def exporting(gateway: Sabotage, change: Any) -> None:
    """Change what a trajectory says of its media: `change(kinds, media) -> kinds`."""

    @seeing(gateway).wrap(trajectory, "_multi_modal_data")
    def multi_modal_data(original: Any, media: Media) -> Kinds:
        found: Kinds = change(original(media), media)
        return found


def noting(gateway: Sabotage, change: Any) -> None:
    """Change what a turn adds, not what is sent: `change(session, plan, added) -> added`."""

    @seeing(gateway).wrap(Session, "_media")
    def media(original: Any, session: Session, plan: Any) -> tuple[Media, Media]:
        added, sent = original(session, plan)
        return change(session, plan, added), sent


@mutant("MEDIA-018")
def first_image_of_a_turn_is_exported(gateway: Sabotage) -> None:
    """The record of a turn has room for one image."""
    noting(gateway, lambda session, plan, added: replace(added, images=added.images[:1]))


@mutant("MEDIA-018", also=("MEDIA-025", "MEDIA-035", "MEDIA-040"))
def images_of_the_last_turn_are_exported(gateway: Sabotage) -> None:
    """What is exported is what was added last."""

    @seeing(gateway).wrap(trajectory, "media")
    def media(original: Any, path: Iterable[Any], last: Media | None = None) -> Media:
        return original(list(path)[-1:], last)


@mutant("MEDIA-019")
def images_crowd_out_videos(gateway: Sabotage) -> None:
    """A trajectory has media of one kind."""
    exporting(gateway, lambda kinds, media: {"images": kinds["images"]} if kinds and media.images else kinds)


@mutant("MEDIA-020")
def images_of_tools_are_not_noted(gateway: Sabotage) -> None:
    """The images of a turn are those of its user."""

    def change(session: Session, plan: Any, added: Media) -> Media:
        return References().extract([message for message in plan.suffix if message["role"] != "tool"])

    noting(gateway, change)


@mutant("MEDIA-021")
def video_is_its_url(gateway: Sabotage) -> None:
    """Of a video, the URL is taken."""
    seeing(gateway).patch(references, "_video", lambda video: video["url"])


@mutant("MEDIA-022")
def media_are_never_null(gateway: Sabotage) -> None:
    """A trajectory without media has an object of none."""
    exporting(gateway, lambda kinds, media: kinds or {})


@mutant("MEDIA-022", also=("MEDIA-028",))
def text_exports_the_images_of_others(gateway: Sabotage) -> None:
    """The media of a session are written into those of its trajectories that have none."""

    @seeing(gateway).wrap(Session, "trajectories")
    def trajectories(original: Any, session: Session) -> Any:
        made = original(session)
        some = next((each.multi_modal_data for each in made if each.multi_modal_data), None)
        return [replace(each, multi_modal_data=each.multi_modal_data or some) for each in made]


@mutant("MEDIA-023")
def both_kinds_are_written(gateway: Sabotage) -> None:
    """A trajectory with media has a list of each kind."""
    exporting(gateway, lambda kinds, media: kinds and {"images": [], "videos": [], **kinds})


@mutant("MEDIA-024")
def images_are_all_the_same(gateway: Sabotage) -> None:
    """Two histories are the same if they say the same in words, and show as many images."""

    @seeing(gateway).wrap(identity, "_part")
    def part(original: Any, given: Any) -> list[Any]:
        kind, *rest = original(given)
        return [kind, *rest] if kind == "text" else [kind]


@mutant("MEDIA-025")
def branch_starts_without_images(gateway: Sabotage) -> None:
    """A new branch is sent with the images of its new messages."""

    def change(session: Session, plan: Any, added: Media, sent: Media) -> Media:
        return added if plan.match.chain is None else sent

    sending(gateway, change)


@mutant("MEDIA-026")
def images_of_a_failed_turn_stay(gateway: Sabotage) -> None:
    """Images are noted when they are sent, and the next turn finds them there."""
    left: dict[str, Media] = {}

    def joined(first: Media, second: Media) -> Media:
        return Media((*first.images, *second.images), (*first.videos, *second.videos))

    @seeing(gateway).wrap(Session, "_media")
    def media(original: Any, session: Session, plan: Any) -> tuple[Media, Media]:
        added, _ = original(session, plan)
        added = joined(left.pop(session.session_id, Media()), added)
        session.__dict__["_adding"] = added
        return added, trajectory.media(plan.path, added)

    @gateway.wrap(Session, "_generate")
    async def generate(original: Any, session: Session, *about: Any) -> Any:
        try:
            return await original(session, *about)
        except Exception:
            left[session.session_id] = session.__dict__["_adding"]
            raise


@mutant("MEDIA-027")
def given_up_answer_leaves_its_images(gateway: Sabotage) -> None:
    """What a rewritten turn had added stays with its chain."""

    @seeing(gateway).wrap(Session, "_media")
    def media(original: Any, session: Session, plan: Any) -> tuple[Media, Media]:
        added, sent = original(session, plan)
        if plan.match.replaces is None:
            return added, sent
        added = Media((*plan.match.replaces.media.images, *added.images))
        return added, trajectory.media(plan.path, added)


@mutant("MEDIA-028")
def images_without_room_are_noted(gateway: Sabotage) -> None:
    """Images are noted when their messages arrive, whether or not there is room for them."""
    unfit: dict[str, Media] = {}

    @seeing(gateway).wrap(Session, "_length_stop")
    def length_stop(original: Any, session: Session, plan: Any) -> Any:
        unfit[session.session_id] = References().extract(plan.suffix)
        return original(session, plan)

    @gateway.wrap(Session, "trajectories")
    def trajectories(original: Any, session: Session) -> Any:
        media = unfit.get(session.session_id)
        data = {"images": list(media.images)} if media and media.images else None
        return [replace(each, multi_modal_data=each.multi_modal_data or data) for each in original(session)]


@mutant("MEDIA-029")
def images_are_fetched_before_there_is_room(gateway: Sabotage) -> None:
    """The processor runs first, and the room is looked for when it is known how long the context is."""
    fetching(gateway)

    @gateway.wrap(Session, "_length_stop")
    def length_stop(original: Any, session: Session, plan: Any) -> Any:
        images: Sequence[str] = References().extract(plan.suffix).images
        for url in images:
            fetched(url)
        return original(session, plan)
