"""Targets of the rows that measure in this process or in fresh ones."""

from __future__ import annotations

import conversion
import labels
import loading
import numpy as np
import preprocessing
import pytest
import start
import texts
from checkpoints import TINY, write_random
from conversion import Converted, Done
from harness import Row
from interleaved import Measurement
from random_texts import Words, batch_after_batch, caption_lengths, padded, words

import clip_torch
from clip_core.configuration import CLIPConfig
from support.messages import mentions
from support.tolerances import FLOAT64_ROUNDING, ROUNDING


def row(name, ours, peer, by="transformers 4.57.6"):
    return Row(name, by, {"ours": Measurement("ours", [ours] * 3), "peer": Measurement("peer", [peer] * 3)})


def limits(goals):
    return [(goal.limit, goal.measured, goal.reached) for goal in goals]


def test_starting_asks_for_our_imports_over_their_frameworks_and_for_commands():
    names = {"import torch": 0.0, "import clip_torch": 0.2, "from clip_torch import CLIPModel": 0.9, "clip-zoo -h": 0.3}
    found = [{"name": name, "wall": over + 0.3, "wall_over_bare": over} for name, over in names.items()]
    assert limits(start.goals(found)) == [(0.3, 0.2, True), (0.5, 0.6, False)]


def test_loading_asks_for_time_in_pytorch_and_memory_everywhere():
    seconds = {"clip-zoo in torch": 1.2, "safetensors in torch": 1.0, "clip-zoo in tf": 9.0, "transformers in tf": 8.0}
    found = [{"name": name, "times": [one] * 3, "peak_of_file": one / 8} for name, one in seconds.items()]
    assert limits(loading.goals(found)) == [(1.3, 1.2, True), (1.1, 0.15, True), (1.1, 1.125, False)]


def test_loading_asks_for_own_files_as_fast_as_safetensors():
    seconds = {"clip-zoo in torch": 1.0, "safetensors in torch": 1.0, "clip-zoo in tf": 2.0, "clip-zoo in flax": 1.0}
    seconds |= {"clip-zoo in tf of tf_model.h5": 2.2, "clip-zoo in flax of flax_model.msgpack": 1.3}
    found = [{"name": name, "times": [one] * 3, "peak_of_file": 1.0} for name, one in seconds.items()]
    assert limits(loading.goals(found))[1:3] == [(1.2, 1.1, True), (1.2, 1.3, False)]


def test_pictures_ask_for_twice_the_slow_way_and_once_the_fast_one_on_as_many_threads():
    def asked(name, by):
        return limits(preprocessing.goals(row(name, 1.0, 1.5, by), None))

    assert asked("32 of 640 x 480", preprocessing.SLOW) == [(2.0, 1.5, False)]
    assert asked("32 of 640 x 480, 2 threads", f"{preprocessing.FAST} (differs by up to 0.03)") == [(1.0, 1.5, True)]
    assert asked("32 of 640 x 480, 2 threads", preprocessing.FAST_ARITHMETIC) == [(1.0, 1.5, True)]
    assert not asked("32 of 640 x 480, 1 thread", preprocessing.FAST)
    assert not asked("32 JPEG files of 640 x 480", preprocessing.SLOW)
    missed = preprocessing.goals(row("640 x 480", 1.0, 1.5, preprocessing.SLOW), 0.7)
    assert mentions(str(missed[0]), "25%", "Pillow's", "0.70")


def test_texts_ask_for_more_where_there_is_more_padding():
    assert limits(texts.goals(row("16 captions, padded to 77", 1.0, 2.0))) == [(3.0, 2.0, False)]
    assert limits(texts.goals(row("16 captions, padded to the longest", 1.0, 2.0))) == [(1.5, 2.0, True)]
    assert not texts.goals(row("1 caption, padded to the longest", 1.0, 2.0))
    assert texts.WHY_ONE in str(texts.goals(row("1 caption, padded to 77", 1.0, 2.0))[0])


def test_conversion_asks_for_time_and_for_memory_that_does_not_grow():
    def converted(to, size, peak, peer=None):
        return Converted(to, size, Done([(1.0, peak)] * 3), peer and Done([(peer, 9)] * 3))

    found = [converted("flax", 100, 120, peer=6.0), converted("torch", 100, 200, peer=1.0)]
    large = [converted("flax", 400, 126), converted("torch", 400, 300)]
    asked = limits(conversion.goals(found, large))
    assert asked[:3] == [(5.0, 6.0, True), (1.5, 1.2, True), (1.5, 2.0, False)]
    assert asked[3:] == [(1.1, pytest.approx(1.05, rel=FLOAT64_ROUNDING), True), (1.1, 1.5, False)]
    assert found[0].record() == {"to": "flax", "bytes": 100, "ours": [(1.0, 120)] * 3, "transformers": [(6.0, 9)] * 3}
    assert large[0].record()["transformers"] is None


def test_a_batch_of_captions_is_named_by_its_lengths():
    assert texts.captions(np.array([12])) == "1 caption of 12 tokens"
    assert texts.captions(np.array([10, 14])) == "2 captions of 12 tokens on average, at most 14"


def test_captions_have_12_tokens_on_average_and_are_padded_behind_their_eos():
    lengths = caption_lengths(64)
    assert 11.5 < lengths.mean() < 12.5
    inputs = padded(lengths, 77)
    assert inputs["attention_mask"].sum(1).tolist() == lengths.tolist()
    assert (inputs["input_ids"].argmax(1).numpy() == lengths - 1).all()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_random(folder, CLIPConfig(**TINY))
    return folder


def test_batches_as_they_come_give_every_text_its_own_embedding(tiny):
    model, process = clip_torch.CLIPModel.from_pretrained(tiny), Words()
    given = words(np.array([3, 9, 5] * 14))
    embeds = batch_after_batch(model, process, given).numpy()
    alone = batch_after_batch(model, process, given[40:41]).numpy()
    assert embeds.shape == (42, 16)
    np.testing.assert_allclose(embeds[40:41], alone, atol=ROUNDING)
    np.testing.assert_allclose(np.linalg.norm(embeds, axis=1), 1, atol=ROUNDING)


def test_many_labels_are_found_again_without_being_embedded(tiny):
    whole = labels.streamed(tiny, 20, 4)
    assert (whole["labels"], whole["templates"]) == (20, 4)
    name, first, _, again, _ = labels.cells(whole | {"first": 4.0, "again": 0.5, "grown": 2e6})
    assert (name, first, again) == ("20 labels in 4 templates, prepared", "4.0", "0.50")
