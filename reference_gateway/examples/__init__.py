"""Deployments to look at and to run with `reference-gateway serve --deployment MODULE:FACTORY`."""
