"""Lists as the OpenAI API has them: `order` (desc unless asked), `limit` (20) and `after`, which a query string says.

Knows objects with an id, in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl

from reference_gateway.wire.base import RequestRefused

PAGE = 20
LARGEST_PAGE = 100


def page_of(listed: Iterable[dict[str, Any]], query: bytes) -> dict[str, Any]:
    """The objects that the query asks for. Raises `RequestRefused` naming the parameter."""
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        raise RequestRefused("order must be asc or desc")
    limit = asked.get("limit", str(PAGE))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= LARGEST_PAGE:
        raise RequestRefused(f"limit must be a number from 1 to {LARGEST_PAGE}")
    items = list(listed)
    if order == "desc":
        items.reverse()
    if "after" in asked:
        places = [place for place, item in enumerate(items) if item["id"] == asked["after"]]
        if not places:
            raise RequestRefused("after must be the id of an item of the list")
        items = items[places[0] + 1 :]
    page = items[: int(limit)]
    return listing(page, has_more=len(items) > len(page))


def listing(page: Sequence[dict[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": has_more,
    }
