# /// script
# dependencies = ["pydantic-ai-slim[openai]==2.68.0"]
# ///
"""pydantic-ai. Arguments: base URL, key, nonce, `plain` or `stream`."""

import asyncio
import sys
from collections.abc import AsyncIterable

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

base_url, api_key, nonce, mode = sys.argv[1:]
model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=base_url, api_key=api_key))
agent = Agent(model, instructions=f"{nonce} You help.")


@agent.tool_plain
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


async def read(_: object, events: AsyncIterable[object]) -> None:
    async for _ in events:
        pass


async def main() -> None:
    # Not `run_stream`, which takes the model's first text for the answer, also where a tool call follows it.
    handler = read if mode == "stream" else None
    history = None
    for prompt in ("How is the weather in Zürich?", "Thank you"):
        result = await agent.run(prompt, message_history=history, event_stream_handler=handler)
        print(result.output)
        history = result.all_messages()


asyncio.run(main())
