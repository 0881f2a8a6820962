"""All frameworks compute the same for every class from every format."""

from __future__ import annotations

from functools import partial

import pytest

from clip_core.modeling.parameters import MODEL_CLASSES
from converters.conversion import convert
from converters.verification import verify as proof
from converters.verification.runs import as_loaded
from converters.verification.tolerances import TOLERANCES
from converters.verification.verify import REFERENCE
from support.checkpoints import openai_config, save_checkpoint
from support.configs import SHALLOW, tiny_config

# One start of each framework serves all tests; `test_verify_full_size.py` starts each in a process of its own.
verify = partial(proof.verify, own_processes=False)

FRAMEWORKS = [REFERENCE, "torch", "tf", "flax"]
PAIRS = 6
CONFIG = tiny_config(SHALLOW["text"], SHALLOW["vision"] | {"num_channels": 3}, num_labels=5)

# The layouts of OpenAI and open_clip need both towers.
CASES = [
    *((class_name, to) for class_name in MODEL_CLASSES for to in ("torch", "tf", "flax")),
    ("CLIPModel", "open_clip"),
    ("CLIPModel", "openai"),
]


def _seen_of(class_name):
    """Return the groups of stages that a class has."""
    unseen = set()
    if class_name != "CLIPModel":
        unseen |= {"unit-norm embeddings", "logits", "loss", "explanations", "finite differences"}
        unseen.add("token ids" if "Text" not in class_name else "pixels")
    if class_name == "CLIPForImageClassification":
        unseen.remove("loss")  # of given labels
    if class_name.endswith("WithProjection") or "Classification" in class_name:
        unseen.add("pooled")
    if class_name in {"CLIPTextModel", "CLIPVisionModel"}:
        unseen.add("projected")
    return set(TOLERANCES) - unseen


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_class_with_gradients_and_a_step_of_training(class_name, tmp_path):
    save_checkpoint(tmp_path, CONFIG, class_name)
    result = verify(tmp_path, backends=FRAMEWORKS, gradients=True, train_step=True, explain=class_name == "CLIPModel")
    assert result.passed, result.verdict()
    assert result.class_name == class_name
    pairs = {tuple(map(as_loaded, one.pair)) for one in result.comparisons}
    assert len({pair for pair in pairs if len(set(pair)) == 2}) == PAIRS  # a prepared model is the same framework
    assert set(result.worst_of_groups()) == _seen_of(class_name)


@pytest.mark.usefixtures("without_variants")
@pytest.mark.parametrize(("class_name", "to"), CASES)
def test_a_class_from_a_format(class_name, to, tmp_path):
    config = openai_config(SHALLOW["text"], SHALLOW["vision"]) if to == "openai" else CONFIG
    source, converted = tmp_path / "source", tmp_path / "converted"
    save_checkpoint(source, config, class_name)
    convert(source, converted, to)
    result = verify(converted, backends=FRAMEWORKS)
    assert result.passed, result.verdict()
    # And all of them compute the same as the converted checkpoint's original.
    same = verify(converted, against=source, backends=[REFERENCE])
    assert same.passed, same.verdict()
    assert all(one.absolute == 0 for one in same.comparisons)
