"""A small processor, and images with captions to load with it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.vocabulary import write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.data import PairLoader

LENGTH = 12  # tokens in a row


def make_processor(folder: Path, size: int = 8) -> CLIPProcessor:
    """Return a processor for images of `size` pixels, with its vocabulary in a folder."""
    return CLIPProcessor(
        CLIPImageProcessor(size=size, crop_size=size),
        CLIPTokenizerFast(**write_vocabulary(folder), model_max_length=LENGTH),
    )


def picture(number: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    """Return an image of one colour that encodes its number, with a mark that distinguishes left from right."""
    image = Image.new("RGB", size, (number % 256, 100, 200))
    image.putpixel((0, 0), (0, 0, 0))
    return image


def picture_bytes(number: int) -> bytes:
    """Return the same as a PNG file."""
    content = BytesIO()
    picture(number).save(content, "png")
    return content.getvalue()


def write_folder(folder: Path, count: int) -> Path:
    """Write a folder of `count` images with captions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number:03}.png").write_bytes(picture_bytes(number))
        (folder / f"{number:03}.txt").write_text(f"cat {number}")
    return folder


def taken(loader: PairLoader, batches: int | None = None) -> list[dict[str, Any]]:
    """Return the next batches, each with the keys of its samples."""
    found: list[dict[str, Any]] = []
    for batch in loader:
        found.append({**batch, "samples": loader.samples})
        if len(found) == batches:
            break
    return found


def keys(batches: Sequence[dict[str, Any]]) -> list[str]:
    """Return the samples of batches, in order, by the stems of their names."""
    return [Path(key.split()[-1]).stem for batch in batches for key in batch["samples"]]


def assert_same(left: Sequence[dict[str, Any]], right: Sequence[dict[str, Any]]) -> None:
    """Check that both are the same batches, to the last bit."""
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one["samples"] == other["samples"]
        for name in ("pixel_values", "input_ids", "attention_mask"):
            assert one[name].dtype == other[name].dtype
            assert np.array_equal(one[name], other[name])


def rows_of(count: int) -> list[dict[str, Any]]:
    """Return rows of images as bytes, with captions."""
    return [{"image": picture_bytes(number), "text": f"cat {number}"} for number in range(count)]
