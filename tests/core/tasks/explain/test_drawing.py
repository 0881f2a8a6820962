"""Drawings: sizes, colours that are told apart by lightness alone, and words of any length."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from clip_core.tasks.explain import ExplainedImage, Explanation, Word, draw_explanation, drawing
from clip_core.tasks.explain.drawing import PANEL, colours, contrast, font, font_for, overlay, word_colours


@pytest.fixture
def explained():
    heatmap = np.zeros((2, 2))
    heatmap[0, 1] = 1
    words = [Word("red", 0.75), Word("<heart>", 0.25), Word("x" * 500, 0.0), *[Word("and", 0.0)] * 20]
    explanations = [Explanation("red <heart>", 3.25, heatmap, words), Explanation("", -1.0, heatmap, [])]
    return ExplainedImage(Image.new("RGB", (10, 10), (200, 0, 0)), 5, explanations)


def lightness(colour):
    return np.asarray(colour, float) @ [0.299, 0.587, 0.114]


def test_colours_rise_in_lightness():
    ramp = lightness(colours(np.linspace(0, 1, 50)))
    assert (np.diff(ramp) > 0).all()
    assert colours(np.array([-1.0, 2.0])).tolist() == colours(np.array([0.0, 1.0])).tolist()


def test_the_most_relevant_patch_is_the_brightest(explained):
    light = lightness(overlay(explained, explained.explanations[0]))
    assert light.shape == (10, 10)
    assert np.unravel_index(light.argmax(), light.shape) in [(y, x) for y in range(3) for x in range(7, 10)]
    assert light[0, 0] == light.min()


def test_a_drawing_has_the_image_a_panel_for_each_text_and_the_bar(explained):
    drawn = draw_explanation(explained)
    assert drawn.mode == "RGB"
    assert drawn.width > 3 * PANEL
    pixels = np.asarray(drawn)
    assert tuple(pixels[16 + PANEL // 2, 16 + PANEL // 2]) == (200, 0, 0)
    bar = pixels[16 : 16 + PANEL, drawn.width - 60].astype(int)
    assert (np.diff(lightness(bar)) < 1).all()  # but for rounding, it falls
    assert lightness(bar[0]) > 2 * lightness(bar[-1])
    assert tuple(bar[0]) == tuple(colours(np.array(1.0)))


def test_words_are_legible_on_every_colour():
    words = [Word("red", share) for share in np.linspace(0, 1, 101)]
    assert {ink for _, ink in word_colours(words)} == {(0, 0, 0), (255, 255, 255)}
    assert min(contrast(ground, ink) for ground, ink in word_colours(words)) >= 4.5


def test_contrast_is_that_of_the_standard():
    assert round(contrast((0, 0, 0), (255, 255, 255)), 9) == 21
    assert round(contrast((255, 255, 255), (0x76, 0x76, 0x76)), 2) == 4.54  # the lightest grey to pass


def test_a_font_that_does_not_scale_will_do(monkeypatch):
    whole = font(15)

    def old(*size):
        if size:
            raise TypeError
        return whole

    monkeypatch.setattr("PIL.ImageFont.load_default", old)
    assert font(15) is whole


@pytest.fixture
def fonts(tmp_path, monkeypatch):
    """Let Pillow find only the fonts in a folder, which is returned."""
    matplotlib = pytest.importorskip("matplotlib", reason="its package has a font of many scripts")
    folder = tmp_path / "share/fonts"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    drawing._system_font.cache_clear()
    yield folder, Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    drawing._system_font.cache_clear()


def explained_word(word):
    explanation = Explanation(word, 1.0, np.eye(2), [Word(word, 1.0)])
    return ExplainedImage(Image.new("RGB", (10, 10)), 5, [explanation])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, Pillow looks for fonts in folders of the system's")
class TestWordsInOtherScripts:
    @pytest.mark.parametrize(("one", "other"), [("größte", "grüßte"), ("кошка", "мышка"), ("κύμα", "κόμη")])
    def test_they_are_drawn_in_a_font_that_has_them(self, fonts, one, other):
        folder, dejavu = fonts
        shutil.copy(dejavu, folder)
        drawn = [np.asarray(draw_explanation(explained_word(word))) for word in (one, other)]
        assert drawn[0].shape == drawn[1].shape
        assert (drawn[0] != drawn[1]).any()  # boxes would all look the same
        assert font_for(one, 15).getname()[0] == "DejaVu Sans"

    def test_other_words_keep_their_font(self, fonts):
        folder, dejavu = fonts
        shutil.copy(dejavu, folder)
        assert font_for("a cat, 5%", 15).getname() == font(15).getname()

    @pytest.mark.parametrize("installed", [False, True])
    def test_characters_without_a_font_are_named_in_a_warning(self, fonts, installed):
        folder, dejavu = fonts
        if installed:
            shutil.copy(dejavu, folder)
        with pytest.warns(UserWarning, match="猫") as caught:
            draw_explanation(explained_word("кошка猫"))
        assert ("к" in str(caught[0].message)) is not installed

    def test_a_font_that_does_not_scale_draws_what_it_can(self, fonts, monkeypatch):
        monkeypatch.setattr("PIL.ImageFont.load_default", lambda *_: ImageFont.load_default_imagefont())
        with pytest.warns(UserWarning, match="к"):
            assert draw_explanation(explained_word("кошка")).width > PANEL
