"""Packages from PyPI in an environment of their own, since frameworks want versions of one package that do not go
together.

Knows venv, pip and the metadata of a script (PEP 723); never what a package is for. An environment is installed when a
test first needs it and kept in pytest's cache, found again by what was asked for: a changed version is another install.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

INSTALL_S = 1200

_METADATA = re.compile(r"^# /// script$\n(?P<lines>(?:^#(?: .*)?$\n)+?)^# ///$", re.MULTILINE)


def dependencies(script: Path) -> list[str]:
    """The requirements that a script states in its metadata."""
    block = _METADATA.search(script.read_text(encoding="utf-8"))
    assert block is not None, f"{script.name} has no metadata of PEP 723"
    return tomllib.loads("\n".join(line.removeprefix("#") for line in block["lines"].splitlines()))["dependencies"]


def install(requirements: Sequence[str], cache: pytest.Cache, at_least: tuple[int, int] = (3, 11)) -> Path:
    """The Python of an environment with these packages. Skips the test where there is no Python of the version that
    they need; fails it with pip's own words where pip can't install."""
    base, version = _interpreter(at_least)
    key = hashlib.sha256("\n".join([version, *requirements]).encode()).hexdigest()[:12]
    folder = Path(cache.mkdir(f"pypi-{key}"))
    done = folder / "env"
    python = Path("bin", "python")
    if done.exists():
        return done / python
    # Installed beside its place and then moved there: a run that is killed leaves nothing that looks whole. Only the
    # packages are used: the commands in bin/ name the place where they were installed.
    beside = folder / f"installing-{os.getpid()}"
    try:
        subprocess.run([base, "-m", "venv", "--without-pip", "--symlinks", str(beside)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(beside / python), "install", "--quiet", "--no-compile"]
        result = subprocess.run([*pip, *requirements], capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if result.returncode:
            pytest.fail(f"pip install failed with {result.returncode}\n{result.stderr[-4000:]}", pytrace=False)
        if not done.exists():
            beside.rename(done)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return done / python


def _interpreter(at_least: tuple[int, int]) -> tuple[str, str]:
    """The command of a Python that is new enough, and its version: this one, or one that the PATH has."""
    if sys.version_info >= at_least:
        return sys.executable, sys.version
    major, least = at_least
    for name in (f"python{major}.{minor}" for minor in range(least, least + 4)):
        # Tried, as a name may be a shim for a version that is not there.
        if shutil.which(name):
            tried = subprocess.run([name, "-c", "import sys; print(sys.version)"], capture_output=True, text=True)
            if tried.returncode == 0:
                return name, tried.stdout.strip()
    pytest.skip(f"no Python {major}.{least} or newer on the PATH, which these packages need")
