"""Explanations agree in all frameworks and with the definition, and a wrong one is found where it first shows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from clip_core.tasks.explain import relevance
from clip_core.tasks.explain.gradients import LogitGradients
from converters.verification import differences
from converters.verification import verify as proof
from converters.verification.explanation import explanations
from converters.verification.scores import Scores
from support.checkpoints import save_checkpoint
from support.configs import pixel_values, tiny_config, token_ids
from support.entries import random_arrays
from support.imports import ROOT
from support.messages import naming
from support.tolerances import FLOAT64_OPERATION

verify = partial(proof.verify, own_processes=False, explain=True)

FRAMEWORKS = ["torch", "tf", "flax"]
TOWERS = (("chefer", "vision"), ("legrad", "vision"), ("chefer", "text"))
LAYERS = {"vision": 2, "text": 3}
TRAINED = ROOT / "examples" / "shapes" / "checkpoint"


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint with pruned heads in both towers, and texts pooled at the largest id."""
    config = tiny_config({"pruned_heads": {1: [0, 2]}, "eos_token_id": 2}, {"pruned_heads": {0: [1]}})
    save_checkpoint(tmp_path / "clip", config)
    return tmp_path / "clip"


@pytest.mark.usefixtures("without_variants")
def test_every_start_layer_of_every_method_agrees(checkpoint):
    result = verify(checkpoint, backends=["reference", *FRAMEWORKS])
    assert result.passed, result.verdict()
    stages = [one.stage for one in result.comparisons if one.pair == ("reference", "flax")]
    expected = [
        f"explanation.{method}.{tower}.layers.{layer}"
        for method, tower in TOWERS
        for layer in reversed(range(LAYERS[tower]))
    ]
    assert [stage for stage in stages if stage.startswith("explanation.")] == expected
    rows = [row for row in result.to_dict()["comparisons"] if row["group"] == "explanations"]
    assert len(rows) == 6 * len(expected)
    assert all(row["scale"] == "absolute" and 0 < row["absolute"] < row["tolerance"] for row in rows)
    by_differences = [row for row in result.to_dict()["comparisons"] if row["group"] == "finite differences"]
    assert [row["stage"] for row in by_differences[::6]] == [
        stage.replace("explanation", "differences") for stage in expected
    ]
    with_reference = [row for row in by_differences if "reference" in row["pair"]]
    assert len(with_reference) == 3 * len(expected)
    for method in ("chefer.vision", "legrad.vision", "chefer.text"):  # rounded, so not the frameworks' own
        assert max(row["absolute"] for row in with_reference if method in row["stage"]) > 0


@pytest.mark.usefixtures("without_variants")
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_a_trained_model_agrees_in_half_precision(dtype, monkeypatch):
    """Not an untrained one, whose heatmap is nearly uniform: scaled to 0 and 1, it shows little but rounding."""
    monkeypatch.setattr(differences, "AFFORDABLE", 0)  # all entries of this model would take most of the test's time
    result = verify(TRAINED, backends=["reference", *FRAMEWORKS], dtype=dtype)
    rows = [row for row in result.to_dict()["comparisons"] if row["group"] == "explanations"]
    assert len(rows) == 6 * len({row["stage"] for row in rows})  # each pair
    assert min(row["absolute"] for row in rows) > 0
    assert result.passed, result.verdict()


@pytest.mark.usefixtures("without_variants")
def test_they_come_only_if_asked_for_and_for_models_with_both_towers(checkpoint, tmp_path):
    result = verify(checkpoint, backends=["reference", "torch"], explain=False)
    assert not any(one.group == "explanations" for one in result.comparisons)
    save_checkpoint(tmp_path / "text", tiny_config(), "CLIPTextModel")
    with pytest.raises(ValueError, match=naming("explain=True", "CLIPModel", "CLIPTextModel")):
        verify(tmp_path / "text", backends=["reference", "torch"])


def without_a_head(right, tower, layer):
    """Return the gradients of logits without those of one head of a layer."""

    def wrong(*args, **keywords):
        found = right(*args, **keywords)._asdict()
        gradients = found[tower][layer].gradients.copy()
        gradients[:, 0] = 0
        found[tower][layer] = found[tower][layer]._replace(gradients=gradients)
        return LogitGradients(**found)

    return wrong


