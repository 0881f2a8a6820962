"""Pictures to pixel values beside transformers 4.57.6: the same bits, compared first, in how much of the time.

`python benchmarks/preprocessing.py [FOLDER]` runs it alone; pictures in the folder, if one is given, are a row of their
own. The slow image processor of transformers, whose numbers ours are, runs on one thread. Its fast one has other
numbers and needs torchvision; where that is not installed, its arithmetic stands for it: torch's resizing of bytes, the
crop and the fused normalisation, without what transformers does around them.
"""

from __future__ import annotations

import io
import platform
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import PIL
import torch
import transformers
from harness import Row, compare
from PIL import Image
from transformers import CLIPImageProcessor as SlowImageProcessor
from transformers.utils import is_torchvision_available

from clip_core.image_files import find_images
from clip_core.image_processing import CLIPImageProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

PILLOW_ALONE = "Pillow, resizing alone"
SIZES = ((640, 480), (1920, 1080))
BATCH = 32
THREADS = 2
_EDGE = 224

ours = CLIPImageProcessor()
slow = SlowImageProcessor()


class Comparison(NamedTuple):
    """A row of the table: what was done, by whom besides us, and the times."""

    peer: str
    row: Row


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Soft blots with some grain, which a JPEG file holds in about as many bytes as a photograph of that size."""
    random = np.random.default_rng(seed)
    blots = Image.fromarray(random.integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8))
    soft = np.asarray(blots.resize((width, height), Image.Resampling.BICUBIC))
    grain = random.normal(0, 6, soft.shape)
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def decoded(content: bytes) -> Image.Image:
    """The picture of a file, in RGB."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def by_us(images: Any, num_threads: int = 1) -> np.ndarray:
    """Our pixel values."""
    pixel_values: np.ndarray = ours(images, return_tensors="np", num_threads=num_threads)["pixel_values"]
    return pixel_values


def by_slow(images: Any) -> np.ndarray:
    """Those of transformers' slow image processor."""
    pixel_values: np.ndarray = slow(images, return_tensors="np")["pixel_values"]
    return pixel_values


def by_pillow(images: list[Image.Image]) -> None:
    """What every exact way would begin with: Pillow's resizing, and nothing after it."""
    for image in images:
        scale = _EDGE / min(image.size)
        image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)


def fast_way() -> tuple[str, Callable[[list[Image.Image]], np.ndarray]]:
    """The fast image processor of transformers, or what can be had of it, with its name."""
    if is_torchvision_available():
        fast = transformers.CLIPImageProcessorFast()
        return "transformers, fast", lambda images: fast(images, return_tensors="pt")["pixel_values"].numpy()
    return "torch's arithmetic of transformers, fast", by_torch


def by_torch(images: list[Image.Image]) -> np.ndarray:
    """The arithmetic of the fast image processor of pictures of one size: `(batch, 3, 224, 224)`."""
    batch = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    height, width = batch.shape[2:]
    scale = _EDGE / min(height, width)
    size = int(height * scale), int(width * scale)
    resized = torch.nn.functional.interpolate(batch, size, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[0] - _EDGE) // 2, (size[1] - _EDGE) // 2
    cropped = resized[..., top : top + _EDGE, left : left + _EDGE].float()
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (ours.image_mean, ours.image_std))
    return ((cropped - mean) / std).numpy()


def size_rows(width: int, height: int) -> list[Comparison]:
    """One picture and a batch of one size, beside each peer, and the batch from JPEG files."""
    images = [picture(width, height, seed) for seed in range(BATCH)]
    files = [jpeg(image) for image in images]
    name = f"{width} x {height}"
    np.testing.assert_array_equal(by_us(images), by_slow(images))
    np.testing.assert_array_equal(by_us(images, THREADS), by_slow(images))

    def from_files(process: Callable[[list[Image.Image]], np.ndarray]) -> np.ndarray:
        return process([decoded(file) for file in files])

    many = partial(compare, repeats=7)
    one = [
        Comparison("transformers, slow", compare(name, lambda: by_us(images[0]), lambda: by_slow(images[0]))),
        Comparison(PILLOW_ALONE, compare(name, lambda: by_us(images[0]), lambda: by_pillow(images[:1]))),
        Comparison("transformers, slow", many(f"{BATCH} of {name}", lambda: by_us(images), lambda: by_slow(images))),
        Comparison(
            "transformers, slow",
            many(f"{BATCH} JPEG files of {name}", lambda: from_files(by_us), lambda: from_files(by_slow)),
        ),
    ]
    return [*one, *thread_rows(images, files, name)]


def thread_rows(images: list[Image.Image], files: list[bytes], name: str) -> list[Comparison]:
    """The batch on one thread and on two, beside the fast way on as many; and files, decoded by the threads too."""
    peer, fast = fast_way()
    difference = np.abs(by_us(images) - fast(images)).max()
    assert difference < 0.1, difference  # of 2 or 3 levels of 256: it is not exact
    rows = []
    before = torch.get_num_threads()
    for threads in (1, THREADS):
        torch.set_num_threads(threads)
        row = compare(
            f"{BATCH} of {name}, {threads} thread(s)",
            lambda n=threads: by_us(images, n),
            lambda: fast(images),
            repeats=7,
        )
        rows.append(Comparison(f"{peer} (up to {difference:.3f} off)", row))
    torch.set_num_threads(before)
    return [*rows, _decoding_row(files, name)]


def _decoding_row(files: list[bytes], name: str) -> Comparison:
    """Reading by address, as `encode_images` does it in its threads, beside the slow way of doing so."""
    from concurrent.futures import ThreadPoolExecutor

    def in_threads() -> list[np.ndarray]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda file: by_us(decoded(file)), files))

    def one_by_one() -> list[np.ndarray]:
        return [by_slow(decoded(file)) for file in files]

    np.testing.assert_array_equal(in_threads(), one_by_one())
    row = compare(f"{BATCH} JPEG files of {name}, {THREADS} threads", in_threads, one_by_one, repeats=7)
    return Comparison("transformers, slow, one thread", row)


def photo_row(folder: str) -> Comparison:
    """Photographs of various sizes, decoded already."""
    photos = []
    for path in find_images(folder):
        with Image.open(path) as photo:
            photos.append(photo.convert("RGB"))
    np.testing.assert_array_equal(by_us(photos), by_slow(photos))
    row = compare(f"{len(photos)} photographs", lambda: by_us(photos), lambda: by_slow(photos))
    return Comparison("transformers, slow", row)


def print_comparisons(comparisons: list[Comparison]) -> None:
    """The rows as Markdown; each is of one thread unless it says otherwise."""
    print("| pictures | ours, ms | peer | peer, ms | times as fast |")
    print("|---|---:|---|---:|---:|")
    for peer, row in comparisons:
        print(
            f"| {row.name} | {1e3 * row.ours:.2f} (±{row.our_spread:.0%}) | {peer} | "
            f"{1e3 * row.peer:.2f} (±{row.peer_spread:.0%}) | {row.ratio:.2f} |"
        )


def main() -> None:
    """Print the machine and the table."""
    versions = {module.__name__: module.__version__ for module in (transformers, torch, PIL, np)}
    print(f"{platform.processor() or platform.machine()}, {versions}\n")
    rows = [row for size in SIZES for row in size_rows(*size)]
    print_comparisons([*rows, *(photo_row(folder) for folder in sys.argv[1:])])


if __name__ == "__main__":
    main()
