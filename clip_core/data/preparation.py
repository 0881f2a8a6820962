"""Preparation of training samples: chunks of pairs in, model inputs out. Runs in the worker processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from clip_core.configuration.arguments import check_integers
from clip_core.data.pairs import Broken
from clip_core.hub.pointers import LFS_ADVICE, is_lfs_pointer
from clip_core.hub.printing import reason_of
from clip_core.images.decoding import decode_image
from clip_core.images.depth import is_deep, warn_of_clipping
from clip_core.images.inputs import load_image
from clip_core.images.transforms import infer_channel_format, to_channels_last
from clip_core.tokenization.vocabulary import NO_MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clip_core.data.augmentation import Augmentation
    from clip_core.data.pairs import ImageSource, Pair
    from clip_core.processing import CLIPProcessor

# Separates these random streams from those of the order, which use the same seed.
_SAMPLE = 2

_LONGEST_CAPTION = 2**20  # characters


class Entry(NamedTuple):
    """A sample of an epoch.

    Attributes:
        sample: its index, or shard and index; with the seed and the epoch it determines the random choices.
        pair: the sample itself.
    """

    sample: tuple[int, ...]
    pair: Pair | Broken


class Chunk(NamedTuple):
    """One task of a worker: samples of one epoch."""

    epoch: int
    entries: Sequence[Entry]


class PreparedSample(NamedTuple):
    """A sample as model inputs.

    Attributes:
        key: as in `Pair`.
        arrays: `pixel_values` (channels, height, width), float32; `input_ids` and `attention_mask` (seq,), int64.
        length: number of tokens in the caption before truncation.
    """

    key: str
    arrays: dict[str, np.ndarray]
    length: int


@dataclass(frozen=True)
class PreparedChunk:
    """The results of a chunk, as arrays that cross process boundaries without a copy.

    Attributes:
        outcomes: the sample's key for each entry, or a `Broken`.
        arrays: the arrays of `PreparedSample`, stacked over the good entries.
        lengths: the lengths of `PreparedSample`.
    """

    outcomes: list[str | Broken]
    arrays: dict[str, np.ndarray]
    lengths: list[int]

    def rows(self) -> Iterator[PreparedSample | Broken]:
        """Yield the entries one at a time."""
        place = 0
        for outcome in self.outcomes:
            if isinstance(outcome, Broken):
                yield outcome
            else:
                arrays = {name: array[place] for name, array in self.arrays.items()}
                yield PreparedSample(outcome, arrays, self.lengths[place])
                place += 1


@dataclass(frozen=True)
class Preparation:
    """A callable that decodes, augments and preprocesses images, and tokenizes captions.

    Attributes:
        processor: the model's processor.
        max_length: tokens per row; longer captions are truncated.
        augmentation: applied to images instead of the processor's resizing and cropping; None to use those.
        seed: seed of the random choices.
    """

    processor: CLIPProcessor
    max_length: int
    augmentation: Augmentation | None
    seed: int

    @property
    def shape(self) -> tuple[int, int]:
        """The `(height, width)` of the pixel values.

        Raises:
            ValueError: if the image processor's output size varies.
        """
        image_processor = self.processor.image_processor
        size = image_processor.crop_size if image_processor.do_center_crop else image_processor.size
        if not image_processor.do_center_crop and not image_processor.do_resize:
            size = {}
        if not {"height", "width"} <= size.keys():
            raise ValueError(
                "the image processor neither crops nor resizes to a fixed height and width, so its images cannot form "
                "a batch; set do_center_crop=True and crop_size"
            )
        return size["height"], size["width"]

    def check(self) -> None:
        """Prepare a blank image and an empty caption: a processor that cannot do so would fail on every sample.

        Raises:
            ValueError: if the processor cannot prepare them.
        """
        self._texts([""])
        self.processor.image_processor(Image.new("RGB", self.shape[::-1]), return_tensors=None)

    def __call__(self, chunk: Chunk) -> PreparedChunk:
        """Return the arrays of a chunk's good entries, and the reasons for the others."""
        read = [self._read(entry, chunk.epoch) for entry in chunk.entries]
        outcomes = iter(self._rows([sample for sample in read if isinstance(sample, _Sample)]))
        results = [next(outcomes) if isinstance(sample, _Sample) else sample for sample in read]
        rows = [outcome for outcome in results if isinstance(outcome, PreparedSample)]
        return PreparedChunk(
            [outcome.key if isinstance(outcome, PreparedSample) else outcome for outcome in results],
            {name: np.stack([row.arrays[name] for row in rows]) for name in (rows[0].arrays if rows else ())},
            [row.length for row in rows],
        )

    def _read(self, entry: Entry, epoch: int) -> _Sample | Broken:
        """Return an entry's image and one of its captions."""
        pair = entry.pair
        if isinstance(pair, Broken):
            return pair
        rng = np.random.default_rng((self.seed, _SAMPLE, epoch, *entry.sample))
        try:
            caption, image = _caption(pair, rng), _decoded(pair.image)
            if self.augmentation is not None:
                image = self.augmentation(image, self.shape, self.processor.image_processor.resample, rng)
        except (OSError, ValueError) as error:
            return Broken(pair.key, str(error))
        return _Sample(pair.key, caption, image)

    def _rows(self, samples: list[_Sample]) -> list[PreparedSample | Broken]:
        """Prepare all samples at once, as calls cost more than small images; one by one if one of them is broken."""
        if not samples:
            return []
        try:
            texts, pixels = self._texts([sample.caption for sample in samples]), self._pixels(samples)
        except (OSError, ValueError) as error:
            if len(samples) == 1:
                return [Broken(samples[0].key, str(error))]
            return [row for sample in samples for row in self._rows([sample])]
        return [
            PreparedSample(sample.key, {"pixel_values": image, "input_ids": ids, "attention_mask": mask}, length)
            for sample, image, (ids, mask, length) in zip(samples, pixels, texts, strict=True)
        ]

    def _pixels(self, samples: list[_Sample]) -> list[np.ndarray]:
        # Single-threaded: with workers, they are the parallelism; without, the model gets the other cores.
        done = {} if self.augmentation is None else {"do_resize": False, "do_center_crop": False}
        pixels: list[np.ndarray] = self.processor.image_processor(
            [sample.image for sample in samples], **done, return_tensors=None, num_threads=1
        )["pixel_values"]
        return pixels

    def _texts(self, captions: list[str]) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """Return ids and mask of each caption, padded or truncated to `max_length`, and its original length."""
        encode = partial(self.processor.tokenizer, padding="max_length", max_length=self.max_length)
        rows = encode(captions, truncation=False, verbose=False)
        texts = []
        for caption, whole, mask in zip(captions, rows["input_ids"], rows["attention_mask"], strict=True):
            length = sum(mask)
            kept = (whole, mask)
            if length > self.max_length:
                cut = encode(caption, truncation=True)
                kept = (cut["input_ids"], cut["attention_mask"])
            ids, attended = (np.array(row, np.int64) for row in kept)
            texts.append((ids, attended, length))
        return texts


