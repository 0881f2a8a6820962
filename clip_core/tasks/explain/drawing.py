"""Drawings of explanations by Pillow: the image, a heatmap for each text, its words, and a colour bar."""

from __future__ import annotations

import unicodedata
import warnings
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from clip_core.tasks.explain.explainer import ExplainedImage, Explanation, Word

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Viridis at ten even steps: its lightness rises evenly, also for colour-blind readers and in print.
_VIRIDIS = (0x440154, 0x482878, 0x3E4A89, 0x31688E, 0x26828E, 0x1F9E89, 0x35B779, 0x6DCD59, 0xB4DE2C, 0xFDE725)
_STOPS = np.array([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in _VIRIDIS], np.float64)

_HEAT = 0.5  # of the heatmap over the image
PANEL = 320  # the width of a panel, in pixels
_GAP, _BAR = 16, 18
_INK, _GROUND = (30, 30, 30), (255, 255, 255)
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)  # the inks of words
_TEXT = 15  # the height of a line's letters, in pixels

# Fonts of Linux, macOS and Windows, for words with characters that Pillow's own font lacks: it has little beyond ASCII.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "Arial Unicode.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "msgothic.ttc",
    "malgun.ttf",
    "simsun.ttc",
)
_UNASSIGNED = "\U0010ffff"  # no font has it, so it is drawn as the sign for a missing character


