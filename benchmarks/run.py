"""Every stage of CLIP on this machine's CPU, beside transformers 4.57.6: outputs compared first, then timed.

`make bench` runs it. Weights are random, of ViT-B/32's size; times do not depend on them.
"""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from harness import Row, compare, print_table
from PIL import Image

import clip_torch

PICTURE = (640, 480)


def forward_rows(folder: Path) -> list[Row]:
    """Vision, text and full model at several batch sizes."""
    ours = clip_torch.CLIPModel.from_pretrained(folder)
    peer = transformers.CLIPModel.from_pretrained(folder).eval()
    random = np.random.default_rng(0)
    rows = []
    for batch in (1, 16):
        pixels = torch.from_numpy(random.standard_normal((batch, 3, 224, 224), dtype=np.float32))
        ids = torch.from_numpy(random.integers(0, 49406, (batch, 77)))
        ids[:, -1] = 49407
        mask = torch.ones_like(ids)
        stages = {
            f"{batch} image(s)": lambda model, p=pixels: model.get_image_features(p),
            f"{batch} text(s) of 77 tokens": lambda model, i=ids, m=mask: model.get_text_features(i, m),
        }
        for name, stage in stages.items():
            with torch.inference_mode():
                torch.testing.assert_close(stage(ours), stage(peer), rtol=1e-4, atol=1e-5)
                rows.append(compare(name, lambda s=stage: s(ours), lambda s=stage: s(peer)))
    return rows


def loading_row(folder: Path) -> Row:
    """from_pretrained of 605 MB, and every weight touched once."""

    def load(library: object) -> float:
        model = library.CLIPModel.from_pretrained(folder)  # type: ignore[attr-defined]
        return sum(parameter.sum().item() for parameter in model.parameters())

    assert load(clip_torch) == load(transformers)
    return compare("load ViT-B/32", lambda: load(clip_torch), lambda: load(transformers), repeats=5)


def image_row() -> Row:
    """A photograph-sized picture to pixel values."""
    noise = np.random.default_rng(0).integers(0, 255, (*PICTURE[::-1], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    ours, peer = clip_torch.CLIPImageProcessor(), transformers.CLIPImageProcessor()

    def process(processor: object) -> np.ndarray:
        return processor(picture, return_tensors="np")["pixel_values"]  # type: ignore[operator]

    assert np.abs(process(ours) - process(peer)).max() < 1e-6
    return compare(f"preprocess a picture of {PICTURE[0]} x {PICTURE[1]}", lambda: process(ours), lambda: process(peer))


def main() -> None:
    """Print the machine and the table."""
    versions = {module.__name__: module.__version__ for module in (torch, transformers, np)}
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {versions}\n")
    with tempfile.TemporaryDirectory() as folder:
        clip_torch.CLIPModel(clip_torch.CLIPConfig()).save_pretrained(folder)
        print_table([*forward_rows(Path(folder)), loading_row(Path(folder)), image_row()])


if __name__ == "__main__":
    main()
