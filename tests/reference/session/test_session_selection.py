"""Where a turn continues and what it supersedes: every option with every value, example by example."""

from __future__ import annotations

from typing import Any

import pytest
from session_doubles import (
    CharCodec,
    chain_ids,
    last_context,
    messages,
    responses,
    sampled,
    session,
    shown,
    talk,
    text,
)

from reference_gateway.session import OPTIONS, InvalidField
from reference_gateway.types import Message, Turn

HI = "user:hi\nassistant:"


class TestSelection:
    """Contract UA-CHN and UA-TRIE."""

    def test_chn_03_a_subagent_does_not_disturb_the_main_chain(self) -> None:
        s, _ = session("Apple", "Blue", "Mango")
        talk(s, "S main, U hi", "S sub, U do", "S main, U hi, A Apple, U more")
        assert responses(s) == ["Blue", "Appleuser:more\nassistant:Mango"]
        assert chain_ids(s) == [1, 2]

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param("S other, U hi, A A1, U m", id="system"),
            pytest.param("S s, U ho, A A1, U m", id="earlier-message"),
            pytest.param("S s, U recap", id="compaction"),
            pytest.param("U hi, A A1, U m", id="splice"),
        ],
    )
    def test_chn_02_a_changed_beginning_is_a_new_chain_and_the_old_one_can_be_resumed(self, other: str) -> None:
        s, _ = session("A1", "B1", "A2")
        talk(s, "S s, U hi", other, "S s, U hi, A A1, U m")
        assert responses(s) == ["B1", "A1user:m\nassistant:A2"]

    def test_chn_04_tools_are_part_of_the_gate(self) -> None:
        tool = {"type": "function", "function": {"name": "f"}}
        s, _ = session("A1", "A2", "A3")
        talk(
            s, Turn(messages("U hi"), tools=[tool]), "U hi, A A1, U m", Turn(messages("U hi, A A1, U m"), tools=[tool])
        )
        assert responses(s) == ["A2", "A1user:m\nassistant:A3"]

    def test_chn_07_of_identical_siblings_the_newest_is_continued(self) -> None:
        s, _ = session("A", "A", "W")
        talk(s, "U hi", "U hi", "U hi, A A, U go")
        assert responses(s) == ["A", "Auser:go\nassistant:W"]
        tips = {chain.id: text(chain.tip.sampled) for chain in s._tree.chains()}
        assert tips == {1: "A", 2: "W"}

    def test_a_repeated_second_turn_branches_and_trains_the_shared_turn_once(self) -> None:
        s, backend = session("A1", "A2", "B2", "B3")
        talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m", "U hi, A A1, U m, A B2, U n")
        shared = HI + "A1user:m\nassistant:"
        main, branch = s.trajectories()
        assert shown(main) == (HI, "A1user:m\nassistant:A2", "1x2 0x17 1x2", 5)
        assert shown(branch) == (shared, "B2user:n\nassistant:B3", "1x2 0x17 1x2", 7)
        assert last_context(backend) == shared + "B2user:n\nassistant:"

    def test_sampled_ids_of_a_shared_turn_are_carried_as_they_were(self) -> None:
        odd = sampled("")
        odd.ids.extend([70_065, 70_049])
        s, backend = session(odd, "A2", "B2", codec=_Modulo())
        talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m")
        assert backend.calls[2].context == backend.calls[1].context
        assert s.trajectories()[1].prompt_ids[18:20] == [70_065, 70_049]

    def test_chn_10_two_equally_deep_rewrites_are_not_guessed_between(self) -> None:
        s, backend = session("A1", "A2", "B2", "F")
        talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m", "U hi, A A1, U m, U err")
        assert responses(s) == ["A1user:m\nassistant:A2", "B2", "F"]
        assert s.state()["rollback_count"] == 0
        assert last_context(backend) == HI + "A1user:m\nuser:err\nassistant:"

    def test_chn_11_the_deepest_rewrite_wins(self) -> None:
        s, _ = session("A1", "A2", "A3", "F")
        history = "U hi, A A1, U m"
        talk(s, "U hi", history, f"{history}, A A2, U n", f"{history}, A A2, U n, U err")
        assert responses(s) == ["A1user:m\nassistant:A2user:n\nuser:err\nassistant:F"]

    def test_rb_06_a_rewrite_before_the_last_assistant_is_no_rollback(self) -> None:
        s, backend = session("A1", "A2", "A3", "F")
        history = "U hi, A A1, U m"
        talk(s, "U hi", history, f"{history}, A A2, U n", "U hi, A A1, U err")
        assert s.state()["rollback_count"] == 0
        assert responses(s)[1:] == ["F"]
        assert last_context(backend) == HI + "A1user:err\nassistant:"

    def test_chn_15_tips_change_with_their_own_chain_only(self) -> None:
        s, _ = session("A1", "B1", "A2")
        talk(s, "U hi")
        (first,) = s.state()["active_chain_tip_hashes"]
        assert len(bytes.fromhex(first)) == 32
        talk(s, "U other")
        unchanged, second = s.state()["active_chain_tip_hashes"]
        talk(s, "U hi, A A1, U m")
        changed, same = s.state()["active_chain_tip_hashes"]
        assert (unchanged, same) == (first, second)
        assert changed != first

    def test_trie_07_a_warm_start_is_prompt(self) -> None:
        s, _ = session("A2", "A3")
        talk(s, "U hi, A imported, U m", "U hi, A imported, U m, A A2, U n")
        prompt = "user:hi\nassistant:imported\nuser:m\nassistant:"
        assert [shown(t) for t in s.trajectories()] == [(prompt, "A2user:n\nassistant:A3", "1x2 0x17 1x2", 7)]

    def test_trie_08_a_change_of_tools_keeps_what_was_trainable(self) -> None:
        s, _ = session("A1", "A2")
        talk(s, "U hi", Turn(messages("U hi, A A1, U m"), tools=[{"function": {"name": "f"}}]))
        assert responses(s) == ["A1", "A2"]

    def test_a_template_that_cannot_be_continued_branches_where_sampled_ids_are_no_prefix(self) -> None:
        s, backend = session("A1", "A2", codec=CharCodec(incremental=False))
        talk(s, "U hi", "U hi, A A1, U m")
        assert responses(s) == ["A1\nuser:m\nassistant:A2"]
        s, backend = session("A1 ", "A2", codec=CharCodec(incremental=False))
        talk(s, "U hi", "U hi, A A1, U m")
        assert responses(s) == ["A1 ", "A2"]
        assert last_context(backend) == HI + "A1\nuser:m\nassistant:"


