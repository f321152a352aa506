"""docs/declaring.md: the guide, which is written by hand, and below it the words with their meaning.

python -m tests.kit.declaring_page        # writes the words again
"""

from __future__ import annotations

from pathlib import Path

from conformance.requirements import Catalogue
from conformance.requirements.declared import capabilities, options, render_capabilities, render_options

PAGE = Path(__file__).parents[2] / "docs" / "declaring.md"
MARK = "<!-- Below this line the page is made by `python -m tests.kit.declaring_page`. -->"


def page(written: str) -> str:
    """The page with this text, whose words are made anew: all that stands before the mark is kept."""
    guide, mark, _ = written.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} has no line {MARK}")
    catalogue = Catalogue.load()
    words = [
        "## Options",
        "`gateway-conformance options NAME` prints the ids of the requirements about each value, and "
        "`gateway-conformance requirements ID` what they say.",
        render_options(options(catalogue), "markdown"),
        "## Capabilities",
        "What the driver must have (methods of `conformance.gateway.Driver`, with the arguments that count), and what "
        "the gateway must do on the wire. `gateway-conformance capabilities NAME` prints the ids of the requirements.",
        render_capabilities(capabilities(catalogue), "markdown"),
    ]
    return "\n\n".join([guide + MARK, *words]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
