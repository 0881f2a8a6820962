"""The verification passes if runs agree, finds each planted fault, and names the first stage that shows it."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch

from clip_core.backends import NotInstalledError
from clip_core.configuration import CLIPConfig
from clip_core.images.processor import CLIPImageProcessor
from clip_core.tokenization.fast import CLIPTokenizerFast
from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.formats import format_named
from converters.verification import verify as proof
from converters.verification.inputs import DRAWN
from converters.writing import save_weights
from support.checkpoints import ODD_STEPS, save_checkpoint
from support.configs import tiny_config
from support.entries import entry
from support.messages import mentions, naming
from support.tolerances import PROOF_IN_FLOAT64, SHOWS_HALF_PRECISION
from support.vocabulary import BOS, EOS, TOKENS, write_vocabulary

# Faults are planted in this process, and one start of each framework serves all tests.
verify = partial(proof.verify, own_processes=False)

BOTH = ["reference", "torch"]
TEXT = {"vocab_size": len(TOKENS), "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": EOS}
SAME = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}


@pytest.fixture
def checkpoint(tmp_path):
    """A tiny CLIPModel with its own processor, quick_gelu and epsilon 1e-5, as OpenAI's."""
    config = tiny_config({**TEXT, **SAME}, {"num_channels": 3, **SAME})
    folder = tmp_path / "original"
    save_checkpoint(folder, config, steps=ODD_STEPS)
    CLIPTokenizerFast(**write_vocabulary(tmp_path)).save_pretrained(folder)
    return folder


def edited(source, weights=None, config=None):
    """Return a copy of a checkpoint with changed weights or config.json."""
    folder = source.parent / "edited"
    shutil.copytree(source, folder)
    if weights is not None:
        arrays = {name: np.array(array) for name, array in open_checkpoint(source).items()}
        weights(arrays)
        format_ = format_named("safetensors")
        save_weights(folder, {name: entry(a) for name, a in arrays.items()}, format_)
    for tower, fields in (config or {}).items():
        content = json.loads((folder / "config.json").read_text())
        content[tower] |= fields
        (folder / "config.json").write_text(json.dumps(content))
    return folder


def names(result):
    return {comparison.stage for comparison in result.comparisons}


def test_equal_checkpoints_pass_with_gradients_and_a_step(checkpoint):
    result = verify(checkpoint, backends=BOTH, gradients=True, train_step=True)
    assert result.passed
    assert (result.first_drift, result.suspect) == (None, None)
    assert result.class_name == "CLIPModel"
    assert result.inputs == {"pixel_values": str(checkpoint), "input_ids": str(checkpoint)}
    assert {"pixel_values", "input_ids", "text.layers.2.attention", "loss", "updated.logit_scale"} <= names(result)
    assert len({comparison.group for comparison in result.comparisons}) == 12
    assert {"python", "torch", "processor"} <= result.versions.keys()


def test_stages_come_in_order_and_gradients_from_the_last_parameter(checkpoint):
    result = verify(checkpoint, backends=BOTH, gradients=True)
    stages = [comparison.stage for comparison in result.comparisons]
    order = ["pixel_values", "input_ids", "vision.embeddings", "vision.layers.0.attention", "vision.layers.0"]
    order += ["vision.pooled", "text.embeddings", "text.pooled", "image_features", "loss", "gradient.logit_scale"]
    order += [
        "gradient.text_model.encoder.layers.2.mlp.fc1.weight",
        "gradient.text_model.encoder.layers.0.mlp.fc1.weight",
    ]
    assert sorted(order, key=stages.index) == order


@pytest.mark.usefixtures("without_variants")
def test_a_train_step_brings_the_gradients_along_and_neither_comes_unasked(checkpoint):
    assert "gradient.logit_scale" in names(verify(checkpoint, backends=BOTH, train_step=True))
    assert not any(name.startswith(("gradient", "updated")) for name in names(verify(checkpoint, backends=BOTH)))


@pytest.mark.usefixtures("without_variants")
@pytest.mark.parametrize("to", ["torch", "tf", "flax", "open_clip"])
def test_a_converted_checkpoint_is_its_original(checkpoint, tmp_path, to):
    convert(checkpoint, tmp_path / to, to)
    result = verify(tmp_path / to, against=checkpoint, backends=BOTH)
    assert result.passed, result.verdict()
    own = [c for c in result.comparisons if c.pair == ("reference", "against reference")]
    assert {c.tolerance for c in own} <= {0.0, PROOF_IN_FLOAT64}


