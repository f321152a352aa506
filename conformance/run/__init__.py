"""One run of pytest: its options, its target, what becomes of each check."""
