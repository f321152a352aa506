"""Agent frameworks and coding agents, offline: the gateway is the only server that they can reach."""