@pytest.mark.parametrize("dtype", ["fp16", "bfloat16"])
def test_half_precision_agrees_within_its_own_tolerances(checkpoint, dtype):
    result = verify(checkpoint, backends=BOTH, dtype=dtype)
    assert result.passed, result.verdict()
    assert max(c.absolute for c in result.comparisons if c.group == "hidden states") > SHOWS_HALF_PRECISION
    # The loss of random weights is useless for gradients here: its embeddings are nearly equal, so they cancel.
    save_checkpoint(checkpoint / "text", tiny_config({**TEXT, **SAME}), "CLIPTextModel")
    result = verify(checkpoint / "text", backends=BOTH, dtype=dtype, train_step=True)
    assert result.passed, result.verdict()


def transposed(arrays):
    for name in ("vision_model.encoder.layers.1.self_attn.out_proj", "text_model.encoder.layers.0.self_attn.q_proj"):
        arrays[f"{name}.weight"] = arrays[f"{name}.weight"].T.copy()


def heads_swapped(arrays):
    for projection in ("q_proj", "k_proj", "v_proj"):
        rows = arrays[f"text_model.encoder.layers.1.self_attn.{projection}.weight"]
        rows[:16] = np.concatenate([rows[8:16], rows[:8]])  # heads of 8


FAULTS = {
    "two square matrices transposed": (transposed, {}, "vision.layers.1"),
    "two heads swapped": (heads_swapped, {}, "text.layers.1.attention"),
    "gelu for quick_gelu": (None, {"vision_config": {"hidden_act": "gelu"}}, "vision.layers.0"),
    "epsilon": (None, {"vision_config": {"layer_norm_eps": 1e-6}}, "vision.embeddings"),
    "epsilon of the text tower": (None, {"text_config": {"layer_norm_eps": 1e-6}}, "text.layers.0.attention"),
    "another eos": (None, {"text_config": {"eos_token_id": TOKENS.index("a</w>")}}, "text.pooled"),
}


@pytest.mark.usefixtures("without_variants")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_copy_is_found_where_it_first_shows(checkpoint, fault):
    weights, config, stage = FAULTS[fault]
    result = verify(edited(checkpoint, weights, config), against=checkpoint, backends=BOTH)
    assert not result.passed
    assert result.first_drift == stage
    assert ("reference", "against reference") in result.drifting
    assert ("reference", "torch") not in result.drifting  # each checkpoint is run rightly
    fields = [f"{tower}.{name}" for tower, values in config.items() for name in values]
    assert list(result.configuration) == fields


def test_a_fault_without_a_numerical_difference_is_found_in_the_configuration(checkpoint):
    copy = edited(checkpoint, config={"text_config": {"missing_eos": "error"}})
    result = verify(copy, against=checkpoint, backends=BOTH)
    assert result.first_drift is None
    assert result.configuration == {"text_config.missing_eos": ("error", CLIPConfig().text_config.missing_eos)}
    assert not result.passed


def test_another_preparation_of_pictures_is_found_in_the_pixels(checkpoint):
    copy = edited(checkpoint)
    CLIPImageProcessor(**{**ODD_STEPS, "resample": 3}).save_pretrained(copy)
    assert verify(copy, against=checkpoint, backends=BOTH).first_drift == "pixel_values"


@pytest.mark.usefixtures("without_variants")
def test_one_layer_less_is_a_stage_that_is_missing(checkpoint):
    def without_last(arrays):
        for name in [name for name in arrays if name.startswith("text_model.encoder.layers.2.")]:
            del arrays[name]

    copy = edited(checkpoint, without_last, {"text_config": {"num_hidden_layers": 2}})
    result = verify(copy, against=checkpoint, backends=BOTH)
    missing = [
        c.fault for c in result.comparisons if c.stage == "text.layers.2" and c.pair == ("torch", "against torch")
    ]
    (fault,) = missing
    assert mentions(fault, "torch", "stage")
    assert result.first_drift == "text.last_hidden_state"


@pytest.mark.usefixtures("without_variants")
def test_a_number_that_is_not_finite_is_a_fault(checkpoint):
    def spoilt(arrays):
        arrays["text_model.encoder.layers.1.mlp.fc2.bias"][3] = np.nan

    result = verify(edited(checkpoint, spoilt), backends=BOTH)
    assert result.first_drift == "text.layers.1"
    assert any(mentions(c.fault or "", "NaN") for c in result.comparisons)
    json.dumps(result.to_dict(), allow_nan=False)


def without_padding(text_plan):
    return lambda implementation, attention_mask, hidden_states: text_plan(implementation, None, hidden_states)


