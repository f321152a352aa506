"""Turns whose client is shown less, or told more, than was sampled: one call of several, the rest of a message,
log-probabilities."""

from __future__ import annotations

import asyncio

import pytest

from reference_gateway.codec.bytes import byte_files
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.session import Session
from reference_gateway.session.settings import Settings
from reference_gateway.types import BackendFailed, Generation, Turn

CODEC = TemplateCodec(byte_files(), tool_parser="hermes")
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
HI, MORE = {"role": "user", "content": "hi"}, {"role": "user", "content": "more"}
CALL = '<tool_call>\n{"name": "f", "arguments": {"q": %d}}\n</tool_call>'
END = "<|im_end|>"


def said(text):
    return {"role": "assistant", "content": text}


class Says:
    """A backend that samples these texts, and notes what it was sent."""

    name = "says"

    def __init__(self, *texts, stop="stop", logprobs=True):
        self.texts, self.stop, self.logprobs = list(texts), stop, logprobs
        self.contexts, self.sampling = [], []

    async def generate(self, context, sampling, *, session_id, media):
        self.contexts.append(CODEC.vocabulary.decode(list(context), keep_control=True))
        self.sampling.append(dict(sampling))
        ids = CODEC.vocabulary.encode(self.texts.pop(0))
        told = [-float(place) for place, _ in enumerate(ids)] if self.logprobs and sampling.get("logprobs") else None
        return Generation(ids, told, self.stop)

    async def close(self):
        pass


def run(session, *messages, **turn):
    return asyncio.run(session.run(Turn(list(messages), **turn)))


def test_the_first_of_several_calls_is_shown_and_continued_with_all_ids():
    backend = Says(f"{CALL % 1}\n{CALL % 2}{END}", f"done{END}")
    session = Session("s", CODEC, backend)
    answer = run(session, HI, tools=TOOLS, one_call=True)
    assert [call["function"]["arguments"] for call in answer.message["tool_calls"]] == [{"q": 1}]
    assert answer.finish_reason == "tool_calls"
    run(session, HI, answer.message, {"role": "tool", "content": "r", "tool_call_id": "1"}, tools=TOOLS, one_call=True)
    [trajectory] = session.trajectories()
    assert CODEC.vocabulary.decode(trajectory.response_ids, keep_control=True).startswith(
        f"{CALL % 1}\n{CALL % 2}{END}\n"
    )
    assert backend.contexts[1].count(END) == 4  # of the system message, the user, the calls and the result


@pytest.mark.parametrize("history", [[], [HI, said("yo")]], ids=["first", "later"])
def test_a_last_message_is_gone_on_with_and_the_whole_of_it_continues(history):
    backend = Says(*([f"yo{END}"] if history else []), f" 3, 4{END}", f"5{END}")
    session = Session("s", CODEC, backend)
    if history:
        run(session, HI)
    answer = run(session, *history, MORE, said("1, 2,"), continues_last=True)
    assert answer.message["content"] == " 3, 4"
    assert backend.contexts[-1].endswith("<|im_start|>assistant\n1, 2,")
    run(session, *history, MORE, said("1, 2, 3, 4"), HI)
    [trajectory] = session.trajectories()
    assert trajectory.num_turns == len(history) + 4 + 1  # the first request counts as a turn (contract UA-TRJ)
    sampled = [one for one, mask in zip(trajectory.response_ids, trajectory.response_mask, strict=True) if mask]
    assert CODEC.vocabulary.decode(sampled, keep_control=True) == (f"yo{END}" if history else "") + f" 3, 4{END}5{END}"


def test_an_answer_that_was_cut_off_is_gone_on_with_by_its_ids():
    backend = Says("1, 2,", f" 3{END}", f"5{END}", stop="length")
    session = Session("s", CODEC, backend)
    run(session, HI)
    run(session, HI, said("1, 2,"), continues_last=True)
    run(session, HI, said("1, 2, 3"), MORE)
    [trajectory] = session.trajectories()
    assert trajectory.response_mask[:8] == [1] * 8
    assert backend.contexts[1].endswith("assistant\n1, 2,")


def test_an_answer_that_had_ended_is_gone_on_with_as_text():
    backend = Says(f"1, 2,{END}", f" 3{END}")
    session = Session("s", CODEC, backend)
    run(session, HI)
    run(session, HI, said("1, 2,"), continues_last=True)
    assert backend.contexts[1].endswith("assistant\n1, 2,")
    assert len(session.trajectories()) == 2


def test_count_is_of_the_open_message():
    session = Session("s", CODEC, Says())
    closed, opened = Turn([HI, said("1, 2,")]), Turn([HI, said("1, 2,")], continues_last=True)
    assert session.count(opened) < session.count(closed)


def test_log_probabilities_are_told_where_none_are_recorded():
    backend = Says(f"hé{END}")
    session = Session("s", CODEC, backend)
    answer = run(session, HI, logprobs=True)
    assert backend.sampling == [{"logprobs": True}]
    assert [token.bytes for token in answer.tokens] == [b"h", b"\xc3", b"\xa9", END.encode()]
    assert [token.logprob for token in answer.tokens] == [0.0, -1.0, -2.0, -3.0]
    assert session.trajectories()[0].response_logprobs is None


def test_log_probabilities_are_recorded_as_the_session_says():
    session = Session("s", CODEC, Says(f"a{END}", f"b{END}"), Settings(sampling_params={"logprobs": True}))
    answer = run(session, HI)
    assert answer.tokens is None
    assert run(session, HI, answer.message, MORE, logprobs=True).tokens is not None
    assert len(session.trajectories()) == 1


def test_an_engine_that_tells_none_fails_the_turn():
    session = Session("s", CODEC, Says(f"a{END}", logprobs=False))
    with pytest.raises(BackendFailed, match="omitted logprobs"):
        run(session, HI, logprobs=True)
    assert session.trajectories() == []


@pytest.mark.parametrize(("value", "trajectories"), [("ignored", 1), ("compared", 2)])
def test_a_name_that_a_client_gives_an_assistant_is_compared_by_option(value, trajectories):
    options = {"name_identity": value, "last_rewrite": "split"}
    session = Session("s", CODEC, Says(f"a{END}", f"b{END}"), Settings(options=options))
    answer = run(session, HI)
    run(session, HI, {**answer.message, "name": "ann"}, MORE)
    assert len(session.trajectories()) == trajectories
