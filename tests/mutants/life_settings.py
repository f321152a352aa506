"""Mutants of area LIFE: defaults that are lost, shared or unchecked, and rewards that land elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reference_gateway.session import Session, SessionClosed, Trajectory
from reference_gateway.session.session import ENVELOPE, Phase
from tests.mutants.commit import streaming
from tests.mutants.registry import mutant
from tests.mutants.sabotage import Answer, Sabotage
from tests.mutants.token_export import exporting_streams


@mutant("LIFE-020")
def only_known_defaults_are_merged(gateway: Sabotage) -> None:
    """Of a session's sampling defaults only those that the first version had are merged, and `top_p` is not."""

    @gateway.wrap(Session, "_effective_sampling")
    def effective(original: Any, self: Session, turn: Any) -> Any:
        known = ("temperature", "max_tokens", "logprobs", "stop")
        self._sampling = {name: self._sampling[name] for name in known if name in self._sampling}
        return original(self, turn)


@mutant("LIFE-021")
def defaults_win_over_the_request(gateway: Sabotage) -> None:
    """The merge of defaults and request is the wrong way round."""

    @gateway.wrap(Session, "_effective_sampling")
    def effective(original: Any, self: Session, turn: Any) -> Any:
        sampling, asked = original(self, turn)
        return {**sampling, **{name: self._sampling[name] for name in sampling if name in self._sampling}}, asked


@mutant("LIFE-022")
def request_changes_the_defaults(gateway: Sabotage) -> None:
    """The request's values are merged into the session's own dictionary."""

    @gateway.wrap(Session, "_effective_sampling")
    def effective(original: Any, self: Session, turn: Any) -> Any:
        self._sampling.update(turn.sampling)
        return original(self, turn)


@mutant("LIFE-023", bugs=(45,))
def default_max_tokens_is_not_checked(gateway: Sabotage) -> None:
    """Only the request's own token limit is checked."""

    @gateway.wrap(Session, "_effective_sampling")
    def effective(original: Any, self: Session, turn: Any) -> Any:
        if turn.max_tokens is not None or "max_tokens" not in self._sampling:
            return original(self, turn)
        sampling = {name: value for name, value in self._sampling.items() if name not in ENVELOPE} | dict(turn.sampling)
        return sampling, sampling.pop("max_tokens")


@mutant("LIFE-024")
def creation_is_refused_in_the_framework_s_words(gateway: Sabotage) -> None:
    """A creation that is refused is answered with the framework's own body."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path == "/sessions" and answer.status == 400:
            answer.json = {"detail": answer.json["error"]["message"]}


@mutant("LIFE-024")
def malformed_creation_is_a_server_error(gateway: Sabotage) -> None:
    """A creation whose body cannot be read is answered with status 500."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path == "/sessions" and answer.status == 400 and not isinstance(answer.asked, dict):
            answer.status = 500


@mutant("LIFE-025")
def reward_ends_the_conversation(gateway: Sabotage) -> None:
    """A reward is taken for the end of the session, and later streams are refused."""
    streamed, rewarded = streaming(gateway), set()

    @gateway.wrap(Session, "set_reward")
    def set_reward(original: Any, self: Session, reward_info: Any) -> None:
        original(self, reward_info)
        rewarded.add(self)

    @gateway.wrap(Session, "_run")
    def run(original: Any, self: Session, turn: Any) -> Any:
        if self in rewarded and streamed.get():
            raise SessionClosed(self.session_id, "REWARDED")
        return original(self, turn)


@mutant("LIFE-026")
def reward_is_on_the_last_trajectory_only(gateway: Sabotage) -> None:
    """The reward of a session that streams is put on the trajectory that ended last."""

    @exporting_streams(gateway)
    def clear(session: Session, exported: list[Trajectory]) -> None:
        for each in exported[:-1]:
            each.reward_info = {}


@mutant("LIFE-027")
def reward_is_shared_by_all_sessions(gateway: Sabotage) -> None:
    """A reward is put on every session that is alive."""
    alive: list[Session] = []

    @gateway.wrap(Session, "__init__")
    def init(original: Any, self: Session, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        alive.append(self)

    @gateway.wrap(Session, "set_reward")
    def set_reward(original: Any, self: Session, reward_info: Any) -> None:
        for each in alive:
            each._reward(reward_info)


@mutant("LIFE-028")
def rewards_are_merged(gateway: Sabotage) -> None:
    """A later reward is merged into the earlier one."""

    @gateway.wrap(Session, "set_reward")
    def set_reward(original: Any, self: Session, reward_info: Any) -> None:
        original(self, {**self.reward_info, **(reward_info or {})})


@mutant("LIFE-029")
def bad_reward_is_a_server_error(gateway: Sabotage) -> None:
    """A reward of another type ends in status 500."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/reward_info") and answer.status == 400:
            answer.status = 500


@mutant("LIFE-029")
def any_reward_is_accepted(gateway: Sabotage) -> None:
    """A reward of any type is answered with status 200."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/reward_info") and answer.status == 400:
            answer.status, answer.json = 200, {"status": "ok"}


@mutant("LIFE-030")
def late_reward_is_accepted_and_lost(gateway: Sabotage) -> None:
    """A reward for a session that is gone is answered with status 200."""

    @gateway.rewrite
    def change(answer: Answer) -> None:
        if answer.path.endswith("/reward_info") and answer.status == 404:
            answer.status, answer.json = 200, {"status": "ok"}


@mutant("LIFE-031")
def reward_of_complete_is_ignored(gateway: Sabotage) -> None:
    """The body of a completion is not read."""

    @gateway.wrap(Session, "complete")
    def complete(original: Any, self: Session, reward_info: Any = None) -> None:
        original(self)


@mutant("LIFE-038")
def reward_misses_what_was_rewritten(gateway: Sabotage) -> None:
    """A trajectory that was closed before the reward came, in a session with a rewritten answer, has none."""

    @gateway.wrap(Session, "finalize")
    def finalize(original: Any, self: Session) -> list[Trajectory]:
        rewritten = self._tree.rollbacks > 0
        first, *rest = original(self) or [None]
        if first is not None and rewritten and rest:
            first = replace(first, reward_info={})
        return [first, *rest] if first is not None else []


@mutant("LIFE-039")
def second_completion_takes_the_reward_away(gateway: Sabotage) -> None:
    """A session that is completed again without a reward has none."""

    @gateway.wrap(Session, "complete")
    def complete(original: Any, self: Session, reward_info: Any = None) -> None:
        again = self.phase is Phase.COMPLETED
        original(self, {} if again and reward_info is None else reward_info)
