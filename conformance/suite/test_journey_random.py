"""Area JOURNEY: stories that nobody thought of.

What an agent does in them stands in `conformance.vocabulary.random_agent`.
"""

from __future__ import annotations

import pytest

from conformance.vocabulary.random_agent import THEMES, Search


@pytest.mark.requirement(id="JOURNEY-010")
@pytest.mark.parametrize("theme", THEMES, ids=str)
def test_any_story_holds_what_holds_for_every_story(theme, target, capsys):
    """Whatever an agent does in its sessions, over whichever wires and in whatever order: a turn asks the engine once,
    with all that was said so far and the values of its own request, is answered with what was sampled, and is exported
    once behind that context; of a turn that failed nothing is exported, and of one that was given up all or nothing."""
    search = Search.chosen()
    if search.announced:
        with capsys.disabled():
            print(f"\n{search.announced} repeats the theme {theme}")

    search.run(theme, target)
