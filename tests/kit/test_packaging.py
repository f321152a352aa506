"""What the package says of itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def lower_bounds(*extras: str) -> dict[str, str]:
    """Package -> the lowest version that is allowed, of what is installed with these extras."""
    wanted = PROJECT["dependencies"] + [one for extra in extras for one in PROJECT["optional-dependencies"][extra]]
    bounds = (re.match(r"([A-Za-z0-9_.-]+)(?:\[\w+\])?>=([0-9.]+)", requirement) for requirement in wanted)
    return {bound[1]: bound[2] for bound in bounds if bound}


def test_the_lowest_versions_are_those_that_are_tried() -> None:
    lines = (ROOT / "tests" / "lowest.txt").read_text("utf-8").splitlines()
    tried = dict(line.partition(";")[0].split("==") for line in lines if line and not line.startswith("#"))
    bounds = lower_bounds("shapes", "gateway")
    assert bounds.keys() <= tried.keys()
    for name, version in bounds.items():
        # The first version that says no more than the bound does: 9.0 is 9.0.0.
        assert tried[name].removeprefix(version).strip(".0") == "", name


def test_what_tox_tries_is_what_the_workflow_runs() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    default = re.search(r"^env_list = (.+)$", (ROOT / "tox.ini").read_text("utf-8"), re.MULTILINE)
    assert default is not None
    assert set(default[1].split(", ")) <= set(re.findall(r"env: ([\w-]+)}", workflow))


def test_public_paths_are_there() -> None:
    from conformance.gateway import Capability, Driver, Gateway, Trajectory  # noqa: F401
    from conformance.oracles import Violation  # noqa: F401
    from conformance.suite.fixtures import session, sessions, target  # noqa: F401
    from conformance.upstream.client import Upstream  # noqa: F401
    from conformance.vocabulary.expect import expect  # noqa: F401
