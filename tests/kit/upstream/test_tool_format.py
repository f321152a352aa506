"""Each format writes what the parsers of that name read, and what it miswrites is read by none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from conformance.gateway import NotObservable
from conformance.upstream.client import Upstream
from conformance.upstream.tool_format import CUT_OFF, EMPTY, FORMATS, NO_NAME, NO_OBJECT, SPOILED, Format
from reference_gateway.codec.parsers import PARSERS

from .caller import Caller

ARGUMENTS = {
    "q": 'Wetter "heute"\né',
    "count": 3,
    "part": 0.5,
    "exact": True,
    "since": None,
    "places": ["a", {"b": {}}],
}
TYPES = {"q": "string", "count": "integer", "part": "number", "exact": "boolean", "since": "null", "places": "array"}
TOOL = {
    "type": "function",
    "function": {
        "name": "search_the_web",
        "parameters": {"type": "object", "properties": {name: {"type": kind} for name, kind in TYPES.items()}},
    },
}


def read(form: Format, text: str) -> tuple[str, list[tuple[str, Any]]]:
    """What the reference gateway's parser of the same name makes of it."""
    content, calls = PARSERS[form.name](text, [TOOL])
    return content, [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


@pytest.fixture(params=FORMATS.values(), ids=list(FORMATS))
def form(request: pytest.FixtureRequest) -> Format:
    return request.param  # type: ignore[no-any-return]


def test_calls_are_read_as_they_were_made(form: Format) -> None:
    calls = [{"name": "search_the_web", "arguments": arguments} for arguments in (ARGUMENTS, {}, {"q": "x"})]

    content, found = read(form, form.write("", calls))

    assert (content.strip(), found) == ("", [("search_the_web", call["arguments"]) for call in calls])


def test_text_stands_before_the_calls_where_it_can(form: Format) -> None:
    written = form.write("Let me look.", [{"name": "search_the_web", "arguments": {"q": "x"}}])

    content, found = read(form, written)

    assert written.startswith("Let me look.")
    if form.beside_text:
        assert (content.rstrip("\n"), found) == ("Let me look.", [("search_the_web", {"q": "x"})])


def test_an_answer_without_calls_is_its_text(form: Format) -> None:
    assert form.write("Hello", []) == "Hello"


@pytest.mark.parametrize("fault", [SPOILED, CUT_OFF, NO_OBJECT, NO_NAME, EMPTY])
def test_what_is_miswritten_is_no_call(form: Format, fault: str) -> None:
    miswritten = form.miswritten[fault]

    assert read(form, miswritten.text)[1] == []
    assert miswritten.kept in miswritten.text


def test_text_in_place_of_arguments_is_written_as_it_is(form: Format) -> None:
    assert '{"q": "' in form.write("", [{"name": "search_the_web", "arguments": '{"q": "'}])


@pytest.fixture
def llama(scripted: Upstream) -> Iterator[Upstream]:
    before, scripted.tool_format = scripted.tool_format, FORMATS["llama3_json"]
    yield scripted
    scripted.tool_format = before


def test_the_upstream_writes_in_its_format(llama: Upstream, caller: Caller) -> None:
    llama.says(tool_calls=[{"name": "f", "arguments": {"a": 1}}])
    llama.holds(tool_calls=[{"name": "f", "arguments": {"a": 1}}]).release()

    texts = [caller.complete(llama.nonce).json()["choices"][0]["text"] for _ in range(2)]

    assert texts == ['{"name": "f", "parameters": {"a": 1}}'] * 2


def test_what_no_model_says_is_not_said(scripted: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted, "tool_format", FORMATS["pythonic"])

    with pytest.raises(NotObservable, match="say no text beside them"):
        scripted.says("Let me look.", tool_calls=[{"name": "f", "arguments": {}}])
