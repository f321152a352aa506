"""`reference-gateway` and `python -m reference_gateway`. Where the extra is not installed, says so."""

from __future__ import annotations

import sys

EXTRA = ("aiohttp", "fastapi", "httptools", "jinja2", "orjson", "starlette", "tokenizers", "uvicorn", "uvloop")
"""The packages of `gateway-conformance[gateway]`, and what comes with them."""


def main() -> int:
    """Returns the exit status."""
    try:
        from reference_gateway.cli import main as command

        return command()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        print(
            f"reference-gateway: error: {error.name} is not installed: pip install 'gateway-conformance[gateway]'",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
