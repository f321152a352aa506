"""The words of which checks are made."""
