"""Files from anywhere, given to the kit's commands: a judgement or one clear sentence, never a traceback."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.cli import main
from conformance.recorded.file import CONTEXT, GENERATION, LOGPROBS, MASK, PROMPT, RESPONSE, WHOLE
from conformance.requirements import Catalogue
from conformance.run.checks import known_defects
from tests.fuzz.documents import JSON, TEXT, bodies, spoiled

IDS = st.lists(st.integers(0, 300), max_size=4)
LISTS = IDS | st.lists(st.floats(max_value=0, allow_nan=False), max_size=4) | st.lists(JSON, max_size=3) | JSON
NAMES = st.sampled_from([*PROMPT, *RESPONSE, *MASK, *LOGPROBS, *WHOLE, "response_length", "extra_fields"])
TRAJECTORY = {
    "prompt_ids": [1, 2],
    "response_ids": [3, 4, 5],
    "response_mask": [1, 0, 1],
    "response_logprobs": [-0.5, 0.0, -1.5],
    "extra_fields": {"rollback_count": 1},
}
WHOLE_TRAJECTORY = {"tokens": [1, 2, 3, 4], "loss_mask": [0, 0, 1, 1], "response_length": 2}
CALL = {"context": [1, 2], "generations": [[3]], "logprobs": [-0.5], "outcome": "answered"}
LINES = st.lists(
    st.dictionaries(NAMES, LISTS, max_size=5).map(json.dumps)
    | bodies(TRAJECTORY, WHOLE_TRAJECTORY, {"trajectories": [TRAJECTORY]}).map(lambda raw: raw.decode("latin-1"))
    | st.just(json.dumps(TRAJECTORY)),
    max_size=3,
)
LEDGER = st.lists(
    spoiled(CALL).map(json.dumps)
    | st.dictionaries(st.sampled_from([*CONTEXT, *GENERATION, "generations", "outcome"]), LISTS).map(json.dumps)
    | st.just(json.dumps(CALL)),
    max_size=3,
)
REPORT = json.loads(next(Path(__file__).parents[2].glob("reports/*/report.json")).read_text("utf-8"))
REPORT["requirements"] = REPORT["requirements"][:2]


def run(*arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it says; a wrong input is said in one line, on stderr."""
    printed, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(complained):
        try:
            code: Any = main(arguments)
        except SystemExit as left:
            code = left.code
    out, err = printed.getvalue(), complained.getvalue()
    out.encode()
    assert code in (0, 1, 2)
    assert "Traceback" not in out + err
    if code == 2:
        assert err.startswith(f"gateway-conformance {arguments[0]}: ")
        assert len(err.splitlines()) == 1, err
        assert not out
    return code, out + err


@given(
    st.one_of(LINES.map("\n".join).map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=60)), st.data()
)
def test_any_trajectory_file_is_judged_or_named_unreadable(tmp_path_factory, body, data):
    folder = tmp_path_factory.getbasetemp()
    file, ledger = folder / "trajectories.jsonl", folder / "ledger.jsonl"
    file.write_bytes(body)
    more = data.draw(st.sampled_from([[], ["--format", "json"], ["--superseded", "1"]]))
    if data.draw(st.booleans()):
        ledger.write_text("\n".join(data.draw(LEDGER)), "utf-8", "replace")
        more = [*more, "--ledger", str(ledger)]
    code, said = run("check-trajectory", str(file), *more)
    if code == 2:
        assert str(file) in said or str(ledger) in said
    elif "json" in more:
        assert all(one["line"] >= 1 for one in json.loads(said)["violations"])


STREAMS = [
    b'data: {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": '
    b'[{"index": 0, "delta": {"role": "assistant", "content": "a"}, "finish_reason": null}]}\n\ndata: [DONE]\n\n',
    b'event: message_start\ndata: {"type": "message_start", "message": {"id": "m", "content": []}}\n\n',
    b'event: response.created\ndata: {"type": "response.created", "sequence_number": 0, "response": {"id": "r"}}\n\n',
]
CUTS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3) | st.just(b"[" * 3000)), max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    body = b"".join(draw(st.lists(st.sampled_from(STREAMS), min_size=1, max_size=3)))
    for place, put in draw(CUTS):
        at = int(place * len(body))
        body = body[:at] + put + body[at + draw(st.integers(0, 9)) :]
    return body


@given(streams() | st.binary(max_size=60), st.sampled_from(["openai", "anthropic", "responses"]))
def test_any_recorded_stream_is_judged(tmp_path_factory, body, wire):
    file = tmp_path_factory.getbasetemp() / "stream"
    file.write_bytes(body)
    code, _ = run("check-stream", str(file), "--wire", wire)
    assert code in (0, 1)


@given(bodies(REPORT))
def test_any_report_file_is_shown_or_named_unreadable(tmp_path_factory, body):
    file = tmp_path_factory.getbasetemp() / "report.json"
    file.write_bytes(body)
    code, said = run("report", str(file))
    assert code == 0 or str(file) in said


def test_a_report_with_half_a_character_is_shown(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps({**REPORT, "gateway": {**REPORT["gateway"], "name": "\ud800"}}))
    assert run("report", str(file))[0] == 0


def test_a_report_without_some_counts_is_shown(tmp_path):
    profiles = {name: {**profile, "counts": {"passed": 3}} for name, profile in REPORT["profiles"].items()}
    file = tmp_path / "report.json"
    file.write_text(json.dumps({**REPORT, "profiles": profiles}))
    code, said = run("report", str(file))
    assert (code, "| 3 | 0 | 0 | 0 | 0 | 0 |" in said) == (0, True)


def test_a_file_with_the_version_alone_is_no_report(tmp_path):
    file = tmp_path / "report.json"
    file.write_text('{"schema_version": 1}')
    assert run("report", str(file)) == (
        2,
        f"gateway-conformance report: {file} is not a report: $: 'kit' is a required property\n",
    )


CATALOGUE = Catalogue.load()
DEFECTS = st.dictionaries(
    st.sampled_from(["STREAM-001", "STREAM-999", "reason"]) | TEXT,
    st.dictionaries(st.sampled_from(["reason", "link", "odd"]), TEXT | st.integers() | st.booleans(), max_size=3)
    | st.integers()
    | TEXT,
    max_size=2,
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


@given(DEFECTS.map(lambda entries: "\n".join(f"{json.dumps(k)} = {toml(v)}" for k, v in entries.items())) | TEXT)
def test_any_list_of_known_defects_is_read_or_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "defects.toml"
    file.write_text(text, "utf-8")
    try:
        found = known_defects(file, file.parent, CATALOGUE)
    except pytest.UsageError as error:
        refusal = str(error)
    else:
        refusal = str(file)
        assert all(each.reason and each.link for each in found.values())
    assert str(file) in refusal
