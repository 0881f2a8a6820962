"""Extension of a model's text positions: a small vocabulary splits names into many tokens, and the longest must fit."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from clip_core import CLIPConfig, CLIPProcessor
from clip_core.commands.streams import run_program
from converters.checkpoint import open_checkpoint

_TABLE = "text_model.embeddings.position_embedding.weight"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, and write the longer model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the model's folder")
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--positions", type=int, default=40, help="the new number of positions; 40")
    given = parser.parse_args(arguments)
    try:
        lengthen(given.model, given.folder, given.positions)
    except (OSError, ValueError) as error:
        sys.exit(f"lengthen.py: {error}")


def lengthen(model: Path, folder: Path, positions: int) -> None:
    """Write the model with more text positions, copies of the last one; outputs for shorter texts do not change.

    Args:
        model: the model's folder.
        folder: the folder to write to.
        positions: the new number of positions.

    Raises:
        ValueError: if the model already has as many, or the folder is the model's own.
    """
    config, processor = CLIPConfig.from_pretrained(model), CLIPProcessor.from_pretrained(model)
    there = config.text_config.max_position_embeddings
    if positions <= there:
        raise ValueError(
            f"{model} already has {there} text positions; give more than that, not --positions {positions}"
        )
    if folder.resolve() == model.resolve():
        raise ValueError(f"{folder} is the model's own folder; choose another")
    weights = dict(open_checkpoint(model))
    weights[_TABLE] = np.pad(weights[_TABLE], ((0, positions - there), (0, 0)), mode="edge")
    config.text_config.max_position_embeddings = positions
    processor.tokenizer.model_max_length = positions
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    processor.save_pretrained(folder)
    config.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(run_program(main, "lengthen.py"))
