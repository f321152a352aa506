"""`gateway-conformance check-trajectory`: faults planted in files, each found and placed; sound files of every form."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.cli import main
from conformance.fixtures import fixture_path
from conformance.recorded.trajectory import template_parts
from conformance.tokenizer import Tokenizer

CHATML = fixture_path("chatml")
Document = dict[str, Any]
Fault = Callable[[Document], None]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(CHATML)


@pytest.fixture
def rollout(tokenizer: Tokenizer) -> Document:
    """Two turns of a conversation as they should be exported, and the calls behind them."""
    prompt, turn_end = template_parts(tokenizer)
    separator, end = list(turn_end.separator), tokenizer.end_of_turn
    first = tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n") + prompt
    hello, fine = [*tokenizer.encode("Hello"), end], [*tokenizer.encode("Fine, thanks"), end]
    gap = separator + tokenizer.encode("<|im_start|>user\nHow are you?<|im_end|>\n") + prompt
    logprobs = [[-0.5 - number for number, _ in enumerate(ids)] for ids in (hello, fine)]
    return {
        "trajectory": {
            "prompt_ids": first,
            "response_ids": hello + gap + fine,
            "response_mask": [1] * len(hello) + [0] * len(gap) + [1] * len(fine),
            "response_logprobs": logprobs[0] + [0.0] * len(gap) + logprobs[1],
        },
        "calls": [
            {"context": first, "generation": hello, "logprobs": logprobs[0]},
            {"context": first + hello + gap, "generations": [fine], "logprobs": logprobs[1], "outcome": "answered"},
            {"context": first, "generations": [], "outcome": "failed"},
        ],
        "gap": (len(hello), len(hello) + len(gap)),
    }


def written(file: Path, documents: Iterable[Document]) -> Path:
    file.write_text("".join(json.dumps(each) + "\n" for each in documents))
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main(["check-trajectory", *map(str, arguments)])
    return code, capsys.readouterr().out


def test_a_sound_file_is_clean(rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "rollout.jsonl", [rollout["trajectory"]])
    ledger = written(tmp_path / "calls.jsonl", rollout["calls"])

    code, out = run(capsys, file, "--ledger", ledger, "--tokenizer", CHATML)

    size = len(rollout["trajectory"]["prompt_ids"]) + len(rollout["trajectory"]["response_ids"])
    assert (code, out) == (0, f"{file}: 1 trajectory, {size} tokens: no violation\n")
    assert run(capsys, file)[0] == 0


def slime(trajectory: Document) -> Document:
    return {
        "tokens": trajectory["prompt_ids"] + trajectory["response_ids"],
        "response_length": len(trajectory["response_ids"]),
        "loss_mask": trajectory["response_mask"],
        "rollout_log_probs": trajectory["response_logprobs"],
    }


def whole(trajectory: Document) -> Document:
    ahead = len(trajectory["prompt_ids"])
    return {
        "input_ids": trajectory["prompt_ids"] + trajectory["response_ids"],
        "loss_mask": [0] * ahead + trajectory["response_mask"],
        "logprobs": [0.0] * ahead + trajectory["response_logprobs"],
    }


def completion(trajectory: Document) -> Document:
    names = {"response_ids": "completion_ids", "response_mask": "completion_mask", "prompt_ids": "prompt_token_ids"}
    return {names.get(name, name): value for name, value in trajectory.items()}


@pytest.mark.parametrize("form", [slime, whole, completion, lambda one: {"trajectories": [one]}])
def test_other_names_for_the_same(
    form: Callable[[Document], Document], rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "rollout.jsonl", [form(rollout["trajectory"])])
    ledger = written(tmp_path / "calls.jsonl", rollout["calls"])

    assert run(capsys, file, "--ledger", ledger, "--tokenizer", CHATML)[0] == 0

    document = json.loads(file.read_text())
    inner = document["trajectories"][0] if "trajectories" in document else document
    mask = next(name for name in inner if name.endswith("mask"))
    inner[mask][-1] = 0
    code, out = run(capsys, written(file, [document]), "--ledger", ledger)
    assert code == 1
    assert "the end-of-turn token, is there with mask 0" in out


def cut_mask(one: Document) -> None:
    del one["response_mask"][-1]


def no_mask(one: Document) -> None:
    one["response_mask"] = [0] * len(one["response_mask"])


def late_mask(one: Document) -> None:
    one["response_mask"][0] = 0


def early_end(one: Document) -> None:
    one["response_mask"][-1] = 0


def filled_in(one: Document) -> None:
    one["response_logprobs"] = [0.0] * len(one["response_logprobs"])


def gap_logprob(one: Document) -> None:
    one["response_logprobs"][one["response_mask"].index(0)] = -1.0


@pytest.mark.parametrize(
    ("fault", "where", "hint"),
    [
        (cut_mask, "response_mask: expected ", ""),
        (no_mask, "response_mask: expected a 1 somewhere", "nothing to train on"),
        (late_mask, "response_mask[0:1]: expected a response that begins with", "the mask begins too late"),
        (filled_in, "response_logprobs[0:", "zeros were filled in"),
        (gap_logprob, "expected 0.0, as the mask is 0", ""),
    ],
)
def test_a_fault_that_needs_no_record(
    fault: Fault, where: str, hint: str, rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, broken = rollout["trajectory"], json.loads(json.dumps(rollout["trajectory"]))
    sound = {**sound, "prompt_ids": [7, *sound["prompt_ids"]]}
    fault(broken)

    code, out = run(capsys, file := written(tmp_path / "rollout.jsonl", [sound, broken]))

    assert code == 1
    found = [line for line in out.splitlines() if line.startswith(f"{file}:2: trajectory 1, ")]
    assert any(where in line for line in found), out
    assert hint in out


def test_a_branch_that_trains_its_trunk_again(
    rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trunk = rollout["trajectory"]
    end = trunk["response_mask"].index(0)
    branch = {name: values[:end] if name != "prompt_ids" else values for name, values in trunk.items()}

    code, out = run(capsys, file := written(tmp_path / "rollout.jsonl", [trunk, branch]))

    assert code == 1
    assert out.startswith(
        f"{file}:2: trajectory 1, response_mask[0:{end}]: expected a generation that is trainable once, "
        f"got {end} ids that are trainable at trajectory 0, response_mask[0:{end}] as well\n"
    )


def test_what_only_a_ledger_shows(rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, (start, _) = rollout["trajectory"], rollout["gap"]
    for values in (one["response_ids"], one["response_mask"], one["response_logprobs"]):
        del values[start]
    one["response_logprobs"][0] = -9.0
    lost = {"context": [1, 2], "generation": [3, 4]}
    file = written(tmp_path / "rollout.jsonl", [one])
    ledger = written(tmp_path / "calls.jsonl", [*rollout["calls"], lost])

    assert run(capsys, file)[0] == 0
    code, out = run(capsys, file, "--ledger", ledger)

    assert code == 1
    assert "context: expected the " in out
    assert "the end-of-turn token or turn separator behind the generation is missing in the export" in out
    assert f"{ledger}:4: call 3 (2 ids 3 4): expected mask 1 once, got none: it is in no trajectory" in out
    assert "response_logprobs[0]: expected -0.5, as call 0 returned, got -9.0" in out
    assert out.endswith(": 3 violations\n")


def test_generations_that_were_given_up(rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_up = {"context": [1, 2], "generation": [3, 4]}
    file = written(tmp_path / "rollout.jsonl", [rollout["trajectory"]])
    ledger = written(tmp_path / "calls.jsonl", [*rollout["calls"], given_up])

    assert run(capsys, file, "--ledger", ledger)[0] == 1
    assert run(capsys, file, "--ledger", ledger, "--superseded", 1)[0] == 0
    told = {**rollout["trajectory"], "extra_fields": {"rollback_count": 1}}
    assert run(capsys, written(file, [told]), "--ledger", ledger)[0] == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("separator", "the turn separator is missing"),
        ("prompt", "the generation prompt of a dropped turn is still there"),
        ("end", "end-of-turn token missing"),
        ("respelled", "same text, other ids"),
    ],
)
def test_what_only_a_tokenizer_shows(
    fault: str,
    said: str,
    rollout: Document,
    tokenizer: Tokenizer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, (start, end) = rollout["trajectory"], rollout["gap"]
    prompt, turn_end = template_parts(tokenizer)
    separator = turn_end.separator
    gap = one["response_ids"][start:end]
    if fault == "separator":
        gap = gap[len(separator) :]
    elif fault == "prompt":
        gap = gap + prompt
    elif fault == "respelled":
        place = next(place for place, token in enumerate(gap) if len(tokenizer.token(token)) > 1 and token < 4000)
        letters = [each for letter in tokenizer.token(gap[place]) for each in tokenizer.encode(letter)]
        gap = gap[:place] + letters + gap[place + 1 :]
    cut = start - 1 if fault == "end" else start
    ids = one["response_ids"][:cut] + gap + one["response_ids"][end:]
    mask = [1] * cut + [0] * len(gap) + one["response_mask"][end:]
    file = written(tmp_path / "rollout.jsonl", [{**one, "response_ids": ids, "response_mask": mask} | {"x": 1}])
    document = json.loads(file.read_text())
    del document["response_logprobs"]

    assert run(capsys, written(file, [document]))[0] == 0
    code, out = run(capsys, file, "--tokenizer", CHATML)

    assert code == 1
    assert said in out


def test_json(rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    no_mask(rollout["trajectory"])
    file = written(tmp_path / "rollout.jsonl", [rollout["trajectory"]])

    code, out = run(capsys, file, "--format", "json")

    document = json.loads(out)
    assert (code, document["file"]) == (1, str(file))
    first = document["violations"][0]
    assert set(first) == {"file", "line", "where", "expected", "actual", "hint"}
    assert {each["where"] for each in document["violations"]} >= {"trajectory 0, response_mask"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a trajectory on each line, found none"),
        ("[1]\n", ":1: expected a JSON object"),
        ('{"response_mask": [1]}\n', ":1: expected prompt_ids or prompt_token_ids and response_ids or "),
        ('\n{"prompt_ids": [1], "response_ids": [2]}\n', ":2: expected what was sampled and what was not as "),
        ('{"prompt_ids": "1", "response_ids": [], "loss_mask": []}\n', ":1: prompt_ids: expected a list, got str"),
        ('{"tokens": [1], "response_length": 9, "loss_mask": [1]}\n', ":1: response_length: expected a number from 0"),
        ('{"trajectories": [7]}\n', ":1: trajectories[0]: expected a trajectory, a JSON object"),
        ("{\n", ":1: not JSON: "),
    ],
)
def test_an_unreadable_file(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rollout.jsonl"
    file.write_text(text)

    with pytest.raises(SystemExit) as stopped:
        run(capsys, file)

    assert stopped.value.code == 2
    assert f"{file}" in (told := capsys.readouterr().err)
    assert said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"generation": [1]}\n', ":1: expected the ids that the engine received as context or "),
        ('{"context": [1], "generations": [1]}\n', ":1: generations: expected a list of lists of token ids"),
    ],
)
def test_an_unreadable_ledger(
    text: str, said: str, rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, ledger = written(tmp_path / "rollout.jsonl", [rollout["trajectory"]]), tmp_path / "calls.jsonl"
    ledger.write_text(text)

    with pytest.raises(SystemExit) as stopped:
        run(capsys, file, "--ledger", ledger)

    assert stopped.value.code == 2
    assert f"{ledger}{said}" in capsys.readouterr().err


def test_missing_files_are_unreadable(rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "rollout.jsonl", [rollout["trajectory"]])
    for arguments in ([tmp_path / "none"], [file, "--ledger", tmp_path / "none"], [file, "--tokenizer", tmp_path]):
        with pytest.raises(SystemExit) as stopped:
            run(capsys, *arguments)
        assert stopped.value.code == 2
        assert str(tmp_path) in capsys.readouterr().err


def test_the_upstream_writes_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = tmp_path / "calls.jsonl"
    command = [sys.executable, "-m", "conformance.cli", "upstream", "--port", "0", "--ledger", str(ledger)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("listening on ").strip()
        httpx.post(f"{url}/_kit/k0000000001/steps", json={"steps": [{"text": "Hello"}]})
        asked = {"prompt": "#k0000000001# Hi", "return_token_ids": True, "logprobs": 1}
        answer = httpx.post(f"{url}/v1/completions", json=asked, headers={"authorization": "Bearer sk-secret"})
        httpx.post(f"{url}/v1/completions", json={"prompt": "nobody asked"})
    finally:
        server.terminate()
        server.communicate()

    answered, stray = map(json.loads, ledger.read_text().splitlines())
    choice = answer.json()["choices"][0]
    assert answered["context"] == choice["prompt_token_ids"]
    assert answered["generations"] == [choice["token_ids"]]
    assert (answered["outcome"], stray["outcome"]) == ("answered", "unclaimed")
    assert "sk-secret" not in ledger.read_text()

    ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
    trajectory = {"prompt_ids": choice["prompt_token_ids"], "response_ids": ids, "response_mask": [1] * len(ids)}
    file = written(tmp_path / "rollout.jsonl", [{**trajectory, "response_logprobs": logprobs}])
    assert run(capsys, file, "--ledger", ledger)[0] == 0


# the end of a turn, as templates write it -----------------------------------------------------------------------------

LLAMA2 = (
    "{%- for m in messages -%}{%- if m.role == 'user' -%}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
    "{%- elif m.role == 'assistant' -%}{{ ' ' + m.content + ' ' + eos_token }}{%- endif -%}{%- endfor -%}"
)
CODER = (
    "{%- for m in messages -%}{{ '### ' + m.role + ':\n' + m.content }}"
    "{{ '\n<|EOT|>\n' if m.role == 'assistant' else '\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '### assistant:\n' }}{%- endif -%}"
)
HEADERS = (
    "{%- for m in messages -%}{{ '<|head|>' + m.role + '\n' + m.content + '<|eot_id|>' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|head|>assistant\n' }}{%- endif -%}"
)
ROLES = (
    "{%- for m in messages -%}{{ '<|' + m.role + '|>\n' + m.content }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>\n' }}{%- endif -%}"
)
MANNERS = {
    "llama2": (LLAMA2, ["<s>", "</s>"], "</s>", "<s>[INST] Hi [/INST]", "<s>[INST] More [/INST]"),
    "coder": (CODER, ["<|EOT|>"], "<|EOT|>", "### user:\nHi\n### assistant:\n", "### user:\nMore\n### assistant:\n"),
    "headers": (
        HEADERS,
        ["<|head|>", "<|eot_id|>", "<|eom_id|>"],
        "<|eot_id|>",
        "<|head|>user\nHi<|eot_id|><|head|>assistant\n",
        "<|head|>user\nMore<|eot_id|><|head|>assistant\n",
    ),
    "roles": (
        ROLES,
        ["<|user|>", "<|assistant|>", "<|tool|>"],
        "<|user|>",
        "<|user|>\nHi<|assistant|>\n",
        "<|user|>\nMore<|assistant|>\n",
    ),
}
DOUBLED = "one end-of-turn token behind the generation"
LEADING = "nothing of the template's end of the turn behind a generation that ended itself"


def written_tokenizer(folder: Path, template: str, control: list[str], end: str) -> Path:
    folder.mkdir()
    engine = json.loads((CHATML / "tokenizer.json").read_text())
    first = 1 + max(token["id"] for token in engine["added_tokens"])
    first = max(first, 1 + max(engine["model"]["vocab"].values()))
    pattern = {**engine["added_tokens"][0], "special": True}
    engine["added_tokens"] += [{**pattern, "id": first + n, "content": text} for n, text in enumerate(control)]
    (folder / "tokenizer.json").write_text(json.dumps(engine))
    config = {"eos_token": end, "bos_token": control[0]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(template)
    return folder


@pytest.mark.parametrize(
    ("manner", "answer", "gap", "wrong"),
    [
        ("llama2", " First.</s>", "", None),
        ("llama2", " First.", " </s>", None),
        ("llama2", " First.", "</s>", None),
        ("llama2", " First.</s>", " </s>", DOUBLED),
        ("llama2", " First.</s>", "</s>", DOUBLED),
        ("llama2", " First.</s>", " ", LEADING),
        ("llama2", " First.", "", "an end-of-turn token behind the generation"),
        ("coder", "First.<|EOT|>", "\n", None),
        ("coder", "First.", "\n<|EOT|>\n", None),
        ("coder", "First.<|EOT|>", "\n<|EOT|>\n", DOUBLED),
        ("coder", "First.<|EOT|>", "\n\n", LEADING),
        ("coder", "First.<|EOT|>", "", "the turn separator"),
        ("headers", "First.<|eom_id|>", "", None),
        ("headers", "First.<|eot_id|>", "", None),
        ("headers", "First.<|eom_id|>", "<|eot_id|>", DOUBLED),
        ("headers", "First.", "<|eot_id|>", None),
        ("roles", "First.<|user|>", None, None),
        ("roles", "First.", "", None),
        ("roles", "First.<|user|>", "", DOUBLED),
    ],
)
def test_end_of_a_turn_as_the_template_writes_it(
    manner: str, answer: str, gap: str | None, wrong: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template, control, end, asked, more = MANNERS[manner]
    folder = written_tokenizer(tmp_path / "tokenizer", template, control, end)
    encode = Tokenizer.load(folder).encode
    behind = more.removeprefix("<|user|>") if gap is None else gap + more
    said, put, last = encode(answer), encode(behind), encode("Second." + end)
    ids, mask = said + put + last, [1] * len(said) + [0] * len(put) + [1] * len(last)
    document = {"prompt_ids": encode(asked), "response_ids": ids, "response_mask": mask}

    code, out = run(capsys, written(tmp_path / "rollout.jsonl", [document]), "--tokenizer", folder)

    assert code == (0 if wrong is None else 1), out
    assert wrong is None or f"expected {wrong}" in out
    assert out.endswith("no violation\n" if wrong is None else ": 1 violation\n")


@pytest.mark.parametrize("spelled", [bool, float])
def test_masks_of_other_types_are_read(
    spelled: type, rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {**rollout["trajectory"], "response_mask": [spelled(each) for each in rollout["trajectory"]["response_mask"]]}
    ledger = written(tmp_path / "calls.jsonl", rollout["calls"])

    for form in (one, slime(one), {**whole(one), "loss_mask": [spelled(each) for each in whole(one)["loss_mask"]]}):
        file = written(tmp_path / "rollout.jsonl", [form])
        assert run(capsys, file, "--ledger", ledger, "--tokenizer", CHATML)[0] == 0

    odd = {**one, "response_mask": [0.5, *one["response_mask"][1:]]}
    code, out = run(capsys, written(tmp_path / "rollout.jsonl", [odd]))
    assert code == 1
    assert "response_mask[0]: expected 0 or 1, got number 0.5" in out


@pytest.mark.parametrize("known", ["nothing", "tokenizer", "ledger"])
def test_what_stands_behind_the_last_generation_is_a_warning(
    known: str, rollout: Document, tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = rollout["trajectory"]
    cut = tokenizer.encode("\n<|im_start|>user\nA result that is cut off he")
    for name, values in (
        ("response_ids", cut),
        ("response_mask", [0] * len(cut)),
        ("response_logprobs", [0.0] * len(cut)),
    ):
        one[name] = one[name] + values
    file, ledger = written(tmp_path / "rollout.jsonl", [one]), written(tmp_path / "calls.jsonl", rollout["calls"])
    more = {"nothing": [], "tokenizer": ["--tokenizer", CHATML], "ledger": ["--ledger", ledger]}[known]

    code, out = run(capsys, file, *more)

    assert code == 0
    assert f"{file}:1: warning: trajectory 0, response_mask[" in out
    assert "at their length limit" in out
    assert out.endswith(": no violation, 1 warning\n")
    told = json.loads(run(capsys, file, *more, "--format", "json")[1])
    assert (told["violations"], len(told["warnings"])) == ([], 1)


@pytest.mark.parametrize("value", [0.25, 3.0, float("nan"), float("inf"), None])
def test_logprobs_that_are_none(
    value: Any, rollout: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollout["trajectory"]["response_logprobs"][1] = value

    code, out = run(capsys, written(tmp_path / "rollout.jsonl", [rollout["trajectory"]]))

    assert code == 1
    assert "response_logprobs[1]: expected " in out
