"""The shipped catalogue is consistent, its selection and tables say what they promise, and a wrong file is named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conformance.gateway import OPTIONS, Capability
from conformance.requirements import (
    LEVELS,
    NEEDS,
    Catalogue,
    CatalogueError,
    Requirement,
    UnknownRequirement,
    render_table,
)

AREAS = {
    "BUDGET",
    "CHAT",
    "COMMIT",
    "CONC",
    "DLV",
    "HOOK",
    "HTTP",
    "INV",
    "ISO",
    "LIFE",
    "LOGP",
    "MEDIA",
    "MSG",
    "RESP",
    "RUN",
    "STREAM",
    "TOKEN",
    "TURN",
}

ENTRY = """
level = "MUST"
text = "Something holds."
source = "RFC 9110 15.5.6"
contract = ["UA-RT-01"]
hint = "The usual cause."
"""

CONTRACT = {
    "UA-RT": 9,
    "UA-LC": 14,
    "UA-ERR": 14,
    "UA-GATE": 10,
    "UA-VAL": 13,
    "UA-SMP": 10,
    "UA-OAI": 10,
    "UA-TC": 9,
    "UA-SSE": 8,
    "UA-ANR": 23,
    "UA-ANS": 11,
    "UA-TRJ": 11,
    "UA-CHN": 16,
    "UA-HASH": 9,
    "UA-RB": 15,
    "UA-CAP": 11,
    "UA-LP": 4,
    "UA-WV": 3,
    "UA-MM": 5,
    "UA-CON": 7,
    "UA-COM": 4,
    "UA-RWD": 3,
    "UA-ENC": 4,
    "UA-TRIE": 10,
    "LS-EVT": 13,
    "LS-TRN": 16,
    "LS-TOL": 8,
    "LS-REQ": 9,
    "LS-RAW": 5,
    "LS-ERR": 6,
    "LS-LIM": 2,
    "AF-ENV": 17,
    "AF-REQ": 4,
    "AF-SSE": 16,
    "AF-HOOK": 9,
    "AF-ISO": 10,
    "AF-SES": 6,
    "AF-BRS": 5,
    "AF-LIF": 5,
    "AF-DLV": 10,
    "AF-RUN": 6,
    "AF-WF": 3,
    "AF-AUT": 3,
    "X": 10,
}
"""How many ids each family of the contract has."""

NOT_HERE = {
    "UA-RT-08": "seen only by binding to another address",
    "UA-RT-09": "follows from every check: all the kit sends is the base URL and a key",
    "UA-LC-03": "a rule of one implementation's start-up",
    "UA-ERR-14": "a rule for the checks",
    "UA-VAL-12": "inside one process",
    "UA-SMP-08": "configuration of one implementation",
    "UA-TC-03": "parser back-ends of one implementation",
    "UA-TRJ-07": "metadata of one implementation",
    "UA-TRJ-08": "routed experts",
    "UA-TRIE-10": "another export of one implementation",
    "UA-TRIE-01": "a rule inside one implementation",
    "UA-RB-12": "inside one process",
    "UA-HASH-03": "inside one process",
    "LS-REQ-04": "a rule for the client's agent",
    "LS-REQ-08": "a rule for the client's agent",
    "LS-TOL-04": "a rule for the client's agent",
    "LS-TOL-05": "a rule for the client's agent",
    "LS-TOL-06": "a rule for the client's agent",
    "LS-TRN-13": "either of two is right",
    "LS-ERR-05": "a rule for the client's agent",
    "LS-LIM-01": "a rule for the client's agent",
    "AF-ENV-16": "no client breaks on it",
    "AF-ENV-17": "another API, which no gateway has",
    "AF-REQ-01": "inside one process",
    "AF-REQ-04": "inside one process",
    "AF-SSE-08": "inside one process",
    "AF-ISO-06": "inside one process",
    "AF-ISO-07": "inside one process",
    "AF-SES-06": "inside one process",
    "AF-BRS-02": "inside one process: tests/reference/channel/test_channel_stream.py",
    "AF-BRS-04": "inside one process: tests/reference/channel/test_channel_stream.py",
    "AF-BRS-05": "inside one process: tests/reference/channel/test_channel_stream.py",
    "AF-AUT-01": "optional, and decided before a session is reached",
    "AF-AUT-02": "optional, and a rule of one implementation's start-up",
    "AF-AUT-03": "optional, and decided before a session is reached",
    "X-02": "the whole suite again, behind a cache that evicts everything",
    "X-03": "needs the reference's own clock and cache",
}
"""Ids of the families this set covers that no requirement names, and why."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A small valid catalogue to be damaged."""
    write(tmp_path, "profiles.toml", '[core]\ntitle = "Core"\ntext = "Everything."\n')
    write(tmp_path, "retired.toml", 'DEMO-002 = "said the same as DEMO-001"\n')
    write(tmp_path, "2026.1.toml", 'requirements = ["DEMO-001", "DEMO-003"]\n')
    write(tmp_path, "demo.toml", demo(("DEMO-001", ENTRY), ("DEMO-003", ENTRY)))
    return tmp_path


