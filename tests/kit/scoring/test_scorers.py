"""The scorers on the tiny model: what transformers says of it, each in its own way."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from conformance.fixtures import fixture_path, tiny_model_path
from conformance.recorded.scoring import Unscorable, scorer
from conformance.tokenizer import Tokenizer

from ..recorder.canned import CannedEngine, says

MODEL = tiny_model_path()
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
# transformers 5.24 on a CPU, 32-bit floats, for the ids of CALL and the end of the turn behind a question about Oslo
TRANSFORMERS = [
    *(-6.5e-05, -6.1e-05, -5.8e-05, -0.000149, -0.135403, -0.103597, -0.116236, -0.131329, -2.3e-05, -0.025273),
    *(-0.114784, -0.112321, -0.118174, -0.241212, -0.096154, -0.097904, -0.000118, -0.099917, -0.022971, -0.101871),
    *(-0.120305, -0.00158, -0.095075, -0.009452, -0.000255, -5.1e-05, -2.6e-05, -5.7e-05, -1.8e-05, -4.7e-05),
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def asked() -> tuple[list[int], list[int]]:
    """A question about the weather in Oslo, and a call of the tool."""
    tokenizer = Tokenizer.load(MODEL)
    text = tokenizer.render([{"role": "user", "content": "How is the weather in Oslo?"}], [WEATHER])
    return tokenizer.encode(text), [*tokenizer.encode(CALL), tokenizer.end_of_turn]


def test_numpy_scores_as_transformers_does(asked: tuple[list[int], list[int]]) -> None:
    prompt, call = asked

    found = scorer(f"numpy:{MODEL}").score(prompt + call, list(range(len(prompt), len(prompt + call))))

    assert found == pytest.approx(TRANSFORMERS, abs=3e-5)


def test_what_is_kept_changes_nothing(asked: tuple[list[int], list[int]]) -> None:
    prompt, call = asked
    long = [*prompt, *call] * 4
    other = long[:300] + long[200:]
    kept = scorer(f"numpy:{MODEL}")

    for ids, places in ((long, [5, 700]), (other, [1, 2, 299, 300, 301, 820]), (other, [310]), (long[:9], [8])):
        assert kept.score(ids, places) == pytest.approx(scorer(f"numpy:{MODEL}").score(ids, places), abs=2e-5)
    assert kept.score(long, []) == []


def test_a_temperature_flattens(asked: tuple[list[int], list[int]]) -> None:
    prompt, call = asked
    raw, warm = (scorer(f"numpy:{MODEL}", one).score(prompt + call, [len(prompt) + 13])[0] for one in (1.0, 2.0))
    assert warm < raw < 0


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("magic:x", "a scorer is one of numpy:DIR, transformers:DIR, vllm:URL, gguf:FILE, not 'magic:x'"),
        ("numpy", "a scorer is one of"),
        ("numpy:", "a scorer is one of"),
        ("numpy:/nothing/here", "expected a directory with a config.json"),
        (f"numpy:{fixture_path('chatml')}", "expected a directory with a config.json"),
        ("vllm:127.0.0.1:1", "expected http://HOST:PORT"),
        ("vllm:http://127.0.0.1:1", "no server answers at http://127.0.0.1:1"),
    ],
)
def test_what_is_no_scorer(spec: str, said: str) -> None:
    with pytest.raises(Unscorable, match=said.replace("(", r"\(")):
        scorer(spec)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt2"}, "knows qwen3, qwen2, llama, not 'gpt2': use transformers:"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "rope_scaling is not known here"),
        ({"use_sliding_window": True}, "use_sliding_window is not known here"),
        ({"quantization_config": {}}, "quantization_config is not known here"),
        ({"num_hidden_layers": 1}, "a tensor that this scorer does not know: model.layers.1."),
        ({"num_hidden_layers": 3}, "the model lacks model.layers.2."),
    ],
)
def test_a_model_that_is_another_is_refused(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    config = json.loads((MODEL / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    (tmp_path / "model.safetensors").symlink_to(MODEL / "model.safetensors")

    with pytest.raises(Unscorable, match=said):
        scorer(f"numpy:{tmp_path}")


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((MODEL / "config.json").read_text())
    with pytest.raises(Unscorable, match=r"expected weights in \*.safetensors, found none"):
        scorer(f"numpy:{tmp_path}")


def test_an_id_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(Unscorable, match="id 99999 is not of the model's 4096"):
        scorer(f"numpy:{MODEL}").score([1, 99999], [1])


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [("numpy", "numpy", "score"), ("transformers", "torch", "transformers"), ("gguf", "xllamacpp", "gguf")],
)
def test_a_missing_package_is_named_with_its_extra(
    kind: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dense", "hugging_face", "llama_cpp"):
        monkeypatch.delitem(sys.modules, f"conformance.recorded.scoring.{name}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(Unscorable, match=rf"{module} is missing: pip install 'gateway-conformance\[{extra}\]'"):
        scorer(f"{kind}:x")


def vllm(document: object) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.fixture
def server() -> CannedEngine:
    engine = CannedEngine()
    engine.answer = says(vllm({"data": [{"id": "tiny"}]}))
    return engine


def test_vllm_is_asked_what_it_thinks_of_a_prompt(server: CannedEngine) -> None:
    model = scorer(f"vllm:{server.url}/v1")
    told = [None, {"8": {"logprob": -0.5}, "3": {"logprob": -9}}, {"9": {"logprob": -0.25}}]
    server.answer = says(vllm({"choices": [{"prompt_logprobs": told}]}))

    assert model.score([7, 8, 9, 10], [1, 2]) == [-0.5, -0.25]
    asked = json.loads(server.requests[-1].partition(b"\r\n\r\n")[2])
    assert asked == {"model": "tiny", "prompt": [7, 8, 9], "max_tokens": 1, "prompt_logprobs": 0}

    server.answer = says(vllm({"choices": [{"text": "x"}]}))
    with pytest.raises(Unscorable, match="the answer has no prompt_logprobs of the prompt's ids"):
        model.score([7, 8], [1])
    server.answer = says(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 8\r\n\r\ntoo long")
    with pytest.raises(Unscorable, match="answered 400: too long"):
        model.score([7, 8], [1])
    model.close()
    server.close()


def test_vllm_has_no_room_behind_the_longest_prompt(server: CannedEngine) -> None:
    server.answer = says(vllm({"data": [{"id": "tiny", "max_model_len": 4}]}))
    model = scorer(f"vllm:{server.url}")
    told = [None, {"8": {"logprob": -0.5}}, {"9": {"logprob": -0.25}}]
    server.answer = says(vllm({"choices": [{"prompt_logprobs": told, "logprobs": {"token_logprobs": [-0.75]}}]}))

    assert model.score([7, 8, 9, 10], [1, 3]) == [-0.5, -0.75]
    asked = json.loads(server.requests[-1].partition(b"\r\n\r\n")[2])
    assert (asked["prompt"], asked["allowed_token_ids"]) == ([7, 8, 9], [10])
    model.close()
    server.close()


def test_vllm_is_given_the_key_of_the_engine(server: CannedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer(f"vllm:{server.url}").close()
    monkeypatch.setenv("GATEWAY_ENGINE_API_KEY", "the-key")
    scorer(f"vllm:{server.url}").close()

    assert [b"authorization: bearer the-key" in request.lower() for request in server.requests] == [False, True]
    server.close()


def test_a_temperature_is_refused_where_it_cannot_be_had(server: CannedEngine) -> None:
    with pytest.raises(Unscorable, match="vllm: scores at temperature 1 only"):
        scorer(f"vllm:{server.url}", 0.7)
    server.close()


def test_transformers_scores_as_numpy_does(asked: tuple[list[int], list[int]]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    prompt, call = asked
    ids, places = prompt + call, list(range(1, len(prompt + call), 2))

    for temperature in (1.0, 0.7):
        found = scorer(f"transformers:{MODEL}", temperature).score(ids, places)
        assert found == pytest.approx(scorer(f"numpy:{MODEL}", temperature).score(ids, places), abs=1e-4)
    with pytest.raises(Unscorable, match="transformers:/nothing/here: "):
        scorer("transformers:/nothing/here")


def test_llama_cpp_scores_as_numpy_does(asked: tuple[list[int], list[int]], tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    from fixtures.make_gguf import write

    prompt, call = asked
    tokenizer = Tokenizer.load(MODEL)
    ids = [*prompt, *call, *tokenizer.encode("wörld 🙂")]
    places = list(range(len(prompt), len(ids)))
    write(MODEL, tmp_path / "tiny.gguf")

    model = scorer(f"gguf:{tmp_path / 'tiny.gguf'}")

    assert model.score(ids, places) == pytest.approx(scorer(f"numpy:{MODEL}").score(ids, places), abs=1e-3)
    model.close()
    with pytest.raises(Unscorable, match="there is no such file"):
        scorer("gguf:/nothing/here")
