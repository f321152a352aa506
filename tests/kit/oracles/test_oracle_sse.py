from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.oracles import Violation
from conformance.oracles.sse import Event, SSEParser, framing, parse

NOT_LINE_ENDS = "\u2028\u2029\u0085\v\f\x1c\x1d\x1e"

FIELDS = [b"data", b"data:", b"data: x", b"event: e", b"id: 7", b"id", b"retry: 5", b":c", b" "]
ENDS = [b"\n", b"\r", b"\r\n", b"\n\n"]
ODD = [b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xe2", b"\x80", b"\0"]
STREAMS = st.binary(max_size=80) | st.lists(st.sampled_from([*FIELDS, *ENDS, *ODD]), max_size=30).map(b"".join)


def test_an_event_starts_at_its_first_field_and_knows_its_line():
    body = b": hello\n\n\ndata: one\n\nevent: named\nid: 7\ndata: two\n\n"
    assert parse(body) == [Event("message", "one", "", 4), Event("named", "two", "7", 6)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
def test_three_line_ends(end):
    body = end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])
    assert [event.data for event in parse(body)] == ["a\nb", "c"]


def test_crlf_split_over_two_reads_is_one_line_end():
    parser = SSEParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r\n\r") == [Event("message", "a\nb", "", 1)]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: c\n\n") == [Event("message", "c", "", 4)]


@pytest.mark.parametrize(
    ("field", "data"),
    [(b"data:x", "x"), (b"data: x", "x"), (b"data:  x", " x"), (b"data:", ""), (b"data", ""), (b"data: a:b", "a:b")],
)
def test_one_space_after_the_colon_is_not_data(field, data):
    assert [event.data for event in parse(field + b"\n\n")] == [data]


@pytest.mark.parametrize("character", NOT_LINE_ENDS, ids=lambda character: f"U+{ord(character):04X}")
def test_a_separator_that_is_no_line_end_stays_in_the_data(character):
    assert [event.data for event in parse(f"data: a{character}b\n\n".encode())] == [f"a{character}b"]


