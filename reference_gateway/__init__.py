"""A compact agent gateway: agents speak HTTP, engines speak tokens, trainers get token-exact trajectories."""

__version__ = "0.1.0"
