"""The measures of explanations on heatmaps whose scores are known, and the pictures that they judge."""

from __future__ import annotations

import composites
import explaining
import numpy as np
import pytest
from explaining import Judge
from PIL import Image
from settings import Settings

from support.tolerances import FLOAT64_OPERATION, FLOAT64_ROUNDING

# The thing covers the right half of the picture, but for two columns of pixels.
MASK = np.zeros((8, 8), bool)
MASK[:, 6:] = True


def at(*places):
    heatmap = np.zeros((2, 2))
    for place in places:
        heatmap[place] = 1
    return heatmap


def test_pointing_asks_for_a_patch_that_touches_and_for_a_centre_that_lies_on_the_thing():
    assert explaining.pointing(at((0, 1)), MASK) == [1, 1]
    assert explaining.pointing(at((1, 0)), MASK) == [0, 0]
    assert explaining.pointing(at((0, 0), (0, 1)), MASK) == [0.5, 0.5]
    edge = np.zeros((8, 8), bool)
    edge[0, 0] = True
    assert explaining.pointing(at((0, 0)), edge) == [1, 0]
    assert explaining.pointing(at(), MASK) == [0.5, 0.5]


def test_words_count_by_the_most_relevant_one_and_by_share():
    named, lost = [False, True, True], np.array([1, 2, 4])
    assert explaining.word_scores(np.array([0.25, 0.5, 0.25]), named, lost) == [1, 0.75, 2]
    assert explaining.word_scores(np.array([0.5, 0, 0.5]), named, lost) == [0.5, 0.5, 2.5]


def test_inside_is_the_share_within_the_thing():
    assert explaining.inside(at(), MASK) == MASK.mean()
    assert explaining.inside(np.ones((2, 2)), MASK) == pytest.approx(MASK.mean(), rel=FLOAT64_ROUNDING)
    assert explaining.inside(at((0, 1)), MASK) > MASK.mean() > explaining.inside(at((0, 0)), MASK)


def test_deletion_and_insertion_follow_the_order_of_the_patches():
    class Halves:
        """Text 0 is as probable as the top left patch is bright."""

        patch_size = 4
        deletion_and_insertion = Judge.deletion_and_insertion

        def probabilities(self, pixels):
            kept = (pixels[:, 0, :4, :4].mean(axis=(1, 2)) > 0.5).astype(float)
            return np.stack([kept, 1 - kept], axis=1)

    pixels = np.zeros((1, 1, 8, 8))
    pixels[..., :4, :4] = 1  # the mean is 0.25
    # The first patch goes at the second of eight steps, and the last one at the seventh.
    for heatmap, expected in (([[3, 2], [1, 0]], [1.5 / 8, 6.5 / 8]), ([[0, 2], [1, 3]], [6.5 / 8, 1.5 / 8])):
        found = Halves().deletion_and_insertion(pixels, np.array(heatmap), 0)
        np.testing.assert_allclose(found, expected, **FLOAT64_OPERATION)


def test_pictures_are_known_if_both_things_are_named_rightly_alone():
    class Namer:
        """Names a picture by its brightness."""

        texts = ("dark", "bright")
        known, _names = Judge.known, Judge._names

        def _pixels(self, image):
            return np.asarray(image)

        def probabilities(self, pixels):
            return np.eye(2)[[int(pixels.mean() > 128)]]

    dark, bright = (Image.new("L", (4, 4), level) for level in (10, 240))
    both = composites.Composite(dark, ["dark", "bright"], [], [dark, bright])
    swapped = composites.Composite(dark, ["dark", "bright"], [], [dark, dark])
    assert Namer().known([swapped, both]) == [both]


def test_the_row_reports_every_heatmap_and_says_what_it_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(composites, "EMOJI", tmp_path / "emoji")
    found = explaining.report(Settings(tmp_path, quick=True))
    assert [len(table.rows) for table in found.tables] == [8, 8, 3]
    heatmaps, words = found.measurements[:-3], found.measurements[-3:]
    assert all(0 <= row[measure] <= 1 for row in heatmaps for measure in explaining.MEASURES)
    last, all_layers, alike = words
    assert alike["share"] < all_layers["share"] <= 1
    assert last["logit lost"] < all_layers["logit lost"]
    assert len(found.goals) == 2
    (note,) = found.notes
    assert "emoji" in note.lower()


def test_emoji_are_cut_out_of_white_and_keep_white_inside(monkeypatch, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "labels.json").write_text('{"ring.png": "ring", "disc.png": "disc"}')
    for name, inner in (("ring.png", (255, 255, 255)), ("disc.png", (200, 0, 0))):
        drawn = Image.new("RGB", (64, 64), "white")
        drawn.paste((200, 0, 0), (10, 10, 54, 54))
        drawn.paste(inner, (24, 24, 40, 40))
        drawn.save(tmp_path / "pictures" / name)
    monkeypatch.setattr(composites, "EMOJI", tmp_path)
    for picture in composites.emoji(2, ["ring.png", "disc.png"], seed=0):
        assert sorted(picture.texts) == ["a picture of disc", "a picture of ring"]
        left, right = picture.masks
        assert not left[:, 32:].any()
        assert not right[:, :32].any()
        for mask in (left, right):
            rows, columns = (np.ptp(places) + 1 for places in mask.nonzero())
            # The white inside belongs to the ring. Resizing may round the four corners off.
            assert rows * columns - 4 <= mask.sum() <= rows * columns
