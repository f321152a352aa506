"""A pytest plug-in: the checks, or a share of them, in one random order, the same in every worker that is given the
same seed."""

from __future__ import annotations

import random

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, required=True, metavar="SEED")
    parser.addoption("--share", type=float, default=1.0, metavar="SHARE")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    random.Random(config.getoption("--shuffle")).shuffle(items)
    kept = round(len(items) * config.getoption("--share"))
    config.hook.pytest_deselected(items=items[kept:])
    del items[kept:]
