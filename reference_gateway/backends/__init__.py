"""Tokens -> tokens. One module per engine, each a `types.Backend`; `base.py` has what they share."""
