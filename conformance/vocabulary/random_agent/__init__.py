"""An agent that does anything, and the shortest story in which a gateway gets that wrong.

    plan      what it does, as data: themes, kinds of moves, how a plan is made simpler
    dialogue  the conversations that it holds, and each request with what must hold for it
    roamer    how it asks, in one session, in the words of the journeys
    moves     what it does, kind by kind
    verdict   what must hold of it: contexts, answers, exports
    search    plans by a seed, played and shortened; several sessions together

A story is played in sessions of its own, with a nonce of its own, and judged by what holds for every story and every
gateway. Knows messages and the script of the upstream; never what a gateway makes of a move.
"""

from conformance.vocabulary.random_agent.plan import CHATS, THEMES, Theme
from conformance.vocabulary.random_agent.search import Search, exports

__all__ = ["CHATS", "THEMES", "Search", "Theme", "exports"]
