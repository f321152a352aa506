# /// script
# dependencies = ["mini-swe-agent==2.4.6"]
# ///
"""mini-swe-agent, which does one task in a shell and never streams. Arguments: base URL, key, nonce, `plain`."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else litellm asks GitHub for one
os.environ["MSWEA_SILENT_STARTUP"] = "1"

import litellm
from minisweagent.agents.default import DefaultAgent
from minisweagent.environments.local import LocalEnvironment
from minisweagent.models.litellm_model import LitellmModel

litellm.suppress_debug_info = True
base_url, api_key, nonce, _ = sys.argv[1:]
settings = {"api_base": base_url, "api_key": api_key}
model = LitellmModel(model_name="openai/any", model_kwargs=settings, cost_tracking="ignore_errors")
agent = DefaultAgent(model, LocalEnvironment(), system_template=f"{nonce} You help.", instance_template="{{task}}")
print(agent.run("How is the weather in Zürich?")["submission"])
