# /// script
# dependencies = ["langchain-openai==1.7.3"]
# ///
"""langchain-openai. Arguments: base URL, key, nonce, `plain` or `stream`."""

import sys

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

base_url, api_key, nonce, mode = sys.argv[1:]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


model = ChatOpenAI(model="any", base_url=base_url, api_key=api_key).bind_tools([weather])
messages: list[BaseMessage] = [SystemMessage(f"{nonce} You help.")]


def ask(message: BaseMessage) -> AIMessage:
    messages.append(message)
    if mode == "stream":
        chunks = model.stream(messages)
        answer = next(chunks)
        for chunk in chunks:
            answer += chunk
    else:
        answer = model.invoke(messages)
    messages.append(answer)
    return answer


called = ask(HumanMessage("How is the weather in Zürich?"))
result = weather.invoke(called.tool_calls[0])
assert isinstance(result, ToolMessage)
print(ask(result).text)
print(ask(HumanMessage("Thank you")).text)
