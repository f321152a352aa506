"""Where a turn continues, what is superseded, closed and counted: every option with every value, example by example."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from session_doubles import IMAGE, VIDEO, Backend, CharCodec, messages, sampled, session, shown, text, turn

from reference_gateway.session import OPTIONS, InvalidField, Session, SessionClosed, Settings
from reference_gateway.types import Answer, Media, Message, Turn

HI = "user:hi\nassistant:"


def talk(s: Session, *turns: str | Turn) -> list[Answer]:
    async def all_turns() -> list[Answer]:
        return [await s.run(turn(each) if isinstance(each, str) else each) for each in turns]

    return asyncio.run(all_turns())


def responses(s: Session) -> list[str]:
    return [text(t.response_ids) for t in s.trajectories()]


def last_context(backend: Backend) -> str:
    return text(backend.calls[-1].context)


def chain_ids(s: Session) -> list[int]:
    ids: list[int] = s.state()["active_chain_ids"]
    return ids


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


class TestBudget:
    """Contract UA-CAP."""

    def test_cap_02_05_a_full_chain_is_closed_and_a_fresh_one_orders_after_it(self) -> None:
        s, backend = session("A1", "B1", prompt_length=18, response_length=2)
        talk(s, "U hi")
        (answer,) = talk(s, "U hi, A A1")
        assert (answer.finish_reason, answer.prompt_tokens, answer.completion_tokens) == ("length", 20, 0)
        assert (len(backend.calls), chain_ids(s), s.state()["num_trajectories"]) == (1, [], 1)
        talk(s, "U x")
        closed, fresh = s.trajectories()
        assert (text(closed.response_ids), text(fresh.response_ids)) == ("A1", "B1")
        assert closed.extra_fields == {"materialization_reason": "max_trajectory_length"}
        assert (fresh.extra_fields, closed.num_turns) == ({}, 3)

    def test_a_closed_chain_is_not_continued(self) -> None:
        s, _ = session("A1", prompt_length=18, response_length=5)
        talk(s, "U hi", "U hi, A A1, U m")
        (answer,) = talk(s, "U hi, A A1")
        assert answer.finish_reason == "length"
        assert responses(s) == ["A1"]

    def test_cap_06_one_length_alone_is_no_limit(self) -> None:
        s, backend = session("A1", response_length=1)
        talk(s, "U hi")
        assert backend.calls[0].sampling == {}

    def test_cap_07_only_the_selected_chain_is_closed(self) -> None:
        s, _ = session("A1", "B1", prompt_length=30, response_length=10)
        talk(s, "U hi", "U other", "U hi, A A1, U " + "m" * 20)
        assert chain_ids(s) == [2]

    def test_cap_11_response_counts_what_follows_the_prompt(self) -> None:
        s, backend = session("A" * 43, "B", response_length=100, budget="response")
        long = "A" * 43
        talk(s, "U hi", turn(f"U hi, A {long}, U m", max_tokens=200))
        assert backend.calls[1].sampling == {"max_tokens": 40}
        (answer,) = talk(s, f"U hi, A {long}, U m, A B, U " + "n" * 40)
        assert answer.finish_reason == "length"
        assert s.trajectories()[0].extra_fields == {"finish_reason": "length"}

    def test_budget_none_counts_nothing(self) -> None:
        s, backend = session("A1", prompt_length=1, response_length=1, budget="none")
        talk(s, "U hi")
        assert backend.calls[0].sampling == {}

    def test_rb_15_a_rewrite_that_does_not_fit_closes_the_chain_rolled_back(self) -> None:
        s, _ = session("A1", "A2", prompt_length=40, response_length=10)
        talk(s, "U hi", "U hi, A A1, U m", "U hi, A A1, U m, U " + "e" * 30)
        assert [shown(t) for t in s.trajectories()] == [(HI, "A1", "1x2", 3)]
        assert s.trajectories()[0].extra_fields == {
            "materialization_reason": "max_trajectory_length",
            "rollback_count": 1,
            "rollback_dropped_trainable_tokens": 2,
        }

    def test_rb_10_a_reused_chain_that_does_not_fit_is_discarded(self) -> None:
        s, _ = session("A1", prompt_length=18, response_length=5, first_rewrite="reuse")
        talk(s, "U hi", "U hi, U too-long")
        assert (s.trajectories(), chain_ids(s), s.state()["rollback_count"]) == ([], [], 1)

    def test_a_branch_whose_only_answer_is_rewritten_and_does_not_fit_is_discarded(self) -> None:
        s, _ = session("A1", "A2", "B2", "A3", prompt_length=50, response_length=20)
        history = "U hi, A A1, U m"
        talk(s, "U hi", history, history, f"{history}, A A2, U n", f"{history}, U " + "e" * 40)
        assert responses(s) == ["A1user:m\nassistant:A2user:n\nassistant:A3"]
        assert (chain_ids(s), s.state()["rollback_dropped_trainable_tokens_total"]) == ([1], 2)


class TestSampling:
    """Contract UA-SMP."""

    def test_smp_05_the_request_is_over_the_defaults(self) -> None:
        defaults = {"temperature": 0.1, "top_p": 0.8, "max_tokens": 64, "model": "x", "n": 3}
        s, backend = session("A1", "A2", sampling_params=defaults)
        defaults["top_p"] = 0.0
        talk(s, turn("U hi", sampling={"temperature": 0.25}, max_tokens=128), "U other")
        assert [call.sampling for call in backend.calls] == [
            {"temperature": 0.25, "top_p": 0.8, "max_tokens": 128},
            {"temperature": 0.1, "top_p": 0.8, "max_tokens": 64},
        ]

    def test_smp_09_nothing_is_invented(self) -> None:
        s, backend = session("A1")
        talk(s, "U hi")
        assert backend.calls[0].sampling == {}

    @pytest.mark.parametrize("bad", [0, -1, True, 1.0, "5", None])
    def test_val_10_a_bad_default_is_reported_by_the_first_turn(self, bad: Any) -> None:
        s, backend = session("A1", sampling_params={"max_tokens": bad})
        with pytest.raises(InvalidField, match="max_tokens must be a positive integer"):
            talk(s, "U hi")
        assert backend.calls == []

    def test_bad_settings_are_named(self) -> None:
        for name in ("sampling_params", "metadata"):
            with pytest.raises(InvalidField, match=f"{name} must be an object"):
                Session("s", CharCodec(), Backend(), Settings(**{name: [1]}))


class TestMedia:
    """Contract UA-MM."""

    class Extractor:
        def __init__(self) -> None:
            self.seen: list[Message] = []

        def extract(self, new: Any) -> Media:
            self.seen += new
            parts = [part for message in new if isinstance(message["content"], list) for part in message["content"]]
            return Media(
                images=tuple(part["image_url"]["url"] for part in parts if part["type"] == "image_url"),
                videos=tuple((part["video_url"]["url"], {"fps": 2}) for part in parts if part["type"] == "video_url"),
            )

    @staticmethod
    def image(url: str, role: str = "user") -> Message:
        return {
            "role": role,
            "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": url}}],
        }

    def test_mm_01_to_05_media_are_extracted_once_and_stay_with_their_chain(self) -> None:
        extractor = self.Extractor()
        s, backend = session("A1", "A2", "B", media=extractor)
        history = [self.image("data:1")]
        talk(s, Turn(history))
        video = {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "v"}}]}
        history += [*messages("A A1"), self.image("data:2", role="tool"), video]
        talk(s, Turn(history), "U text only")
        assert [call.media for call in backend.calls] == [
            Media(("data:1",)),
            Media(("data:1", "data:2"), (("v", {"fps": 2}),)),
            Media(),
        ]
        assert [m for m in extractor.seen if m is history[0]] == [history[0]]
        with_media, without = s.trajectories()
        assert with_media.multi_modal_data == {"images": ["data:1", "data:2"], "videos": [("v", {"fps": 2})]}
        assert without.multi_modal_data is None
        assert (with_media.response_ids.count(IMAGE), with_media.response_ids.count(VIDEO)) == (1, 1)

    def test_hash_07_another_image_is_another_chain(self) -> None:
        s, _ = session("A1", "A2", media=self.Extractor())
        talk(s, Turn([self.image("data:1")]), Turn([self.image("data:2"), *messages("A A1, U m")]))
        assert [t.multi_modal_data for t in s.trajectories()] == [{"images": ["data:1"]}, {"images": ["data:2"]}]

    def test_cap_09_media_that_do_not_fit_are_not_extracted(self) -> None:
        extractor = self.Extractor()
        s, _ = session("A1", prompt_length=10, response_length=10, media=extractor)
        talk(s, "U hi", Turn([*messages("U hi, A A1"), self.image("data:1")]))
        assert len(extractor.seen) == 1
        assert s.trajectories()[0].multi_modal_data is None

    def test_rb_14_a_superseded_turn_leaves_no_media_and_no_version(self) -> None:
        steps = [sampled("A1", versions=(1, 1)), sampled("A2", versions=(7, 9)), sampled("F", versions=(2, 3))]
        s, backend = session(*steps, media=self.Extractor())
        talk(s, "U hi", Turn([*messages("U hi, A A1"), self.image("data:1")]))
        talk(s, Turn([*messages("U hi, A A1"), self.image("data:1"), *messages("U err")]))
        (trajectory,) = s.trajectories()
        assert trajectory.multi_modal_data == {"images": ["data:1"]}
        assert backend.calls[-1].media == Media(("data:1",))
        assert trajectory.extra_fields == {
            "min_global_steps": 1,
            "max_global_steps": 3,
            "rollback_count": 1,
            "rollback_dropped_trainable_tokens": 2,
        }


class TestLifecycle:
    """Contract UA-LC and UA-RWD."""

    def test_lc_01_a_new_session_is_active_and_empty(self) -> None:
        state = session()[0].state()
        assert (state["phase"], state["num_trajectories"], state["has_active_trajectory"]) == ("ACTIVE", 0, False)
        assert (state["num_active_chains"], state["active_chain_ids"], state["active_chain_tip_hashes"]) == (0, [], [])

    def test_lc_05_abort_discards_and_finalize_says_so(self) -> None:
        s, _ = session("A1", "B1", prompt_length=18, response_length=2)
        talk(s, "U hi", "U hi, A A1", "U x")
        s.abort()
        s.abort()
        state = s.state()
        assert (state["phase"], state["num_trajectories"], state["num_active_chains"]) == ("ABORTED", 0, 0)
        assert s.trajectories() == []
        for call in (s.finalize, s.complete):
            with pytest.raises(SessionClosed, match="aborted"):
                call()

    def test_rwd_rewards_replace_and_every_trajectory_has_its_own_copy(self) -> None:
        s, _ = session("A1", "B1")
        talk(s, "U hi", "U other")
        assert [t.reward_info for t in s.trajectories()] == [{}, {}]
        given = {"reward": 1, "by": {"x": 1}}
        s.set_reward(given)
        given["by"]["x"] = 2  # type: ignore[index]
        s.set_reward(None)
        first, second = s.trajectories()
        assert first.reward_info == second.reward_info == {"reward": 1, "by": {"x": 1}}
        first.reward_info["by"]["x"] = 3
        first.response_ids.append(0)
        assert s.trajectories()[0].reward_info["by"] == second.reward_info["by"] == {"x": 1}
        s.complete({"reward": 2})
        s.complete(None)
        with pytest.raises(SessionClosed, match="completed"):
            s.set_reward({})
        assert [t.reward_info for t in s.finalize()] == [{"reward": 2}] * 2
        with pytest.raises(InvalidField, match="reward_info must be an object"):
            session()[0].set_reward([1])  # type: ignore[arg-type]

    def test_lc_10_time_goes_on_with_every_change_and_not_with_reading(self) -> None:
        now = [100.0]
        s = Session("s", CharCodec(), Backend("A1", RuntimeError("boom")), clock=lambda: now[0])
        now[0] = 101.0
        s.trajectories()
        s.state()
        assert (s.created_at, s.updated_at) == (100.0, 100.0)
        talk(s, "U hi")
        assert s.updated_at == 101.0
        now[0] = 50.0  # a clock that was set back
        s.set_reward({})
        assert s.updated_at == 101.0
        now[0] = 102.0
        s.finalize()
        assert s.updated_at == 102.0

    def test_lc_13_a_session_is_the_key_of_its_calls(self) -> None:
        s, backend = session("A1", "B1")
        talk(s, "U hi", "U other")
        assert {call.session_id for call in backend.calls} == {"s1"}

    def test_tool_calls_decide_the_finish_reason(self) -> None:
        s, _ = session(sampled("<tool_call>", stop_reason="length"))
        (answer,) = talk(s, Turn(messages("U hi"), tools=[{"function": {"name": "search"}}]))
        assert answer.finish_reason == "tool_calls"

    def test_routed_experts_are_the_latest(self) -> None:
        s, _ = session(sampled("A1", routed_experts=[[1]]), sampled("A2", routed_experts=[[1], [2]]))
        talk(s, "U hi", "U hi, A A1, U m")
        assert s.trajectories()[0].to_json()["routed_experts"] == [[1], [2]]
        assert "routed_experts" not in session()[0].state()


def test_rb_07_one_separator_stands_at_the_seam_of_a_rollback() -> None:
    s, backend = session("A1", "A2", "F", codec=CharCodec("\n"))
    history = "U start, A A1, U second"
    talk(s, "U start", history, f"{history}, U replacement")
    assert last_context(backend) == "user:start\nassistant:A1\nuser:second\nuser:replacement\nassistant:"
