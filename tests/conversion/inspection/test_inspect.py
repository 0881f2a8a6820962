"""Inspecting a checkpoint: the facts, the hash, and exactly one warning for each trap."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from clip_core import CLIPImageProcessor
from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.formats import format_named, target_names
from converters.inspection.inspect import inspect, scan_weights
from converters.inspection.traps import TRAPS
from converters.writing import save_weights
from support.configs import tiny_config
from support.entries import entry, part_of, random_arrays
from support.messages import mentions, naming

# Without a trap: as OpenAI's are, but small.
PLAIN_TEXT = {
    "vocab_size": 98,
    "hidden_size": 128,
    "num_attention_heads": 2,
    "intermediate_size": 512,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}
PLAIN_VISION = {
    "hidden_size": 64,
    "num_attention_heads": 1,
    "intermediate_size": 256,
    "num_channels": 3,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}


def plain(text=None, vision=None, **top):
    return tiny_config({**PLAIN_TEXT, **(text or {})}, {**PLAIN_VISION, **(vision or {})}, **top)


def save(folder, config=None, class_name="CLIPModel", to="safetensors", change=None, arrays=None, **preprocessing):
    """Return a checkpoint; `change` works on the content of its config.json, and `arrays` on its weights."""
    config = part_of(config or plain(), class_name)
    weights = {name: np.array(array) for name, array in random_arrays(_full(config), class_name).items()}
    (arrays or (lambda _: None))(weights)
    content = json.loads(config.to_json_string())
    content["architectures"] = [class_name]
    (change or (lambda _: None))(content)
    steps = CLIPImageProcessor(**{"size": 30, "crop_size": 30, **preprocessing})
    texts = {"config.json": json.dumps(content), "preprocessor_config.json": steps.to_json_string()}
    format_ = format_named(to)
    entries = {name: entry(np.asarray(array)) for name, array in weights.items()}
    save_weights(folder, entries, format_, texts=texts)
    return folder


def _full(config):
    """Return a full configuration around a tower's, for the weights of the tower alone."""
    key = config.base_config_key
    return tiny_config(**{key.removesuffix("_config"): config.to_dict()}) if key else config


def tokenizer(folder, size=98, added=0, **settings):
    (folder / "vocab.json").write_text(json.dumps({f"t{number}": number for number in range(size)}))
    tokens = {str(size + n): {"content": f"<new{n}>"} for n in range(added)}
    content = {"added_tokens_decoder": tokens, "eos_token": "t97", "model_max_length": 77, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))


def test_the_facts_about_a_checkpoint(tmp_path):
    found = inspect(save(tmp_path, tiny_config({}, {"num_channels": 3})))
    assert (found.format, found.formats, found.layout) == ("safetensors", ["safetensors"], "Hugging Face")
    assert (found.class_name, found.config_from, found.projection_dim) == ("CLIPModel", "config.json", 24)
    assert found.towers["text"] == {
        "layers": 3, "width": 40, "heads": 5, "mlp": 52, "activation": "gelu", "epsilon": 3e-4, "vocabulary": 99,
        "positions": 19, "eos": 97, "pad": 0, "bos": 96, "head width": 8,
    }  # fmt: skip
    assert found.towers["vision"]["head width"] == 12
    assert found.towers["vision"]["image size"] == 30
    assert found.files == {"model.safetensors": (tmp_path / "model.safetensors").stat().st_size}
    assert found.dtypes == {"float32": found.parameters}
    assert found.preprocessing["size"] == {"shortest_edge": 30}
    assert json.loads(json.dumps(found.to_dict()))["sha256"] == found.sha256


def test_a_plain_checkpoint_has_no_warning(tmp_path):
    save(tmp_path)
    tokenizer(tmp_path)
    assert inspect(tmp_path).warnings == {}


@pytest.mark.parametrize("to", target_names())
def test_the_hash_is_the_same_in_every_format_and_of_other_weights_another(tmp_path, to):
    source = save(tmp_path / "source")
    convert(source, tmp_path / "target", to)
    assert inspect(tmp_path / "target").sha256 == inspect(source).sha256
    other = save(tmp_path / "other", arrays=lambda weights: weights["logit_scale"].fill(3))
    assert inspect(other).sha256 != inspect(source).sha256


