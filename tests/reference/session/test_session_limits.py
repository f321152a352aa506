"""What a session is created with, what it is limited to, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest
from session_doubles import (
    IMAGE,
    VIDEO,
    Backend,
    CharCodec,
    chain_ids,
    messages,
    responses,
    sampled,
    session,
    shown,
    talk,
    text,
    turn,
)

from reference_gateway.session import InvalidField, Session, SessionClosed, Settings
from reference_gateway.types import Media, Message, Turn

HI = "user:hi\nassistant:"


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

    @pytest.mark.parametrize(
        ("stop_reason", "finish_reason"), [("stop", "tool_calls"), (None, "tool_calls"), ("length", "length")]
    )
    def test_tool_calls_decide_the_finish_reason_unless_it_was_cut(self, stop_reason, finish_reason) -> None:
        s, _ = session(sampled("<tool_call>", stop_reason=stop_reason))
        (answer,) = talk(s, Turn(messages("U hi"), tools=[{"function": {"name": "search"}}]))
        assert (answer.finish_reason, "tool_calls" in answer.message) == (finish_reason, True)

    def test_routed_experts_are_the_latest(self) -> None:
        s, _ = session(sampled("A1", routed_experts=[[1]]), sampled("A2", routed_experts=[[1], [2]]))
        talk(s, "U hi", "U hi, A A1, U m")
        assert s.trajectories()[0].to_json()["routed_experts"] == [[1], [2]]
        assert "routed_experts" not in session()[0].state()
