"""How the kit handles the sessions of each kind of gateway. A built-in one is chosen by name, any other by
`package.module:Class`."""

from __future__ import annotations

import importlib
from difflib import get_close_matches

from conformance.gateway import Driver

BUILT_IN = {
    "http": "conformance.drivers.http:HttpDriver",
    "openai": "conformance.drivers.openai:OpenAIDriver",
    "rllm": "conformance.drivers.rllm:RllmDriver",
}


def load_driver(name: str) -> type[Driver]:
    """The driver class of that name. Raises ValueError with one sentence that says what is wrong with the name."""
    target = BUILT_IN.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not colon:
        near = get_close_matches(name, BUILT_IN, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"no driver is named {name!r} (built in: {', '.join(BUILT_IN)}; or package.module:Class){guess}"
        )
    try:
        driver = getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise ValueError(f"the driver {name!r} cannot be imported: {error}") from error
    except AttributeError:
        raise ValueError(f"the module {module_name!r} has no driver class {class_name!r}") from None
    if not (isinstance(driver, type) and issubclass(driver, Driver)):
        raise ValueError(f"{name!r} is not a subclass of conformance.gateway.Driver")
    return driver
