# /// script
# dependencies = ["agent-framework-openai==1.17.0"]
# ///
"""Microsoft's agent-framework. Arguments: base URL, key, nonce, `plain` or `stream`, `chat` or `responses`."""

import asyncio
import sys

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient, OpenAIChatCompletionClient

base_url, api_key, nonce, mode, wire = sys.argv[1:]
client = {"chat": OpenAIChatCompletionClient, "responses": OpenAIChatClient}[wire]


def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


async def main() -> None:
    model = client(model="any", base_url=base_url, api_key=api_key)
    agent = Agent(model, instructions=f"{nonce} You help.", tools=[weather])
    session = agent.create_session()
    for prompt in ("How is the weather in Zürich?", "Thank you"):
        if mode == "stream":
            stream = agent.run(prompt, stream=True, session=session)
            async for _ in stream:
                pass
            response = await stream.get_final_response()
        else:
            response = await agent.run(prompt, session=session)
        print(response.messages[-1].text)


asyncio.run(main())
