from __future__ import annotations

from pathlib import Path

import pytest

from clip_core.tasks.search.identity import OtherModelError, check_model, describe_model
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.messages import naming
from support.search import Colours

SHAPES = Path(__file__).parents[4] / "examples/shapes/checkpoint"


@pytest.fixture(scope="module")
def facts():
    return describe_model(ZeroShotClassifier.from_pretrained(SHAPES, backend="torch"), str(SHAPES), "torch", None)


@pytest.mark.parametrize(("framework", "dtype"), [("torch", "float32"), ("torch", "bfloat16"), ("flax", None)])
def test_a_model_is_the_same_in_every_framework_and_dtype(facts, framework, dtype):
    check_model(ZeroShotClassifier.from_pretrained(SHAPES, backend=framework, dtype=dtype), "same", dtype, facts)


def test_a_model_trained_a_little_further_is_another(facts):
    model = ZeroShotClassifier.from_pretrained(SHAPES, backend="torch")
    weight = model.encoder.model.visual_projection.weight
    weight.data[0] *= 1.1
    with pytest.raises(OtherModelError, match=naming("further", facts["model"])):
        check_model(model, "further", None, facts)


def test_a_model_of_another_width_is_another(facts):
    facts = {**facts, "preprocessing": {"size": {"shortest_edge": 1}}}
    colours = Colours()
    with pytest.raises(OtherModelError, match=naming("colours")):
        check_model(ZeroShotClassifier(colours, colours), "colours", None, facts)
