"""What a program of your own puts around invocations, as one object that `--deployment MODULE:FACTORY` can name.

Knows how to find a factory by its name; never what its hooks do.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference_gateway.channel.hooks import Hooks
from reference_gateway.channel.host import Delivers
from reference_gateway.serving.lifespan import Part

if TYPE_CHECKING:
    from reference_gateway.config import Config


@dataclass(frozen=True, slots=True)
class Deployment:
    """`parts` start and stop with the gateway. `declares` are capabilities that the gateway has because of it."""

    hooks: Hooks | None = None
    delivery: Delivers | None = None
    parts: Sequence[Part] = ()
    declares: Sequence[str] = ()


def load_deployment(name: str, config: Config) -> Deployment:
    """What the factory `package.module:function` makes for `config`. Raises ValueError that says what is wrong with the
    name, and what the factory raises."""
    module_name, colon, function = name.partition(":")
    if not colon or not module_name or not function:
        raise ValueError(f"deployment must be package.module:function, not {name!r}")
    try:
        factory = getattr(importlib.import_module(module_name), function)
    except ImportError as error:
        raise ValueError(f"deployment {name!r} cannot be imported: {error}") from error
    except AttributeError:
        raise ValueError(f"deployment: the module {module_name!r} has no {function!r}") from None
    made = factory(config) if callable(factory) else factory
    if not isinstance(made, Deployment):
        raise ValueError(f"deployment {name!r} is no factory of a Deployment: it made {type(made).__name__}")
    return made
