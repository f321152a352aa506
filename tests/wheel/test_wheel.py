"""The wheel, built from this checkout, installed in an environment of its own and used outside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "ray", "transformers"}
MISSING_MODEL = """
from conformance.fixtures import tiny_model_path
try:
    tiny_model_path()
except FileNotFoundError as error:
    print(error)
"""

pytestmark = pytest.mark.wheel


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    ours = ("PYTEST", "PYTHON", "TOX")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    result = subprocess.run([*map(str, command)], cwd=cwd, env=environment, text=True, capture_output=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    return next(folder.glob("gateway_conformance-*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` directory of an environment that holds the kit alone."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", folder, cwd=folder)
    call(folder / "bin" / "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "bin"


def shipped_fixtures() -> list[Path]:
    """The files of `fixtures/` that an installed kit needs."""
    folders = (ROOT / "fixtures" / "tokenizers", ROOT / "fixtures" / "files")
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_everything_needed_at_run_time_is_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (
        ("conformance/suite", "*.py"),
        ("conformance/suite/shapes", "*/*.json"),
        ("conformance/requirements", "*.toml"),
        ("conformance/oracles/schemas", "*.json"),
        ("conformance/report", "*.schema.json"),
    ):
        wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern)}
        assert wanted, folder
        assert wanted <= inside, wanted - inside
    assert {"conformance/py.typed", "reference_gateway/py.typed", "pytest_gateway_conformance.py"} <= inside
    assert {name for name in inside if name.startswith("conformance/fixtures/")} == {
        "conformance/fixtures/__init__.py",
        *(f"conformance/{path.relative_to(ROOT).as_posix()}" for path in shipped_fixtures()),
    }
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/", "reports/", "fixtures/"))]
    assert not [name for name in inside if name.endswith((".safetensors", "make.py", "make_model.py"))]


def test_the_kit_alone_is_small_and_works(installed: Path, tmp_path: Path) -> None:
    packages = call(installed / "pip", "list", "--format", "freeze", cwd=tmp_path).stdout.lower()
    names = {line.partition("==")[0] for line in packages.splitlines()}
    assert not names & HEAVY
    assert "fastapi" not in names
    listed = call(installed / "gateway-conformance", "requirements", "STREAM-004", cwd=tmp_path).stdout
    assert "STREAM-004" in listed
    without = subprocess.run([installed / "reference-gateway", "serve"], capture_output=True, text=True, check=False)
    assert without.returncode == 2
    assert without.stderr.splitlines()[-1].endswith("is not installed: pip install 'gateway-conformance[gateway]'")
    assert "Traceback" not in without.stderr
    folder = call(installed / "gateway-conformance", "tokenizer", "chatml", cwd=tmp_path).stdout.strip()
    assert (Path(folder) / "tokenizer.json").exists()
    missing = call(installed / "python", "-c", MISSING_MODEL, cwd=tmp_path).stdout
    assert "the tiny model is not part of the installed kit" in missing


def test_an_editable_install_finds_the_checkout_s_fixtures(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    call(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    call(environment / "bin" / "pip", "install", "--quiet", "--no-deps", "--editable", ROOT, cwd=tmp_path)
    asked = "from conformance.fixtures import *; print(FILES, fixture_path('chatml'), tiny_model_path(), sep='\\n')"
    answer = call(environment / "bin" / "python", "-c", asked, cwd=tmp_path).stdout.splitlines()
    expected = [ROOT / "fixtures" / folder for folder in ("files", "tokenizers/chatml", "tiny-model")]
    assert [Path(line) for line in answer] == expected


def test_the_source_distribution_carries_all_fixtures(tmp_path: Path) -> None:
    call(sys.executable, "-m", "venv", tmp_path / "environment", cwd=tmp_path)
    call(tmp_path / "environment" / "bin" / "pip", "install", "--quiet", "hatchling>=1.27", cwd=tmp_path)
    hatchling = (tmp_path / "environment" / "bin" / "python", "-m", "hatchling")
    call(*hatchling, "build", "--target", "sdist", "--directory", tmp_path / "dist", cwd=ROOT)
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    tracked = call("git", "ls-files", "fixtures", cwd=ROOT).stdout.split()
    assert "fixtures/tiny-model/model.safetensors" in tracked
    assert set(tracked) <= inside


def test_the_suite_runs_green_outside_the_checkout(installed: Path, wheel: Path, tmp_path: Path) -> None:
    call(installed / "pip", "install", "--quiet", f"{wheel}[gateway]", "pytest-xdist", cwd=tmp_path)
    packages = call(installed / "pip", "list", "--format", "freeze", cwd=tmp_path).stdout.lower()
    assert not {line.partition("==")[0] for line in packages.splitlines()} & HEAVY
    for arguments in ((), ("-n", "2")):
        command = ("--gateway", "reference", "--gateway-report", "report.json", *arguments)
        result = call(installed / "pytest", *command, cwd=tmp_path)
        assert " passed" in result.stdout
        assert json.loads((tmp_path / "report.json").read_text())["verdict"] == "conformant"


def test_the_installed_suite_runs_in_the_checkout(installed: Path, wheel: Path) -> None:
    """As the README has it: the tests' conftest puts the checkout's own packages on Python's path."""
    call(installed / "pip", "install", "--quiet", f"{wheel}[gateway]", cwd=ROOT)
    command = ("--gateway", "reference", "--gateway-only", "CHAT-001", "-p", "no:cacheprovider")
    assert "2 passed" in call(installed / "pytest", *command, cwd=ROOT).stdout


def test_the_installed_shapes_are_not_rewritten(installed: Path, wheel: Path, tmp_path: Path) -> None:
    call(installed / "pip", "install", "--quiet", f"{wheel}[gateway]", cwd=tmp_path)
    result = subprocess.run(
        [installed / "pytest", "--gateway", "reference", "--snapshot-update"],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--snapshot-update would rewrite the shapes inside the installed kit" in result.stderr