@pytest.mark.usefixtures("without_variants")
@pytest.mark.parametrize("framework", ["torch", "tf", "flax"])
def test_a_dropped_pad_mask_is_found_in_the_framework_that_drops_it(checkpoint, monkeypatch, framework):
    module = __import__(f"clip_{framework}.text").text
    monkeypatch.setattr(module, "text_plan", without_padding(module.text_plan))
    other = "tf" if framework == "torch" else "torch"
    result = verify(checkpoint, backends=["reference", other, framework])
    assert (result.first_drift, result.suspect) == ("text.layers.0.attention", framework)


@pytest.mark.usefixtures("without_variants")
def test_a_wrong_epsilon_is_found_in_the_framework_that_has_it(checkpoint, monkeypatch):
    import clip_tf.layers
    import clip_tf.vision

    right = clip_tf.layers.layer_norm
    for module in (clip_tf.layers, clip_tf.vision):
        monkeypatch.setattr(
            module, "layer_norm", lambda width, epsilon, **options: right(width, epsilon=1e-6, **options)
        )
    result = verify(checkpoint, backends=["reference", "torch", "tf"])
    assert (result.first_drift, result.suspect) == ("vision.embeddings", "tf")


@pytest.mark.usefixtures("without_variants")
def test_a_transposed_kernel_is_found_in_the_framework_that_has_it(checkpoint, monkeypatch):
    import clip_tf.tensors

    right = clip_tf.tensors.adopt

    def wrong(array):
        square = array.ndim == 2 and array.shape[0] == array.shape[1]
        return right(np.ascontiguousarray(array.T) if square else array)

    monkeypatch.setattr(clip_tf.tensors, "adopt", wrong)
    result = verify(checkpoint, backends=["torch", "reference", "tf"])
    assert (result.first_drift, result.suspect) == ("vision.layers.0.attention", "tf")


@pytest.mark.usefixtures("without_variants")
def test_a_step_without_weight_decay_is_found(checkpoint, monkeypatch):
    right = torch.optim.AdamW
    wrong = lambda groups, **options: right([{**group, "weight_decay": 0} for group in groups], **options)  # noqa: E731
    monkeypatch.setattr(torch.optim, "AdamW", wrong)
    result = verify(checkpoint, backends=BOTH, train_step=True)
    assert result.first_drift.startswith("updated.")
    assert not any(one.stage.endswith(".bias") for one in result.comparisons if not one.passed)


def test_without_a_processor_pictures_and_texts_are_drawn(tmp_path):
    save_checkpoint(tmp_path / "bare", tiny_config())
    result = verify(tmp_path / "bare", backends=BOTH)
    assert result.passed
    assert result.inputs == {"pixel_values": DRAWN, "input_ids": DRAWN}


def test_a_checkpoint_without_preprocessing_uses_the_others(checkpoint):
    weights = checkpoint.parent / "weights"
    weights.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoint / name, weights)
    for one, other in ((weights, checkpoint), (checkpoint, weights)):
        result = verify(one, against=other, backends=["reference"])
        assert result.passed, result.verdict()
        assert set(result.inputs.values()) == {str(checkpoint)}


def test_bad_requests_are_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=naming("'jax'", "reference")):
        verify(checkpoint, backends=["jax"])
    with pytest.raises(ValueError, match=naming("torch")):
        verify(checkpoint, backends=["torch", "torch"])
    with pytest.raises(ValueError, match=naming("dtype='int8'")):
        verify(checkpoint, dtype="int8")
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "gone", backends=BOTH)


def test_a_framework_that_is_missing_is_an_error_where_it_was_asked_for(checkpoint, monkeypatch):
    from converters.verification import jobs

    load = jobs.load_backend

    def without_tf(name):
        if name in {"tf", "flax"}:
            raise NotInstalledError(f"the backend {name!r} needs its package")
        return load(name)

    monkeypatch.setattr(jobs, "load_backend", without_tf)
    assert verify(checkpoint).backends == ["reference", "torch"]
    with pytest.raises(ImportError, match=naming("tf")):
        verify(checkpoint, backends=["torch", "tf"])


def test_two_classes_cannot_be_compared(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "text", tiny_config(), "CLIPTextModel")
    with pytest.raises(ValueError, match=naming("CLIPModel", "CLIPTextModel")):
        verify(checkpoint, against=tmp_path / "text", backends=BOTH)


def test_a_tokenizer_beyond_the_vocabulary_is_reported(checkpoint):
    save_checkpoint(checkpoint, tiny_config({}, {"num_channels": 3}))
    with pytest.raises(ValueError, match=naming("tokenizer", 99)):
        verify(checkpoint, backends=BOTH)