def write(directory: Path, name: str, text: str) -> None:
    directory.joinpath(name).write_text(text, encoding="utf-8")


def demo(*entries: tuple[str, str], head: str = 'name = "DEMO"\ntitle = "Demo"') -> str:
    area = f'[area]\n{head}\nprofile = "core"\nsince = "2026.1"\n'
    return area + "".join(f"[{one}]\n{text.strip()}\n" for one, text in entries)


def test_the_shipped_catalogue_has_its_areas_and_profiles(catalogue: Catalogue) -> None:
    assert set(catalogue.areas) >= AREAS
    assert set(catalogue.profiles) == {
        "openai-chat",
        "sessions",
        "trajectories",
        "anthropic-messages",
        "openai-responses",
        "invocations",
        "isolation",
        "hooks",
        "delivery",
        "background-tasks",
        "live",
    }
    assert [name for name, profile in catalogue.profiles.items() if profile.engine] == ["live"]
    assert all(catalogue.needs_engine(one) == ("engine" in one.needs) for one in catalogue)
    assert catalogue.profiles["openai-chat"].capability is None
    assert catalogue.profiles["trajectories"].capability is Capability.TRAJECTORIES
    assert len(catalogue) == len({one.text for one in catalogue}), "two requirements have the same sentence"


def test_ids_are_unique_in_each_area(catalogue: Catalogue) -> None:
    ids = [*(one.id for one in catalogue), *catalogue.retired]
    assert len(ids) == len(set(ids))


def test_the_frozen_set_is_what_is_in_force(catalogue: Catalogue) -> None:
    assert catalogue.frozen == {one.id for one in catalogue if one.since == "2026.1"}
    assert not catalogue.frozen & set(catalogue.retired)


def test_contract_ids_exist_and_each_is_covered_or_explained(catalogue: Catalogue) -> None:
    named = {one for requirement in catalogue for one in requirement.contract}
    known = {f"{family}-{number:02}" for family, last in CONTRACT.items() for number in range(1, last + 1)}
    assert named <= known

    assert known - named == set(NOT_HERE)


def test_what_a_requirement_says_about_itself_hangs_together(catalogue: Catalogue) -> None:
    for one in catalogue:
        assert one.unless not in one.capabilities, one.id
        assert catalogue.profiles[one.profile].capability not in one.capabilities, f"{one.id}: the profile says that"
        assert set(one.needs) <= set(NEEDS), one.id
        assert one.profile != "trajectories" or {"trajectories", "state", "context"} & set(one.needs), one.id
        assert ("trajectories" in one.needs) <= (
            one.profile == "trajectories" or Capability.TRAJECTORIES in one.capabilities
        ), f"{one.id} reads trajectories of a gateway that need not have any"
        assert ("state" in one.needs) <= (Capability.SESSION_STATE in one.capabilities), one.id
        assert "context" not in one.needs or "upstream" in one.needs, one.id


def test_refusals_come_with_what_they_refuse(catalogue: Catalogue) -> None:
    """Each capability with a refusal has a requirement for the gateways that declare it, too."""
    refused = {one.unless for one in catalogue if one.unless is not None}
    claimed = {capability for one in catalogue for capability in one.capabilities}
    assert refused
    assert refused <= claimed


def test_sentences_name_no_implementation(catalogue: Catalogue) -> None:
    names = re.compile(r"\b(uni-agent|verl|slime|areal|rllm|litellm|reference|vllm|sglang)\b", re.IGNORECASE)
    assert [one.id for one in catalogue if names.search(one.text)] == []


def test_get_of_an_unknown_id_lists_near_matches(catalogue: Catalogue) -> None:
    assert catalogue.get("STREAM-004").text.endswith("nothing follows it.")
    with pytest.raises(UnknownRequirement, match=r"no requirement 'STREAM-04'; did you mean .*STREAM-0"):
        catalogue.get("STREAM-04")
    with pytest.raises(UnknownRequirement, match=r"areas: BUDGET, CHAT, COMMIT"):
        catalogue.get("zzz")


