"""The requirement catalogue: what a conformant gateway must, should and may do, as data.

One TOML file per area holds the sentences; `2026.1.toml` is the frozen set that a verdict is about; `retired.toml`
keeps the ids that may never be used again.
"""

from conformance.requirements.catalogue import (
    ANY,
    FROZEN_SET,
    LEVELS,
    NEEDS,
    Area,
    Catalogue,
    Profile,
    Requirement,
    UnknownRequirement,
)
from conformance.requirements.fields import CatalogueError
from conformance.requirements.table import FORMATS, render_table

__all__ = [
    "ANY",
    "FORMATS",
    "FROZEN_SET",
    "LEVELS",
    "NEEDS",
    "Area",
    "Catalogue",
    "CatalogueError",
    "Profile",
    "Requirement",
    "UnknownRequirement",
    "render_table",
]
