"""The words in which a gateway declares itself: each has its meaning, is read by a check, and is explained."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from conformance.cli import main
from conformance.client.driving import DriverClient
from conformance.client.http import Recorder, client
from conformance.declaring import GATEWAY_WIDE, OPTIONS, Capability, wrong_capabilities, wrong_option
from conformance.gateway import Driver, Refused
from conformance.requirements import Catalogue
from conformance.requirements.declared import capabilities, options, render_capabilities, render_options
from tests.kit.declaring_page import MARK, PAGE, page

CATALOGUE = Catalogue.load()
READ_BY_THE_SUITE = {"chaining"}
"""Options that say how checks ask, and not what they demand."""
SENTENCE = re.compile(r"[A-Z0-9`{].*[.?)]", re.DOTALL)


@pytest.mark.parametrize("capability", Capability)
def test_a_capability_is_explained(capability):
    assert SENTENCE.fullmatch(capability.meaning)
    assert SENTENCE.fullmatch(capability.wire) or capability.wire.startswith("There,")
    for call in capability.control:
        method = re.fullmatch(r"([a-z]+)(\(\w+=\.\.\.(, \w+=\.\.\.)*\))?", call)
        assert method is not None, call
        assert hasattr(Driver, method[1]), call


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_explained(name):
    option = OPTIONS[name]
    assert "?" in option.question
    assert len(option.values) > 1
    assert all(SENTENCE.fullmatch(meaning) for meaning in option.values.values())
    assert len(set(option.values.values())) == len(option.values)


@pytest.mark.parametrize("capability", Capability)
def test_a_capability_is_read(capability):
    (entry,) = capabilities(CATALOGUE, capability)
    assert entry["requirements"] or entry["without"] or entry["profiles"]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_read(name):
    (entry,) = options(CATALOGUE, name)
    assert any(each["requirements"] for each in entry["values"]) or name in READ_BY_THE_SUITE


@pytest.mark.parametrize("name", OPTIONS)
def test_whatever_an_option_decides_needs_what_it_is_said_to_need(name):
    for requirement in CATALOGUE:
        if name in dict(requirement.option):
            needed = {*requirement.capabilities, CATALOGUE.profiles[requirement.profile].capability}
            assert needed >= set(OPTIONS[name].needs), requirement.id


def test_options_of_the_whole_gateway():
    assert {"trajectory", "control_tokens"} <= GATEWAY_WIDE < set(OPTIONS)
    assert "last_rewrite" not in GATEWAY_WIDE


def test_what_may_be_declared():
    assert wrong_option("multi_chain", "true") is None
    assert wrong_capabilities({"sessions", Capability.ABORT}) is None


@pytest.mark.parametrize("value", ["roll_back", True, None, ["rollback"]])
def test_a_wrong_value_is_answered_with_what_the_values_mean(value):
    wrong = wrong_option("last_rewrite", value)
    assert wrong is not None
    assert wrong.startswith(f"option last_rewrite={value!r} is none of its values. An agent rewrites its last answer")
    assert "'rollback': It is given up" in wrong
    assert "'split': It stays exported" in wrong


def test_a_wrong_name_is_answered_with_what_may_have_been_meant():
    assert wrong_option("last-rewrites", "split") == (
        "no option is named 'last-rewrites'; did you mean 'last_rewrite'? (gateway-conformance options lists them)"
    )
    assert wrong_capabilities({"sessions", "Anthropic_Messages", "xyz"}) == (
        "no capability is named 'Anthropic_Messages'; did you mean 'anthropic-messages'?; "
        "no capability is named 'xyz' (gateway-conformance capabilities lists them)"
    )


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_all_options_are_printed(capsys):
    text = printed(capsys, "options")
    assert [line for line in text.splitlines() if line and line[0] != " "] == list(OPTIONS)
    assert "\n    rollback  It is given up:" in text
    assert "SPLIT-" not in text
    assert max(map(len, text.splitlines())) <= 120


def test_one_option_is_printed_with_its_requirements(capsys):
    text = printed(capsys, "options", "first_rewrite")
    assert text.startswith("first_rewrite\n  An agent asks again")
    *_, split, reuse, every = text.splitlines()
    assert split.startswith("  split: SPLIT-031")
    assert reuse.startswith("  reuse: SPLIT-032, SPLIT-033")
    assert every.startswith("  every value: SPLIT-021, SPLIT-049")


def test_all_capabilities_are_printed(capsys):
    text = printed(capsys, "capabilities")
    assert [line for line in text.splitlines() if line and line[0] != " "] == list(map(str, Capability))
    assert "\n    driver  create(session_id=...)\n    wire    An id" in text
    assert max(map(len, text.splitlines())) <= 120


def test_one_capability_is_printed_with_its_requirements(capsys):
    text = printed(capsys, "capabilities", "n")
    assert "\n  with it: CHAT-038" in text
    assert "\n  without it: CHAT-037" in text
    assert "claims the profile sessions" in printed(capsys, "capabilities", "sessions")


@pytest.mark.parametrize("command", ["options", "capabilities"])
def test_for_programs(capsys, command):
    entries = json.loads(printed(capsys, command, "--format", "json"))
    assert [each["name"] for each in entries] == list(OPTIONS if command == "options" else map(str, Capability))


def test_in_markdown(capsys):
    text = printed(capsys, "options", "stream_flag", "--format", "markdown")
    assert text.startswith("### `stream_flag`\n\nAn invocation has")
    assert "- `strict_bool`: A refusal, with 422. (INV-038" in text
    assert render_options(options(CATALOGUE, "chaining"), "markdown").count("Nothing is demanded of this value") == 2
    assert "- Driver: `abort`.\n" in render_capabilities(capabilities(CATALOGUE, "abort"), "markdown")


@pytest.mark.parametrize(("command", "word"), [("options", "last-rewrite"), ("capabilities", "session_ids")])
def test_an_unknown_name_is_wrong_usage(capsys, command, word):
    with pytest.raises(SystemExit) as exit_:
        main([command, word])
    assert exit_.value.code == 2
    assert "did you mean" in capsys.readouterr().err


def test_the_page_is_current():
    written = PAGE.read_text("utf-8")
    assert written == page(written), "stale: run python -m tests.kit.declaring_page"


def test_a_page_without_the_mark_is_not_overwritten():
    with pytest.raises(ValueError, match="has no line"):
        page("# Another page\n")


def test_the_guide_leads_to_every_value_of_what_sessions_can_choose():
    guide, _, _ = PAGE.read_text("utf-8").partition(MARK)
    for name, option in OPTIONS.items():
        if name in GATEWAY_WIDE - {"trajectory", "control_tokens", "template_kwargs"}:
            continue
        asked = "identity" in name
        led_to = ["`ignored`", "`compared`"] if asked else [f"`{name} = {value}`" for value in option.values]
        assert f"`{name}`" in guide or not asked
        assert all(each in guide for each in led_to), name


def test_the_driver_of_the_guide_works():
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    exec(source, names)
    sample = {"prompt": [1], "response": [2, 3], "mask": [1, 1]}
    answers = {
        "/rollouts": {"id": "7", "url": "http://gw/7/v1"},
        "/rollouts/7/finish": {"samples": [sample]},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        found = answers.pop(request.url.path, None)
        return httpx.Response(404, text="gone") if found is None else httpx.Response(200, json=found)

    kind = names["MyDriver"]
    assert isinstance(kind, type)
    assert issubclass(kind, Driver)
    driver = kind("http://gw/", DriverClient(client(Recorder(httpx.MockTransport(answer)))))
    assert all(wrong_option(*each) is None for each in driver.declare().options.items())
    handle = driver.create(sampling_params={"top_p": 1})
    assert (handle.session_id, handle.base_url) == ("7", "http://gw/7/v1")
    (exported,) = driver.finalize(handle)
    assert (exported.prompt_ids, exported.response_ids, exported.response_logprobs) == ([1], [2, 3], None)
    with pytest.raises(Refused, match="404: gone"):
        driver.finalize(handle)
