# /// script
# dependencies = ["smolagents[openai]==1.26.0"]
# ///
"""smolagents' CodeAgent, whose model calls tools in Python. Arguments: base URL, key, nonce, `plain` or `stream`."""

import sys

from rich.console import Console
from smolagents import AgentLogger, CodeAgent, OpenAIModel, tool

base_url, api_key, nonce, mode = sys.argv[1:]


@tool
def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: The city.
    """
    return f"sunny in {city}"


model = OpenAIModel("any", api_base=base_url, api_key=api_key)
agent = CodeAgent(
    tools=[weather],
    model=model,
    instructions=f"{nonce} You help.",
    stream_outputs=mode == "stream",
    logger=AgentLogger(console=Console(stderr=True)),
)
print(agent.run("How is the weather in Zürich?"))
print(agent.run("Thank you", reset=False))
