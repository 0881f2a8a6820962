"""Differences have the right scale, and runs that cannot be compared are a fault."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clip_core.modeling.stages import LEARNING_RATE
from converters.inspection import values
from converters.verification.comparison import compare
from converters.verification.result import Verification, by_stage
from converters.verification.runs import StoredRun
from converters.verification.tolerances import TOLERANCES, group_of
from support.messages import mentions
from support.tolerances import FLOAT64_ROUNDING

Q_BIAS, K_BIAS, OTHER_LAYER = (
    f"gradient.text_model.encoder.layers.{name}.bias"
    for name in ("1.self_attn.q_proj", "1.self_attn.k_proj", "11.mlp.fc1")
)


@pytest.fixture
def run(tmp_path):
    """Make a run out of stages."""

    def make(name, precision="float32", temperature=1.0, classifier_norm=0.0, **stages):
        folder = tmp_path / name
        folder.mkdir()
        arrays = {stage.replace("__", "."): np.asarray(array) for stage, array in stages.items()}
        return StoredRun(name, precision, arrays, folder, temperature, classifier_norm=classifier_norm)

    return make


def one(found):
    (comparison,) = found
    return comparison


def verification(comparisons):
    return Verification("clip/", None, "CLIPModel", "float32", [], {}, comparisons=by_stage(comparisons))


def test_states_are_measured_by_the_largest_number_of_either(run):
    found = one(compare(run("a", text__pooled=[1.0, -4.0]), run("b", text__pooled=[1.5, -5.0])))
    assert (found.group, found.pair) == ("pooled", ("a", "b"))
    assert (found.absolute, found.relative) == (1.0, 0.2)


def test_embeddings_are_measured_absolutely_and_logits_by_the_temperature(run):
    a = run("a", temperature=50.0, text_embeds=[0.5], loss=2.0)
    b = run("b", temperature=50.0, text_embeds=[0.25], loss=3.0)
    embeds, loss = compare(a, b)
    assert (embeds.relative, loss.relative) == (0.25, 1 / 50)


def test_logits_near_zero_are_measured_by_the_states_and_weights_that_make_them(run):
    states = np.full((2, 3, 4), [[[9.0]], [[7.0]]])
    states[:, 1:] = [[[0.5]], [[2.0]]]  # the patches, whose mean the classifier takes; not the class token
    a, b = (
        run(name, classifier_norm=3.0, vision__layers__0=5 * states, vision__layers__1=states, logits=[logit])
        for name, logit in (("a", 1e-9), ("b", 1.2e-7))
    )
    found = {comparison.stage: comparison for comparison in compare(a, b)}["logits"]
    assert found.relative == pytest.approx(1.19e-7 / (3 * 2.0), rel=FLOAT64_ROUNDING)
    larger = run("c", classifier_norm=3.0, vision__layers__1=states, logits=[8.0])
    found = {comparison.stage: comparison for comparison in compare(larger, b)}["logits"]
    assert found.relative == pytest.approx((8.0 - 1.2e-7) / 8.0, rel=FLOAT64_ROUNDING)


def test_each_variant_s_logits_are_measured_by_its_own_states(run):
    stages = {"vision.layers.0": np.ones((1, 2, 4)), "logits": [0.0]}
    stages |= {"size: vision.layers.0": np.full((1, 2, 4), 10.0), "size: logits": [0.0]}
    a = run("a", classifier_norm=2.0, **stages)
    b = run("b", classifier_norm=2.0, **stages | {"logits": [1.0], "size: logits": [1.0]})
    found = {comparison.stage: comparison.relative for comparison in compare(a, b)}
    assert (found["logits"], found["size: logits"]) == (1 / 2, 1 / 20)


@pytest.mark.parametrize(("state", "loss", "size"), [(1e-3, 0.5, 1.0), (6.0, 0.5, 12.0), (6.0, 50.0, 50.0)])
def test_a_classifier_s_loss_is_measured_by_its_logits_or_by_itself(run, state, loss, size):
    stages = {"vision.layers.0": np.full((1, 2, 4), state), "logits": [state]}
    a, b = (run(name, classifier_norm=2.0, **stages, loss=value) for name, value in (("a", loss), ("b", loss - 0.25)))
    found = {comparison.stage: comparison for comparison in compare(a, b)}["loss"]
    assert found.relative == pytest.approx(0.25 / size, rel=FLOAT64_ROUNDING)


def test_a_gradient_is_measured_by_its_layer_and_by_no_other(run):
    sizes = {Q_BIAS: [3.0], K_BIAS: [1e-9], OTHER_LAYER: [800.0]}
    a = run("a", **sizes)
    b = run("b", **{**sizes, K_BIAS: [-2e-9]})
    found = {comparison.stage: comparison for comparison in compare(a, b)}
    assert found[K_BIAS].relative == pytest.approx(1e-9, rel=FLOAT64_ROUNDING)
    assert found[K_BIAS].passed


def test_a_gradient_that_a_framework_does_not_tell_is_zero(run):
    a, b = run("a", **{Q_BIAS: [2.0], K_BIAS: [0.0]}), run("b", **{Q_BIAS: [2.0]})
    assert all(comparison.passed for comparison in compare(a, b))
    missing = {comparison.stage: comparison for comparison in compare(b, run("c", **{K_BIAS: [0.0]}))}[Q_BIAS]
    assert (missing.absolute, missing.relative, missing.passed) == (2.0, 1.0, False)


@pytest.mark.parametrize(("precision", "size"), [("float32", LEARNING_RATE), ("bfloat16", 2**-7 * 3)])
def test_an_updated_parameter_is_measured_by_a_step_or_by_a_rounding(run, precision, size):
    a = run("a", precision, updated__logit_scale=3.0)
    found = one(compare(a, run("b", "float64", updated__logit_scale=2.5)))
    assert found.relative == 0.5 / size


@pytest.mark.parametrize("precisions", [("float64", "float16"), ("float16", "float32"), ("float16", "float16")])
def test_the_coarser_precision_tells_the_tolerance(run, precisions):
    a, b = (run(name, precision, vision__layers__0=[1.0]) for name, precision in zip("ab", precisions, strict=True))
    assert one(compare(a, b)).tolerance == TOLERANCES["hidden states"].float16


def test_another_shape_a_missing_stage_and_nan_are_faults(run):
    a = run("a", loss=1.0, text__pooled=[1.0, 2.0], image_embeds=[np.nan, 1.0], text_embeds=[1.0])
    b = run("b", text__pooled=[[1.0, 2.0]], image_embeds=[0.0, 1.0], text_embeds=[np.inf], logits=[1.0])
    found = {comparison.stage: comparison for comparison in compare(a, b)}
    named = {"loss": ("b", "stage"), "logits": ("a", "stage"), "text.pooled": ("a", (2,), "b", (1, 2))}
    named |= {"image_embeds": ("a", "NaN"), "text_embeds": ("b", "NaN")}
    assert found.keys() == named.keys()
    for stage, names in named.items():
        assert mentions(found[stage].fault, *names)
        assert found[stage].fault.startswith(names[0])
    for comparison in found.values():
        assert (comparison.absolute, comparison.badness, comparison.passed) == (math.inf, math.inf, False)


def test_ids_may_not_differ_at_all(run):
    found = one(compare(run("a", input_ids=[5, 6]), run("b", input_ids=[5, 7])))
    assert (found.absolute, found.tolerance, found.passed, found.badness) == (1.0, 0.0, False, math.inf)


def test_a_difference_in_any_block_counts(run, monkeypatch):
    monkeypatch.setattr(values, "BLOCK", 4)
    whole = np.ones(11)
    for place in range(11):
        other = whole.copy()
        other[place] = 3.0
        found = one(compare(run(f"a{place}", logits=whole), run(f"b{place}", logits=other)))
        assert (found.absolute, found.relative) == (2.0, 2 / 3)


def test_every_stage_has_a_group():
    assert group_of("gradient.vision_model.embeddings.class_embedding") == "gradients"
    assert group_of("vision.embeddings") == "embeddings"
    assert group_of("text.layers.11.attention") == "attentions"
    assert group_of("text.layers.11") == group_of("text.last_hidden_state") == "hidden states"
    assert group_of("logits") == "projected"
    assert {group_of(name) for name in ("pixel_values", "attention_mask")} == {"pixels", "token ids"}


def test_the_first_stage_that_drifts_is_the_first_of_any_pair(run):
    right = {"text__layers__0": [1.0], "text__layers__1": [1.0], "text__layers__2": [1.0]}
    a, b = run("a", **right), run("b", **right)
    c = run("c", **{**right, "text__layers__1": [2.0], "text__layers__2": [9.0]})
    d = run("d", **{**right, "text__layers__2": [5.0]})
    pairs = [(a, d), (a, b), (a, c), (b, c)]
    found = verification([comparison for pair in pairs for comparison in compare(*pair)])
    assert (found.first_drift, found.suspect) == ("text.layers.1", "c")
    assert found.drifting == [("a", "c"), ("b", "c")]
    assert mentions(found.verdict(), "text.layers.1", "a and c, b and c", "c is")
    worst = found.worst_of_groups()["hidden states"]
    assert (worst.stage, worst.pair) == ("text.layers.2", ("a", "c"))
