"""Images and videos: a place in the tokens, a reference for the engine and for the trainer, once for each chain."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from codec_templates import vision

from reference_gateway.app import create_app
from reference_gateway.backends.vllm import VllmBackend
from reference_gateway.codec.bytes import TEMPLATE, byte_files
from reference_gateway.codec.media import References
from reference_gateway.codec.template import TemplateCodec
from reference_gateway.config import Config
from reference_gateway.serving.server import serving
from reference_gateway.types import Media, MediaRefused
from tests.reference.app.gateway_doubles import Client, Told, byte_codec, gateway

CODEC = TemplateCodec(vision())
PIXEL = "data:image/png;base64,iVBORw0KGgo="
PLACE = "<|vision_start|><|image_pad|><|vision_end|>"


class Seeing(Told):
    """A told backend that notes the media that it is given."""

    def __init__(self, *steps: Any, codec: TemplateCodec = CODEC) -> None:
        super().__init__(*steps, codec=codec)
        self.seen: list[Media] = []

    async def generate(self, context, sampling, *, session_id, media):
        self.seen.append(media)
        return await super().generate(context, sampling, session_id=session_id, media=media)


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def user(*parts: Any) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [{"type": "text", "text": each} if isinstance(each, str) else each for each in parts],
    }


def post(client: Client, session: str, *messages: dict[str, Any]) -> httpx.Response:
    return client.http.post(f"{session}/v1/chat/completions", json={"model": "m", "messages": list(messages)})


def exported(client: Client, session: str) -> list[dict[str, Any]]:
    return client.http.get(f"{session}/trajectories").json()["trajectories"]


def text(ids: list[int]) -> str:
    return CODEC.vocabulary.decode(ids, keep_control=True)


def test_media_of_messages_and_tool_results_travel_with_their_chain():
    backend = Seeing("A cat.", "A film of it.", "Nothing.")
    video = {"type": "video_url", "video_url": {"url": "https://host/cat.mp4", "fps": 2}}
    with gateway(backend, media="references") as client:
        session = client.open()
        first = [user("See ", image(PIXEL), " and say")]
        assert post(client, session, *first).json()["choices"][0]["message"]["content"] == "A cat."
        then = [{"role": "assistant", "content": "A cat."}, {"role": "tool", "tool_call_id": "c", "content": [video]}]
        assert post(client, session, *first, *then, user(image("http://host/b.png"))).status_code == 200
        assert post(client, session, user("Hello")).status_code == 200
        seeing, blind = exported(client, session)
    clip = ("https://host/cat.mp4", {"fps": 2})
    assert backend.seen == [Media((PIXEL,)), Media((PIXEL, "http://host/b.png"), (clip,)), Media()]
    assert seeing["multi_modal_data"] == {"images": [PIXEL, "http://host/b.png"], "videos": [list(clip)]}
    assert blind["multi_modal_data"] is None
    context = text(backend.calls[1][0])
    assert context == text(seeing["prompt_ids"] + seeing["response_ids"])[: len(context)]
    assert context == (
        f"<|im_start|>user\nSee {PLACE} and say<|im_end|>\n<|im_start|>assistant\nA cat.<|im_end|>\n"
        f"<|im_start|>tool\n{PLACE.replace('image', 'video')}<|im_end|>\n<|im_start|>user\n{PLACE}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_another_image_is_another_chain_and_the_same_one_is_not():
    with gateway(Seeing("A", "B", "C"), media="references") as client:
        session = client.open()
        post(client, session, user(image(PIXEL)))
        echo = {"role": "assistant", "content": "A"}
        spelled = {"type": "image_url", "image_url": PIXEL}
        post(client, session, user(spelled), echo, user("More"))
        post(client, session, user(image(PIXEL + "AA")), echo, user("More"))
        assert [each["multi_modal_data"]["images"] for each in exported(client, session)] == [[PIXEL], [PIXEL + "AA"]]


def test_text_that_spells_a_place_is_text():
    backend = Seeing("A")
    with gateway(backend, media="references") as client:
        post(client, client.open(), user(f"{PLACE[:20]}", PLACE[20:], image(PIXEL)))
    pad = CODEC.vocabulary.token_id("<|image_pad|>")
    assert backend.calls[0][0].count(pad) == 1
    assert text(backend.calls[0][0]).count(PLACE) == 2


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ({"type": "image_url"}, "messages[0].content[0].image_url must be an object with a url"),
        (image("file:///etc/passwd"), "messages[0].content[0].image_url.url must be an http, https or data URL"),
        (image(5), "messages[0].content[0].image_url.url must be"),
        (image("data:image/png;base64"), "messages[0].content[0].image_url.url is a data URL without data"),
        ({"type": "video_url", "video_url": []}, "messages[0].content[0].video_url must be an object"),
        (
            {"type": "input_audio"},
            "messages[0].content[0].type 'input_audio' is not supported: this gateway takes text, image_url and",
        ),
        ({"type": {}}, "messages[0].content[0].type '{}' is not supported"),
    ],
)
def test_a_bad_part_is_refused_by_its_name(part, complaint):
    with gateway(Seeing(), media="references") as client:
        session = client.open()
        refused = post(client, session, user(part))
        assert (refused.status_code, refused.json()["error"]["message"][: len(complaint)]) == (400, complaint)
        assert exported(client, session) == []


def test_without_a_processor_media_are_refused_by_the_field_s_name():
    with gateway(Told(codec=byte_codec())) as client:
        refused = post(client, client.open(), user("See", image(PIXEL)))
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith("messages[0].content[1].type 'image_url' is not supported")


@pytest.mark.parametrize(
    "template",
    [
        TEMPLATE,
        "{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}",
        "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}"
        "<|im_end|>{% endfor %}",
    ],
    ids=["refuses", "prints", "drops"],
)
def test_a_template_without_a_place_for_images_is_refused_at_the_start(template):
    codec = TemplateCodec(byte_files(template))
    assert not codec.takes_media()
    with pytest.raises(ValueError, match="media needs a chat template that has a place for images"):
        create_app(Config(media="references"), codec=codec, backend=Told(codec=codec))


def test_a_backend_without_a_field_for_media_is_refused_at_the_start():
    with pytest.raises(ValueError, match="media needs a backend that takes it, such as sglang"):
        create_app(Config(media="references"), codec=CODEC, backend=VllmBackend("http://127.0.0.1:1"))


def test_what_is_declared_is_what_was_configured():
    with gateway(Seeing(), media="references", control_tokens_in_text="parsed") as client:
        declared = client.http.get(f"{client.url}/capabilities").json()
    assert "media" in declared["capabilities"]
    assert (declared["options"]["media_urls"], declared["options"]["control_tokens"]) == ("passed", "parsed")
    with gateway(Told(codec=byte_codec())) as client:
        declared = client.http.get(f"{client.url}/capabilities").json()
    assert "media" not in declared["capabilities"]
    assert declared["options"]["control_tokens"] == "plain"


def test_an_unknown_way_with_media_is_refused():
    with pytest.raises(ValueError, match="media must be None or one of references"):
        Config(media="fetched")


class Processor:
    """Numbers what it is asked for, and refuses what it does not like."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def extract(self, messages):
        found = References().extract(messages)
        if any("bad" in url for url in found.images):
            raise MediaRefused("image 0 is no image")
        self.asked += found.images
        return Media(tuple({"number": len(self.asked), "of": url} for url in found.images))


