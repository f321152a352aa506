# /// script
# dependencies = ["litellm==1.110.2"]
# ///
"""litellm. Arguments: base URL, key, nonce, `plain` or `stream`, the model by the provider whose wire is spoken."""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks GitHub for one

import litellm

litellm.suppress_debug_info = True  # else it prints on, for a model whose price it does not know
base_url, api_key, nonce, mode, model = sys.argv[1:]
parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
weather = {"name": "weather", "description": "The weather of a city.", "parameters": parameters}
messages = [{"role": "system", "content": f"{nonce} You help."}]


def ask(message):
    messages.append(message)
    request = {
        "model": model,
        "api_base": base_url,
        "api_key": api_key,
        "messages": messages,
        "tools": [{"type": "function", "function": weather}],
        "stream": mode == "stream",
    }
    try:
        answer = litellm.completion(**request)
    except litellm.InternalServerError:  # the SDK below asks again over OpenAI chat, but nothing does over Messages
        answer = litellm.completion(**request)
    if mode == "stream":
        answer = litellm.stream_chunk_builder(list(answer), messages=messages)
    messages.append(answer.choices[0].message)
    return answer.choices[0].message


(call,) = ask({"role": "user", "content": "How is the weather in Zürich?"}).tool_calls
assert call.function.name == "weather"
result = f"sunny in {json.loads(call.function.arguments)['city']}"
print(ask({"role": "tool", "tool_call_id": call.id, "content": result}).content)
print(ask({"role": "user", "content": "Thank you"}).content)
