"""The bridge to transformers: the same parameters in classes of either library, of transformers 4.57 and 5."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import clip_torch
from support.configs import CLASSES
from support.messages import mentions
from support.programs import environment
from support.tolerances import EMBEDDINGS, MOVED_BY_TRAINING

NEWER = Path(f"{sys.prefix}-bench-transformers5", "bin", "python")


@pytest.fixture(scope="module", params=["4.57", "5"])
def facts(request, oracle):
    if request.param == "4.57":
        return oracle("oracle_bridge.facts")
    if not NEWER.exists():
        pytest.skip("needs the environment with transformers 5: make test-transformers5")
    command = [NEWER, "-W", "ignore", "-m", "support.oracle_bridge"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(HF_HUB_OFFLINE="1"))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", CLASSES)
def test_models_share_every_parameter_and_give_the_same_outputs(facts, name):
    found = facts["models"][name]
    for fact in ("class", "back", "only parameters", "nothing on meta", "same config"):
        assert found[fact] is True, fact
    assert found["shared"] == found["shared back"] == found["parameters"] > 30
    assert found["distance"] < EMBEDDINGS
    assert found["distance back"] == 0
    assert found["distance saved"] == 0
    assert found["dtype"] == "float32"


def test_modes_dtype_attention_and_checkpointing_are_kept(facts):
    states = facts["states"]
    assert states["ours"] == {
        "modes": [True, False, True],
        "trained": ["logit_scale", "text_model", "text_projection", "visual_projection"],
        "dtype": ["torch.bfloat16", states["ours"]["dtype"][1]],
        "attention": ["eager", "sdpa"],
        "checkpointing": True,
        "name": "somewhere/clip",
    }
    for side in ("theirs", "back"):
        assert states[side] == {**states["ours"], "dtype": ["torch.bfloat16", "bfloat16"]}
    assert states["tower"] is False


def test_training_one_side_trains_the_other(facts):
    assert facts["training"]["gradient"] is True
    assert facts["training"]["moved"] > MOVED_BY_TRAINING
    assert facts["training"]["there"] < EMBEDDINGS
    assert facts["training"]["back"] < EMBEDDINGS


@pytest.mark.parametrize("name", ["CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig"])
def test_configurations_go_over_and_back(facts, name):
    expected = {"class": True, "same": True, "attention": ["eager", "eager"], "labels": True}
    assert facts["configurations"][name] == expected


@pytest.mark.parametrize("name", ["CLIPTokenizer", "CLIPTokenizerFast"])
def test_tokenizers_give_the_same_ids(facts, name):
    found = facts["tokenizers"][name]
    ours, theirs, back = found["ids"]
    assert ours == theirs == back
    assert len(ours[0]) == 19
    assert found["length"][0] == found["length"][1] == found["length"][2]
    assert found["class"] is True
    assert found["base"] is True
    is_fast = name == "CLIPTokenizerFast" or not facts["version"].startswith("4.")
    assert found["is_fast"] == [is_fast, is_fast]
    assert found["clean"] == ("hf" if is_fast else "openai")  # transformers 4.57's, if ftfy is installed


def test_processors_give_the_same_pixels(facts):
    found = facts["images"]
    assert found["class"] is True
    assert found["shape"] == [1, 3, 30, 30]
    assert found["distance"] < EMBEDDINGS
    assert found["ids"][0] == found["ids"][1] == found["ids"][2]


REFUSED = {
    "pruned": ("ValueError", ["pruned"]),
    "prepared": ("ValueError", ["prepared"]),
    "adapter": ("ValueError", ["text_model.encoder.layers.0.mlp.fc1.0.weight", "fc1.weight is missing"]),
    "more": ("ValueError", ["extra.bias", "extra.weight", "CLIPTextModel", "remove"]),
    "clean": ("ValueError", ["clean='openai'", "CLIPTokenizerFast"]),
    "another": ("TypeError", ["torch.nn", "Linear", "clip_torch"]),
    "ours": ("TypeError", ["clip_torch.model.CLIPModel", "transformers"]),
    "theirs": ("TypeError", ["CLIPTextModel", "clip_torch"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_over_is_refused(facts, name):
    error, named = REFUSED[name]
    found, message = facts["refused"][name]
    assert found == error
    assert mentions(message, *named)


def test_methods_that_are_not_taken_over_are_named(facts):
    expected = {
        "plain": [],
        "module": ["transformers", "CLIPTextModel", "Activation.forward"],
        "model": ["transformers", "CLIPModel", "Scaled.forward"],
        "tokenizer": ["transformers", "CLIPTokenizerFast", "Spelled.tokenize"],
        "theirs": ["clip_torch", "CLIPTextModel", "Theirs.forward"],
    }
    for name, named in expected.items():
        messages = facts["overrides"][name]
        assert len(messages) == bool(named)
        for message in messages:
            assert mentions(message, *named)
            assert "helper" not in message
            assert "extra" not in message


@pytest.mark.parametrize("send", [clip_torch.to_transformers, clip_torch.from_transformers])
@pytest.mark.parametrize(
    ("version", "named"), [(None, ["pip install"]), ("4.56.2", ["4.56.2", "4.57"]), ("6.0", ["6.0"])]
)
def test_transformers_that_is_missing_or_unknown_is_told(monkeypatch, send, version, named):
    from types import ModuleType

    stand_in = None
    if version is not None:
        stand_in = ModuleType("transformers")
        stand_in.__version__ = version
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    with pytest.raises(ImportError) as raised:
        send(clip_torch.CLIPConfig())
    assert mentions(str(raised.value), "transformers", *named)
