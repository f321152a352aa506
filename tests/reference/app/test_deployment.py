"""What is put around invocations: found by its name, declared, started and stopped with the gateway (AF-LIF)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reference_gateway.cli import main
from reference_gateway.config import Config
from reference_gateway.deployment import Deployment, load_deployment

MODULE = """
from pathlib import Path

from reference_gateway.deployment import Deployment
from reference_gateway.serving.lifespan import Part

STORY = Path(__file__).with_name("story")


def tell(what):
    with STORY.open("a") as file:
        file.write(what + " ")


def begin():
    tell("up")


def end():
    tell("down")


def first():
    raise OSError("no disk")


def second():
    raise LookupError("no mailbox")


def broken(config):
    return Deployment(parts=[Part(first), Part(begin, end), Part(second)])


def wrong(config):
    return {}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "around.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("around", "deployment must be package.module:function, not 'around'"),
        (":broken", "deployment must be"),
        ("nowhere_at_all:broken", "cannot be imported: No module named 'nowhere_at_all'"),
        ("around:missing", "the module 'around' has no 'missing'"),
        ("around:wrong", "it made dict"),
        ("around:STORY", "it made PosixPath"),
        ("reference_gateway.examples.demo:deployment", "backend_url must be the kit's upstream"),
    ],
)
def test_a_wrong_name_is_told(name, error, module, capsys):
    with pytest.raises(ValueError, match=error):
        load_deployment(name, Config())
    assert main(["serve", "--deployment", name]) == 2
    assert error in capsys.readouterr().err


def test_the_demo_declares_what_it_is(monkeypatch):
    config = Config(backend_url="http://127.0.0.1:9")
    for name, form in (("deployment", "report"), ("with_task_delivery", "task_runner")):
        made = load_deployment(f"reference_gateway.examples.demo:{name}", config)
        assert isinstance(made, Deployment)
        assert made.delivery is not None
        assert made.delivery.option == form
        assert list(made.declares) == ["hooks", "delivery", "background-tasks"]


@pytest.mark.parametrize(("given", "story"), [("shutdown_started", "up down "), ("no_shutdown", "up ")])
def test_a_start_up_that_fails_ends_the_command(module, given, story):
    command = [*(sys.executable, "-m", "reference_gateway", "serve", "--port", "0", "--deployment", "around:broken")]
    ended = subprocess.run(
        [*command, "--startup-failure", given],
        env={**os.environ, "PYTHONPATH": str(module)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert (module / "story").read_text() == story
    for callback in ("around.first", "around.second"):
        assert callback in ended.stderr, "each failure is logged with the callback's name"
    assert ended.stderr.index("no disk") < ended.stderr.index("no mailbox")
