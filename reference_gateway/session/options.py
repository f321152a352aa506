"""The options of a session: where good gateways differ (contract section 5). The first value of each is the default."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from reference_gateway.session.errors import InvalidField
from reference_gateway.session.identity import IdentityRules
from reference_gateway.session.tree import Policy

OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "multi_chain": ("true", "false"),
        "first_rewrite": ("split", "reuse"),
        "last_rewrite": ("rollback", "split"),
        "repeated_prompt": ("sibling", "replace"),
        "idempotent_retry": ("false", "true"),
        "concurrency": ("overlap", "serialized"),
        "budget": ("total", "response", "none"),
        "logprobs": ("strict", "opportunistic"),
        "tool_id_identity": ("ignored", "compared"),
        "reasoning_identity": ("ignored", "compared"),
        "name_identity": ("ignored", "compared"),
        "whitespace_identity": ("ignored", "compared"),
    }
)
"""What a session may be created with: option -> allowed values."""


def resolve_options(chosen: Mapping[str, Any] | None) -> dict[str, str]:
    """All options with their values. JSON `true` and `false` stand for their names. `InvalidField` names the option and
    the values it takes."""
    options = {name: values[0] for name, values in OPTIONS.items()}
    if chosen is not None and not isinstance(chosen, Mapping):
        raise InvalidField("options", "must be an object")
    for name, value in (chosen or {}).items():
        if name not in OPTIONS:
            raise InvalidField(f"options.{name}", f"is not an option; the options are {', '.join(OPTIONS)}")
        spelled = str(value).lower() if isinstance(value, bool) else value
        if spelled not in OPTIONS[name]:
            raise InvalidField(f"options.{name}", f"must be one of {', '.join(OPTIONS[name])}")
        options[name] = spelled
    if options["repeated_prompt"] == "replace" and options["last_rewrite"] != "rollback":
        raise InvalidField("options.repeated_prompt", "can be replace only where last_rewrite is rollback")
    return options


def policy(options: Mapping[str, str]) -> Policy:
    return Policy(
        multi_chain=options["multi_chain"] == "true",
        reuse_first=options["first_rewrite"] == "reuse",
        rollback_last=options["last_rewrite"] == "rollback",
        replace_repeated=options["repeated_prompt"] == "replace",
    )


def identity_rules(options: Mapping[str, str]) -> IdentityRules:
    return IdentityRules(
        tool_ids=options["tool_id_identity"] == "compared",
        reasoning=options["reasoning_identity"] == "compared",
        names=options["name_identity"] == "compared",
        whitespace=options["whitespace_identity"] == "compared",
    )
