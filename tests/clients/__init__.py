"""Real clients, unmodified, on the reference gateway: SDKs in CI, frameworks and coding agents in a nightly run."""
