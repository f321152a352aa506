# /// script
# dependencies = ["google-adk==2.13.0", "litellm==1.110.2"]
# ///
"""google-adk, with litellm for the wire. Arguments: base URL, key, nonce, `plain` or `stream`."""

import asyncio
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else litellm asks GitHub for one

from google.adk.agents import Agent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types

base_url, api_key, nonce, mode = sys.argv[1:]


def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


async def main() -> None:
    model = LiteLlm(model="openai/any", api_base=base_url, api_key=api_key)
    agent = Agent(name="helper", model=model, instruction=f"{nonce} You help.", tools=[weather])
    runner = InMemoryRunner(agent=agent, app_name="weather")
    session = await runner.session_service.create_session(app_name="weather", user_id="user")
    config = RunConfig(streaming_mode=StreamingMode.SSE if mode == "stream" else StreamingMode.NONE)
    for prompt in ("How is the weather in Zürich?", "Thank you"):
        message = types.Content(role="user", parts=[types.Part(text=prompt)])
        events = runner.run_async(user_id="user", session_id=session.id, new_message=message, run_config=config)
        async for event in events:
            if event.is_final_response():
                print(event.content.parts[0].text)


asyncio.run(main())
