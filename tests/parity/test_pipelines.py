"""Pipelines of transformers give the same scores for our models and processors as for its own."""

from __future__ import annotations

import pytest

import clip_torch
from clip_core.configuration import CLIPConfig
from support.configs import CLASSES, tiny_config
from support.messages import naming

TASKS = {
    "zero-shot-image-classification": ("CLIPModel", "chelsea.png", {"candidate_labels": ["a cat", "a cup"]}),
    "image-feature-extraction": ("CLIPVisionModel", "chelsea.png", {}),
    "image-classification": ("CLIPForImageClassification", "coffee.png", {}),
    "feature-extraction": ("CLIPTextModel", "a red cat", {}),
}


@pytest.fixture(scope="module")
def models(checkpoint, tmp_path_factory):
    """The trained checkpoint with a classifier beside it."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.warns(UserWarning, match=naming("classifier.weight")):
        classifier = clip_torch.CLIPForImageClassification.from_pretrained(checkpoint, num_labels=3)
    classifier.save_pretrained(folder / "classifier")
    for kind in (folder, folder / "classifier"):
        clip_torch.CLIPProcessor.from_pretrained(checkpoint).save_pretrained(kind)
    clip_torch.CLIPModel.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_a_pipeline_gives_the_references_scores(oracle, shared, models, task):
    model_class, inputs, options = TASKS[task]
    folder = models / "classifier" if "Classification" in model_class else models
    path = shared / "photos" / inputs
    arguments = {"task": task, "model_class": model_class, "folder": str(folder), **options}
    arguments["inputs"] = str(path) if path.suffix else inputs
    ours = oracle("oracle_pipelines.pipeline_scores", library="clip_torch", **arguments)
    assert ours == oracle("oracle_pipelines.pipeline_scores", library="transformers", **arguments)


@pytest.mark.parametrize("model_class", CLASSES)
def test_symbolic_traces_of_our_models_give_their_outputs(oracle, model_class):
    found = oracle("oracle_pipelines.traced_outputs", model_class=model_class)
    assert found["traced"] == found["ours"]


@pytest.mark.parametrize(
    ("model_class", "given_class"),
    [
        ("CLIPModel", "CLIPConfig"),
        ("CLIPForImageClassification", "CLIPConfig"),
        ("CLIPTextModel", "CLIPConfig"),
        ("CLIPTextModel", "CLIPTextConfig"),
    ],
)
def test_our_models_take_the_references_configurations(oracle, tmp_path, model_class, given_class):
    getattr(clip_torch, model_class)(tiny_config()).save_pretrained(tmp_path)
    if model_class == "CLIPTextModel" and given_class == "CLIPConfig":
        tiny_config().save_pretrained(tmp_path)
    own = getattr(clip_torch, model_class).config_class.from_pretrained(tmp_path).to_dict()
    compared = own.keys() - {"architectures", "dtype", "transformers_version", "_name_or_path", *CLIPConfig.sub_configs}
    arguments = {"folder": str(tmp_path), "model_class": model_class, "given_class": given_class}
    for found in oracle("oracle_pipelines.configurations_of_ours", **arguments):
        assert {name: found[name] for name in compared} == {name: own[name] for name in compared}
