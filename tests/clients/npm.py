"""Packages from npm, installed when a test first needs them and kept in pytest's cache.

Knows `npm`; never what a package is for. What was installed is found again by the bytes of `package.json`, so a changed
version is another install and nothing is updated in place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL_S = 600


def install(manifest: Path, cache: pytest.Cache) -> Path:
    """The `node_modules` folder with the packages of `manifest`, a `package.json`. Skips the test where node or npm is
    missing; fails it with npm's own words where npm can't install."""
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        pytest.skip(f"{' and '.join(missing)} not found: install Node.js to run clients from npm")
    key = hashlib.sha256(manifest.read_bytes()).hexdigest()[:12]
    folder = Path(cache.mkdir(f"npm-{manifest.parent.name}-{key}"))
    done = folder / "node_modules"
    if done.exists():
        return done
    # Installed beside its place and then moved there: a run that is killed leaves nothing that looks whole.
    beside = folder / f"installing-{os.getpid()}"
    beside.mkdir()
    try:
        shutil.copy(manifest, beside)
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--no-update-notifier"]
        result = subprocess.run(command, cwd=beside, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if result.returncode:
            pytest.fail(f"npm install failed with {result.returncode}\n{result.stderr[-4000:]}", pytrace=False)
        if not done.exists():
            (beside / "node_modules").rename(done)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return done
