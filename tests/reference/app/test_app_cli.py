"""The command: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from conformance.fixtures import tiny_model_path
from reference_gateway import cli
from reference_gateway.config import Config, is_loopback, url_host

SERVE = [sys.executable, "-m", "reference_gateway.cli", "serve", "--port", "0"]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["serve", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("reference-gateway: error: ")


def test_one_line_says_where_it_listens_and_a_signal_ends_it():
    command = [*SERVE, "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        url = re.fullmatch(r"listening on (http://127\.0\.0\.1:\d+)\n", line)[1]
        with urllib.request.urlopen(f"{url}/readiness") as response:
            assert json.load(response)["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert out == ""
    assert [json.loads(line)["message"] for line in err.splitlines()] == ["gateway ready", "gateway stopped"]


def test_a_taken_port_is_one_sentence():
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().rsplit(":", 1)[1].strip()
        second = subprocess.run([*SERVE[:-1], port], capture_output=True, text=True, timeout=20, check=False)
        process.terminate()
    assert second.returncode == 1
    assert second.stdout == ""
    assert "address already in use" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "api_key must be set when host is not a loopback address"),
        (["--host", "::"], "api_key must be set"),
        (["--backend", "vllm"], "backend_url must be an http or https URL"),
        (["--backend", "vllm", "--backend-url", "localhost:1"], "backend_url must be an http or https URL"),
        (["--backend", "vllm", "--backend-url", "http://localhost:1"], "tokenizer must name the directory"),
        (["--backend", "sglang"], "backend_url must be an http or https URL"),
        (["--backend", "sglang", "--backend-url", "http://localhost:1"], "tokenizer must name the directory"),
        (["--backend", "transformers"], "model_dir must name the directory of the model when backend is transformers"),
        (["--backend", "transformers", "--model-dir", "/nowhere"], "tokenizer /nowhere is not a directory"),
        (["--model-dir", "/nowhere"], "model_dir goes with backend transformers"),
        (["--ledger", "calls.jsonl"], "ledger goes with backend transformers: any other engine has a recorder before"),
        (["--tokenizer", "/nowhere"], "tokenizer /nowhere is not a directory"),
        (["--port", "70000"], "port must be between 0 and 65535"),
        (["--prompt-length", "0"], "prompt_length must be greater than 0"),
        (["--response-length", "-1"], "response_length must be greater than 0"),
        (["--max-body", "0"], "max_body must be greater than 0"),
        (["--backend-timeout", "0"], "backend_timeout must be greater than 0"),
        (["--option", "multi_chain=x"], "multi_chain"),
        (["--option", "nope=x"], "nope"),
        (["--public-url", "gate.example"], "public_url must be an http or https URL"),
        (["--api-key", " "], "api_key must not be empty"),
    ],
)
def test_a_configuration_that_cannot_work_is_one_sentence(capsys, arguments, says):
    assert says in refusal(capsys, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--template-kwargs", "[]"],
        ["--option", "x"],
        ["--tool-parser", "x"],
        ["--backend", "x"],
        ["--vllm-route", "x"],
        ["--port", "x"],
    ],
)
def test_a_wrong_flag_is_a_usage_error(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_transformers_that_are_not_installed_are_one_sentence_that_names_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "reference_gateway.backends.transformers", raising=False)
    said = refusal(capsys, "--backend", "transformers", "--model-dir", str(tiny_model_path()))
    assert "backend transformers needs the extra of that name (torch is missing)" in said
    assert "pip install 'gateway-conformance[gateway,transformers]'" in said
    no_model = ("--backend", "transformers", "--model-dir", "/nowhere", "--tokenizer", str(tiny_model_path()))
    assert "model_dir must be a directory: there is none at /nowhere" in refusal(capsys, *no_model)


def test_the_tokenizer_of_a_model_in_this_process_is_in_its_directory():
    assert Config(backend="transformers", model_dir=tiny_model_path()).tokenizer == tiny_model_path()
    for field, value in (("device", "tpu"), ("dtype", "int8")):
        with pytest.raises(ValueError, match=f"{field} must be one of auto, "):
            Config(backend="transformers", model_dir=tiny_model_path(), **{field: value})


def tokenizer_at(path, config: str = "{}", template: str | None = "x"):
    from reference_gateway.codec.bytes import byte_files

    (path / "tokenizer.json").write_bytes(byte_files().tokenizer)
    (path / "tokenizer_config.json").write_text(config)
    if template is not None:
        (path / "chat_template.jinja").write_text(template)
    return str(path)


@pytest.mark.parametrize(
    ("config", "template", "says"),
    [
        ("{}", None, "has no chat template"),
        ("{", "x", "is not JSON"),
        ("[]", "x", "must hold a JSON object"),
        ("{}", "{% if %}", "not valid Jinja"),
        ("{}", "x", "does not write an assistant's content"),
    ],
)
def test_an_unusable_tokenizer_is_one_sentence(capsys, tmp_path, config, template, says):
    assert says in refusal(capsys, "--tokenizer", tokenizer_at(tmp_path, config, template))


def test_a_broken_tokenizer_file_is_one_sentence(capsys, tmp_path):
    directory = tokenizer_at(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "tokenizer.json can't be read" in refusal(capsys, "--tokenizer", directory)


def test_keys_come_from_the_environment_and_stay_out_of_sight(monkeypatch):
    monkeypatch.setenv("REFERENCE_GATEWAY_API_KEY", "from-the-environment")
    config = cli._config(cli._parser().parse_args(["serve", "--host", "0.0.0.0"]))
    assert config.api_key == "from-the-environment"
    assert "from-the-environment" not in repr(config)
    help_text = cli._parser().format_help() + str(os.environ.get("PATH"))
    assert "from-the-environment" not in help_text


def test_flags_become_the_configuration():
    arguments = ["serve", "--sampling", "seed, max_tokens", "--tool-parser", "none", "--option", "budget=none"]
    config = cli._config(cli._parser().parse_args([*arguments, "--template-kwargs", '{"a": 1}']))
    assert config.sampling == {"seed", "max_tokens"}
    assert config.tool_parser is None
    assert (config.options, config.template_kwargs) == ({"budget": "none"}, {"a": 1})


@pytest.mark.parametrize(
    ("local", "hosts"),
    [
        (True, ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]),
        (False, ["0.0.0.0", "::", "10.0.0.1", "gate.example", "localhost.example", ""]),
    ],
)
def test_loopback(local, hosts):
    assert [is_loopback(host) for host in hosts] == [local] * len(hosts)


@pytest.mark.parametrize(("host", "written"), [("::1", "[::1]"), ("[::1]", "[::1]"), ("127.0.0.1", "127.0.0.1")])
def test_hosts_in_urls(host, written):
    assert url_host(host) == written


def test_configured_values_are_copied():
    kwargs = {"a": [1]}
    config = Config(template_kwargs=kwargs)
    kwargs["a"].append(2)
    assert config.template_kwargs == {"a": [1]}
