# /// script
# dependencies = ["anthropic==2.14.0", "inspect-ai==0.3.285", "openai==3.57.0"]
# ///
"""inspect-ai. Arguments: base URL, key, nonce, `plain` or `stream`, the model by the provider whose wire is spoken."""

import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, GenerateConfig, get_model
from inspect_ai.solver import generate, system_message, use_tools, user_message
from inspect_ai.tool import Tool, tool

base_url, api_key, nonce, mode, name = sys.argv[1:]


@tool
def weather() -> Tool:
    async def execute(city: str) -> str:
        """The weather of a city.

        Args:
            city: The city.
        """
        return f"sunny in {city}"

    return execute


# Without the first it tries summaries out beforehand, with a call of its own; without the second Anthropic's SDK
# insists on a stream.
config = GenerateConfig(reasoning_summary="none", max_tokens=512)
streaming = {"stream" if name.startswith("openai-api/") else "streaming": mode == "stream"}
model = get_model(name, base_url=base_url, api_key=api_key, config=config, **streaming)
solvers = [
    system_message(f"{nonce} You help."),
    use_tools(weather()),
    generate(),
    user_message("Thank you"),
    generate(),
]
task = Task(dataset=[Sample(input="How is the weather in Zürich?")], solver=solvers)
(log,) = eval(task, model=model, display="none")
for message in log.samples[0].messages:
    if isinstance(message, ChatMessageAssistant) and not message.tool_calls:
        print(message.text)
if log.error:
    sys.exit(log.error.message)
