"""Gateways that are wrong in one way each, and the proof that the suite says so by the right requirement.

A mutant is a small function that sabotages the reference gateway: it names the requirement that must kill it and, where
there is one, the real defect that it stands for. `tox -e mutants` runs the whole suite against each.
"""
