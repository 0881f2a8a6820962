"""Text features: tokens that cannot affect them are not read, and the result is that of the whole input."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from clip_core.modeling import towers
from support import text_features
from support.configs import EOS_TOKEN_ID, SHALLOW, pixel_values, tiny_config
from support.messages import naming
from support.tolerances import EMBEDDINGS, HIDDEN_STATES, OTHER_INPUTS, SAME_EMBEDDINGS

SEQ = 19
ALL_PLACES = np.arange(SEQ)[None]  # given as position_ids, they have the model read every token


@pytest.fixture(scope="module")
def model_of():
    """Models, one for each configuration."""
    made = {}

    def build(backend, **text):
        key = (backend.name, *sorted(text.items()))
        if key not in made:
            shallow = tiny_config({"num_hidden_layers": 2} | text, SHALLOW["vision"])
            made[key] = backend.build("CLIPModel", shallow)
        return made[key]

    return build


def embeds(backend, model, **inputs):
    """Return text features of unit norm."""
    features = backend.call(model.get_text_features, inputs)
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


def padded(lengths, *, pad=0, seq=SEQ):
    """Return ids and mask `(batch, seq)` of texts of these lengths, each ending in EOS."""
    random = np.random.default_rng(len(lengths))
    ids, mask = np.full((len(lengths), seq), pad), np.zeros((len(lengths), seq), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = random.integers(1, 90, length)
        ids[row, length - 1], mask[row, :length] = EOS_TOKEN_ID, 1
    return ids, mask


def holes():
    """Return a batch in which tokens in the midst of texts are not attended to."""
    ids, mask = padded([7, 6, 5, 7])
    mask[0, 2:4], mask[1, 0], mask[3, 6] = 0, 0, 0
    return ids, mask


def attended_behind_eos():
    """Return a batch with a row in which only tokens after EOS are attended to."""
    ids, mask = padded([5, 6, 5, 7])
    mask[2] = np.arange(SEQ) > 8
    return ids, mask


def left_padded():
    ids, mask = padded([6, 3, 9, 4])
    return np.stack([np.roll(row, SEQ - n) for row, n in zip(ids, (6, 3, 9, 4), strict=True)]), mask[:, ::-1].copy()


def without_eos():
    """Return a batch without EOS, pooled at the first token, which one of the rows does not attend to."""
    ids, mask = padded([6, 6, 4, 3])
    ids[ids == EOS_TOKEN_ID] = 5
    mask[1, 0] = 0
    return ids, mask


def empty():
    """Return a batch with a row that is all padding."""
    ids, mask = padded([6, 4, 8, 3])
    mask[1] = 0
    return ids, mask


BATCHES = {
    "mixed lengths": padded([3, 19, 4, 8]),
    "padded with EOS": padded([5, 7, 4, 4], pad=EOS_TOKEN_ID),
    "holes": holes(),
    "attended behind EOS": attended_behind_eos(),
    "left padding": left_padded(),
    "no EOS": without_eos(),
    "an empty row": empty(),
}


@pytest.fixture
def lengths_run(monkeypatch):
    """A recorder of the shape of the ids in every run of the text tower."""

    def watch(backend):
        shapes, module = [], import_module(f"clip_{backend.name}.text")
        count = module.number_of_tokens

        def noting(input_ids, inputs_embeds):
            shapes.append(tuple(input_ids.shape))
            return count(input_ids, inputs_embeds)

        monkeypatch.setattr(module, "number_of_tokens", noting)
        return shapes

    return watch


@pytest.mark.parametrize("batch", BATCHES)
def test_features_are_those_of_the_whole_input(backend, model_of, batch):
    (ids, mask), model = BATCHES[batch], model_of(backend)
    inputs = {"input_ids": ids, "attention_mask": mask}
    difference = embeds(backend, model, **inputs) - embeds(backend, model, **inputs, position_ids=ALL_PLACES)
    assert np.abs(difference).max() < SAME_EMBEDDINGS


def test_without_a_mask_they_are_too(backend, model_of):
    model, (ids, _) = model_of(backend), padded([5, 7, 4, 4])
    difference = embeds(backend, model, input_ids=ids) - embeds(backend, model, input_ids=ids, position_ids=ALL_PLACES)
    assert np.abs(difference).max() < SAME_EMBEDDINGS


def test_the_legacy_eos_is_looked_for_in_the_whole_row(backend, model_of):
    ids, mask = padded([5, 9, 4, 4])
    ids[0, 11], ids[2, 1], mask[0] = 98, 98, 1  # the largest id, behind EOS and before it
    inputs, model = {"input_ids": ids, "attention_mask": mask}, model_of(backend, eos_token_id=2)
    difference = embeds(backend, model, **inputs) - embeds(backend, model, **inputs, position_ids=ALL_PLACES)
    assert np.abs(difference).max() < SAME_EMBEDDINGS


def test_it_reads_up_to_the_longest_text(backend, lengths_run):
    model = backend.build("CLIPModel", tiny_config(**SHALLOW))
    shapes, (ids, mask) = lengths_run(backend), padded([4, 6, 3])
    backend.call(model.get_text_features, {"input_ids": ids, "attention_mask": mask})
    assert shapes == [(3, 8 if backend.name == "flax" else 6)]  # Flax compiles for each length


def test_a_batch_of_very_different_lengths_is_run_in_parts_where_nothing_is_compiled(backend, lengths_run):
    model = backend.build("CLIPModel", tiny_config(**SHALLOW))
    shapes, (ids, mask) = lengths_run(backend), padded([3] * 20 + [19])
    backend.call(model.get_text_features, {"input_ids": ids, "attention_mask": mask})
    assert sorted(shapes) == ([(21, 19)] if backend.name == "flax" else [(1, 19), (20, 3)])


def test_positions_given_are_used_and_then_all_is_read(backend, model_of, lengths_run):
    model, (ids, mask) = model_of(backend), padded([4, 6, 3, 3])
    backwards = embeds(backend, model, input_ids=ids, attention_mask=mask, position_ids=ALL_PLACES[:, ::-1].copy())
    assert np.abs(backwards - embeds(backend, model, input_ids=ids, attention_mask=mask)).max() > OTHER_INPUTS
    if backend.name != "flax":  # which has compiled this before
        shapes = lengths_run(backend)
        embeds(backend, model, input_ids=ids, attention_mask=mask, position_ids=ALL_PLACES)
        assert shapes == [(4, SEQ)]


def test_what_the_model_refuses_is_refused_behind_eos_too(backend, model_of):
    model, (ids, mask) = model_of(backend), padded([4, 6])
    ids[0, 10] = 99
    with pytest.raises(IndexError, match=naming(99, "resize_token_embeddings")):
        backend.call(model.get_text_features, {"input_ids": ids, "attention_mask": mask})
    with pytest.raises(ValueError, match=naming(20, 19)):
        backend.call(model.get_text_features, {"input_ids": padded([4], seq=20)[0]})
    with pytest.raises(ValueError, match=naming("attention_mask", (2, 6))):
        backend.call(model.get_text_features, {"input_ids": padded([4, 6])[0], "attention_mask": mask[:, :6]})
    strict = model_of(backend, missing_eos="error")
    ids = padded([3, 19, 8] + [3] * 20)[0]
    ids[2] = 5
    with pytest.raises(ValueError, match=naming([2])):
        backend.call(strict.get_text_features, {"input_ids": ids})


def test_the_full_forward_keeps_the_shapes_of_the_reference(backend, model_of):
    ids, mask = padded([4, 6, 3, 3])
    inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixel_values(4)}
    outputs = backend.forward(model_of(backend), inputs)
    assert outputs["text_model_output.last_hidden_state"].shape == (4, SEQ, 40)


def test_gradients_are_those_of_the_whole_input(backend, model_of):
    gradients = text_features.GRADIENTS[backend.name]
    ids, mask = padded([3] * 20 + [14])
    inputs, model = {"input_ids": ids, "attention_mask": mask}, model_of(backend, num_hidden_layers=1)
    found, expected = gradients(model, inputs), gradients(model, {**inputs, "position_ids": ALL_PLACES})
    assert found.keys() == expected.keys()
    assert len(found) >= 16 + 5  # of the layer, the embeddings, the last norm and the projection
    for name, gradient in expected.items():
        if "k_proj" in name and "bias" in name:  # it shifts all scores of a query equally: only rounding
            continue
        assert np.abs(found[name] - gradient).max() <= HIDDEN_STATES * np.abs(gradient).max(), name
        if "position_embedding" in name and "vision" not in name:
            assert found[name].shape[0] == SEQ
            assert not found[name][14:].any()
            assert found[name][:14].any(axis=-1).all()


def encoder_of(backend, model):
    """Return the model as the tasks use it."""
    return import_module(f"clip_{backend.name}.backend").ModelEncoder(model)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_prepared_encoder_gives_the_same(backend, model_of, batch):
    (ids, mask), encoder = BATCHES[batch], encoder_of(backend, model_of(backend))
    difference = encoder.prepared().encode_texts(ids, mask) - encoder.encode_texts(ids, mask)
    assert np.abs(difference).max() < EMBEDDINGS


def test_a_prepared_encoder_gives_the_same_for_texts_of_every_length(backend, model_of):
    encoder = encoder_of(backend, model_of(backend))
    prepared, most = encoder.prepared(), encoder.config.text_config.max_position_embeddings
    lengths = np.random.default_rng(0).integers(1, most + 1, 4 * most)
    for some in (*np.arange(1, most + 1)[:, None], *np.split(lengths, most), np.full(3, most), np.full(3, 5)):
        ids, mask = padded(some, seq=most)
        difference = prepared.encode_texts(ids, mask) - encoder.encode_texts(ids, mask)
        assert np.abs(difference).max() < EMBEDDINGS


def test_an_encoder_reads_up_to_the_longest_text_too(backend, lengths_run):
    model = backend.build("CLIPModel", tiny_config(**SHALLOW))
    ids, mask = padded([4, 6, 3])
    shapes, encoder = lengths_run(backend), encoder_of(backend, model)
    found = encoder.encode_texts(ids, mask)
    # TensorFlow's graph is traced once for all shapes.
    assert shapes == {"torch": [(3, 6)], "tf": [(None, None)], "flax": [(3, 8)]}[backend.name]
    assert np.abs(found - embeds(backend, model, input_ids=ids, attention_mask=mask)).max() < SAME_EMBEDDINGS
    if backend.name == "tf":
        seen = []
        encoder._texts = lambda ids, mask: seen.append((ids.shape, mask.shape)) or found[:0]
        encoder.encode_texts(ids, mask)
        assert seen == [((3, 6), (3, 6))]


def test_the_lengths_of_texts_are_computed_once(backend, monkeypatch):
    calls, computed = [], towers.lengths_to_read
    monkeypatch.setattr(towers, "lengths_to_read", lambda *args: calls.append(args) or computed(*args))
    model, (ids, mask) = backend.build("CLIPModel", tiny_config(**SHALLOW)), padded([4, 6, 3])
    encoder_of(backend, model).encode_texts(ids, mask)
    assert len(calls) == 1
    embeds(backend, model, input_ids=ids, attention_mask=mask)
    assert len(calls) == 2


def test_a_fingerprint_follows_the_weights_of_the_text_tower_alone(backend):
    model = backend.build("CLIPModel", tiny_config(**SHALLOW))
    encoder = encoder_of(backend, model)
    before = encoder.text_fingerprint()
    change(backend, model, "visual_projection")
    assert encoder.text_fingerprint() == before == encoder_of(backend, model).text_fingerprint()
    change(backend, model, "text_projection")
    after = encoder.text_fingerprint()
    assert after != before
    model.config.text_config.eos_token_id = 5
    assert encoder.text_fingerprint() != after


def change(backend, model, layer):
    """Change one weight of a projection in place."""
    projection = getattr(model, layer)
    if backend.name == "torch":
        projection.weight.data[3, 2] += 1e-6
    elif backend.name == "tf":
        weights = projection.kernel.numpy()
        weights[2, 3] += 1e-6
        projection.kernel.assign(weights)
    else:
        projection.kernel.set_value(projection.kernel.get_value().at[2, 3].add(1e-6))


def test_where_values_are_hidden_every_token_is_read(backend, model_of, lengths_run):
    model, (ids, mask) = model_of(backend), padded([4, 6])
    expected = backend.call(model.get_text_features, {"input_ids": ids, "attention_mask": mask})
    shapes = lengths_run(backend)
    for features in text_features.HIDDEN[backend.name](model, ids, mask):
        assert np.abs(np.asarray(features) - expected).max() < EMBEDDINGS
    assert shapes
    assert all(shape[-1] == SEQ for shape in shapes)