class _Sample(NamedTuple):
    """A pair that has been read, with its image augmented."""

    key: str
    caption: str
    image: Image.Image


def text_length(processor: CLIPProcessor, max_length: int | None) -> int:
    """Return the length of every row of text.

    Args:
        processor: provides the tokenizer's own limit.
        max_length: overrides that limit.

    Raises:
        ValueError: if there is no limit, or it has no room for a word.
    """
    check_integers(max_length=(max_length, 1), optional=True, most=math.inf)
    length = processor.tokenizer.model_max_length if max_length is None else max_length
    if length >= NO_MAX_LENGTH:
        raise ValueError("the tokenizer states no maximum length; pass max_length, the model's max_position_embeddings")
    shortest = processor.tokenizer.num_special_tokens_to_add() + 1
    if length < shortest:
        raise ValueError(f"max_length={length} leaves no room for a word; give {shortest} or more")
    return int(length)


def captions_of(pair: Pair) -> tuple[str, ...]:
    """Return the pair's captions, one or more, read from their file if they are in one.

    Args:
        pair: the pair.

    Raises:
        ValueError: if the file cannot be read, is empty or not UTF-8.
    """
    if not isinstance(pair.captions, Path):
        return pair.captions
    name = pair.captions.name
    try:
        with pair.captions.open(encoding="utf-8-sig") as file:
            caption = file.read(_LONGEST_CAPTION + 1)
    except UnicodeDecodeError as error:
        raise ValueError(f"the caption in {name} is not UTF-8 ({error})") from error
    except OSError as error:
        raise ValueError(f"the caption in {name} cannot be read: {reason_of(error)}") from error
    if len(caption) > _LONGEST_CAPTION:
        raise ValueError(f"the caption in {name} has more than {_LONGEST_CAPTION:,} characters")
    caption = caption.strip()
    if not caption:
        raise ValueError(f"the caption in {name} is empty")
    if is_lfs_pointer(caption.encode()):
        raise ValueError(f"the caption in {name} cannot be read: {LFS_ADVICE}")
    return (caption,)


def _caption(pair: Pair, rng: np.random.Generator) -> str:
    """Draw one of the pair's captions; see `captions_of` for errors."""
    captions = captions_of(pair)
    return captions[rng.integers(len(captions)) if len(captions) > 1 else 0]


def _decoded(image: ImageSource) -> Image.Image:
    """Return the image, decoded to RGB.

    Raises:
        ValueError: if it cannot be decoded.
    """
    try:
        if isinstance(image, Path):
            return load_image(image)
        if isinstance(image, bytes):
            return decode_image(image, "the image")
        if not isinstance(image, Image.Image):
            return _from_array(image).convert("RGB")
        if is_deep(image):
            warn_of_clipping(image, stacklevel=1)
        return image.convert("RGB")
    except Exception as error:  # decoders may raise anything on damaged bytes
        reason = str(error) or type(error).__name__
        raise ValueError(reason.removeprefix(f"{image}: ") if isinstance(image, Path) else reason) from error


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in {2, 3}:
        raise ValueError(f"the image is an array {array.shape} of {array.dtype}; expected 2 or 3 axes of uint8")
    pixels = to_channels_last(array, infer_channel_format(array.shape))
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))
