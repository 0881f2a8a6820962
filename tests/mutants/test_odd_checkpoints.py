"""The odd checkpoints use every activation function, and show small errors of each."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from mutants.odd_checkpoints import write_all
from mutants.worker import job_of

from converters.verification import reference
from converters.verification.comparison import compare
from converters.verification.jobs import REFERENCE, run_job
from support.checkpoints import with_values

# Each activation with a constant that is slightly off, or an error of that size, and a checkpoint that uses it.
FAULTY = {
    "gelu": (lambda x: 0.5 * x * (1 + reference.erf(x / 1.414).astype(np.float64)), "vision"),
    "gelu_new": (lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.0447 * x**3))), "regression"),
    "quick_gelu": (lambda x: x / (1 + np.exp(-1.7 * x)), "labels"),
    "relu": (lambda x: np.maximum(x, 2e-5 * x), "eager"),
    "selu": (lambda x: 1.0507 * np.where(x > 0, x, 1.6733 * np.expm1(np.minimum(x, 0))), "text"),
    "silu": (lambda x: x / (1 + np.exp(-1.0001 * x)), "eager"),
}
FAULTY["gelu_pytorch_tanh"] = FAULTY["gelu_new"][0], "classes"
FAULTY["swish"] = FAULTY["silu"][0], "projected text"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("odd"))


def run(checkpoint, folder):
    """Run the reference, and count the result as one in float32."""
    folder.mkdir()
    ((ran,),) = run_job(job_of(REFERENCE, checkpoint, folder, dtype="float32", gradients=False)).forms
    ran.precision = "float32"
    return ran


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_a_small_error_of_an_activation_exceeds_the_tolerance(activation, checkpoints, tmp_path, monkeypatch):
    faulty, name = FAULTY[activation]
    assert f'"hidden_act": "{activation}"' in (checkpoints[name] / "config.json").read_text(encoding="utf-8")
    right = run(checkpoints[name], tmp_path / "right")
    monkeypatch.setitem(reference.ACTIVATIONS, activation, faulty)
    wrong = run(checkpoints[name], tmp_path / "wrong")
    assert max(comparison.badness for comparison in compare(right, wrong)) > 2


def test_a_variance_of_squares_exceeds_the_tolerance(checkpoints, tmp_path, monkeypatch):
    def normalized(weights, config, states):
        states = states.astype(np.float32)
        mean = states.mean(axis=-1, keepdims=True)
        variance = (states**2).mean(axis=-1, keepdims=True) - mean**2
        return (states - mean) / np.sqrt(variance + config.layer_norm_eps) * weights["weight"] + weights["bias"]

    right = run(checkpoints["vision"], tmp_path / "right")
    monkeypatch.setattr(reference, "layer_normalized", normalized)
    wrong = {comparison.stage: comparison for comparison in compare(right, run(checkpoints["vision"], tmp_path / "x"))}
    assert wrong["vision.embeddings"].badness > 2


def test_ids_beyond_16_bits_with_a_sign_are_used_by_both_rules_of_pooling(checkpoints, tmp_path, monkeypatch):
    of_weights = reference.text

    def cast(weights, config, input_ids, *rest, **options):
        return of_weights(weights, config, input_ids.astype(np.int16), *rest, **options)

    for name in ("eager", "text"):
        right = run(checkpoints[name], tmp_path / f"{name}-right")
        with monkeypatch.context() as patch:
            patch.setattr(reference, "text", cast)
            wrong = run(checkpoints[name], tmp_path / f"{name}-wrong")
        found = {comparison.stage: comparison.passed for comparison in compare(right, wrong)}
        assert not found["text.embeddings"]
        assert not found["text.pooled"]


def test_a_limit_of_the_temperature_exceeds_the_tolerance(checkpoints, tmp_path):
    right = run(checkpoints["eager"], tmp_path / "right")
    limited = shutil.copytree(checkpoints["eager"], tmp_path / "limited")
    with_values(limited, logit_scale=np.array(math.log(100), np.float32))
    compared = compare(right, run(limited, tmp_path / "wrong"))
    assert {comparison.stage for comparison in compared if not comparison.passed} >= {"logits_per_text", "loss"}


@pytest.mark.parametrize("name", ["regression", "regressions"])
def test_an_absolute_error_instead_of_a_squared_one_exceeds_the_tolerance(name, checkpoints, tmp_path, monkeypatch):
    def absolute(logits, labels, problem_type):
        return np.abs(logits.reshape(labels.shape) - labels).mean()

    right = run(checkpoints[name], tmp_path / "right")
    monkeypatch.setattr(reference, "_classification_loss", absolute)
    compared = compare(right, run(checkpoints[name], tmp_path / "wrong"))
    assert {comparison.stage for comparison in compared if not comparison.passed} == {"labels: loss"}
