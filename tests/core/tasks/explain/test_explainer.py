"""Explanations with an encoder whose attention and gradients are known, and of the trained demo model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core import CLIPImageProcessor, CLIPProcessor, CLIPTokenizerFast
from clip_core.tasks.explain import Explainer, relevance
from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
from support.configs import tiny_config
from support.messages import naming
from support.tolerances import FLOAT64_OPERATION
from support.vocabulary import write_vocabulary

DOCUMENT = Path(__file__).parents[4] / "docs/explaining.md"
CHECKPOINT = Path(__file__).parents[4] / "examples/shapes/checkpoint"


class Known:
    """An encoder with random attention, the same in every call."""

    def __init__(self, config):
        self.config, self.calls = config, []

    def encode_images(self, pixel_values):
        return np.ones((len(pixel_values), 2), np.float32)

    def encode_texts(self, input_ids, attention_mask):
        return np.arange(2 * len(input_ids), dtype=np.float32).reshape(-1, 2)

    def logits_per_image(self, image_embeds, text_embeds):
        return image_embeds @ text_embeds.T

    def layers(self, texts, first, last, seq):
        random = np.random.default_rng(first)
        shape = (texts, 2, seq, seq)
        return [LayerAttention(random.random(shape), random.standard_normal(shape)) for _ in range(first, last)]

    def logit_gradients(self, pixel_values, input_ids, attention_mask, *, first_image_layer, first_text_layer):
        self.calls.append((len(input_ids), first_image_layer, first_text_layer))
        texts, seq = input_ids.shape
        image, text = self.config.vision_config.num_hidden_layers, self.config.text_config.num_hidden_layers
        return LogitGradients(
            self.layers(texts, first_image_layer, image, 10), self.layers(texts, first_text_layer, text, seq)
        )

    def layer_gradients(self, pixel_values, text_embeds, *, first_layer):
        self.calls.append(("layers", len(text_embeds), first_layer))
        return self.layers(len(text_embeds), first_layer, self.config.vision_config.num_hidden_layers, 10)


@pytest.fixture
def explainer(tmp_path):
    tokenizer = CLIPTokenizerFast(**write_vocabulary(tmp_path), model_max_length=19)
    config = tiny_config(
        {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id},
        {"num_channels": 3, "image_size": 30, "patch_size": 10},
    )
    return Explainer(Known(config), CLIPProcessor(CLIPImageProcessor(size=30, crop_size=30), tokenizer))


def picture():
    return Image.fromarray(np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3))


def test_each_text_has_a_map_from_zero_to_one_and_shares_of_words(explainer):
    explained = explainer(picture(), ["the cat", "in land the eel"])
    assert [one.text for one in explained.explanations] == ["the cat", "in land the eel"]
    assert [one.logit for one in explained.explanations] == [1, 5]
    for one in explained.explanations:
        assert one.heatmap.shape == (3, 3)
        assert (one.heatmap.min(), one.heatmap.max()) == (0, 1)
        assert [word.text for word in one.words] == one.text.split()
        np.testing.assert_allclose(sum(word.share for word in one.words), 1, **FLOAT64_OPERATION)


def test_a_word_has_the_relevance_of_all_its_tokens_in_the_row_of_eos(explainer):
    (one,) = explainer(picture(), ["eel the"], start_layer_text=2).explanations
    ids = explainer.processor.tokenizer("eel the")["input_ids"]
    seq = -(-len(ids) // 8) * 8
    row = relevance.chefer(explainer.encoder.layers(1, 2, 3, seq))[0, len(ids) - 1]
    ends = [
        place for place, name in enumerate(explainer.processor.tokenizer.convert_ids_to_tokens(ids)) if "</w>" in name
    ]
    expected = np.array([row[1 : ends[0] + 1].sum(), row[ends[0] + 1 : len(ids) - 1].sum()])
    np.testing.assert_allclose([word.share for word in one.words], expected / expected.sum(), **FLOAT64_OPERATION)


def test_layers_count_from_either_end_and_texts_run_in_parts(explainer):
    explainer(picture(), ["cat"] * 9, start_layer=-1, start_layer_text=-2)
    explainer(picture(), ["cat"], start_layer=-2, start_layer_text=1)
    explainer(picture(), ["cat"], method="legrad", start_layer=1, start_layer_text=2)
    assert explainer.encoder.calls == [(8, 1, 1), (1, 1, 1), (1, 0, 1), (1, 1, 2), ("layers", 1, 1)]


@pytest.mark.parametrize(
    ("image_layers", "text_layers", "chefer", "legrad"),
    [(11, 11, (0, 0), (0, 0)), (12, 11, (11, 0), (10, 0)), (11, 12, (0, 11), (0, 11)), (24, 12, (23, 11), (22, 11))],
)
def test_the_authors_start_layers_are_for_twelve_layers_and_more(explainer, image_layers, text_layers, chefer, legrad):
    config = explainer.encoder.config
    config.vision_config.num_hidden_layers, config.text_config.num_hidden_layers = image_layers, text_layers
    explainer(picture(), ["cat"])
    explainer(picture(), ["cat"], method="legrad")
    assert explainer.encoder.calls == [(1, *chefer), (1, *legrad), ("layers", 1, legrad[0])]


def test_the_image_is_the_one_that_the_model_sees(explainer):
    explained = explainer(picture(), ["cat"])
    assert explained.image.size == (30, 30)
    (one,) = explained.explanations
    enlarged = explained.pixel_map(one)
    assert enlarged.shape == (30, 30)
    np.testing.assert_allclose(enlarged, relevance.upsampled(one.heatmap[None], 10)[0], **FLOAT64_OPERATION)


def test_what_cannot_be_explained_is_refused(explainer):
    with pytest.raises(ValueError, match=naming("texts")):
        explainer(picture(), [])
    with pytest.raises(TypeError, match=naming("texts")):
        explainer(picture(), "cat")
    for images in ([picture(), picture()], np.zeros((2, 3, 30, 30), np.uint8)):
        with pytest.raises(ValueError, match=naming("image", 2)):
            explainer(images, ["cat"])
    with pytest.raises(ValueError, match=naming("method", "'odd'", "chefer", "legrad")):
        explainer(picture(), ["cat"], method="odd")
    with pytest.raises(ValueError, match=naming("start_layer=2", -2, 1)):
        explainer(picture(), ["cat"], start_layer=2)
    with pytest.raises(ValueError, match=naming("start_layer_text=-4", -3, 2)):
        explainer(picture(), ["cat"], start_layer_text=-4)
    overflowing = Known(explainer.encoder.config)
    overflowing.encode_texts = lambda ids, _: np.full((len(ids), 2), np.nan, np.float32)
    with pytest.raises(ValueError, match=naming("'cat'")):
        Explainer(overflowing, explainer.processor)(picture(), ["cat"])
    with pytest.raises(ValueError, match=naming("object", "ExplainableEncoder")):
        Explainer(object(), explainer.processor)


def test_the_demo_model_looks_at_the_shape_that_is_named():
    explainer = Explainer.from_pretrained(CHECKPOINT, backend="torch")
    image = Image.new("RGB", (64, 64), (250, 250, 248))
    image.paste((214, 39, 40), (4, 20, 28, 44))
    image.paste((36, 84, 200), (36, 20, 60, 44))
    explained = explainer(image, ["a red square", "a blue square"])
    red, blue = (one.heatmap for one in explained.explanations)
    assert red[:, :2].sum() > red[:, 2:].sum()
    assert blue[:, 2:].sum() > blue[:, :2].sum()
    for one in explained.explanations:
        assert max(one.words, key=lambda word: word.share).text == "square"


def test_the_documents_example_runs(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "clip").symlink_to(CHECKPOINT)
    picture().save(tmp_path / "cat-and-dog.jpg")
    monkeypatch.chdir(tmp_path)
    exec(example, {})  # noqa: S102  our own
    with Image.open("explained.png") as drawing:
        assert drawing.format == "PNG"