def test_a_byte_order_mark_is_dropped_once_and_only_at_the_start():
    assert [event.data for event in parse(b"\xef\xbb\xbfdata: a\n\n")] == ["a"]
    assert parse(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [Event("message", "a", "", 1)]


def test_an_id_stays_until_the_next_one_and_a_nul_makes_it_void():
    body = b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n"
    assert [event.id for event in parse(body)] == ["1", "1", "1", ""]


@pytest.mark.parametrize(
    ("value", "retry"),
    [(b"250", 250), (b"2s", None), (b"-1", None), (b"", None), ("\u0663".encode(), None), (b"9" * 5000, None)],
)
def test_retry_is_ascii_digits_only(value, retry):
    parser = SSEParser()
    parser.feed(b"retry: " + value + b"\n\n")
    assert parser.retry == retry


def test_an_event_without_data_is_not_dispatched_and_its_name_is_forgotten():
    assert parse(b"event: lost\n\ndata: a\n\n") == [Event("message", "a", "", 3)]


def test_unknown_fields_and_comments_are_ignored():
    assert parse(b"nonsense: 1\n:data: x\ndata: a\nDATA: b\n\n") == [Event("message", "a", "", 1)]


@pytest.mark.parametrize("tail", [b"data: cut", b"data: cut\n"])
def test_close_gives_the_event_that_a_client_never_sees(tail):
    parser = SSEParser()
    assert parser.feed(b"data: a\n\n" + tail) == [Event("message", "a", "", 1)]
    assert parser.close() == Event("message", "cut", "", 3)


def test_close_after_a_complete_stream_gives_nothing():
    parser = SSEParser()
    parser.feed(b"data: a\n\n: bye\n")
    assert parser.close() is None


@given(STREAMS, st.data())
def test_any_split_of_the_bytes_gives_the_same_events(body, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    whole, split = SSEParser(), SSEParser()
    expected = whole.feed(body)
    found = [
        event for low, high in zip([0, *cuts], [*cuts, len(body)], strict=True) for event in split.feed(body[low:high])
    ]
    assert found == expected
    assert (split.close(), split.retry) == (whole.close(), whole.retry)


@given(STREAMS)
def test_byte_by_byte_gives_the_same_events(body):
    parser = SSEParser()
    assert [event for byte in body for event in parser.feed(bytes([byte]))] == parse(body)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_what_is_written_as_data_lines_is_read_back(lines):
    body = "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
    assert [event.data for event in parse(body)] == ["\n".join(lines)]


def test_clean_frames_have_no_violation():
    assert framing(b'data: {"a": 1}\n\n: keep-alive\n\ndata: "\xe2\x80\xa8"\n\ndata: [DONE]\n\n') == []


@pytest.mark.parametrize(
    ("body", "violation"),
    [
        pytest.param(b"", Violation("stream", "at least one frame", "an empty body"), id="empty"),
        pytest.param(
            b"\xef\xbb\xbfdata: 1\n\n",
            Violation("line 1", "a stream without a byte order mark", "EF BB BF"),
            id="byte-order-mark",
        ),
        pytest.param(
            b"data: 1\n\ndata: 2\r\n\r\n",
            Violation(
                "line 3",
                "lines that end with LF",
                "CRLF, 2 times",
                "legal for an event stream, but clients that split frames at a blank LF line never find one",
            ),
            id="CRLF",
        ),
        pytest.param(
            b"data: 1\r \n\n",
            Violation("frame 1 (line 1)", "no CR", "CR at column 8", "a lone CR ends the line for a client"),
            id="stray-CR",
        ),
        pytest.param(
            b'data: "\xe2\x82"\n\n',
            Violation(
                "frame 1 (line 1)",
                "UTF-8",
                "byte 0xe2 at column 8",
                "the text was cut between the bytes of one character",
            ),
            id="broken-UTF-8",
        ),
        pytest.param(
            b"data: 1\n\nevent: x\n\n",
            Violation("frame 2 (line 3)", "a line that starts with `data: `", "`event: x`"),
            id="event-field",
        ),
        pytest.param(
            b"data: 1\ndata: 2\n\n",
            Violation(
                "frame 1 (line 2)",
                "a blank line after the `data:` line",
                "another `data:` line",
                "JSON on the wire has no raw newlines; or the blank line before this frame is missing",
            ),
            id="two-data-lines",
        ),
        pytest.param(
            b"data:1\n\n", Violation("frame 1 (line 1)", "`data: ` with one space", "`data:1`"), id="no-space"
        ),
        pytest.param(
            b'data: {"a": \n\n',
            Violation("frame 1 (line 1)", "JSON or [DONE]", '`{"a": ` (Expecting value at character 6)'),
            id="not-JSON",
        ),
        pytest.param(
            b"data: NaN\n\n", Violation("frame 1 (line 1)", "JSON or [DONE]", "`NaN` (NaN is not JSON)"), id="NaN"
        ),
        pytest.param(
            b"data: 1\n\ndata: 2\n",
            Violation(
                "frame 2 (line 3)",
                "a blank line that ends the frame",
                "the end of the stream after one line end",
                "a client discards an event that no blank line ends",
            ),
            id="one-line-end",
        ),
        pytest.param(
            b"data: 1",
            Violation(
                "frame 1 (line 1)",
                "a blank line that ends the frame",
                "the end of the stream in the middle of a line",
                "a client discards an event that no blank line ends",
            ),
            id="no-line-end",
        ),
    ],
)
def test_framing_names(body, violation):
    assert framing(body) == [violation]


def test_framing_names_all_violations_in_order():
    found = framing(b"data:1\n\ndata: x\n\nid: 1\ndata: 2")
    assert [one.where for one in found] == [
        "frame 1 (line 1)",
        "frame 2 (line 3)",
        "frame 3 (line 5)",
        "frame 3 (line 6)",
        "frame 3 (line 5)",
    ]


@given(STREAMS)
def test_framing_never_raises_and_says_something_printable(body):
    for one in framing(body):
        assert str(one).encode()
