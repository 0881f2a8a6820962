"""Pipelines of transformers, run on its own models or on ours, in its process; see `support.oracle`."""

from __future__ import annotations

from typing import Any


def pipeline_scores(task: str, library: str, model_class: str, folder: str, inputs: Any, **options: Any) -> Any:
    """Return a pipeline's scores for a checkpoint whose model and processor are of one library."""
    from importlib import import_module

    from transformers import pipeline

    package = import_module(library)
    processor = package.CLIPProcessor.from_pretrained(folder, use_fast=False)
    model = getattr(package, model_class).from_pretrained(folder)
    if library == "clip_torch" and task.endswith("feature-extraction"):  # it takes an output by position
        model = package.to_transformers(model)
    images, texts = processor.image_processor, processor.tokenizer
    parts = {"image_processor": images} if "image" in task else {}
    parts |= {} if task.startswith("image") else {"tokenizer": texts}
    return pipeline(task, model=model, framework="pt", **parts)(inputs, **options)


def traced_outputs(model_class: str) -> dict[str, Any]:
    """Return the first output of one of our models and of its symbolic trace, for padded texts and images."""
    import torch
    from transformers.utils import fx

    import clip_torch
    from support.configs import inputs_for, tiny_config

    of_tracer = {"text": {"max_position_embeddings": 32}, "vision": {"num_channels": 3}}  # room for its own inputs
    model = getattr(clip_torch, model_class)(tiny_config(**of_tracer)).eval()
    inputs = {name: torch.from_numpy(array) for name, array in inputs_for(model_class, channels=3).items()}
    traced = fx.symbolic_trace(model, list(inputs))
    with torch.no_grad():
        return {"ours": model(**inputs)[0].tolist(), "traced": next(iter(traced(**inputs).values())).tolist()}


def configurations_of_ours(folder: str, model_class: str, given_class: str) -> list[dict[str, Any]]:
    """Return the configurations of two of our models, made and loaded with one of the reference's."""
    import transformers

    import clip_torch

    config = getattr(transformers, given_class).from_pretrained(folder)
    config._attn_implementation = "eager"
    own = getattr(clip_torch, model_class)
    models = own(config), own.from_pretrained(folder, config=config)
    assert all(type(model.config) is own.config_class for model in models)
    assert all(model.config.get_text_config()._attn_implementation == "eager" for model in models)
    return [model.config.to_dict() for model in models]
