"""What a gateway may declare that it has, and what that demands of its control plane and of its wire."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from conformance.declaring.spelling import unknown


class Capability(StrEnum):
    """What a gateway may declare that it has. What is declared is mandatory; what is not declared must be refused
    wherever ignoring it would change the meaning of an answer.

    A member is its name, and has a `meaning`; `control`, the methods of `Driver` that are called for it, with the
    arguments that count; and `wire`, what the gateway must do about requests and exports.
    """

    meaning: str
    control: tuple[str, ...]
    wire: str

    # The defaults are for `Capability("streaming")`, as type checkers see it.
    def __new__(cls, name: str, meaning: str = "", control: tuple[str, ...] = (), wire: str = "") -> Capability:
        member = str.__new__(cls, name)
        member._value_ = name
        member.meaning, member.control, member.wire = meaning, control, wire
        return member

    SESSIONS = (
        "sessions",
        "Sessions are created through the control plane, and each has its own base URL.",
        ("create",),
        "An absolute `base_url` that ends in `/v1`, another one for each session. `POST {base_url}/chat/completions` "
        "needs nothing else to find its session; for one that was never created it answers 404.",
    )
    SESSION_IDS = (
        "session-ids",
        "The creator of a session may choose its id.",
        ("create(session_id=...)",),
        "An id that exists is refused with a 4xx status, and so is one that cannot be used in a URL.",
    )
    SESSION_STATE = (
        "session-state",
        "A session's state can be read while it lives.",
        ("state",),
        "A refused request and a failed turn leave it as it was, apart from times. Answers that were given up for "
        "others are counted in its `rollback_count` and `rollback_dropped_trainable_tokens_total`.",
    )
    SESSION_SAMPLING = (
        "session-sampling",
        "A session can be created with default sampling parameters.",
        ("create(sampling_params=...)",),
        "They reach the upstream with each request that does not have its own; where it has, the request's count.",
    )
    SESSION_LENGTHS = (
        "session-lengths",
        "A session can be created with `prompt_length` and `response_length`, both in tokens.",
        ("create(prompt_length=..., response_length=...)",),
        "They cut the `max_tokens` that the upstream receives, as the option `budget` says. A turn for which no room "
        "is left is answered with status 200.",
    )
    API_KEYS = (
        "api-keys",
        "The requests of a session need its key, which its handle has.",
        ("create",),
        "Each wire takes the key as a bearer token, that of messages also in `x-api-key`. Without it, and with another "
        "one, a request is refused with 401 or 403, and no upstream is called for it. All sessions may have one key, "
        "that of the gateway.",
    )
    COMPLETE = (
        "complete",
        "A session can be marked complete; it is then read-only until it is finalized.",
        ("complete",),
        "Later requests are refused with 409 and `x-should-retry: false`.",
    )
    ABORT = (
        "abort",
        "A session can be aborted, also twice: what it holds is discarded.",
        ("abort",),
        "Later requests, and turns in flight, are refused with 404, 409 or 410, and no upstream is called for them.",
    )
    REWARD_INFO = (
        "reward-info",
        "A reward can be posted to a session and comes back on each of its trajectories.",
        ("reward", "complete(reward_info=...)"),
        "`reward_info`, a JSON object, of each trajectory. A later reward replaces it as a whole; what is no object "
        "is refused with 400 or 422.",
    )
    TRAJECTORIES = (
        "trajectories",
        "Token-exact trajectories can be read from a session.",
        ("trajectories", "finalize"),
        "Every answered turn is exported: the ids that the upstream received and sampled, with a mask that tells them "
        "apart. Needs the kit's upstream behind the gateway, as what it received and sampled is the truth.",
    )
    STREAMING = (
        "streaming",
        "`stream: true` is answered with server-sent events, on each wire that the gateway has.",
        (),
        "Status 200, `content-type: text/event-stream`, and the events of that wire to their end. Undeclared, a "
        "request for a stream is refused or answered with the plain body.",
    )
    INCREMENTAL_STREAMING = (
        "incremental-streaming",
        "The text of a stream leaves while the model is still sampling.",
        (),
        "Text reaches the client before the upstream has ended its answer. Where that fails after the first text, the "
        "stream ends with an error.",
    )
    ANTHROPIC_MESSAGES = (
        "anthropic-messages",
        "Sessions take Anthropic messages at their `anthropic_base_url`.",
        ("create",),
        "Its handle has an `anthropic_base_url`, by default `base_url` without `/v1`. There, `POST /v1/messages`; "
        "`/v1/messages/count_tokens` and `/v1/models` are served, or answered with 404 and an error envelope.",
    )
    OPENAI_RESPONSES = (
        "openai-responses",
        "`POST {base_url}/responses` takes OpenAI Responses, and a response can be continued by its id.",
        (),
        "`POST {base_url}/responses` with `previous_response_id`, and `GET {base_url}/responses/{id}`.",
    )
    CONVERSATIONS = (
        "conversations",
        "`POST {base_url}/conversations` opens a conversation, whose items the gateway keeps for its responses.",
        (),
        "`POST {base_url}/conversations`, `GET` of `/conversations/{id}` and `/conversations/{id}/items`, and the "
        "field `conversation` of a request for a response. Needs `openai-responses`.",
    )
    COMPACTION = (
        "compaction",
        "`POST {base_url}/responses/compact` makes of a conversation what can stand for it: the user's messages, and "
        "one opaque item.",
        (),
        "The upstream's model is asked for what the item stands for, in one turn that is exported like any other. The "
        "items are taken in the `input` of later requests of the session. Needs `openai-responses`.",
    )
    SERVER_TOOLS = (
        "server-tools",
        "The gateway has a search over files, and runs it within a response.",
        (),
        'A response whose request has the tool `{"type": "file_search"}` offers the model the function `file_search` '
        "with the parameter `query`. Its calls are items of type `file_search_call`. Needs `openai-responses`.",
    )
    TURN_EVENTS = (
        "turn-events",
        "The turns of a session's responses can be read as turn and step events.",
        ("turns",),
        "The events are those that the streams of the turn's responses amount to. Needs `openai-responses`.",
    )
    INVOCATIONS = (
        "invocations",
        "Sessions take invocations: one message in, one text or a stream of text out, history kept by `session_id`.",
        ("create",),
        "Its handle has an `invocations_url`, by default `base_url` with `/invocations`. There, `POST` of "
        '`{"message", "session_id"?, "stream"?}` (docs/invocations.md).',
    )
    ISOLATION_KEYS = (
        "isolation-keys",
        "The headers `x-agent-user-isolation-key` and `x-agent-chat-isolation-key` partition what a session keeps.",
        (),
        "No request under one key sees, continues or changes what was said under another. Needs `invocations`, over "
        "which most of it is judged.",
    )
    HOOKS = (
        "hooks",
        "What is put before and behind the target of an invocation can be judged: the gateway has the demo's hooks.",
        (),
        "The field `demo` of an invocation, and marks in the model's text, say what the hooks do "
        "(docs/invocations.md).",
    )
    DELIVERY = (
        "delivery",
        "Answers to invocations can go to others than the client that asked: the gateway has the demo's destinations.",
        (),
        "The field `demo` of an invocation says who gets the answer; each push is a `POST {upstream}/inbox` "
        "(docs/invocations.md).",
    )
    BACKGROUND_TASKS = (
        "background-tasks",
        "An invocation can leave tasks behind that are tried until they succeed: the gateway has the demo's task.",
        (),
        "The field `demo.tasks` of an invocation; each try is a `POST {upstream}/inbox` (docs/invocations.md).",
    )
    TOOLS = (
        "tools",
        "Tool calls in the model's text come back as `tool_calls`.",
        (),
        "The model of the kit calls as Hermes and Qwen do, with `<tool_call>` and JSON: choose that parser. Without "
        "`tools` in the request, and with `tool_choice: none`, such text stays text.",
    )
    TOOL_CHOICE_REQUIRED = (
        "tool-choice-required",
        "`tool_choice` `required` and a named function are honoured, and Anthropic's `any` and `tool`.",
        (),
        "The upstream receives the choice, or a constraint on what is sampled, which leaves its model no other answer "
        "to that request. Undeclared, all of them are refused with a 4xx status.",
    )
    MEDIA = (
        "media",
        "Images and videos in messages reach the upstream with the context that has their places, and are exported "
        "with the trajectory.",
        (),
        "Parts `image_url` and `video_url`, Anthropic `image` blocks, `input_image` of responses; `multi_modal_data` "
        "of trajectories. Undeclared, they are refused with a 4xx status before the upstream is called.",
    )
    N = (
        "n",
        "`n` greater than 1 is honoured with that many choices.",
        (),
        "`n: 2` is answered with two choices, whose `index` is 0 and 1. Undeclared, it is refused with a 4xx status.",
    )
    RESPONSE_FORMAT = (
        "response-format",
        "`response_format` is honoured, and `text.format` of responses.",
        (),
        "Its JSON schema reaches the upstream, as it is or as a constraint on what is sampled, which leaves its model "
        "no other answer to that request; `output_config.format` of messages is honoured or refused. Undeclared, all "
        "of them are refused with a 4xx status.",
    )
    LOGPROBS = (
        "logprobs",
        "Trajectories carry the log-probabilities that the upstream reported.",
        (),
        "Asked for by `logprobs: true` of a request or by the session's default. `response_logprobs` of a trajectory "
        "then has one number for each response id: as reported where the mask is 1, 0.0 where it is 0.",
    )
    WEIGHT_VERSIONS = (
        "weight-versions",
        "Trajectories carry the lowest and highest weight version that the upstream reported for their generations.",
        (),
        "`min_global_steps` and `max_global_steps` in `extra_fields` of a trajectory.",
    )
    SESSION_OPTIONS = (
        "session-options",
        "A session can be created with other values of options than the declared ones, but for those of the whole "
        "gateway. The gateway is then judged for every value of the options that it declares.",
        ("create(options=...)",),
        "What the options say. A value that an option does not take is refused by an error that names the option.",
    )
    CONTROL_PLANE = (
        "control-plane",
        "The gateway speaks the kit's own control plane, and no driver has to be written.",
        (),
        "`POST /sessions`, `GET /sessions/{id}` and its siblings (docs/control-plane.md), with the fields, the errors "
        "and the `GET /readiness` that are described there.",
    )
    TOKEN_UPSTREAM = (
        "token-upstream",
        "The gateway renders the chat template itself and sends token ids to the upstream.",
        (),
        "What the upstream receives is what the template of the kit's tokenizer makes of the messages, and of an "
        "earlier answer the ids that were sampled. Fields of the chat request do not reach it.",
    )


def wrong_capabilities(names: Iterable[str]) -> str | None:
    """What is wrong with declaring these capabilities, in a sentence; None where nothing is."""
    wrong = sorted(set(names) - set(Capability))
    if not wrong:
        return None
    sentences = "; ".join(unknown("capability", name, Capability) for name in wrong)
    return f"{sentences} (gateway-conformance capabilities lists them)"
