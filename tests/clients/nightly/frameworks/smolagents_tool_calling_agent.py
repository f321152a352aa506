# /// script
# dependencies = ["smolagents[openai]==1.26.0"]
# ///
"""smolagents' ToolCallingAgent, which asks for `tool_choice: "required"` on each turn and answers by a call, too.
Arguments: base URL, key, nonce, `plain` or `stream`."""

import sys

from smolagents import LogLevel, OpenAIModel, ToolCallingAgent, tool

base_url, api_key, nonce, mode = sys.argv[1:]


@tool
def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: The city.
    """
    return f"sunny in {city}"


model = OpenAIModel("any", api_base=base_url, api_key=api_key)
agent = ToolCallingAgent(
    tools=[weather],
    model=model,
    instructions=f"{nonce} You help.",
    stream_outputs=mode == "stream",
    verbosity_level=LogLevel.OFF,
)
answers = [agent.run("How is the weather in Zürich?"), agent.run("Thank you", reset=False)]
print("", *answers, sep="\n")  # below what it shows of a stream on its way
