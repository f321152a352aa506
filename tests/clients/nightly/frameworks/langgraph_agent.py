# /// script
# dependencies = ["langgraph==1.2.24", "langchain-anthropic==1.7.10", "langchain-openai==1.7.3"]
# ///
"""langgraph. Arguments: base URL, key, nonce, `plain` or `stream`, `openai` or `anthropic`."""

import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

base_url, api_key, nonce, mode, provider = sys.argv[1:]
chat = {"openai": ChatOpenAI, "anthropic": ChatAnthropic}[provider]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


model = chat(model="any", base_url=base_url, api_key=api_key).bind_tools([weather])


def ask(state: MessagesState) -> dict:
    return {"messages": [model.invoke([SystemMessage(f"{nonce} You help."), *state["messages"]])]}


graph = StateGraph(MessagesState)
graph.add_node("ask", ask)
graph.add_node("tools", ToolNode([weather]))
graph.add_edge(START, "ask")
graph.add_conditional_edges("ask", tools_condition)
graph.add_edge("tools", "ask")
agent = graph.compile(checkpointer=InMemorySaver())
thread = {"configurable": {"thread_id": "one"}}
for prompt in ("How is the weather in Zürich?", "Thank you"):
    messages = {"messages": [("user", prompt)]}
    if mode == "stream":
        for _ in agent.stream(messages, thread, stream_mode="messages"):  # the model streams, too, where it is read so
            pass
    else:
        agent.invoke(messages, thread)
    print(agent.get_state(thread).values["messages"][-1].text)
