"""Prompt templates: texts with a `{}` for the class name, with averaged embeddings (Radford et al. 2021, 3.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.tasks.zero_shot import check_templates

if TYPE_CHECKING:
    from pathlib import Path

# The final seven in OpenAI's notebook on ImageNet prompts, selected greedily from the eighty.
IMAGENET_7 = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

# The eighty behind the paper's ImageNet results, in the notebook's order.
IMAGENET_80 = (
    "a bad photo of a {}.",
    "a photo of many {}.",
    "a sculpture of a {}.",
    "a photo of the hard to see {}.",
    "a low resolution photo of the {}.",
    "a rendering of a {}.",
    "graffiti of a {}.",
    "a bad photo of the {}.",
    "a cropped photo of the {}.",
    "a tattoo of a {}.",
    "the embroidered {}.",
    "a photo of a hard to see {}.",
    "a bright photo of a {}.",
    "a photo of a clean {}.",
    "a photo of a dirty {}.",
    "a dark photo of the {}.",
    "a drawing of a {}.",
    "a photo of my {}.",
    "the plastic {}.",
    "a photo of the cool {}.",
    "a close-up photo of a {}.",
    "a black and white photo of the {}.",
    "a painting of the {}.",
    "a painting of a {}.",
    "a pixelated photo of the {}.",
    "a sculpture of the {}.",
    "a bright photo of the {}.",
    "a cropped photo of a {}.",
    "a plastic {}.",
    "a photo of the dirty {}.",
    "a jpeg corrupted photo of a {}.",
    "a blurry photo of the {}.",
    "a photo of the {}.",
    "a good photo of the {}.",
    "a rendering of the {}.",
    "a {} in a video game.",
    "a photo of one {}.",
    "a doodle of a {}.",
    "a close-up photo of the {}.",
    "a photo of a {}.",
    "the origami {}.",
    "the {} in a video game.",
    "a sketch of a {}.",
    "a doodle of the {}.",
    "a origami {}.",
    "a low resolution photo of a {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "a photo of the clean {}.",
    "a photo of a large {}.",
    "a rendition of a {}.",
    "a photo of a nice {}.",
    "a photo of a weird {}.",
    "a blurry photo of a {}.",
    "a cartoon {}.",
    "art of a {}.",
    "a sketch of the {}.",
    "a embroidered {}.",
    "a pixelated photo of a {}.",
    "itap of the {}.",
    "a jpeg corrupted photo of the {}.",
    "a good photo of a {}.",
    "a plushie {}.",
    "a photo of the nice {}.",
    "a photo of the small {}.",
    "a photo of the weird {}.",
    "the cartoon {}.",
    "art of the {}.",
    "a drawing of the {}.",
    "a photo of the large {}.",
    "a black and white photo of a {}.",
    "the plushie {}.",
    "a dark photo of a {}.",
    "itap of a {}.",
    "graffiti of the {}.",
    "a toy {}.",
    "itap of my {}.",
    "a photo of a cool {}.",
    "a photo of a small {}.",
    "a tattoo of the {}.",
)

PRESETS = {"imagenet-7": IMAGENET_7, "imagenet-80": IMAGENET_80}


def read_templates(path: Path) -> list[str]:
    """Read templates from a text file, one per line.

    Args:
        path: the file, in UTF-8.

    Returns:
        The templates, in order.

    Raises:
        ValueError: if the file is missing or not UTF-8, or a line does not have exactly one `{}`.
    """
    if not path.is_file():
        raise ValueError(f"{path}: {'a folder; give a file' if path.is_dir() else 'no such file'}")
    check_not_lfs_pointer(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text; save it as UTF-8") from error
    templates = [line.strip() for line in lines if line.strip()]
    if not templates:
        raise ValueError(f"{path}: it contains no templates; give one per line, such as a photo of a {{}}")
    try:
        check_templates(templates)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return templates
