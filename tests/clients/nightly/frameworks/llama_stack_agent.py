"""The agent of llama-stack-client, or of ogx-client, which it became: a turn of text, one with a tool of the client and
one with a tool of the server, over Responses, conversations, files and vector stores. Arguments: base URL, key, nonce,
`plain` or `stream`. Prints the steps of each turn and its text."""

import io
import sys

try:
    from llama_stack_client import LlamaStackClient as Client
    from llama_stack_client.lib.agents.agent import Agent
except ImportError:
    from ogx_client import OgxClient as Client
    from ogx_client.lib.agents.agent import Agent

base_url, api_key, nonce, mode = sys.argv[1:]


def weather(city: str) -> str:
    """The weather of a city.

    :param city: the name of the city
    """
    return f"sunny in {city}"


def take_turn(agent: Agent, session: str, prompt: str) -> None:
    messages = [{"type": "message", "role": "user", "content": prompt}]
    if mode == "plain":
        print(agent.create_turn(messages, session, stream=False).output[-1].content[0].text)
        return
    steps = []
    for chunk in agent.create_turn(messages, session, stream=True):
        if chunk.event.event_type == "step_started":
            steps.append(chunk.event.step_type)
        if chunk.event.event_type == "turn_completed":
            print(*steps, chunk.event.final_text, sep=", ")


client = Client(base_url=base_url.removesuffix("/v1"), api_key=api_key)
file = client.files.create(
    file=("lighthouse.md", io.BytesIO("The lighthouse stands in Zürich.".encode())), purpose="assistants"
)
store = client.vector_stores.create(name="notes")
attached = client.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
assert attached.status == "completed", attached
assert client.vector_stores.files.retrieve(vector_store_id=store.id, file_id=file.id).id == file.id
assert [each.id for each in client.vector_stores.files.list(vector_store_id=store.id).data] == [file.id]
assert client.vector_stores.retrieve(vector_store_id=store.id).file_counts.completed == 1
assert file.id in [each.id for each in client.files.list().data]
assert "lighthouse" in str(client.files.content(file_id=file.id))

search = {"type": "file_search", "vector_store_ids": [store.id]}
agent = Agent(client, model="any", instructions=f"{nonce} You help.", tools=[weather, search])
session = agent.create_session("kit")
take_turn(agent, session, "Hello")
take_turn(agent, session, "How is the weather in Zürich?")
take_turn(agent, session, "Where is the lighthouse?")

client.vector_stores.delete(vector_store_id=store.id)
client.files.delete(file_id=file.id)
