"""The options of the invocations channel: where good gateways differ (contract section 5). The first value of each is
the default. Every session of a gateway has the same."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reference_gateway.channel.hooks import RUN_HOOK
from reference_gateway.wire.invocations import FRAMES, SSE_NEWLINE, STREAM_FLAG

CHANNEL_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"run_hook": RUN_HOOK, "stream_flag": STREAM_FLAG, "sse_newline": SSE_NEWLINE, "invocations_frames": FRAMES}
)


def resolve_channel_options(chosen: Mapping[str, str]) -> dict[str, str]:
    """All options with their values. ValueError names the option and the values it takes."""
    options = {name: values[0] for name, values in CHANNEL_OPTIONS.items()}
    for name, value in chosen.items():
        if name not in CHANNEL_OPTIONS:
            raise ValueError(f"channel_options.{name} is not an option; the options are {', '.join(CHANNEL_OPTIONS)}")
        if value not in CHANNEL_OPTIONS[name]:
            raise ValueError(f"channel_options.{name} must be one of {', '.join(CHANNEL_OPTIONS[name])}")
        options[name] = value
    return options
