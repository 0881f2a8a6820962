"""The captioning example: the decoder in numpy and in PyTorch, both ways of captioning, and what it learns from."""

from __future__ import annotations

import itertools
import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from support.messages import mentions, naming
from support.tolerances import FLOAT32, LITTLE_ABOVE_CHANCE, MEAN_COSINE

sys.path.append(str(Path(__file__).parents[2] / "examples" / "captioning"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import beam
import captioner
import decoder
import grammar
import train_decoder
import words

TRAINED = Path(decoder.__file__).parent / "decoder"
TEXTS = [
    "a red star",
    "two blue rings on the left",
    "a big heart",
    "three crosses, at the top",
    "four",
    "a big red heart",
]


@pytest.fixture(scope="module")
def trained():
    """A tiny decoder trained on six captions, and their embeddings."""
    embeds = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0][: len(TEXTS)].astype(np.float32)
    sizes = {"hidden": 16, "layers": 2, "heads": 2, "prefix": 2}
    return train_decoder.train(embeds, TEXTS, steps=200, batch_size=16, lr=1e-2, noise=0.05, **sizes), embeds


def said(tiny, embeds, **options):
    searches = [
        beam.beam_search(tiny, *tiny.start(embed[None]), end=words.END, longest=tiny.settings.longest, **options)
        for embed in embeds
    ]
    return [tiny.vocabulary.decode(search[0].ids) for search in searches]


def test_a_decoder_says_the_caption_of_an_embedding_near_its_own(trained):
    tiny, embeds = trained
    assert said(tiny, embeds) == TEXTS
    random = np.random.default_rng(1)
    near = embeds + random.normal(0, 0.05, embeds.shape).astype(np.float32)
    assert said(tiny, near / np.linalg.norm(near, axis=1, keepdims=True), beams=3) == TEXTS


def test_training_follows_its_seed():
    embeds = np.eye(6, 8, dtype=np.float32)
    sizes = {"hidden": 8, "layers": 1, "heads": 2, "prefix": 1, "steps": 3}
    one, same, other = (train_decoder.train(embeds, TEXTS, seed=seed, **sizes).start(embeds)[0] for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > LITTLE_ABOVE_CHANCE


def test_the_network_in_numpy_is_the_one_that_was_trained(trained):
    tiny, embeds = trained
    ids = torch.tensor([tiny.vocabulary.encode("two blue rings on the left")] * 3)
    network = train_decoder.CaptionNetwork(tiny.settings, len(tiny.vocabulary))
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tiny.weights.items() if name != "probe"})
    with torch.no_grad():
        expected = network(torch.from_numpy(embeds[:3]), ids).log_softmax(-1).numpy()
    # One after another, with the rows reversed at every step.
    log_probs, state = tiny.start(embeds[:3])
    found = [log_probs]
    for place in range(ids.shape[1] - 1):
        log_probs, state = tiny.advance(state, [2, 1, 0], [int(ids[0, place])] * 3)
        found.append(log_probs if place % 2 else log_probs[::-1])
    np.testing.assert_allclose(np.stack(found, axis=1), expected, **FLOAT32)


def test_noise_has_the_given_deviation_and_leaves_unit_norms():
    embeds = torch.nn.functional.normalize(torch.ones(2000, 64), dim=-1)
    generator = torch.Generator().manual_seed(0)
    moved = train_decoder.noisy(embeds, 0.05, generator)
    np.testing.assert_allclose(moved.norm(dim=-1), 1, **FLOAT32)
    # Noise of length 0.05 * sqrt(64) at a right angle to the embedding, up to 1/64 of it.
    assert float((moved * embeds).sum(-1).mean()) == pytest.approx((1 + 0.05**2 * 64) ** -0.5, rel=MEAN_COSINE)
    np.testing.assert_array_equal(train_decoder.noisy(embeds, 0.0, generator), embeds)


