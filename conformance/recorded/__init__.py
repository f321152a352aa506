"""Judging what others recorded, outside pytest."""
