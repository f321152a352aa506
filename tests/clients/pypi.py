"""Packages from PyPI, each script's in an environment of its own, since frameworks want versions of one package that do
not go together.

Knows venv, pip and the metadata of a script (PEP 723); never what a package is for. An environment is installed when a
test first needs it and kept in pytest's cache, found again by what is asked for: a changed version is another install.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

INSTALL_S = 1200

_METADATA = re.compile(r"^# /// script$\n(?P<lines>(?:^#(?: .*)?$\n)+?)^# ///$", re.MULTILINE)


def requirements(script: Path) -> list[str]:
    """What the `dependencies` of the script's metadata ask for."""
    block = _METADATA.search(script.read_text())
    assert block is not None, f"{script.name} has no metadata of PEP 723"
    lines = block["lines"].splitlines()
    return tomllib.loads("\n".join(line.removeprefix("#") for line in lines))["dependencies"]


def install(script: Path, cache: pytest.Cache) -> Path:
    """The Python of an environment with the packages that the script asks for. Fails the test with pip's own words where
    pip can't install."""
    asked = requirements(script)
    key = hashlib.sha256("\n".join([sys.version, *asked]).encode()).hexdigest()[:12]
    folder = Path(cache.mkdir(f"pypi-{script.stem}-{key}"))
    done = folder / "env"
    python = Path("bin", "python")
    if done.exists():
        return done / python
    # Installed beside its place and then moved there: a run that is killed leaves nothing that looks whole. What is
    # moved are the packages; the commands in bin/ name the place where they were installed.
    beside = folder / f"installing-{os.getpid()}"
    try:
        venv.create(beside, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(beside / python), "install", "--quiet", "--no-compile"]
        result = subprocess.run([*pip, *asked], capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if result.returncode:
            pytest.fail(f"pip install failed with {result.returncode}\n{result.stderr[-4000:]}", pytrace=False)
        if not done.exists():
            beside.rename(done)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return done / python
