"""Pictures of two things side by side, with the pixels of each: shapes as the demo model knows them, and emoji."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "examples" / "shapes"
EMOJI = ROOT.parent / "shared" / "emoji"
EMOJI_TEMPLATE = "a picture of {}"

_SIZE = 64
_EMOJI_SIZES = (27, 31)  # two fit side by side


@dataclass(frozen=True)
class Composite:
    """A picture of two things.

    Attributes:
        image: the picture, in the size that the model sees.
        texts: a text for each thing, which does not fit the other.
        masks: the pixels of each thing, `(height, width)`, bool.
        alone: the picture with each thing alone; empty if the things were chosen beforehand.
    """

    image: Image.Image
    texts: list[str]
    masks: list[np.ndarray]
    alone: list[Image.Image] = field(default_factory=list)


def shapes(count: int, *, large: bool, seed: int) -> list[Composite]:
    """Draw pairs of shapes that differ in colour and shape, on the grounds of the demo model's training.

    Args:
        count: number of pictures.
        large: True for large shapes; otherwise each is small or large.
        seed: the seed of everything random.
    """
    if str(DEMO) not in sys.path:
        sys.path.append(str(DEMO))
    scenes, drawing, captions = (import_module(name) for name in ("scenes", "drawing", "captions"))
    random = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        left, right = (scenes.draw_scene(random) for _ in range(2))
        if left.colour == right.colour or left.shape == right.shape or (right.colour, left.ground) == ("black", "dark"):
            continue
        if large:
            left, right = (replace(scene, size="large") for scene in (left, right))
        image, alone, masks = drawing.draw_pair((left, right), random, _SIZE)
        texts = [captions.name(one.colour, one.shape) for one in (left, right)]
        found.append(Composite(image, texts, masks, alone))
    return found


def shape_texts() -> list[str]:
    """Return a text for each of the hundred things that `shapes` draws."""
    shapes(0, large=True, seed=0)
    names: list[str] = import_module("captions").names()
    return names


def emoji_texts() -> dict[str, str]:
    """Return the text of each emoji, by the name of its file."""
    names = json.loads((EMOJI / "labels.json").read_text(encoding="utf-8"))
    return {file: EMOJI_TEMPLATE.format(name) for file, name in names.items()}


def emoji(count: int, files: Sequence[str], *, seed: int) -> list[Composite]:
    """Paste pairs of emoji on grounds of one pale colour that fades into another.

    Args:
        count: number of pictures.
        files: the names of the emoji's files.
        seed: the seed of everything random.
    """
    random, texts = np.random.default_rng(seed), emoji_texts()
    cut = {file: _cut_out(EMOJI / "pictures" / file) for file in files}
    found = []
    for _ in range(count):
        pair = [files[place] for place in random.choice(len(files), 2, replace=False)]
        ends = random.integers(190, 256, (2, 3))
        fading = np.linspace(0, 1, _SIZE)[:, None, None]
        ground = np.broadcast_to(ends[0] * fading + ends[1] * (1 - fading), (_SIZE, _SIZE, 3))
        image = Image.fromarray(ground.astype(np.uint8))
        masks = []
        for file, start in zip(pair, (0, _SIZE // 2), strict=True):
            side = int(random.integers(*_EMOJI_SIZES, endpoint=True))
            corner = (start + (_SIZE // 2 - side) // 2, int(random.integers(0, _SIZE - side, endpoint=True)))
            drawn, opaque = (one.resize((side, side), Image.Resampling.BOX) for one in cut[file])
            image.paste(drawn, corner, opaque)
            covered = Image.new("L", image.size)
            covered.paste(opaque, corner)
            masks.append(np.asarray(covered) > 127)
        found.append(Composite(image, [texts[file] for file in pair], masks))
    return found


def _cut_out(path: Path) -> tuple[Image.Image, Image.Image]:
    """Return a drawing on white, and its opacity: white that is connected with a corner is ground."""
    with Image.open(path) as file:
        drawn = file.convert("RGB")
    filled = drawn.copy()
    ground: Any = (255, 0, 255)
    for corner in ((0, 0), (filled.width - 1, 0), (0, filled.height - 1), (filled.width - 1, filled.height - 1)):
        if min(filled.getpixel(corner)) > 240:
            ImageDraw.floodfill(filled, corner, ground, thresh=24)
    opaque = (np.asarray(filled) != ground).any(axis=-1)
    return drawn, Image.fromarray((255 * opaque).astype(np.uint8))