@contextmanager
def processing(processor: Processor, backend: Told):
    app = create_app(Config(), codec=CODEC, backend=backend, media=processor)
    with serving(app) as url, httpx.Client(timeout=10, trust_env=False, verify=False) as http:
        yield Client(url, http)


def test_a_processor_of_one_s_own_is_asked_once_for_each_message():
    processor, backend = Processor(), Seeing("A", "B", RuntimeError("engine down"), "C")
    with processing(processor, backend) as client:
        session = client.open()
        messages = [user(image(PIXEL)), {"role": "assistant", "content": "A"}, user("More")]
        assert post(client, session, messages[0]).status_code == 200
        assert post(client, session, *messages).status_code == 200
        assert processor.asked == [PIXEL]
        third = [*messages, {"role": "assistant", "content": "B"}, user(image("http://host/x.png"))]
        assert post(client, session, *third).status_code == 500
        assert post(client, session, *third).status_code == 200
        (trajectory,) = exported(client, session)
    assert trajectory["multi_modal_data"]["images"] == [
        {"number": 1, "of": PIXEL},
        {"number": 3, "of": "http://host/x.png"},
    ]


def test_what_a_processor_refuses_is_a_400_that_commits_nothing():
    backend = Seeing("A")
    with processing(Processor(), backend) as client:
        session = client.open()
        refused = post(client, session, user(image("http://host/bad.png")))
        assert (refused.status_code, refused.json()["error"]["message"]) == (400, "image 0 is no image")
        assert (backend.calls, exported(client, session)) == ([], [])
