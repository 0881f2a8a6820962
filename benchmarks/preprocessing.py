"""Row 3: images to pixel values beside transformers 4.57.6: identical bits, checked first, and the relative time.

The slow image processor of transformers, whose values ours reproduce, is single-threaded. Its fast one has different
values and needs torchvision; if that is not installed, its arithmetic stands in for it: torch's resizing of bytes, the
crop and the fused normalization, without transformers' overhead. Images are synthetic; if there is a folder of
photographs beside the project's, they get their own row.

The last rows continue to embeddings, with ViT-B/32 and random weights on all threads: comparing `encode_images` with
the model alone shows how busy the model is.
"""

from __future__ import annotations

import io
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from checkpoints import TINY, write_random
from harness import COLUMNS, Row, compare, times_as_fast
from PIL import Image
from plots import bars
from report import Report, Table

import clip_torch
from clip_core.configuration import CLIPConfig
from clip_core.images.inputs import find_images
from clip_core.images.processor import CLIPImageProcessor
from clip_core.tasks.images import encode_images
from clip_torch.backend import ModelEncoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from goals import Goal
    from settings import Settings

PHOTOS = Path(__file__).parents[2] / "shared" / "photos"
SLOW, FAST = "transformers, slow", "transformers, fast"
FAST_ARITHMETIC = f"{FAST}, its arithmetic in torch"
PILLOW_ALONE = "Pillow, resizing only"
LOOP, MODEL_ALONE = "transformers, sequentially", "our model alone, on precomputed pixel values"
SAME = 1e-5  # of embeddings of unit norm
SIZES = ((640, 480), (1920, 1080))
BATCH = 32
THREADS = 2
_EDGE = 224

ours = CLIPImageProcessor()


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses only the smaller images, and a tiny model."""
    found = [row for size in SIZES[: 1 if settings.quick else None] for row in size_rows(*size)]
    found += [photo_row(PHOTOS)] if PHOTOS.is_dir() else []
    found += stream_rows(settings.scratch, CLIPConfig(**TINY) if settings.quick else CLIPConfig())
    written = Report("preprocessing", "Images to pixel values", __doc__ or "", quick=settings.quick)
    written.tables = [Table(["images", *COLUMNS], [row.cells() for row in found])]
    written.measurements = [row.record() for row in found]
    alone = {row.name: row.ratio.median for row in found if row.peer == PILLOW_ALONE}
    written.goals = [goal for row in found for goal in goals(row, alone.get(row.name))]
    written.plot = partial(draw, written.measurements)
    return written


def draw(measurements: list[dict[str, Any]], path: Path) -> None:
    """Plot how many times as fast as the peer each row is."""
    values = {f"{one['name']}\nbeside {one['peer']}": one["ratio"] for one in measurements}
    bars(path, title="Images to pixel values", across="times as fast as the peer", values=values, line=1.0)


def goals(row: Row, alone: float | None) -> list[Goal]:
    """Return the targets: twice the slow processor's speed on one thread; no slower than the fast one on two."""
    if row.peer == SLOW and "JPEG" not in row.name:
        why = "" if alone is None else f"Pillow's resizing alone takes {alone:.2f} of our time"
        return [times_as_fast(row, 2.0, why)]
    if "2 thread" in row.name and row.peer.startswith((FAST, FAST_ARITHMETIC)):
        return [times_as_fast(row, 1.0)]
    return []


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Return soft blots with grain, whose JPEG file is about as large as a photograph's."""
    random = np.random.default_rng(seed)
    blots = Image.fromarray(random.integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8))
    soft = np.asarray(blots.resize((width, height), Image.Resampling.BICUBIC))
    grain = random.normal(0, 6, soft.shape)
    return Image.fromarray((soft + grain).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    """Return the image as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def decoded(content: bytes) -> Image.Image:
    """Return the decoded image of a file, in RGB."""
    return Image.open(io.BytesIO(content)).convert("RGB")


def by_us(images: Any, num_threads: int = 1) -> np.ndarray:
    """Return our pixel values."""
    pixel_values: np.ndarray = ours(images, return_tensors="np", num_threads=num_threads)["pixel_values"]
    return pixel_values


@cache
def slow_processor() -> Any:
    """Return transformers' slow image processor."""
    from transformers import CLIPImageProcessor as SlowImageProcessor

    return SlowImageProcessor()


def by_slow(images: Any) -> np.ndarray:
    """Return the slow image processor's pixel values."""
    pixel_values: np.ndarray = slow_processor()(images, return_tensors="np")["pixel_values"]
    return pixel_values


def by_pillow(images: list[Image.Image]) -> None:
    """Resize with Pillow only: the lower bound of any exact implementation."""
    for image in images:
        scale = _EDGE / min(image.size)
        image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)


def fast_way() -> tuple[str, Callable[[list[Image.Image]], np.ndarray]]:
    """Return transformers' fast image processor, or its arithmetic, with its name."""
    from transformers.utils import is_torchvision_available

    if is_torchvision_available():
        from transformers import CLIPImageProcessorFast

        fast = CLIPImageProcessorFast()
        return FAST, lambda images: fast(images, return_tensors="pt")["pixel_values"].numpy()
    return FAST_ARITHMETIC, by_torch


