"""Where good gateways differ: what a gateway may declare of each, and how it can be told from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from conformance.declaring.capabilities import Capability
from conformance.declaring.spelling import unknown


@dataclass(frozen=True, slots=True)
class Option:
    """Where good gateways differ. `question` asks what can be seen of a gateway, and each of `values` answers it: what
    a gateway does that declares the value. The first is what the reference gateway does by default.

    `needs`: without these capabilities nothing is judged by it. `gateway_wide`: no session can choose it, also where
    there are `session-options`.
    """

    question: str
    values: Mapping[str, str]
    needs: tuple[Capability, ...] = (Capability.TRAJECTORIES,)
    gateway_wide: bool = False


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "trajectory": Option(
            "An agent sends back the answer that it was given, and the next message: what is exported?",
            {
                "conversation": "One trajectory that has grown: both generations with mask 1, and what the gateway "
                "put between them with mask 0.",
                "call": "A trajectory for each call of the upstream: the whole context in `prompt_ids`, and the mask "
                "1 throughout. Leave `multi_chain`, the two rewrites and the four identities undeclared then: "
                "nothing goes on that they could be about.",
            },
            gateway_wide=True,
        ),
        "multi_chain": Option(
            "Two agents take turns in one session, each with a history of its own: how many trajectories are exported?",
            {
                "true": "One for each agent, with all its turns: a conversation that was left is taken up again.",
                "false": "One for each change from agent to agent: a request that does not extend the one open "
                "trajectory closes it for good and opens another.",
            },
        ),
        "first_rewrite": Option(
            "An agent asks again without the first answer of its conversation, or with another one in its place: what "
            "becomes of that answer?",
            {
                "split": "It stays exported, in the trajectory that it was sampled in; the request starts another.",
                "reuse": "It is given up: one trajectory is exported, without it. The session's `state` counts it in "
                "`rollback_count`, and the ids sampled for it in `rollback_dropped_trainable_tokens_total`.",
            },
        ),
        "last_rewrite": Option(
            "An agent rewrites its last answer, which is not the first: it asks again without it, or with another one "
            "in its place. What becomes of that answer?",
            {
                "rollback": "It is given up: the trajectory goes on from the answer before it, and one is exported. "
                "The session's `state` counts it in `rollback_count`, and the ids sampled for it in "
                "`rollback_dropped_trainable_tokens_total`.",
                "split": "It stays exported, in the trajectory that it was sampled in; the request starts another.",
            },
        ),
        "repeated_prompt": Option(
            "An agent sends the same request three times, as for the best of three, and gets three different answers: "
            "how many are exported?",
            {
                "sibling": "Three, each in a trajectory of its own; the conversation goes on with the one that is "
                "echoed.",
                "replace": "One, the last: each takes the place of the one before, which is given up. Judged where "
                "`last_rewrite` is `rollback`.",
            },
        ),
        "idempotent_retry": Option(
            "A client sends an answered request again under its `Idempotency-Key`, or as an SDK does by itself, with "
            "`x-stainless-retry-count`: is the model asked again?",
            {
                "false": "Yes: a retry is a turn of its own, like any repeated request.",
                "true": "No: it gets the answer that was given, or waits for the one in flight; after a failure it is "
                "a turn of its own. A repeated request without such a header is sampled, and exported once where it "
                "is given the same text.",
            },
        ),
        "aborted": Option(
            "The engine gives a generation up before its end, with the finish reason `abort`, as it does for new "
            "weights or at its own stop: what does the agent get?",
            {
                "failed": "An error after which it can ask again: a 5xx status, in a stream that has begun the wire's "
                "in-band error. Nothing of that generation is exported.",
                "resumed": "The answer: the gateway has the engine go on by itself, until the generation has an end.",
            },
            needs=(),
            gateway_wide=True,
        ),
        "concurrency": Option(
            "Two requests of one session arrive at once: when does the upstream get the second?",
            {
                "overlap": "At once: both are in the upstream at the same time.",
                "serialized": "When the first one has been answered.",
            },
            (),
        ),
        "budget": Option(
            "A session was created with `prompt_length` and `response_length`: what do they limit?",
            {
                "total": "Context and answer together, where both lengths are given: the upstream receives the "
                "smaller of what the request asks for and what is left of their sum. One of them alone limits nothing.",
                "response": "`response_length` limits all ids behind the first prompt, sampled or not; the prompt "
                "does not count.",
                "none": "Nothing: the upstream receives what the request asks for.",
            },
            (Capability.SESSION_LENGTHS,),
        ),
        "logprobs": Option(
            "The upstream gives log-probabilities that nobody asked for, or leaves out those that were: what then?",
            {
                "strict": "The first are not exported: `response_logprobs` is null. For the second the turn fails "
                "with a 5xx status and leaves nothing.",
                "opportunistic": "The first are exported. The second fail nothing: `response_logprobs` is null, or "
                "has what the upstream gave.",
            },
            (Capability.TRAJECTORIES, Capability.LOGPROBS),
        ),
        "tool_id_identity": Option(
            "An agent echoes a tool call and its result under another id than it was given: does its trajectory go on?",
            {
                "ignored": "Yes: ids of tool calls are no part of a history.",
                "compared": "No: the request starts a trajectory of its own.",
            },
            (Capability.TRAJECTORIES, Capability.TOOLS),
        ),
        "reasoning_identity": Option(
            "An agent echoes an answer with a `reasoning_content` that it was not given: does its trajectory go on?",
            {
                "ignored": "Yes: thoughts are no part of a history.",
                "compared": "No: the request starts a trajectory of its own.",
            },
        ),
        "name_identity": Option(
            "An agent echoes an answer with a `name` that it was not given: does its trajectory go on?",
            {
                "ignored": "Yes: what a client calls an assistant is no part of a history.",
                "compared": "No: the request starts a trajectory of its own.",
            },
        ),
        "whitespace_identity": Option(
            "An agent echoes an answer without the white space at its ends, or with more: does its trajectory go on?",
            {
                "ignored": "Yes: outer white space is no part of a history.",
                "compared": "No: the request starts a trajectory of its own.",
            },
        ),
        "template_kwargs": Option(
            "A request has `chat_template_kwargs`: do they reach the chat template?",
            {
                "config": "No: settings of the template are the gateway's own. The request is refused, or the context "
                "is that of a request without them.",
                "request": "Yes, on top of the gateway's own.",
            },
            (),
            gateway_wide=True,
        ),
        "control_tokens": Option(
            "The text of a message spells a control token of the chat template, such as `<|im_end|>`: what does the "
            "upstream receive?",
            {
                "plain": "Text: the ids of its characters, never that token.",
                "parsed": "That token: the rendered messages are encoded as one string.",
            },
            (Capability.TRAJECTORIES, Capability.TOKEN_UPSTREAM),
            gateway_wide=True,
        ),
        "media_urls": Option(
            "A message has an image by its http URL: what does the upstream receive?",
            {
                "passed": "The URL as the client wrote it; the gateway does not request it.",
                "fetched": "The image: the gateway requests the URL, once in a conversation.",
            },
            (Capability.MEDIA,),
            gateway_wide=True,
        ),
        "conversation_create": Option(
            "`POST {base_url}/conversations` was answered, and nothing was said in it yet: can it be read?",
            {
                "eager": "Yes: it has its id, and no items.",
                "lazy": "Not before its first response.",
            },
            (Capability.OPENAI_RESPONSES, Capability.CONVERSATIONS),
            gateway_wide=True,
        ),
        "chaining": Option(
            "How do the responses of one turn with tools follow one another, for a client that leaves the history to "
            "the gateway? The checks of turns do as is declared; undeclared, they use `previous_response_id`.",
            {
                "conversation": "Each names the `conversation`. Needs `conversations`.",
                "previous_response_id": "Each names the response before it.",
            },
            (Capability.OPENAI_RESPONSES,),
            gateway_wide=True,
        ),
        "error_404_type": Option(
            "A message is sent to a session that does not exist: what is `error.type` of the Anthropic envelope?",
            {
                "not_found_error": "`not_found_error`, as Anthropic's own API has it.",
                "api_error": "`api_error`, or any other.",
            },
            (Capability.ANTHROPIC_MESSAGES, Capability.SESSIONS),
            gateway_wide=True,
        ),
        "invocations_path": Option(
            "Below the base URL of a session, where are invocations posted?",
            {
                "bare": "To `/invocations`.",
                "invoke": "To `/invocations/invoke`.",
            },
            (Capability.INVOCATIONS,),
            gateway_wide=True,
        ),
        "stream_flag": Option(
            'An invocation has a `stream` that is no boolean, such as `"no"` or 1: what is it answered with?',
            {
                "strict_bool": "A refusal, with 422.",
                "truthy": 'A stream for every value but `false`, 0, `""`, null and empty containers.',
            },
            (Capability.INVOCATIONS,),
            gateway_wide=True,
        ),
        "sse_newline": Option(
            "The text of a streamed invocation ends with a line end, or has U+2028, U+0085 or a form feed in it: what "
            "does a parser of event streams get?",
            {
                "exact": "The text, with LF for CR and CRLF and nothing else changed.",
                "splitlines": "The lines that `str.splitlines()` makes of it: each such character is a line end, and "
                "one at the end of the text is lost.",
            },
            (Capability.INVOCATIONS, Capability.STREAMING),
            gateway_wide=True,
        ),
        "invocations_frames": Option(
            "What is the data of a frame of a streamed invocation?",
            {
                "text": "The text of a chunk as it is, a `data: ` line for each of its lines.",
                "json": "The text of a chunk as one JSON string, so that a model's `[DONE]` is not the end.",
            },
            (Capability.INVOCATIONS, Capability.STREAMING),
            gateway_wide=True,
        ),
        "run_hook": Option(
            "The run hook changes the `stream` of an invocation, or fails: who has decided whether it is streamed?",
            {
                "inside_host": "The body, before the hook was called: what the hook changes is without effect, and "
                "its failure is status 200 and a frame `event: error`.",
                "before_stream_decision": "The hook: the answer is framed as it returns, and its failure is a 5xx "
                "status or 422, and JSON.",
            },
            (Capability.HOOKS, Capability.STREAMING),
            gateway_wide=True,
        ),
        "isolation_duplicates": Option(
            "A request has two values of one isolation key, in two headers or with a comma: what becomes of it?",
            {
                "refused": "It is refused with 400.",
                "first": "It is served, under the first of them.",
            },
            (Capability.ISOLATION_KEYS, Capability.INVOCATIONS),
            gateway_wide=True,
        ),
        "delivery": Option(
            "An answer is for others than the client that asked: how does it get to them?",
            {
                "report": "Each push is tried, and a report says who was pushed to, who was skipped and what failed.",
                "task_runner": "Each push is a background task, tried up to five times; the client is not kept "
                "waiting.",
                "none": "Not at all: the capability `delivery` is not declared.",
            },
            (Capability.DELIVERY,),
            gateway_wide=True,
        ),
    }
)
"""By name. An option that a gateway does not declare is undeclared: only what holds for every value is then checked."""

GATEWAY_WIDE = frozenset(name for name, option in OPTIONS.items() if option.gateway_wide)
"""Options that no session can choose, also where there are `session-options`."""


def wrong_option(name: str, value: object) -> str | None:
    """What is wrong with declaring this value of this option, in a sentence that says what may be declared; None where
    nothing is."""
    if name not in OPTIONS:
        return f"{unknown('option', name, OPTIONS)} (gateway-conformance options lists them)"
    values = OPTIONS[name].values
    if value in tuple(values):
        return None
    answers = "; ".join(f"{answer!r}: {meaning}" for answer, meaning in values.items())
    return f"option {name}={value!r} is none of its values. {OPTIONS[name].question} {answers}"