@pytest.mark.usefixtures("without_variants")
@pytest.mark.parametrize(
    ("framework", "tower", "layer", "stage"),
    [
        ("torch", "image", 0, "explanation.chefer.vision.layers.0"),
        ("tf", "image", 1, "explanation.chefer.vision.layers.1"),
        ("flax", "text", 1, "explanation.chefer.text.layers.1"),
    ],
)
def test_a_head_left_out_is_found_in_its_framework_and_layer(checkpoint, monkeypatch, framework, tower, layer, stage):
    module = __import__(f"clip_{framework}.trace").trace
    monkeypatch.setattr(module, "logit_gradients", without_a_head(module.logit_gradients, tower, layer))
    other = "torch" if framework != "torch" else "tf"
    result = verify(checkpoint, backends=["reference", other, framework])
    assert (result.first_drift, result.suspect) == (stage, framework)


def of_another_text(model, pixel_values, text_embeds, *, right, **first):
    """Return the gradients by layer, of the text before each."""
    return right(model, pixel_values, np.roll(text_embeds, 1, axis=0), **first)


@pytest.mark.usefixtures("without_variants")
def test_the_map_of_another_text_is_found(checkpoint, monkeypatch):
    import clip_torch.trace

    wrong = partial(of_another_text, right=clip_torch.trace.layer_gradients)
    monkeypatch.setattr(clip_torch.trace, "layer_gradients", wrong)
    result = verify(checkpoint, backends=["reference", "torch"])
    assert result.first_drift == "explanation.legrad.vision.layers.1"


@pytest.mark.usefixtures("without_variants")
def test_a_wrong_gradient_is_found_though_the_reference_has_it_too(checkpoint, monkeypatch):
    import clip_torch.trace

    for owner in (clip_torch.trace, Scores):
        monkeypatch.setattr(owner, "logit_gradients", without_a_head(owner.logit_gradients, "image", 0))
    result = verify(checkpoint, backends=["reference", "torch"])
    assert result.first_drift == "differences.chefer.vision.layers.0"


def signed(layers):
    """Return `relevance.chefer` without its positive part."""
    whole = np.eye(layers[0].probabilities.shape[-1])
    for probabilities, gradients in layers:
        whole = whole + (gradients * probabilities).mean(axis=1) @ whole
    return whole


@pytest.mark.usefixtures("without_variants")
def test_a_wrong_method_is_found_though_all_frameworks_share_it(checkpoint, monkeypatch):
    monkeypatch.setattr(relevance, "chefer", signed)
    result = verify(checkpoint, backends=["reference", "torch"])
    assert result.first_drift == "explanation.chefer.vision.layers.1"


def test_the_definition_reads_the_last_layer_as_the_paper_says():
    config = tiny_config()
    arrays, pixels, (ids, mask) = random_arrays(config), pixel_values(3), token_ids(2, 8)
    found = explanations(arrays, config, pixels, ids, mask)
    assert {len(array) for stage, array in found.items() if stage.startswith("explanation.")} == {2}  # images
    scores = Scores(arrays, config, pixels[1:2], ids, mask)
    layer = scores.logit_gradients(first_image_layer=1, first_text_layer=2)
    image, text = (
        np.maximum(one.gradients * one.probabilities, 0).mean(axis=1) for one in (layer.image[0], layer.text[0])
    )
    patches = image[:, 0, 1:]
    expected = (patches - patches.min(1, keepdims=True)) / np.ptp(patches, axis=1, keepdims=True)
    heatmaps = found["explanation.chefer.vision.layers.1"][1]
    np.testing.assert_allclose(heatmaps.reshape(2, -1), expected, **FLOAT64_OPERATION)
    for row, end in enumerate(scores.eos):
        shares = found["explanation.chefer.text.layers.2"][1, row]
        words = text[row, end, 1:end]
        np.testing.assert_allclose(shares[1:end], words / words.sum(), **FLOAT64_OPERATION)
        assert not shares[[0, *range(end, len(shares))]].any()
