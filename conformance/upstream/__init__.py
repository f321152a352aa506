"""The scripted model server ("the upstream"): a test says what the model will do, and this server does it.

`client.Upstream` is what tests hold; `server` is the process behind it; `script.Step` is what is said and
`ledger.Call` what is recorded.
"""

PORT = 8765
"""Where a server listens that people start by hand."""