def test_select_by_profile_level_area_and_globs(catalogue: Catalogue) -> None:
    chosen = catalogue.select(ids=["STREAM-*", "CHAT-001"])
    assert [one.id for one in chosen] == ["CHAT-001", *(one.id for one in catalogue.by_area("STREAM"))]
    assert {one.level for one in catalogue.select(level="SHOULD")} == {"MUST", "SHOULD"}
    assert {one.level for one in catalogue.select(level="MUST")} == {"MUST"}
    assert catalogue.select(level="MAY") == tuple(catalogue)
    both = catalogue.select(profile="trajectories", area="COMMIT", ids=["*-001"])
    assert [one.id for one in both] == ["COMMIT-001"]
    assert sum(len(catalogue.by_profile(one)) for one in catalogue.profiles) == len(catalogue)


@pytest.mark.parametrize(
    ("condition", "error"),
    [
        ({"profile": "chat"}, "no profile 'chat'; expected one of: openai-chat, sessions, trajectories"),
        ({"level": "must"}, "no level 'must'; expected one of: MUST, SHOULD, MAY"),
        ({"area": "SSE"}, "no area 'SSE'; expected one of: BUDGET, CHAT"),
    ],
)
def test_select_names_what_it_knows(catalogue: Catalogue, condition: dict[str, str], error: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape(error)):
        catalogue.select(**condition)  # type: ignore[arg-type]


def test_a_glob_without_a_match_is_an_error(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownRequirement, match=r"no requirement 'STREEM-\*'"):
        catalogue.select(ids=["STREAM-001", "STREEM-*"])


def test_not_applicable_says_why(catalogue: Catalogue) -> None:
    everything = set(Capability)
    options = {name: next(iter(option.values)) for name, option in OPTIONS.items()}

    def why(requirement_id: str, capabilities: set[Capability], options: dict[str, str]) -> str | None:
        return catalogue.not_applicable(catalogue.get(requirement_id), capabilities, options)

    assert why("CHAT-001", set(), {}) is None
    assert why("TOKEN-002", set(), {}) == "capability trajectories is not declared"
    assert why("STREAM-013", {Capability.STREAMING}, {}) == "capability tools is not declared"
    assert why("STREAM-022", set(), {}) is None
    assert why("STREAM-022", everything, {}) == "capability streaming is declared: this is its refusal"
    assert why("TOKEN-016", everything, {}) == "option trajectory is undeclared"
    assert why("TOKEN-016", everything, {"trajectory": "call"}) == (
        "option trajectory is declared as call, this is about conversation"
    )
    assert why("TOKEN-016", everything, options) is None
    fixed, replacing = everything - {Capability.SESSION_OPTIONS}, options | {"repeated_prompt": "replace"}
    assert why("TOKEN-027", fixed, replacing) == "option repeated_prompt is declared as replace, this is about sibling"
    assert why("TOKEN-027", everything, replacing) is None


def test_tables(catalogue: Catalogue) -> None:
    chosen = catalogue.select(ids=["STREAM-022", "TOKEN-026"])

    text = render_table(chosen).splitlines()
    assert text[0].split() == ["id", "level", "profile", "applies", "requirement"]
    assert text[1].startswith("STREAM-022  MUST   openai-chat   unless streaming")
    assert text[2].endswith(chosen[1].text)

    markdown = render_table(chosen, "markdown").splitlines()
    assert markdown[1] == "| --- | --- | --- | --- | --- |"
    assert markdown[3].startswith("| TOKEN-026 | MUST | trajectories | multi_chain=true |")

    rows = json.loads(render_table(catalogue, "json"))
    assert [row["id"] for row in rows] == [one.id for one in catalogue]
    assert {row["level"] for row in rows} == set(LEVELS)
    assert rows[0]["area"] == "BUDGET"

    with pytest.raises(ValueError, match="no format 'html'; expected one of: text, markdown, json"):
        render_table(chosen, "html")
    assert render_table([]).split() == text[0].split()


