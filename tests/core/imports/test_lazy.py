"""Names that a backend does not have: one of transformers' comes with what to use in its place."""

from __future__ import annotations

from importlib import import_module

import pytest

from clip_core.imports.lazy import missing_name

SHARED = ["AddedToken", "BatchEncoding", "BatchFeature", "CLIPFeatureExtractor", "CLIPImageProcessorFast"]


def test_every_backend_has_the_names_that_need_no_framework(backend):
    core, package = import_module("clip_core"), import_module(f"clip_{backend.name}")
    for name in SHARED:
        assert getattr(package, name) is getattr(core, name)


def test_a_name_of_transformers_is_refused_with_what_to_use(backend):
    package = import_module(f"clip_{backend.name}")
    for name, instead in {"AutoModel": "CLIPModel", "AutoTokenizer": "CLIPTokenizerFast"}.items():
        with pytest.raises(ImportError) as refused:
            getattr(package, name)
        assert name in str(refused.value)
        assert instead in str(refused.value)
    assert not hasattr(package, "no_such_name")


@pytest.mark.parametrize(
    ("package", "name", "instead"),
    [
        ("clip_torch", "TFCLIPModel", "clip_tf"),
        ("clip_tf", "FlaxCLIPModel", "clip_flax"),
        ("clip_flax", "TFCLIPTextModel", "clip_tf"),
        ("clip_tf", "TFAutoModel", "CLIPModel"),
        ("clip_tf", "TFPreTrainedModel", "CLIPPreTrainedModel"),
        ("clip_flax", "FlaxPreTrainedModel", "CLIPPreTrainedModel"),
        ("clip_torch", "PretrainedConfig", "CLIPConfig"),
        ("clip_torch", "pipeline", "ZeroShotClassifier"),
        ("clip_torch", "TensorType", 'return_tensors="pt"'),
        ("clip_flax", "PreTrainedTokenizerBase", "CLIPTokenizerFast"),
        ("clip_tf", "BaseImageProcessor", "CLIPImageProcessor"),
        ("clip_torch", "CLIPOutput", "type(output)"),
        ("clip_tf", "TFCLIPOutput", "type(output)"),
        ("clip_flax", "FlaxCLIPOutput", "type(output)"),
        ("clip_torch", "BaseModelOutputWithPooling", "type(output)"),
        ("clip_tf", "TFBaseModelOutput", "type(output)"),
    ],
)
def test_the_error_names_both(package, name, instead):
    error = missing_name(package, name)
    assert isinstance(error, ImportError)
    for part in (package, name, instead):
        assert part in str(error)


@pytest.mark.parametrize(("package", "name"), [("clip_torch", "x"), ("clip_tf", "TFCLIPNothing"), ("clip_flax", "TF")])
def test_any_other_name_is_an_attribute_error(package, name):
    error = missing_name(package, name)
    assert isinstance(error, AttributeError)
    assert name in str(error)
