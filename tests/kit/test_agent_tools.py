from __future__ import annotations

from typing import Annotated, Literal

import pytest

from conformance.client.agent_tools import Tools, describe


def test_a_function_is_described_by_its_docstring_and_its_signature():
    def weather(
        city: str,
        days: int = 1,
        unit: Literal["C", "F"] = "C",
        places: list[str] | None = None,
        exact: Annotated[bool, "to the minute"] = False,
        *rest: int,
        **more: int,
    ) -> str:
        """Tell the weather
        of a city.

        Args:
            city: where
            days (int): how many, from today on

        Returns:
            A sentence: the forecast.
        """

    assert describe(weather) == {
        "type": "function",
        "name": "weather",
        "description": "Tell the weather\nof a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "where"},
                "days": {"type": "integer", "description": "how many, from today on", "default": 1},
                "unit": {"enum": ["C", "F"], "default": "C"},
                "places": {"type": "array", "items": {"type": "string"}},
                "exact": {"type": "boolean", "default": False},
            },
            "required": ["city"],
        },
    }


def test_parameters_in_field_lists_are_read_too():
    def move(x, y: float | int):
        """Move.

        :param x: to the right
        :param float y: up
        :returns: nothing
        """

    assert describe(move)["description"] == "Move."
    assert describe(move)["parameters"]["properties"] == {
        "x": {"description": "to the right"},
        "y": {"anyOf": [{"type": "number"}, {"type": "integer"}], "description": "up"},
    }


def test_a_method_has_no_self_and_a_bare_function_no_text():
    class Desk:
        def ring(self):
            pass

    assert describe(Desk().ring) == {
        "type": "function",
        "name": "ring",
        "description": "",
        "parameters": {"type": "object", "properties": {}, "required": []},
    }


def test_tools_of_the_server_are_described_as_they_are_and_never_run():
    def weather():
        pass

    tools = Tools([{"type": "file_search"}, weather])
    assert [one["type"] for one in tools.described] == ["file_search", "function"]
    assert tools.names == {"weather"}


def test_tools_that_cannot_be_are_refused():
    def weather():
        pass

    with pytest.raises(ValueError, match="two tools are named 'weather'"):
        Tools([weather, weather])
    with pytest.raises(TypeError, match="a function or a mapping, not int"):
        Tools([3])
