"""Agent frameworks and coding agents, offline: they reach loopback, the gateway listens there, and nothing else does."""
