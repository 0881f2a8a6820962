"""Training of a tiny model: what it starts from and sees, and comparison of what came out."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core import CLIPImageProcessor, CLIPProcessor, CLIPTokenizerFast
from support.configs import SHALLOW, inputs_for, tiny_config
from support.tolerances import FLOAT32_GRADIENTS
from support.vocabulary import write_vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from PIL import Image


def batch(pairs: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return texts and images of as many pairs."""
    return inputs_for("CLIPModel", pairs, seed=seed)


def save_batches(folder: Path, pairs: int, steps: int) -> None:
    """Write the batch of each step as `0.npz` and so on, for programs of their own."""
    for step in range(steps):
        np.savez(folder / f"{step}.npz", **batch(pairs, step))


def write_pairs(folder: Path, pairs: Iterable[tuple[Image.Image, str]]) -> None:
    """Write images, and their captions in a `metadata.csv`."""
    rows = [["file_name", "text"]]
    for number, (image, caption) in enumerate(pairs):
        image.save(folder / f"{number}.png")
        rows.append([f"{number}.png", caption])
    with (folder / "metadata.csv").open("w") as file:
        csv.writer(file).writerows(rows)


def write_fresh_model(folder: Path) -> None:
    """Write the configuration of a model without weights, and its processor."""
    tokenizer = CLIPTokenizerFast(**write_vocabulary(folder))
    text = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    tiny_config(SHALLOW["text"] | text, SHALLOW["vision"] | {"num_channels": 3}).save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(size=30, crop_size=30), tokenizer).save_pretrained(folder)


def losses_of(run: Path) -> list[float]:
    """Return the losses that a run has logged."""
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def assert_trained_alike(found: Mapping[str, Any], expected: Mapping[str, Any], where: str = "") -> None:
    """Check that two trainings from the same weights ended in the same ones, or in the same moments."""
    assert set(found) == set(expected)
    for name in (name for name in expected if not name.endswith("k_proj.bias")):  # changed only by rounding
        np.testing.assert_allclose(found[name], expected[name], **FLOAT32_GRADIENTS, err_msg=f"{where} {name}")
