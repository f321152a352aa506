# /// script
# dependencies = ["claude-agent-sdk==0.2.189"]
# ///
"""claude-agent-sdk, with the Claude Code that it brings. Arguments: base URL, key, nonce, `plain` or `stream`."""

import asyncio
import sys

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage, create_sdk_mcp_server, tool

base_url, api_key, nonce, mode = sys.argv[1:]


@tool("weather", "The weather of a city.", {"city": str})
async def weather(arguments: dict) -> dict:
    return {"content": [{"type": "text", "text": f"sunny in {arguments['city']}"}]}


async def main() -> None:
    options = ClaudeAgentOptions(
        model="any",
        system_prompt=f"{nonce} You help.",
        tools=[],
        mcp_servers={"sky": create_sdk_mcp_server("sky", tools=[weather])},
        allowed_tools=["mcp__sky__weather"],
        include_partial_messages=mode == "stream",
        env={"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": api_key},
    )
    async with ClaudeSDKClient(options) as client:
        for prompt in ("How is the weather in Zürich?", "Thank you"):
            await client.query(prompt)
            async for message in client.receive_response():
                if isinstance(message, ResultMessage):
                    print(message.result)


asyncio.run(main())
