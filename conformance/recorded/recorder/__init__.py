"""The recorder: a proxy between any gateway and its engine that keeps a ledger of every generation.

`routes` knows what an engine's route takes and says, `recording` what is kept of one call, `relay` the two connections
of one gateway's socket, `server` the process.
"""

PORT = 8766
"""Where a recorder listens that people start by hand."""

UNREAD = "unread"
"""The outcome of a call that the engine answered without telling what it sampled; its `message` says why."""