def test_a_small_catalogue_loads(directory: Path) -> None:
    loaded = Catalogue.load(directory)
    assert [one.id for one in loaded] == ["DEMO-001", "DEMO-003"]
    assert loaded.get("DEMO-001") == Requirement(
        id="DEMO-001",
        level="MUST",
        profile="core",
        text="Something holds.",
        source="RFC 9110 15.5.6",
        contract=("UA-RT-01",),
        since="2026.1",
        hint="The usual cause.",
    )
    with pytest.raises(UnknownRequirement, match="requirement DEMO-002 was retired: said the same as DEMO-001"):
        loaded.get("DEMO-002")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (('level = "MUST"', 'level = "must"'), "demo.toml: DEMO-003: level: expected one of MUST, SHOULD, MAY"),
        (
            ('level = "MUST"', 'profile = "core2"\nlevel = "MUST"'),
            "DEMO-003: profile: expected one of core, got 'core2'",
        ),
        (("Something holds.", "Something holds"), "demo.toml: DEMO-003: text: expected one sentence"),
        (("Something holds.", " "), "DEMO-003: text: expected a non-empty string"),
        (("UA-RT-01", "UA-RT-1"), "DEMO-003: contract: expected ids like UA-RT-01, got 'UA-RT-1'"),
        (('["UA-RT-01"]', '"UA-RT-01"'), "DEMO-003: contract: expected a list of str"),
        (("hint = ", "tip = "), "demo.toml: DEMO-003: tip: unknown field; expected one of:"),
        (("source = ", "bugs = [1, 1]\nsource = "), "DEMO-003: bugs: has an entry twice"),
        (("source = ", "bugs = [true]\nsource = "), "DEMO-003: bugs: expected a list of int"),
        (("source = ", 'capabilities = ["warp"]\nsource = '), "DEMO-003: capabilities: no capability 'warp'"),
        (("source = ", 'unless = "warp"\nsource = '), "DEMO-003: unless: no capability 'warp'"),
        (("source = ", 'option = "trajectory"\nsource = '), "DEMO-003: option: expected one option"),
        (("source = ", 'option = { warp = "9" }\nsource = '), "DEMO-003: option: no option 'warp'"),
        (("source = ", 'option = { trajectory = "9" }\nsource = '), "option: trajectory: expected one of conversation"),
        (("source = ", 'needs = ["luck"]\nsource = '), "DEMO-003: needs: expected some of upstream"),
        (("source = ", 'since = "soon"\nsource = '), "DEMO-003: since: expected a set like 2026.1, got 'soon'"),
        (('source = "RFC 9110 15.5.6"', ""), "demo.toml: DEMO-003: source: expected a non-empty string"),
    ],
)
def test_a_wrong_field_is_named(directory: Path, change: tuple[str, str], error: str) -> None:
    assert change[0] in ENTRY
    write(directory, "demo.toml", demo(("DEMO-001", ENTRY), ("DEMO-003", ENTRY.replace(*change))))
    with pytest.raises(CatalogueError, match=re.escape(error)):
        Catalogue.load(directory)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("demo.toml", "[area", "demo.toml: not TOML"),
        ("demo.toml", "", "demo.toml: area: expected a table, got None"),
        (
            "demo.toml",
            demo(("DEMO-001", ENTRY), head='name = "ODD"\ntitle = "Odd"'),
            "area: name: expected the file's name",
        ),
        ("demo.toml", demo(("OTHER-001", ENTRY)), "demo.toml: OTHER-001: expected an id like DEMO-001"),
        ("demo.toml", demo(("DEMO-1", ENTRY)), "demo.toml: DEMO-1: expected an id like DEMO-001"),
        ("demo.toml", demo(("DEMO-001", ENTRY), ("DEMO-002", ENTRY)), "DEMO-002: id: was retired"),
        ("demo.toml", demo(("DEMO-003", ENTRY), ("DEMO-001", ENTRY)), "not in the order of their ids"),
        ("demo.toml", demo(("DEMO-001", ENTRY), ("DEMO-001", ENTRY)), "demo.toml: not TOML"),
        ("2026.1.toml", 'requirements = ["DEMO-001"]', "DEMO-003 is in force since 2026.1 and is not listed"),
        ("2026.1.toml", 'requirements = ["DEMO-001", "DEMO-002"]', "requirements: DEMO-002 was retired"),
        ("2026.1.toml", 'requirements = ["DEMO-009"]', "2026.1.toml: set: requirements: no requirement DEMO-009"),
        ("retired.toml", "DEMO-002 = 1", "retired.toml: DEMO-002: expected an id and the reason"),
        ("profiles.toml", '[core]\ntitle = "Core"', "profiles.toml: core: text: expected a non-empty string"),
        ("profiles.toml", "core = 1", "profiles.toml: core: expected a table, got 1"),
    ],
)
def test_a_wrong_file_is_named(directory: Path, name: str, text: str, error: str) -> None:
    write(directory, name, text)
    with pytest.raises(CatalogueError, match=re.escape(error)):
        Catalogue.load(directory)


def test_a_missing_file_and_an_empty_directory_are_named(directory: Path, tmp_path: Path) -> None:
    directory.joinpath("demo.toml").unlink()
    with pytest.raises(CatalogueError, match="no requirement file"):
        Catalogue.load(directory)
    directory.joinpath("profiles.toml").unlink()
    with pytest.raises(CatalogueError, match=r"profiles\.toml: missing from"):
        Catalogue.load(directory)


def test_a_later_requirement_is_outside_the_frozen_set(directory: Path) -> None:
    later = ENTRY + 'since = "2026.10"\n'
    write(directory, "demo.toml", demo(("DEMO-001", ENTRY), ("DEMO-003", ENTRY), ("DEMO-004", later)))
    loaded = Catalogue.load(directory)
    assert "DEMO-004" in loaded.requirements
    assert loaded.frozen == {"DEMO-001", "DEMO-003"}
