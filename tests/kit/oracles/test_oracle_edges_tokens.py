"""The edges of lists of ids and of the words for what was found: what the knife left standing."""

from __future__ import annotations

from array import array

import pytest

from conformance.gateway import Trajectory
from conformance.oracles.fidelity import fidelity, seams
from conformance.oracles.tokens import listed, pack, places, sequence, text_of, unpack, window
from conformance.oracles.wording import cut, quoted, type_name, written


@pytest.mark.parametrize("ids", [[1, 2], (1, 2), array("q", [1, 2]), range(1, 3), iter([1, 2])])
def test_a_sequence_is_taken_as_it_is(ids):
    given = ids
    assert list(sequence(given)) == [1, 2]
    assert sequence([1, 2]) == [1, 2]


def test_a_list_is_not_copied():
    for ids in ([1, 2], (1, 2), range(3)):
        assert sequence(ids) is ids


@pytest.mark.parametrize("value", [None, "12", b"12", bytearray(b"12"), {1: 2}, {1}, frozenset([1]), 5])
def test_what_is_no_sequence_is_an_empty_one(value):
    assert tuple(sequence(value)) == ()


def test_ids_stand_where_they_stand():
    assert places(pack([1, 2, 1]), pack([1])) == [0, 2]
    assert places(pack([2]), pack([1])) == []
    assert places(pack([1]), b"") == []


def test_ids_have_a_text_where_there_is_a_decoder_that_takes_them():
    ids = pack([104, 105])
    assert text_of(ids, None) is None
    assert text_of(ids, lambda found: "".join(map(chr, found))) == "hi"
    assert text_of(ids, lambda _: 5) is None
    assert text_of(ids, lambda found: found[9]) is None


def test_a_list_is_cut_behind_its_limit():
    assert listed(pack([1, 2]), limit=2) == "2 ids 1 2"
    assert listed(pack([1, 2, 3]), limit=2) == "3 ids 1 2 ..."
    assert listed(pack([7])) == "1 id 7"
    assert listed(b"") == "0 ids"


def test_what_is_no_id_is_shown_as_such_and_equals_itself_alone():
    assert listed(pack(["a", 1])) == "2 ids ? 1"
    assert window(pack([1, None]), 1) == "1 [?]"
    assert pack(["a"]) == pack(["a"]) != pack(["b"])
    assert unpack(pack([True, "x"]))[0] == 1
    edge = 1 << 48
    assert unpack(pack([edge - 1, 1 - edge, "x"]))[:2] == [edge - 1, 1 - edge]
    assert unpack(pack([edge, "x"]))[0] != edge
    assert listed(pack([-edge])) == "1 id ?"


def test_words():
    assert cut("a" * 100) == "a" * 100
    assert cut("a" * 101) == f"{'a' * 47} ... {'a' * 47}"
    assert quoted("a\tb\u2028") == "`a\\tb\\u2028`"
    assert quoted("") == "an empty text"
    assert written(("a", 0, "b c", "d-e", 5.5)) == 'a[0]["b c"].d-e[5.5]'
    assert [type_name(one) for one in (5.5, {1}, False, True)] == ["number", "set", "false", "true"]


def spell(ids):
    return "".join(chr(96 + one) for one in ids)


def strayed(rendered, prompt, response=(), mask=()):
    return [one.where for one in fidelity([Trajectory(prompt, list(response), list(mask))], spell, [rendered])]


def test_a_trajectory_without_a_generation_is_its_render():
    assert strayed([1, 2], [1, 2]) == []
    assert strayed([1, 3], [1, 2]) == ["trajectory 0, prompt_ids[1]"]


def test_a_difference_is_told_where_it_stands():
    response, mask = [3, 4, 5, 6], [1, 0, 1, 0]
    assert strayed([1, 2, 3, 4, 5], [1, 2], response[:3], mask[:3]) == []
    assert strayed([9, 2, 3, 4], [1, 2], response[:3], mask[:3]) == ["trajectory 0, prompt_ids[0]"]
    assert strayed([1, 2, 3, 9], [1, 2], response[:3], mask[:3]) == ["trajectory 0, response_ids[1]"]


def test_what_follows_the_render_begins_with_what_was_sampled():
    assert strayed([1, 2, 3], [1, 2], [3, 4], [1, 1]) == []
    assert strayed([1, 2, 9], [1, 2], [3, 4], [1, 1]) != []


def test_a_message_that_is_continued_inside_a_character_begins_as_it_was():
    def bytewise(found):
        return bytes(found).decode("utf-8", "replace")

    assert fidelity([Trajectory([58], list("€".encode()), [1, 1, 1])], bytewise, [[58, 0xE2]]) == []


def test_text_that_a_tokenizer_refuses_is_told():
    def refuses(text):
        raise ValueError(text)

    found = seams([Trajectory([1], [2, 3], [1, 0])], spell, refuses)
    assert [one.expected for one in found] == ["text that the tokenizer takes"] * 2
