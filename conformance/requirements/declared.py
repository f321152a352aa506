"""The words in which a gateway declares itself, with what the catalogue asks of whoever does: for people and for
programs. Knows no file and no test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from conformance.declaring import OPTIONS, Capability, wrong_capabilities, wrong_option
from conformance.requirements.catalogue import ANY, Catalogue, Requirement

Entry = dict[str, Any]


def options(catalogue: Catalogue, name: str | None = None) -> list[Entry]:
    """Each option, or this one, as JSON: `name`, `question`, `needs` (capabilities), `gateway_wide`; `values`, each
    with `value`, `meaning` and the ids of the `requirements` about it; the ids of the `requirements` about all values.

    Raises LookupError for a name that no option has."""
    if name is not None and name not in OPTIONS:
        raise LookupError(wrong_option(name, None))
    return [
        {
            "name": option_name,
            "question": option.question,
            "needs": list(map(str, option.needs)),
            "gateway_wide": option.gateway_wide,
            "values": [
                {"value": value, "meaning": meaning, "requirements": _ids(catalogue, _is_about(option_name, value))}
                for value, meaning in option.values.items()
            ],
            "requirements": _ids(catalogue, _is_about(option_name, ANY)),
        }
        for option_name, option in OPTIONS.items()
        if name in (None, option_name)
    ]


def capabilities(catalogue: Catalogue, name: str | None = None) -> list[Entry]:
    """Each capability, or this one, as JSON: `name`, `meaning`, `control` (methods of the driver), `wire`, `profiles`
    that are claimed with it, and the ids of the `requirements` that name it and of those that apply `without` it.
    Raises LookupError for a name that no capability has."""
    wrong = None if name is None else wrong_capabilities([name])
    if wrong is not None:
        raise LookupError(wrong)
    return [
        {
            "name": str(capability),
            "meaning": capability.meaning,
            "control": list(capability.control),
            "wire": capability.wire,
            "profiles": [profile.name for profile in catalogue.profiles.values() if profile.capability is capability],
            "requirements": _ids(catalogue, _names(capability)),
            "without": _ids(catalogue, _refuses(capability)),
        }
        for capability in Capability
        if name in (None, capability)
    ]


def render_options(entries: Sequence[Entry], format: str = "text") -> str:
    """Options as `text`, `markdown` or `json`, without a trailing newline. One alone has the ids of its
    requirements."""
    return _rendered(entries, format, {"text": _option_text, "markdown": _option_markdown})


def render_capabilities(entries: Sequence[Entry], format: str = "text") -> str:
    """Capabilities as `text`, `markdown` or `json`, without a trailing newline. One alone has the ids of its
    requirements."""
    return _rendered(entries, format, {"text": _capability_text, "markdown": _capability_markdown})


def _rendered(entries: Sequence[Entry], format: str, makers: Mapping[str, Callable[[Entry, bool], str]]) -> str:
    if format == "json":
        return json.dumps(entries, indent=2, ensure_ascii=False)
    return "\n\n".join(makers[format](entry, len(entries) == 1) for entry in entries)


def _option_text(entry: Entry, alone: bool) -> str:
    width = max(len(option_value["value"]) for option_value in entry["values"])
    lines = [entry["name"], *_wrapped(entry["question"], "  ")]
    for option_value in entry["values"]:
        lines += _wrapped(option_value["meaning"], f"    {option_value['value'].ljust(width)}  ")
    lines += _wrapped(_conditions(entry), "  ")
    if alone:
        for option_value in entry["values"]:
            lines += _wrapped(_judged(option_value["requirements"]), f"  {option_value['value']}: ")
        lines += _wrapped(_judged(entry["requirements"]), "  every value: ")
    return "\n".join(lines)


def _option_markdown(entry: Entry, alone: bool) -> str:
    lines = [f"### `{entry['name']}`\n", f"{entry['question']} {_conditions(entry)}".rstrip() + "\n"]
    for option_value in entry["values"]:
        lines.append(
            f"- `{option_value['value']}`: {option_value['meaning']}{_own(option_value['requirements'], alone)}"
        )
    return "\n".join([*lines, *([f"\nFor every value: {_judged(entry['requirements'])}."] if alone else [])])


def _capability_text(entry: Entry, alone: bool) -> str:
    lines = [entry["name"], *_wrapped(entry["meaning"], "  ")]
    if entry["control"]:
        lines += _wrapped(", ".join(entry["control"]), "    driver  ")
    lines += _wrapped(entry["wire"], "    wire    ")
    if entry["profiles"]:
        lines += _wrapped(", ".join(entry["profiles"]), "  claims the profile ")
    if alone:
        lines += _wrapped(_judged(entry["requirements"]), "  with it: ")
        lines += _wrapped(_judged(entry["without"]), "  without it: ")
    return "\n".join(lines)


def _capability_markdown(entry: Entry, alone: bool) -> str:
    control = ", ".join(f"`{method}`" for method in entry["control"])
    profile = "".join(f" Claims the profile `{profile_name}`." for profile_name in entry["profiles"])
    lines = [
        f"### `{entry['name']}`\n",
        f"{entry['meaning']}{profile}\n",
        f"- Driver: {control or 'nothing'}.",
        f"- Wire: {entry['wire']}",
    ]
    if alone:
        lines += [f"- With it: {_judged(entry['requirements'])}.", f"- Without it: {_judged(entry['without'])}."]
    return "\n".join(lines)


def _conditions(entry: Entry) -> str:
    needs = " and ".join(f"`{name}`" for name in entry["needs"])
    sentences = [f"Judged with {needs}."] if needs else []
    return " ".join([*sentences, *(["Of the whole gateway, not of a session."] if entry["gateway_wide"] else [])])


def _own(ids: Sequence[str], alone: bool) -> str:
    if not ids:
        return " Nothing is demanded of this value alone."
    return f" ({', '.join(ids)})" if alone else ""


def _judged(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "none"


def _is_about(name: str, value: str) -> Callable[[Requirement], bool]:
    return lambda requirement: (name, value) in requirement.option


def _names(capability: Capability) -> Callable[[Requirement], bool]:
    return lambda requirement: capability in requirement.capabilities


def _refuses(capability: Capability) -> Callable[[Requirement], bool]:
    return lambda requirement: requirement.unless is capability


def _ids(catalogue: Catalogue, chosen: Callable[[Requirement], bool]) -> list[str]:
    return [requirement.id for requirement in catalogue if chosen(requirement)]


def _wrapped(text: str, first: str) -> Iterable[str]:
    from textwrap import wrap  # of no use where nothing is rendered

    return wrap(text, 120, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False)
