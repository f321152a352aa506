from __future__ import annotations

from hypothesis import settings

# The same examples every time, and no verdict from a clock: a red run is a fact about the code.
settings.register_profile("derandomised", deadline=None, derandomize=True, database=None)
settings.load_profile("derandomised")
