"""Augmentation of drawings: moved, rotated, recoloured and flattened, so that a model learns no vendor's style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageEnhance, ImageFilter

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

_WHITE = (255, 255, 255)


def on_white(path: Path, size: int) -> Image.Image:
    """Return the image `(size, size)` on white; dropping alpha instead would turn transparent areas black."""
    picture = _opened(path)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    ground = Image.new("RGB", (size, size), _WHITE)
    ground.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2), picture)
    return ground


def varied(path: Path, size: int, random: np.random.Generator) -> Image.Image:
    """Return the image `(size, size)`, varied as much as its meaning allows."""
    drawing = _moved(_opened(path), size, random)
    changed = Image.new("RGB", (size, size), _ground(random))
    changed.paste(_recoloured(drawing.convert("RGB"), random), (0, 0), drawing.getchannel("A"))
    if random.random() < 0.4:
        changed = _flattened(changed, random)
    if random.random() < 0.2:
        changed = changed.filter(ImageFilter.GaussianBlur(random.uniform(0.4, 1.0)))
    return changed


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGBA")


def _moved(picture: Image.Image, size: int, random: np.random.Generator) -> Image.Image:
    """Scale, stretch, rotate and shift the image on a transparent background; `(size, size)`."""
    scale, stretch = random.uniform(0.78, 1.08), random.uniform(0.92, 1.08)
    width, height = round(size * scale * stretch), round(size * scale / stretch)
    drawn = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    if random.random() < 0.5:
        drawn = drawn.rotate(random.uniform(-12, 12), Image.Resampling.BICUBIC)
    left, top = (round((size - side) / 2 + random.uniform(-0.07, 0.07) * size) for side in (width, height))
    moved = Image.new("RGBA", (size, size))
    moved.paste(drawn, (left, top))
    return moved


def _ground(random: np.random.Generator) -> tuple[int, ...]:
    """Return white most of the time, otherwise a pale colour."""
    return _WHITE if random.random() < 0.85 else tuple(int(part) for part in random.integers(200, 256, 3))


def _recoloured(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    for change, lowest, highest in (
        (ImageEnhance.Color, 0.6, 1.6),
        (ImageEnhance.Brightness, 0.8, 1.15),
        (ImageEnhance.Contrast, 0.75, 1.3),
    ):
        picture = change(picture).enhance(random.uniform(lowest, highest))
    if random.random() < 0.05:
        return picture.convert("L").convert("RGB")
    hue, saturation, value = picture.convert("HSV").split()
    turn = int(random.integers(-9, 10))
    turned = hue.point([(shade + turn) % 256 for shade in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _flattened(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Remove shading: reduce to a few colours, and drop thin lines."""
    if random.random() < 0.5:
        picture = picture.filter(ImageFilter.ModeFilter(3))
    few: Image.Image = picture.quantize(int(random.integers(4, 13)), Image.Quantize.MEDIANCUT).convert("RGB")
    return few
