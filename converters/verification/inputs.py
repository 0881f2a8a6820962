"""The images and texts that `clip-zoo verify` runs. They are always the same, and are generated without files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clip_core.processing.batch import to_numpy
from clip_core.tokenization.fast import CLIPTokenizerFast
from converters.sidecars.description import beside
from converters.sidecars.openai import pools_at_largest_id

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig
    from clip_core.hub import HubOptions
    from clip_core.images.processor import CLIPImageProcessor
    from converters.sidecars.companions import Description

# Texts of different lengths, so that most rows are padded. The last is longer than any position table.
TEXTS = (
    "a cat",
    "two dogs 🐶🐶 in the snow ❄️, don't they look happy?",
    "A photograph of an old lighthouse on a cliff above the sea, in the evening light of a day in late October",
    "one more word " * 400,
)
_SIZES = ((320, 240), (200, 333), (64, 64), (640, 481))  # width and height: wide, tall, small, large
_BLANK = 2  # index of the blank image; its pixels near zero reveal a layer norm's epsilon
_MEAN_COLOUR = (122, 116, 104)  # OpenAI's mean

DRAWN = "drawn"  # replaces a checkpoint's name if no file states the preprocessing


def sample_images() -> list[Image.Image]:
    """Return RGB images, one per text: gradients, edges, waves of all lengths, noise, and a blank image."""
    return [_image(width, height, seed) for seed, (width, height) in enumerate(_SIZES)]


@dataclass
class Preprocessing:
    """The preprocessing of images and texts for a checkpoint. Parts that are unknown are None."""

    source: str
    image_processor: CLIPImageProcessor | None
    tokenizer: CLIPTokenizerFast | None


@dataclass
class Inputs:
    """The arguments of a forward pass, for any framework.

    Attributes:
        image_processor: makes `pixel_values` from the images; None if there are none, or they are drawn at random.
        tokenizer: makes `input_ids` and `attention_mask` from the texts; None in the same cases.
        max_length: the maximum length of a text in tokens.
        drawn: the arguments that are drawn at random.
        origin: the checkpoint whose processor makes each argument, or DRAWN.
    """

    image_processor: CLIPImageProcessor | None = None
    tokenizer: CLIPTokenizerFast | None = None
    max_length: int = 0
    drawn: dict[str, np.ndarray] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def arrays(self, return_tensors: Any) -> dict[str, np.ndarray]:
        """Return the arguments by name as numpy, made as tensors of a framework: "np", "pt", "tf" or "jax"."""
        made: dict[str, Any] = {}
        if self.image_processor is not None:
            made |= self.image_processor(sample_images(), return_tensors=return_tensors)
        if self.tokenizer is not None:
            options: dict[str, Any] = {"padding": True, "truncation": True, "max_length": self.max_length}
            made |= self.tokenizer(list(TEXTS), **options, return_tensors=return_tensors)
        names = ("pixel_values", "input_ids", "attention_mask")
        return {name: to_numpy(made[name]) for name in names if name in made} | self.drawn


def stated_preprocessing(
    source: str | os.PathLike[str], description: Description, **options: Unpack[HubOptions]
) -> Preprocessing:
    """Return the preprocessing that a source's files state.

    Raises:
        ValueError: a file is damaged.
    """
    folder, where = beside(source, options)
    keywords: dict[str, Any] = {**where}
    try:
        tokenizer = CLIPTokenizerFast.from_pretrained(folder, **keywords)
    except FileNotFoundError:
        tokenizer = None
    return Preprocessing(str(source), description.preprocessing, tokenizer)


def inputs_for(class_name: str, config: Any, stated: list[Preprocessing], drawn_for: Any) -> Inputs:
    """Return the inputs for a checkpoint.

    Args:
        class_name: the model class.
        config: the configuration.
        stated: the checkpoint's own preprocessing, then fallbacks for what it does not state.
        drawn_for: the configuration for random inputs; the same for both checkpoints, so that their inputs agree.
    """
    inputs = Inputs()
    if class_name == "CLIPModel" or "Text" not in class_name:
        found = [(p.source, p.image_processor) for p in stated if p.image_processor is not None]
        inputs.origin["pixel_values"], inputs.image_processor = found[0] if found else (DRAWN, None)
        if not found:
            inputs.drawn["pixel_values"] = drawn_pixels(getattr(drawn_for, "vision_config", drawn_for))
    if class_name == "CLIPModel" or "Text" in class_name:
        inputs.max_length = getattr(config, "text_config", config).max_position_embeddings
        tokenizers = [(p.source, p.tokenizer) for p in stated if p.tokenizer is not None]
        inputs.origin["input_ids"], inputs.tokenizer = tokenizers[0] if tokenizers else (DRAWN, None)
        if not tokenizers:
            inputs.drawn |= drawn_texts(getattr(drawn_for, "text_config", drawn_for))
    return inputs


def drawn_pixels(config: CLIPVisionConfig) -> np.ndarray:
    """Return random pixel values, and zeros for the blank image: `(4, channels, height, width)`, float32."""
    shape = (len(_SIZES), config.num_channels, config.image_size, config.image_size)
    pixels = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    pixels[_BLANK] = 0
    return pixels


def drawn_texts(config: CLIPTextConfig) -> dict[str, np.ndarray]:
    """Return random token ids: `input_ids` and `attention_mask` `(4, seq)`, int64.

    Rows of different lengths end in the EOS token that the model pools at, and are padded; the last row is full.
    """
    random = np.random.default_rng(0)
    seq = config.max_position_embeddings
    eos = config.vocab_size - 1 if pools_at_largest_id(config) else config.eos_token_id
    words = np.setdiff1d(np.arange(1, config.vocab_size), [eos])
    ids = random.choice(words, (len(TEXTS), seq))
    mask = np.ones((len(TEXTS), seq), np.int64)
    for row, length in enumerate(np.linspace(min(3, seq), seq, len(TEXTS)).astype(int)):
        ids[row, length - 1 :] = eos
        mask[row, length:] = 0
    return {"input_ids": ids.astype(np.int64), "attention_mask": mask}


def _image(width: int, height: int, seed: int) -> Image.Image:
    if seed == _BLANK:
        return Image.new("RGB", (width, height), _MEAN_COLOUR)
    random = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    slopes = np.stack([x, y, 1 - x * y], axis=-1)  # (height, width, 3)
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * (3 + 40 * x) * (x + y + seed / 3))
    mixed = 0.5 * slopes + 0.3 * waves[..., None] + 0.1 * random.random((height, width, 3))
    mixed[(x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.05] = random.random(3)  # a disk
    return Image.fromarray((mixed.clip(0, 1) * 255).astype(np.uint8))
