"""The tool that changes the reference gateway one edit at a time: its edits, what it keeps, and what it tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_gateway import types
from reference_gateway.backends import base
from reference_gateway.session import retry
from tests.knife.weaken import Weakening, imported
from tests.mutants.forks import forked
from tests.mutate import page, survivors
from tests.mutate.edits import edits_of
from tests.mutate.verdicts import Kept, Verdict, shard_of

ROOT = Path(__file__).parents[2]
RETRY = "reference_gateway/session/retry.py"


def shown(source: str) -> set[tuple[str, str]]:
    return {(edit.was, edit.now) for edit in edits_of("a.py", source)}


def in_a_fork(work: Callable[[], Any]) -> Any:
    (answer,) = forked([("work", work)], 1)
    assert not answer.crash, answer.crash
    return answer.value


def verdict(how: str, was: str = "a", file: str = RETRY, state: str = "now") -> Verdict:
    return Verdict(file, "Retries.attempt", was, "b", 1, 30, how, state=state)


@pytest.mark.parametrize(
    ("code", "was", "now"),
    [
        ("if a < b:\n  c()", "a < b", "a <= b"),
        ("if a < b:\n  c()", "a < b", "a >= b"),
        ("return 0 < a < b", "0 < a < b", "0 < a <= b"),
        ("if a:\n  c()", "if a", "if False"),
        ("if a:\n  c()", "if a", "if True"),
        ("return a or b", "a or b", "a and b"),
        ("return a or b", "a or b", "a"),
        ("return a - 1", "a - 1", "a + 1"),
        ("return a - 1", "1", "2"),
        ("return call(a, b)", "call(a, b)", "call(b, a)"),
        ("return call(a, b=c)", "call(b=c)", "call()"),
        ("a.b = c", "a.b = c", "pass"),
        ("a.b(c)", "a.b(c)", "pass"),
        ("return {'a': b, 'c': d}", "{'a': b}", "{}"),
        ("return {'a': b, 'c': d}", "'c'", "'c_'"),
        ("return a", "return a", "return None"),
        ("return [each for each in a if each]", "if each", "if True"),
    ],
)
def test_there_is_an_edit(code: str, was: str, now: str) -> None:
    body = "\n".join(f"  {line}" for line in code.splitlines())
    assert (was, now) in shown(f"def f():\n{body}\n")


@pytest.mark.parametrize("code", ['"""Words."""', "raise E(f'a {b}')", "log.info('a_b', a)", "raise E('some words')"])
def test_words_are_not_edited(code: str) -> None:
    assert not {now for _, now in shown(f"def f():\n  {code}\n")} - {"", "pass"}


def test_defaults_and_constants_of_a_module_are_edited() -> None:
    source = "LIMIT = 5\ndef f(a, b=1, *, c=True): pass\nclass D:\n  x: int = 3\n"

    assert shown(source) == {
        ("LIMIT = 5", "LIMIT = 6"),
        ("b = 1", "b = 2"),
        ("c = True", "c = False"),
        ("x = 3", "x = 4"),
    }


def test_edit_of_a_function_is_lived() -> None:
    def work() -> Any:
        edit = next(edit for edit in edits_of(RETRY, (ROOT / RETRY).read_text()) if edit.now == "return None")
        functions = imported([ROOT / RETRY])
        edit.live(ROOT / RETRY, functions)
        return retry._name(object(), "key")  # type: ignore[arg-type]

    assert in_a_fork(work) is None


@pytest.mark.parametrize("module", [types, base], ids=["types", "base"])
def test_every_edit_outside_of_functions_is_lived(module: Any) -> None:
    source = Path(module.__file__)
    edits = [edit for edit in edits_of(str(source.relative_to(ROOT)), source.read_text()) if " = " in edit.was]
    outside = [edit for edit in edits if type(edit) is not Weakening]
    assert outside

    def work() -> Any:
        for edit in outside:
            edit.live(source, {})
        return len(outside)

    assert in_a_fork(work) == len(outside)


def test_a_shard_is_a_part_and_all_shards_are_all() -> None:
    edits = edits_of(RETRY, (ROOT / RETRY).read_text())

    parts = [[edit.key for edit in shard_of(edits, number, 4)] for number in range(1, 5)]

    assert sorted(key for part in parts for key in part) == sorted(edit.key for edit in edits)
    assert all(0 < len(part) < len(edits) for part in parts)


def test_what_has_a_verdict_is_not_judged_again(tmp_path: Path) -> None:
    edits = edits_of(RETRY, (ROOT / RETRY).read_text())[:3]
    for edit, how in zip(edits, ["check", "survived"], strict=False):
        Kept(tmp_path).add(Verdict(*edit.key, edit.lines.start, how, state="now", modes=["default"]))
    with next(tmp_path.iterdir()).open("a") as file:
        file.write('{"file": "cut of')  # a run that was ended

    assert Kept(tmp_path).left(edits, "now") == edits[2:]
    assert Kept(tmp_path).left(edits, "later") == edits
    assert Kept(tmp_path).left(edits, "later", again=True) == edits[1:]
    Kept(tmp_path).forget(edits[:1], "later")
    assert Kept(tmp_path).verdicts.keys() == {edits[1].key}


def test_what_survived_is_judged_in_each_mode(tmp_path: Path) -> None:
    edits = edits_of(RETRY, (ROOT / RETRY).read_text())[:2]
    for edit, how in zip(edits, ["check", "survived"], strict=True):
        Kept(tmp_path).add(Verdict(*edit.key, edit.lines.start, how, state="now", modes=["default"]))

    assert Kept(tmp_path).left(edits, "now", "sglang") == edits[1:]

    Kept(tmp_path).add(Verdict(*edits[1].key, 1, "not reached", state="now", modes=["sglang"]))
    assert Kept(tmp_path).left(edits, "now", "sglang") == []
    assert Kept(tmp_path).verdicts[edits[1].key].how == "survived"


def listed(tmp_path: Path, text: str) -> list[survivors.Entry]:
    (tmp_path / "survivors.toml").write_text(text)
    return survivors.load(tmp_path / "survivors.toml")


def entry(edits: str = "edits = [['a', 'b']]", kind: str = "equivalent", why: str = "it is so") -> str:
    return f"[[survivor]]\nfile = '{RETRY}'\nfunction = 'Retries.attempt'\n{edits}\nclass = '{kind}'\nwhy = '{why}'\n"


@pytest.mark.parametrize("edits", ["edits = [['a', 'b']]", ""], ids=["named", "all of the function"])
def test_survivor_with_a_reason_is_not_open(tmp_path: Path, edits: str) -> None:
    entries = listed(tmp_path, entry(edits))
    verdicts = {each.key: each for each in (verdict("survived"), verdict("check", "noticed"))}

    assert survivors.stale(entries, verdicts, {RETRY}) == []
    assert page.counted(verdicts.values(), entries)[RETRY]["equivalent"] == 1
    assert page.counted(verdicts.values(), [])[RETRY]["edits_open"] == [["Retries.attempt", "a", "b", 1]]


@pytest.mark.parametrize(
    ("how", "edits", "problem"),
    [
        ("check", "edits = [['a', 'b']]", "listed, but noticed"),
        ("not reached", "edits = [['a', 'b']]", "listed, but no check reaches it"),
        ("survived", "edits = [['gone', 'b']]", "listed, but there is no such edit"),
        ("survived", "edits = [['a', 'b', 2]]", "listed, but there is no such edit"),
        ("check", "", "listed, but nothing survives there"),
    ],
)
def test_stale_entry_is_told(tmp_path: Path, how: str, edits: str, problem: str) -> None:
    each = verdict(how)

    (told,) = survivors.stale(listed(tmp_path, entry(edits)), {each.key: each}, {RETRY})

    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (entry(kind="fine"), "class is one of"),
        (entry(why=""), "says no reason"),
        (entry(edits="edits = [['a']]"), "an edit is"),
        (entry() + "note = 'x'", "no entry has note"),
    ],
)
def test_entry_that_lacks_something_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        listed(tmp_path, text)


def test_every_survivor_that_is_listed_exists() -> None:
    for each in survivors.load():
        keys = {edit.key for edit in edits_of(each.file, (ROOT / each.file).read_text("utf-8"))}
        assert set(each.keys) <= keys, each
        assert any(each.covers(key) for key in keys), each


def test_new_hole_is_told_and_an_old_one_is_not() -> None:
    before = page.counted([verdict("survived", "old"), verdict("check", "new")], [])
    now = page.counted([verdict("survived", "old"), verdict("survived", "new")], [])

    (told,) = page.newly_open(now, before)

    assert "'new' -> 'b'" in told
    assert page.newly_open(now, {}) == [], "a file that is published for the first time has no holes that are new"


def test_room_of_which_too_little_is_noticed_is_told() -> None:
    noticed = [verdict("check", str(number)) for number in range(9)]

    assert page.below(page.counted([*noticed, verdict("survived", "open")], [])) == []
    assert len(page.below(page.counted([*noticed[:8], verdict("survived", "open")], []))) == 1


def test_published_page_is_that_of_the_data() -> None:
    assert page.PAGE.read_text("utf-8") == page.page(page.published())


@pytest.mark.mutants
def test_suite_notices_what_can_be_seen_and_a_run_goes_on(tmp_path: Path) -> None:
    """With two requirements, in another process: an edit that they notice, one that is equivalent, and what is left."""

    def run(function: str) -> tuple[str, dict[str, Verdict]]:
        command = [
            sys.executable,
            "-m",
            "tests.mutate",
            RETRY,
            "--only",
            "CONC-01[78]",
            "--state",
            str(tmp_path),
            "--mode",
            "default",
        ]
        ran = subprocess.run([*command, "--function", function], cwd=ROOT, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout, {each.was: each for each in Kept(tmp_path).verdicts.values()}

    output, verdicts = run("record")
    assert "2 edits, 2 of them to judge" in output
    assert verdicts["self._answers[_name(turn, key)] = answer"].noticed
    assert verdicts["self._answers[_name(turn, key)] = answer"].by in ("CONC-017", "CONC-018")

    output, verdicts = run("_name")
    assert verdicts["(turn.idempotency_key or '', key)"].how == "survived"
    assert ", 0 of them to judge" in run("record")[0]
