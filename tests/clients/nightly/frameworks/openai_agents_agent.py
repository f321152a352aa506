# /// script
# dependencies = ["openai-agents==0.24.0"]
# ///
"""openai-agents, over OpenAI Responses. Arguments: base URL, key, nonce, `plain` or `stream`."""

import asyncio
import sys

from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool

base_url, api_key, nonce, mode = sys.argv[1:]


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


async def main() -> None:
    provider = OpenAIProvider(base_url=base_url, api_key=api_key, use_responses=True)
    config = RunConfig(model_provider=provider, tracing_disabled=True)  # its traces would go to the maker of the model
    agent = Agent(name="helper", instructions=f"{nonce} You help.", model="any", tools=[weather])
    history = []
    for prompt in ("How is the weather in Zürich?", "Thank you"):
        history.append({"role": "user", "content": prompt})
        if mode == "stream":
            result = Runner.run_streamed(agent, history, run_config=config)
            async for _ in result.stream_events():
                pass
        else:
            result = await Runner.run(agent, history, run_config=config)
        print(result.final_output)
        history = result.to_input_list()


asyncio.run(main())
