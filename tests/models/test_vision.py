"""The vision tower: its inputs, and its errors."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.modeling.embeddings import bicubic_matrix
from clip_core.modeling.inputs import ImageShapeError
from support.configs import pixel_values, tiny_config
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS, FLOAT32


@pytest.fixture
def model(backend):
    return backend.build("CLIPVisionModel", tiny_config().vision_config)


def test_it_pools_at_the_class_token(backend, model):
    outputs = backend.forward(model, {"pixel_values": pixel_values()}, output_hidden_states=True)
    assert outputs["last_hidden_state"].shape == (3, 26, 36)
    assert outputs["pooler_output"].shape == (3, 36)
    assert [name for name in outputs if name.startswith("hidden_states")] == [f"hidden_states.{i}" for i in range(3)]


def test_pictures_of_another_size_are_refused_with_advice(backend, model):
    with pytest.raises(ValueError, match=naming("36 x 36", "30 x 30", "interpolate_pos_encoding=True")):
        backend.forward(model, {"pixel_values": pixel_values(size=36)})


def test_the_encoder_of_the_tasks_refuses_them_alike(backend, built):
    encoder = backend.module("backend").ModelEncoder(built(backend))
    with pytest.raises(ImageShapeError, match=naming("36 x 36", "30 x 30")):
        encoder.encode_images(pixel_values(size=36))


def test_pictures_of_another_size_are_taken_when_asked(backend, model):
    outputs = backend.forward(model, {"pixel_values": pixel_values(size=36)}, interpolate_pos_encoding=True)
    assert outputs["last_hidden_state"].shape == (3, 37, 36)


def test_a_classifier_takes_pictures_of_another_size_when_asked(backend, built):
    classifier = built(backend, "CLIPForImageClassification")
    outputs = backend.forward(classifier, {"pixel_values": pixel_values(size=36)}, interpolate_pos_encoding=True)
    assert outputs["logits"].shape == (3, classifier.num_labels)


def test_interpolation_changes_nothing_at_the_models_own_size(backend, model):
    inputs = {"pixel_values": pixel_values()}
    plain, interpolated = (backend.forward(model, inputs, interpolate_pos_encoding=flag) for flag in (False, True))
    assert all(np.array_equal(plain[name], interpolated[name]) for name in plain)


def test_the_positions_of_any_size_are_given_under_the_references_name(backend, model):
    embeddings = model.vision_model.embeddings
    table = backend.weights(model)["vision_model.embeddings.position_embedding.weight"]
    for height, width in ((30, 30), (36, 30), (12, 48)):
        found = backend.call(
            lambda tokens, size=(height, width): embeddings.interpolate_pos_encoding(tokens, *size),
            {"tokens": np.zeros((1, 1 + height // 6 * (width // 6), 36), np.float32)},
        )
        down, across = (bicubic_matrix(5, size // 6) for size in (height, width))
        grid = np.einsum("hs,wt,std->hwd", down, across, table[1:].reshape(5, 5, 36)).reshape(-1, 36)
        expected = np.concatenate([table[:1], grid])[None]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, **FLOAT32)


@pytest.mark.parametrize("options", [{}, {"interpolate_pos_encoding": True}])
def test_an_empty_batch_has_an_empty_result(backend, model, options):
    size = 36 if options else 30
    outputs = backend.forward(model, {"pixel_values": pixel_values(size=size)[:0]}, **options)
    assert outputs["pooler_output"].shape == (0, 36)
    assert outputs["last_hidden_state"].shape == (0, 37 if options else 26, 36)


@pytest.mark.parametrize("shape", [(3, 3, 30, 30), (3, 30, 30, 2), (2, 30, 30)])
def test_pixels_of_another_shape_are_refused_with_both(backend, model, shape):
    with pytest.raises(ValueError, match=naming("pixel_values", "(batch, 2, 30, 30)")):
        backend.forward(model, {"pixel_values": np.zeros(shape, np.float32)})


def test_missing_pixels_are_named(backend, model):
    with pytest.raises(ValueError, match=naming("pixel_values")):
        backend.forward(model, {})


def test_a_classifier_of_no_labels_gives_the_mean_patch(backend):
    model = backend.build("CLIPForImageClassification", tiny_config(num_labels=0))
    assert backend.forward(model, {"pixel_values": pixel_values()})["logits"].shape == (3, 36)
    assert not any(name.startswith("classifier") for name in backend.weights(model))


def test_a_fresh_classifier_has_the_references_standard_deviation(backend):
    config = tiny_config(num_labels=99)
    config.initializer_factor = 2.5
    weight = backend.weights(backend.build("CLIPForImageClassification", config))["classifier.weight"]
    assert weight.std() == pytest.approx(2.5 * 36**-0.5, rel=DRAWN_WEIGHTS)


@pytest.mark.parametrize("size", [(5, 30), (30, 5), (1, 1)])
def test_pictures_smaller_than_a_patch_are_refused_with_both_sizes(backend, model, size):
    pixels = np.zeros((1, 2, *size), np.float32)
    with pytest.raises(ValueError, match=naming(f"{size[0]} x {size[1]}", "6 x 6")):
        backend.forward(model, {"pixel_values": pixels}, interpolate_pos_encoding=True)
