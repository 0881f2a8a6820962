"""A run's settings are validated first, by name and value."""

from __future__ import annotations

import math

import pytest

from clip_core.training.settings import LARGEST_LOGIT_SCALE, TrainSettings, decays, is_trained, learning_rate
from support.messages import naming
from support.tolerances import FLOAT64_ROUNDING


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"batch_size": 1}, ["batch_size=1"]),
        ({"epochs": 0}, ["epochs=0"]),
        ({"batch_size": 10, "accum": 3}, ["accum=3", "batch_size=10"]),
        ({"accum": 0}, ["accum=0"]),
        ({"loss_chunk": 0}, ["loss_chunk=0", 1]),
        ({"lr": 0}, ["lr=0", 0]),
        ({"lr": math.nan}, ["lr=nan"]),
        ({"max_grad_norm": -1.0}, ["max_grad_norm=-1.0"]),
        ({"warmup": -1}, ["warmup=-1", 0]),
        ({"weight_decay": -0.1}, ["weight_decay=-0.1"]),
        ({"beta_2": 1.0}, ["beta_2=1.0", 0, 1]),
        ({"precision": "fp16"}, ["precision='fp16'", "fp32", "bf16"]),
        ({"freeze": "both"}, ["freeze='both'", "text", "vision", "none"]),
    ],
)
def test_what_cannot_be_right_is_refused(fields, named):
    with pytest.raises(ValueError, match=naming(*named)):
        TrainSettings(**fields)


def test_gradients_may_be_left_unscaled():
    assert TrainSettings(max_grad_norm=None).to_dict()["max_grad_norm"] is None


def test_the_largest_temperature_is_the_papers():
    assert math.exp(LARGEST_LOGIT_SCALE) == pytest.approx(100, rel=FLOAT64_ROUNDING)


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine():
    rates = [learning_rate(step, steps=110, peak=2.0, warmup=10) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)], rel=FLOAT64_ROUNDING)
    assert rates[10] == pytest.approx(2.0, rel=FLOAT64_ROUNDING)
    assert rates[60] == pytest.approx(1.0, rel=FLOAT64_ROUNDING)
    assert rates[-1] == pytest.approx(2.0 * 0.5 * (1 + math.cos(math.pi * 0.99)), rel=FLOAT64_ROUNDING)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_a_warm_up_may_be_a_share_of_all_steps_or_none():
    assert learning_rate(4, steps=100, peak=1.0, warmup=0.1) == learning_rate(4, steps=100, peak=1.0, warmup=10)
    assert learning_rate(0, steps=100, peak=1.0, warmup=0) == 1.0
    assert learning_rate(0, steps=1, peak=1.0, warmup=0.05) == 1.0


def test_biases_norms_and_the_temperature_do_not_decay():
    from clip_core.modeling.parameters import parameter_table
    from support.configs import tiny_config

    decayed = {name for name in parameter_table(tiny_config(), "CLIPModel") if decays(name)}
    assert {"text_projection.weight", "text_model.embeddings.token_embedding.weight"} <= decayed
    assert all(name.endswith(".weight") for name in decayed)
    assert not any("norm" in name or "bias" in name or "logit_scale" in name for name in decayed)
    # Five layers of six matrices each; three tables of embeddings, the patches, and two projections.
    assert len(decayed) == 5 * 6 + 3 + 1 + 2


def test_a_frozen_tower_is_all_that_is_left_alone():
    assert not is_trained("vision_model.post_layernorm.weight", "vision")
    assert is_trained("visual_projection.weight", "vision")
    assert is_trained("text_model.final_layer_norm.bias", "vision")
    assert is_trained("vision_model.post_layernorm.weight", "none")
