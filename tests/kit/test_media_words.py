"""The words about media find each difference, and say what it is."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from conformance.client.failure import ConformanceFailure
from conformance.gateway import Trajectory
from conformance.vocabulary.media import CLIP, DARK, FILM, GREY, Held, block, exported, image, look, placed, text, video
from conformance.vocabulary.session import assistant, user


def held(images: Any = None, videos: Any = None) -> Held:
    return Held("media", images, videos)


def complaint(claim: Callable[[], object]) -> tuple[str, str, str]:
    """Where the one violation is, what was expected and what was found."""
    with pytest.raises(ConformanceFailure) as failed:
        claim()
    (violation,) = failed.value.violations
    return violation.where, violation.expected, violation.actual


@pytest.mark.parametrize(
    "images",
    [
        pytest.param([DARK, GREY], id="as-sent"),
        pytest.param([{"url": DARK}, {"image": {"url": GREY}}], id="in-objects"),
        pytest.param([DARK.partition(",")[2], [GREY]], id="data-alone"),
    ],
)
def test_items_are_known_by_what_stands_in_them(images: list[Any]) -> None:
    held(images).are([DARK, GREY])


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_is_null_or_an_empty_list(nothing: Any) -> None:
    held(nothing, nothing).are()


@pytest.mark.parametrize(
    ("images", "found"),
    [
        ([GREY, DARK], "the grey image, the dark image"),
        ([DARK], "the dark image"),
        ([DARK, GREY, GREY], "the dark image, the grey image, the grey image"),
        ([DARK, None], "the dark image, null"),
        ([], "none"),
        (None, "none"),
        ({"url": DARK}, "{'url':"),
    ],
)
def test_others_are_told(images: Any, found: str) -> None:
    where, _, actual = complaint(lambda: held(images).are([DARK, GREY]))
    assert where == "media, images"
    assert actual.replace('"', "'").startswith(found)


def test_kinds_are_told_apart() -> None:
    with pytest.raises(ConformanceFailure) as failed:
        held([DARK, FILM], None).are([DARK], [FILM])
    assert [violation.where for violation in failed.value.violations] == ["media, images", "media, videos"]


def test_an_empty_list_is_not_null() -> None:
    held(None, [FILM]).are_null("images")
    assert complaint(lambda: held([]).are_null("images", "videos")) == ("media, images", "null", "[]")


@pytest.mark.parametrize("videos", [[[FILM, {"fps": 2.5}]], [{"url": FILM, "preprocess_kwargs": {"fps": 2.5}}]])
def test_what_stands_beside_a_video(videos: Any) -> None:
    held(None, videos).say_of(FILM, 2.5)
    assert complaint(lambda: held(None, videos).say_of(FILM, 4.5))[0] == "media, videos[0]"
    assert complaint(lambda: held(None, videos).say_of(CLIP, 2.5))[0] == "media, videos"


def test_what_is_exported() -> None:
    def trajectory(**extra: Any) -> Trajectory:
        return Trajectory([1], [2], [1], extra=extra)

    first, last = trajectory(multi_modal_data={"images": [DARK]}), trajectory(multi_modal_data=None)
    exported([first, last], 0).are([DARK])
    exported([first, last]).are()
    exported([trajectory()]).are()
    assert complaint(lambda: exported([], 0))[1] == "a trajectory"
    assert complaint(lambda: exported([first], 1))[1] == "a trajectory"
    assert complaint(lambda: exported([trajectory(multi_modal_data=[DARK])]))[1] == "an object or null"


def test_how_each_wire_has_an_image() -> None:
    source = block(DARK)["source"]
    assert (source["type"], source["media_type"]) == ("base64", "image/png")
    assert base64.b64decode(source["data"]).startswith(b"\x89PNG")
    assert block("http://h/a.png")["source"] == {"type": "url", "url": "http://h/a.png"}
    assert look("See", DARK) == user([text("See"), image(DARK)])


def test_templates_see_places() -> None:
    messages = [user([text("See"), image(DARK), video(FILM, fps=2)]), assistant("Yes")]
    assert placed(messages) == [user([text("See"), {"type": "image"}, {"type": "video"}]), assistant("Yes")]
