"""Area SPLIT: conversations that nobody thought of."""

from __future__ import annotations

import pytest

from conformance.vocabulary.random_agent import CHATS, Search, exports


@pytest.mark.requirement(id="SPLIT-053")
def test_any_conversation_accounts_for_every_token(target, capsys):
    """Whatever an agent does with its history, each sampled token is exported once where the model saw its context, or
    reported as given up."""
    search = Search.chosen()
    if search.announced:
        with capsys.disabled():
            print(f"\n{search.announced} repeats the theme {CHATS}")

    search.run(CHATS, target, exports)