class _Modulo(CharCodec):
    def decode(self, tokens: Any, tools: Any) -> Message:
        return {"role": "assistant", "content": "A1" if 70_065 in tokens else text(tokens)}


class TestOptions:
    def test_the_defaults_are_the_first_values(self) -> None:
        s, _ = session()
        assert s.state()["options"] == {name: values[0] for name, values in OPTIONS.items()}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            pytest.param({"last_rewrite": "undo"}, r"options.last_rewrite must be one of rollback, split", id="value"),
            pytest.param({"last_rewrite": True}, r"options.last_rewrite must be one of", id="bool"),
            pytest.param({"last_rewrite": None}, r"options.last_rewrite must be one of", id="null"),
            pytest.param({"last_rewrite": ["rollback"]}, r"options.last_rewrite must be one of", id="list"),
            pytest.param({"rollback": "true"}, r"options.rollback is not an option; .*last_rewrite", id="name"),
            pytest.param({"repeated_prompt": "replace", "last_rewrite": "split"}, "repeated_prompt", id="conflict"),
        ],
    )
    def test_a_bad_option_is_named_with_its_values(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InvalidField, match=message):
            session(**options)

    @pytest.mark.parametrize("value", [0, -1, 1.5, "7", True])
    @pytest.mark.parametrize("name", ["prompt_length", "response_length"])
    def test_cap_01_lengths_are_positive_integers(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidField, match=f"{name} must be a positive integer"):
            session(**{name: value})

    @pytest.mark.parametrize("multi_chain", ["false", False])
    def test_multi_chain_false_closes_what_does_not_match(self, multi_chain: Any) -> None:
        s, backend = session("L", "S", "E", "W", multi_chain=multi_chain)
        talk(s, "U hi", "U hi", "U hi", "U hi, A S, U pick")
        assert responses(s) == ["L", "S", "E", "W"]
        assert last_context(backend) == "user:hi\nassistant:S\nuser:pick\nassistant:"
        assert chain_ids(s) == [4]
        assert s.state()["num_trajectories"] == 3
        assert all(t.extra_fields == {} for t in s.trajectories())

    def test_last_rewrite_split_keeps_both(self) -> None:
        s, backend = session("A1", "A2", "F", last_rewrite="split")
        talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m, U err")
        assert responses(s) == ["A1user:m\nassistant:A2", "F"]
        assert last_context(backend) == HI + "A1user:m\nuser:err\nassistant:"
        assert s.state()["rollback_count"] == 0

    def test_first_rewrite_reuse_takes_the_chain(self) -> None:
        s, backend = session("A1", "F", first_rewrite="reuse")
        talk(s, "U hi", "U hi, U err")
        assert [shown(t)[:2] for t in s.trajectories()] == [("user:hi\nuser:err\nassistant:", "F")]
        assert (chain_ids(s), s.state()["rollback_dropped_trainable_tokens_total"]) == ([1], 2)
        assert last_context(backend) == "user:hi\nuser:err\nassistant:"

    def test_repeated_prompt_replace_drops_the_rejected_turn(self) -> None:
        s, _ = session("A1", "B1", "A2", "B2", repeated_prompt="replace")
        talk(s, "U hi", "U hi", "U hi, A B1, U m", "U hi, A B1, U m")
        assert responses(s) == ["B1user:m\nassistant:B2"]
        assert (s.state()["rollback_count"], s.state()["rollback_dropped_trainable_tokens_total"]) == (2, 4)

    @pytest.mark.parametrize("compared", [False, True])
    @pytest.mark.parametrize(
        ("option", "echo"),
        [
            ("tool_id_identity", {"tool_calls": [{"id": "renamed", "function": {"name": "search", "arguments": {}}}]}),
            ("reasoning_identity", {"reasoning_content": "so"}),
            ("whitespace_identity", {"content": "A1 "}),
        ],
    )
    def test_identities(self, option: str, echo: dict[str, Any], compared: bool) -> None:
        class Calling(CharCodec):
            def decode(self, tokens: Any, tools: Any) -> Message:
                message = super().decode(tokens, tools)
                if "tool_calls" in echo:
                    message["tool_calls"] = [{"id": "issued", "function": {"name": "search", "arguments": "{}"}}]
                return message

        s, _ = session("A1", "A2", codec=Calling(), **{option: "compared" if compared else "ignored"})
        (answer,) = talk(s, "U hi")
        history: list[Message] = [*messages("U hi"), {**answer.message, **echo}, *messages("U m")]
        talk(s, Turn(history))
        assert len(s.trajectories()) == 1 + compared

    @pytest.mark.parametrize("compared", ["ignored", "compared"])
    @pytest.mark.parametrize("option", ["tool_id_identity", "reasoning_identity", "whitespace_identity"])
    def test_a_plain_echo_continues_whatever_is_compared(self, option: str, compared: str) -> None:
        s, _ = session(" A1\n", "A2", **{option: compared})
        (answer,) = talk(s, "U hi")
        talk(s, Turn([*messages("U hi"), answer.message, *messages("U m")]))
        assert len(s.trajectories()) == 1

    def test_logprobs_are_null_unless_they_were_asked_for(self) -> None:
        s, _ = session(sampled("A1", logprobs=[-1.0, -1.0]))
        talk(s, "U hi")
        assert s.trajectories()[0].response_logprobs is None

    def test_logprobs_opportunistic_takes_what_comes_aligned_or_none(self) -> None:
        steps = [sampled("A1", logprobs=[-1.0, -2.0]), sampled("A2", logprobs=[-3.0, -4.0]), sampled("B", logprobs=[])]
        s, _ = session(*steps, logprobs="opportunistic")
        talk(s, "U hi", "U hi, A A1, U m")
        assert s.trajectories()[0].response_logprobs == [-1.0, -2.0, *[0.0] * 17, -3.0, -4.0]
        talk(s, "U hi, A A1, U m, A A2, U n")
        (trajectory,) = s.trajectories()
        assert trajectory.response_logprobs is None
        assert trajectory.response_ids[-1:] == [ord("B")]


def test_rb_07_one_separator_stands_at_the_seam_of_a_rollback() -> None:
    s, backend = session("A1", "A2", "F", codec=CharCodec("\n"))
    history = "U start, A A1, U second"
    talk(s, "U start", history, f"{history}, U replacement")
    assert last_context(backend) == "user:start\nassistant:A1\nuser:second\nuser:replacement\nassistant:"