def colours(values: np.ndarray) -> np.ndarray:
    """Return the colours of values from 0 to 1: `(..., 3)`, uint8.

    Args:
        values: any shape.
    """
    places = np.clip(values, 0, 1) * (len(_STOPS) - 1)
    channels = [np.interp(places, np.arange(len(_STOPS)), stops) for stops in _STOPS.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def overlay(explained: ExplainedImage, explanation: Explanation) -> Image.Image:
    """Return the image in grey under the heatmap of one of its explanations.

    Args:
        explained: the image.
        explanation: one of its explanations.
    """
    heat = Image.fromarray(colours(explained.pixel_map(explanation)))
    return Image.blend(explained.image.convert("L").convert("RGB"), heat, _HEAT)


def word_colours(words: list[Word]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the background and the ink of each word; the most relevant one has the brightest background.

    The ink is black or white, whichever has the higher contrast: at least 4.5, as WCAG 2 asks for.

    Args:
        words: the words of a text.
    """
    largest = max((word.share for word in words), default=0) or 1
    grounds = [tuple(map(int, colours(np.array(word.share / largest)))) for word in words]
    return [(ground, max(_BLACK, _WHITE, key=partial(contrast, ground))) for ground in grounds]


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the contrast ratio of two colours, from 1 to 21, as WCAG 2 defines it.

    Args:
        one: red, green and blue, from 0 to 255.
        other: red, green and blue of the other colour, from 0 to 255.
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def draw_explanation(explained: ExplainedImage) -> Image.Image:
    """Draw an explained image: the image itself, then a panel for each text, and the colour bar.

    Args:
        explained: the image and its explanations.

    Returns:
        The drawing, RGB.
    """
    width, height = explained.image.size
    scale = PANEL / width
    size = (PANEL, max(1, round(height * scale)))
    panels = [explained.image, *(overlay(explained, explanation) for explanation in explained.explanations)]
    captions = [_Caption.of(explanation) for explanation in explained.explanations]
    below = max(caption.height for caption in captions)
    whole = Image.new(
        "RGB", ((PANEL + _GAP) * len(panels) + _GAP + _BAR + 3 * _GAP, size[1] + below + 3 * _GAP), _GROUND
    )
    pen = ImageDraw.Draw(whole)
    for number, panel in enumerate(panels):
        left = _GAP + number * (PANEL + _GAP)
        # Patches stay visible in small images: they are enlarged without smoothing.
        whole.paste(
            panel.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS), (left, _GAP)
        )
        if number:
            captions[number - 1].draw(pen, left, size[1] + 2 * _GAP)
        else:
            pen.text((left, size[1] + 2 * _GAP), "the image as the model sees it", fill=_INK, font=font(_TEXT))
    _draw_bar(whole, _GAP + len(panels) * (PANEL + _GAP), size[1])
    return whole


class _Caption:
    """The text below a panel: its logit, and its words in boxes with their shares.

    Args:
        title: the first line.
        lines: the words of each further line, with their fonts and colours.
    """

    LINE = 24

    def __init__(self, title: str, lines: list[list[tuple[str, Font, tuple[int, ...], tuple[int, ...]]]]) -> None:
        self.title, self.lines = title, lines

    @classmethod
    def of(cls, explanation: Explanation) -> _Caption:
        """Break the words of a text into lines as wide as a panel."""
        lines: list[list[tuple[str, Font, tuple[int, ...], tuple[int, ...]]]] = [[]]
        used = 0.0
        for word, (ground, ink) in zip(explanation.words, word_colours(explanation.words), strict=True):
            label = f"{word.text} {word.share:.0%}"
            letters = font_for(label, _TEXT)
            label = _fitting(label, letters)
            width = letters.getlength(label) + 14
            if lines[-1] and used + width > PANEL:
                lines.append([])
                used = 0
            lines[-1].append((label, letters, ground, ink))
            used += width
        return cls(f"logit {explanation.logit:.2f}", lines)

    @property
    def height(self) -> int:
        """The height in pixels."""
        return self.LINE * (1 + len(self.lines))

    def draw(self, pen: ImageDraw.ImageDraw, left: float, top: float) -> None:
        """Draw the caption with its upper left corner at a point."""
        pen.text((left, top), self.title, fill=_INK, font=font(_TEXT))
        for number, line in enumerate(self.lines, start=1):
            x, y = left, top + number * self.LINE
            for label, letters, ground, ink in line:
                width = letters.getlength(label) + 8
                pen.rectangle((x, y, x + width, y + self.LINE - 5), fill=ground)
                pen.text((x + 4, y + 1), label, fill=ink, font=letters)
                x += width + 6


def font(size: int) -> Font:
    """Return Pillow's own font, in a size if this Pillow has one that scales.

    Args:
        size: the height in pixels.
    """
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow 10.0
        return ImageFont.load_default()


def font_for(label: str, size: int) -> Font:
    """Return Pillow's own font, or the first of the system's that has all characters of a label.

    Warns if there is none; the font that has the most of them then shows a box for each of the others.

    Args:
        label: the text to draw.
        size: the height in pixels.
    """
    best = font(size)
    fewest = _missing(best, label)
    for name in _SYSTEM_FONTS:
        if not fewest:
            break
        other = _system_font(name, size)
        missing = fewest if other is None else _missing(other, label)
        if other is not None and len(missing) < len(fewest):
            best, fewest = other, missing
    if fewest:
        warnings.warn(
            f"no font was found for {''.join(sorted(fewest))!r} in the drawing; install one, such as Noto Sans, or "
            "write an HTML page",
            stacklevel=2,
        )
    return best


@cache
def _system_font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size)
    except (ImportError, OSError):  # no FreeType, or no such font
        return None


def _missing(letters: Font, label: str) -> set[str]:
    """Return the visible characters of a label that a font lacks."""
    visible = {sign for sign in label if not sign.isspace() and unicodedata.category(sign) != "Cf"}
    if not isinstance(letters, ImageFont.FreeTypeFont):
        return {sign for sign in visible if not sign.isascii()}
    box = bytes(letters.getmask(_UNASSIGNED))
    return {sign for sign in visible if not sign.isascii() and bytes(letters.getmask(sign)) == box}


def _fitting(label: str, letters: Font) -> str:
    """Shorten a word that is wider than a panel, and replace what a font that does not scale cannot draw."""
    if not isinstance(letters, ImageFont.FreeTypeFont):
        label = label.encode("ascii", "replace").decode()
    while letters.getlength(label) > PANEL - 14:
        label = f"{label[: len(label) * 3 // 4]}..."
    return label


def _draw_bar(whole: Image.Image, left: int, height: int) -> None:
    """Draw the colour bar: the least relevant patch at the bottom, the most relevant one at the top."""
    ramp = colours(np.linspace(1, 0, height))[:, None].repeat(_BAR, axis=1)
    whole.paste(Image.fromarray(ramp), (left, _GAP))
    pen = ImageDraw.Draw(whole)
    for share in (0.0, 0.5, 1.0):
        y = _GAP + (1 - share) * (height - 14)
        pen.text((left + _BAR + 5, y), f"{share:g}", fill=_INK, font=font(13))


def _luminance(colour: tuple[int, ...]) -> float:
    """Return the relative luminance of an sRGB colour, from 0 to 1."""
    parts = (part / 255 for part in colour)
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
