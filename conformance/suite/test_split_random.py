"""Area SPLIT: conversations that nobody thought of."""

from __future__ import annotations

import pytest

from conformance.vocabulary.random_agent import Search


@pytest.mark.requirement(id="SPLIT-053")
def test_any_conversation_accounts_for_every_token(target, capsys):
    """Whatever an agent does with its history, each sampled token is exported once where the model saw its context, or
    reported as given up."""
    search = Search.chosen()
    if search != Search():
        with capsys.disabled():
            print(f"\nrandom conversations: GATEWAY_SEED={search.seed} repeats them")

    search.run(target)