def by_torch(images: list[Image.Image]) -> np.ndarray:
    """Run the fast image processor's arithmetic on images of one size: `(batch, 3, 224, 224)`."""
    batch = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    height, width = batch.shape[2:]
    scale = _EDGE / min(height, width)
    size = int(height * scale), int(width * scale)
    resized = torch.nn.functional.interpolate(batch, size, mode="bicubic", antialias=True, align_corners=False)
    top, left = (size[0] - _EDGE) // 2, (size[1] - _EDGE) // 2
    cropped = resized[..., top : top + _EDGE, left : left + _EDGE].float()
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in (ours.image_mean, ours.image_std))
    return ((cropped - mean) / std).numpy()


def size_rows(width: int, height: int) -> list[Row]:
    """Compare a single image and a batch of one size with each peer, and the batch from JPEG files."""
    images = [picture(width, height, seed) for seed in range(BATCH)]
    files = [jpeg(image) for image in images]
    name = f"{width} x {height}"
    np.testing.assert_array_equal(by_us(images), by_slow(images))
    np.testing.assert_array_equal(by_us(images, THREADS), by_slow(images))

    def from_files(process: Callable[[list[Image.Image]], np.ndarray]) -> np.ndarray:
        return process([decoded(file) for file in files])

    return [
        compare(name, lambda: by_us(images[0]), lambda: by_slow(images[0]), peer_name=SLOW),
        compare(name, lambda: by_us(images[0]), lambda: by_pillow(images[:1]), peer_name=PILLOW_ALONE),
        compare(f"{BATCH} of {name}", lambda: by_us(images), lambda: by_slow(images), peer_name=SLOW),
        compare(
            f"{BATCH} JPEG files of {name}", lambda: from_files(by_us), lambda: from_files(by_slow), peer_name=SLOW
        ),
        *thread_rows(images, files, name),
    ]


def thread_rows(images: list[Image.Image], files: list[bytes], name: str) -> list[Row]:
    """Compare the batch on one and two threads with the fast processor; and JPEG files decoded in the threads."""
    peer, fast = fast_way()
    difference = np.abs(by_us(images) - fast(images)).max()
    assert difference < 0.1, difference  # in units of 2 or 3 of 256 levels: it is not exact
    rows = []
    before = torch.get_num_threads()
    for threads in (1, THREADS):
        torch.set_num_threads(threads)
        row = compare(
            f"{BATCH} of {name}, {threads} thread{'s' * (threads > 1)}",
            lambda n=threads: by_us(images, n),
            lambda: fast(images),
            peer_name=f"{peer} (differs by up to {difference:.3f})",
        )
        rows.append(row)
    torch.set_num_threads(before)
    return [*rows, _decoding_row(files, name)]


def _decoding_row(files: list[bytes], name: str) -> Row:
    """Compare decoding in threads, as `encode_images` does, with transformers' sequential way."""
    from concurrent.futures import ThreadPoolExecutor

    def in_threads() -> list[np.ndarray]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda file: by_us(decoded(file)), files))

    def one_by_one() -> list[np.ndarray]:
        return [by_slow(decoded(file)) for file in files]

    np.testing.assert_array_equal(in_threads(), one_by_one())
    title = f"{BATCH} JPEG files of {name}, {THREADS} threads"
    return compare(title, in_threads, one_by_one, peer_name=f"{SLOW}, one thread")


def photo_row(folder: Path) -> Row:
    """Compare on photographs of various sizes, already decoded."""
    photos = []
    for path in find_images(folder):
        with Image.open(path) as photo:
            photos.append(photo.convert("RGB"))
    np.testing.assert_array_equal(by_us(photos), by_slow(photos))
    return compare(f"{len(photos)} photographs", lambda: by_us(photos), lambda: by_slow(photos), peer_name=SLOW)


def stream_rows(folder: Path, config: CLIPConfig) -> list[Row]:
    """Compare `encode_images` from files to embeddings with typical transformers code, and with the model alone."""
    from transformers import CLIPModel

    write_random(folder / "checkpoint", config)
    encoder = ModelEncoder(clip_torch.CLIPModel.from_pretrained(folder / "checkpoint"))
    model = CLIPModel.from_pretrained(folder / "checkpoint").eval()
    paths = [folder / f"{seed}.jpg" for seed in range(2 * BATCH)]
    for seed, path in enumerate(paths):
        path.write_bytes(jpeg(picture(*SIZES[0], seed)))
    ready = [by_us(list(map(str, batch))) for batch in batched(paths)]

    def own() -> np.ndarray:
        return encode_images(encoder, ours, paths, batch_size=BATCH)  # type: ignore[arg-type]  never given texts

    @torch.inference_mode()
    def theirs() -> np.ndarray:
        found = []
        for batch in batched(paths):
            pixel_values = torch.from_numpy(by_slow([decoded(path.read_bytes()) for path in batch]))
            found.append(torch.nn.functional.normalize(model.get_image_features(pixel_values)))
        return torch.cat(found).numpy()

    def alone() -> np.ndarray:
        return np.concatenate([encoder.encode_images(pixel_values) for pixel_values in ready])

    for way in (own, alone):
        assert np.abs(way() - theirs()).max() < SAME
    name = f"{len(paths)} JPEG files of {SIZES[0][0]} x {SIZES[0][1]} to embeddings with encode_images"
    return [compare(name, own, theirs, peer_name=LOOP), compare(name, own, alone, peer_name=MODEL_ALONE)]


def batched(paths: list[Path]) -> list[list[Path]]:
    """Return batches of the size that the model takes."""
    return [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