def test_the_hash_is_as_documented(tmp_path):
    save_file({"text_model.final_layer_norm.bias": np.arange(6, dtype=np.float32)}, tmp_path / "model.safetensors")
    content = b"text_model.final_layer_norm.bias\0float32\x006\0" + np.arange(6, dtype="<f4").tobytes()
    assert scan_weights(open_checkpoint(tmp_path)).sha256 == hashlib.sha256(content).hexdigest()


def test_without_values_no_tensor_is_read(tmp_path, monkeypatch):
    save(tmp_path, arrays=lambda weights: weights["logit_scale"].fill(np.nan))
    monkeypatch.setattr("converters.formats.mapped.MappedFile.part", None)
    found = inspect(tmp_path, values=False)
    assert found.sha256 is None
    assert found.warnings == {}


def without(*names):
    def change(content):
        for tower in ("text_config", "vision_config"):
            for name in names:
                content[tower].pop(name)

    return change


def legacy(content):
    content["text_config_dict"] = {**content["text_config"]}
    content["text_config"] = {**content["text_config"], "hidden_act": "gelu"}


def projections(content):
    without("projection_dim")(content)


def nowhere(content):
    projections(content)
    del content["projection_dim"]


CASES = {
    "legacy eos": ("legacy eos", "at its largest id$", {"config": plain({"eos_token_id": 2})}),
    "pad 0": ("pad 0", '"!"', {"config": plain({"pad_token_id": 0})}),
    "activation unstated": ("activation unstated", "text and vision", {"change": without("hidden_act")}),
    "activations differ": ("activations differ", "gelu in text", {"config": plain({"hidden_act": "gelu"})}),
    "head width": ("head width", "16 in text", {"config": plain({"num_attention_heads": 8})}),
    "epsilon": ("layer norm epsilon", "1e-06 in vision", {"config": plain({}, {"layer_norm_eps": 1e-6})}),
    "projection at the top": ("projection", "24 is stated only at the top level", {"change": projections}),
    "projection nowhere": ("projection", "not stated", {"change": nowhere}),
    "projections disagree": ("projection", "the top level applies", {"config": plain({"projection_dim": 7})}),
    "legacy dicts": ("legacy config dicts", r"overrides text_config \(hidden_act\)", {"change": legacy}),
    "positions": ("positions", "19 tokens", {"config": plain({"max_position_embeddings": 19})}),
    "image size": ("image size", "the model takes 30", {"size": 32, "crop_size": 32}),
    "Inception": ("normalization", "Inception's", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}),
    "ImageNet": (
        "normalization",
        "ImageNet's",
        {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    ),
    "other mean": ("normalization", "the mean", {"image_mean": [0.1, 0.2, 0.3]}),
    "not normalized": ("normalization", "not normalized", {"do_normalize": False}),
    "squash": ("squash", r"\b30\b", {"size": (30, 30), "do_center_crop": False}),
    "NaN": (
        "not finite",
        "text_projection.weight 72",
        {"arrays": lambda w: w["text_projection.weight"][:3, :24].fill(np.nan)},
    ),
    "logit scale": ("logit scale", "4.7000", {"arrays": lambda w: w["logit_scale"].fill(4.7)}),
    "half": ("half precision", "Adam", {"arrays": lambda w: w.update({n: a.astype("f2") for n, a in w.items()})}),
    "several dtypes": ("several dtypes", "float32, float64", {"arrays": lambda w: w.update(logit_scale=np.float64(1))}),
    "position ids": (
        "position ids",
        "text_model.embeddings.position_ids",
        {"arrays": lambda w: w.update({"text_model.embeddings.position_ids": np.arange(77)[None]})},
    ),
    "missing weights": ("does not fit", "1 missing", {"arrays": lambda w: w.pop("text_projection.weight")}),
    "prefixed names": (
        "other names",
        "clip.logit_scale for logit_scale",
        {"arrays": lambda w: [w.update({f"clip.{n}": w.pop(n)}) for n in list(w)]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_trap_gives_exactly_one_warning(tmp_path, case):
    name, text, made = CASES[case]
    found = inspect(save(tmp_path, **made)).warnings
    assert list(found) == [name]
    assert re.search(text, found[name]), found[name]


def test_legacy_eos_with_added_tokens(tmp_path):
    save(tmp_path, plain({"eos_token_id": 2, "vocab_size": 101}))
    tokenizer(tmp_path, added=2)
    assert mentions(inspect(tmp_path).warnings["legacy eos"], "added")


@pytest.mark.parametrize(
    ("settings", "name", "text"),
    [
        ({"size": 120}, "vocabulary", "has 120 ids; its last ids have no embedding"),
        ({"size": 97}, "vocabulary", "has 97 ids$"),
        ({"eos_token": "t5"}, "eos of the tokenizer", "97, but the tokenizer ends texts with 5"),
        ({"model_max_length": 64}, "text length", "texts to 64 tokens, but the model has 77"),
        ({"pad_token": {"content": "t0"}}, "pad 0", '"!"'),
    ],
)
def test_a_tokenizer_that_does_not_go_with_the_model(tmp_path, settings, name, text):
    save(tmp_path)
    tokenizer(tmp_path, **settings)
    found = inspect(tmp_path).warnings
    assert list(found) == [name]
    assert re.search(text, found[name])


@pytest.mark.parametrize(
    ("name", "act", "doubtful"),
    [
        ("laion-b32", "quick_gelu", True),
        ("laion-b32", "gelu", False),
        ("openai-b32", "gelu", True),
        ("x", "gelu", False),
    ],
)
def test_an_activation_that_the_name_makes_doubtful(tmp_path, name, act, doubtful):
    found = inspect(save(tmp_path / name, plain({"hidden_act": act}, {"hidden_act": act}))).warnings
    assert ("activation doubtful" in found) == doubtful


def test_no_preprocessor(tmp_path):
    (save(tmp_path) / "preprocessor_config.json").unlink()
    assert list(inspect(tmp_path).warnings) == ["no preprocessor"]


def test_safetensors_without_metadata(tmp_path):
    save(tmp_path)
    save_file({name: np.array(array) for name, array in random_arrays(plain()).items()}, tmp_path / "model.safetensors")
    assert mentions(inspect(tmp_path).warnings["no format metadata"], "model.safetensors", "transformers")


def test_two_formats_in_one_folder(tmp_path):
    save(tmp_path)
    save(tmp_path, to="torch")
    found = inspect(tmp_path)
    assert found.formats == ["safetensors", "torch"]
    assert list(found.warnings) == ["several formats"]
    assert mentions(found.warnings["several formats"], "torch", "safetensors")
    assert not mentions(found.warnings["several formats"], "weights")
    save(tmp_path, to="torch", arrays=lambda weights: weights["logit_scale"].fill(3))
    assert mentions(inspect(tmp_path).warnings["several formats"], "weights", "1 tensor", "logit_scale")
    (tmp_path / "pytorch_model.bin").write_bytes(b"cut")
    assert mentions(inspect(tmp_path).warnings["several formats"], tmp_path / "pytorch_model.bin", "torch")
    assert inspect(tmp_path / "model.safetensors").warnings == {}  # given by name, it has no alternatives


def test_openais_file_alone(tmp_path):
    config = plain({"vocab_size": 49408, "eos_token_id": 49407})
    convert(save(tmp_path / "source", config), tmp_path / "openai", "openai")
    found = inspect(tmp_path / "openai")
    assert mentions(found.config_from, "shapes", "OpenAI's")
    assert found.towers["vision"]["activation"] == "quick_gelu"
    assert list(found.warnings) == ["pad 0"]


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel"])
def test_towers_alone(tmp_path, class_name):
    found = inspect(save(tmp_path, class_name=class_name))
    assert found.class_name == class_name
    assert list(found.towers) == ["text" if "Text" in class_name else "vision"]
    assert found.projection_dim == (24 if "Projection" in class_name else None)
    assert found.warnings == {}


def test_a_foreign_architecture_is_named(tmp_path):
    save(tmp_path, change=lambda content: content.update(model_type="siglip"))
    with pytest.raises(ValueError, match=naming("SigLIP", "transformers.SiglipModel")):
        inspect(tmp_path)
    save_file({"visual.layer1.0.conv1.weight": np.ones(2, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=naming("RN50")):
        inspect(tmp_path)


def test_no_framework_is_loaded(tmp_path):
    save(tmp_path)
    program = f"""
import sys
from converters.inspection.inspect import inspect, scan_weights
inspect({str(tmp_path)!r})
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(loaded & {{"torch", "tensorflow", "keras", "jax", "flax", "transformers"}})
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_names_of_traps_are_unique():
    assert len({trap.name for trap in TRAPS}) == len(TRAPS)