def test_a_saved_decoder_is_loaded_in_half_precision(trained, tmp_path):
    tiny, embeds = trained
    tiny.save(tmp_path / "there")
    again = decoder.Decoder.load(tmp_path / "there")
    assert (again.settings, again.vocabulary) == (tiny.settings, tiny.vocabulary)
    assert said(again, embeds) == TEXTS
    for name, array in tiny.weights.items():
        np.testing.assert_array_equal(again.weights[name], array.astype(np.float16).astype(np.float32))


class Known:
    """A classifier whose texts have given embeddings."""

    def __init__(self, embeds):
        self.embeds, self.encoded = embeds, []

    def encode_texts(self, texts, **_):
        self.encoded += texts
        return np.stack([self.embeds[text] for text in texts])


def test_clip_chooses_among_the_candidates(trained):
    tiny, embeds = trained
    found = captioner.Captioner(Known({TEXTS[0]: embeds[0], "b": embeds[1], "c": embeds[2]}), tiny)
    assert [len(some) for some in found.candidates(embeds[:2], beams=4)] == [4, 4]
    assert [some[0] for some in found.candidates(embeds[:2])] == TEXTS[:2]
    order = found.rerank(embeds[[2, 1]], [[TEXTS[0], "b", "c"], ["c", "b"]])
    assert [some[0] for some in order] == ["c", "b"]
    assert sorted(order[0]) == [TEXTS[0], "b", "c"]


def test_a_decoder_for_another_model_is_refused(trained):
    tiny, embeds = trained
    for other in (embeds[1], embeds[0][:4]):
        with pytest.raises(ValueError, match=naming(repr(TEXTS[0]), "train_decoder.py")):
            captioner.Captioner(Known({TEXTS[0]: other}), tiny)


def test_a_guided_search_that_is_wide_enough_finds_the_best_phrase_of_the_grammar():
    small = grammar.Grammar((("a", "b", "c"), ("", "x", "y"), ("", "z")), "".join)
    texts = ["".join(options) for count in (1, 2, 3) for options in itertools.product(*small.slots[:count])]
    random = np.random.default_rng(0)
    known = Known({text: random.normal(size=6) for text in texts})
    images = random.normal(size=(5, 6))
    search = grammar.GuidedSearch(known, small)
    best = [
        max(map("".join, itertools.product(*small.slots)), key=lambda text: known.embeds[text] @ image)
        for image in images
    ]
    assert search(images, beams=9) == best
    assert len(known.encoded) == len(set(known.encoded))
    first = [max(small.slots[0], key=lambda text: known.embeds[text] @ image) for image in images]
    assert [text[0] for text in search(images, beams=1)] == first


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"longest": None}, ["longest", "None"]),
        ({"longest": 10**9}, ["positions.weight", 20]),
        ({"hidden": "96"}, ["hidden", "'96'"]),
        ({"hidden": 48}, ["words.weight", 48]),
        ({"layers": 3}, ["layers", 3, 2]),
        ({"heads": 5}, ["heads", 5, 96]),
        ({"prefix": True}, ["prefix", "True"]),
        ({"projection": 64}, ["probe", 64, 96]),
        ({"probe": ["a"]}, ["probe"]),
    ],
)
def test_settings_that_do_not_fit_the_weights_are_refused(tmp_path, changed, named):
    ours = decoder.Decoder.load(TRAINED)
    decoder.Decoder(replace(ours.settings, **changed), ours.vocabulary, ours.weights).save(tmp_path / "changed")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is compared below
        decoder.Decoder.load(tmp_path / "changed")
    assert mentions(str(caught.value), "changed", *named)


@pytest.mark.parametrize("words", ["[" * 100_000, "[1, 2]", '["a"]'])
def test_words_that_do_not_fit_the_weights_are_refused(tmp_path, words):
    ours = decoder.Decoder.load(TRAINED)
    metadata = {"settings": json.dumps(asdict(ours.settings)), "words": words}
    save_file(ours.weights, tmp_path / decoder.FILE, metadata=metadata)
    with pytest.raises(ValueError, match=re.escape(decoder.FILE)):
        decoder.Decoder.load(tmp_path)
