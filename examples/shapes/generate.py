"""Training data, held-out tests and the untrained model that `train.sh` starts from.

    python examples/shapes/generate.py build/shapes

writes, into the named folder:

    simple.parquet     images of mostly one large shape, for the first lesson
    full.parquet       images of all kinds, for the second
    held-out.parquet   images of the colour-shape pairs in neither lesson, with their content
    model/             the configuration, vocabulary and image settings
    pictures/          one image per held-out pair, with its label
    labels.txt         all names to choose from

The same seed gives the same files, for any number of processes.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from captions import SIMPLE, USUAL, caption, full_caption, name, names, short_caption
from drawing import SIZE, draw
from scenes import HELD_OUT, Scene, draw_scene, draw_simple_scene, painted
from vocabulary import train_vocabulary

from clip_core import CLIPConfig, CLIPImageProcessor, CLIPProcessor, CLIPTokenizer
from clip_core.commands.streams import run_program

PICTURES = {"simple": 16_000, "full": 96_000, "held-out": 2_000}
_CHUNK = 1_000  # images drawn from one seed, stored in one row group
_CAPTIONS = 3  # per training image
_PAINTED = 0.3  # fraction of training images in an unnamed colour
_MERGES = 256
POSITIONS = 24  # tokens of the longest caption, plus four
TEXT = {"hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 3}
VISION: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
HIDDEN_ACT = "gelu"  # one pass over memory; quick_gelu takes three
PATCH_SIZE = 16
PROJECTION = 96
# Per channel, over the images.
MEAN, STD = (0.69, 0.71, 0.69), (0.25, 0.25, 0.25)


def main() -> None:
    """Parse the command line, and write everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_model(options.folder / "model", options.seed)
    write_examples(options.folder, options.seed)


def rows(kind: str, chunk: int, count: int, seed: int) -> dict[str, list[Any]]:
    """Return the columns of one chunk of a file.

    Args:
        kind: the file's name without its extension.
        chunk: index of the chunk.
        count: number of images in it.
        seed: seed of all files.
    """
    random = np.random.default_rng([seed, list(PICTURES).index(kind), chunk])
    if kind == "held-out":
        scenes = [draw_scene(random, HELD_OUT) for _ in range(count)]
        texts: list[Any] = [full_caption(scene) for scene in scenes]
    else:
        drawn, content = (draw_simple_scene, SIMPLE) if kind == "simple" else (draw_scene, USUAL)
        scenes = [_sometimes_painted(drawn(random), random) for _ in range(count)]
        texts = [[caption(scene, random, content) for _ in range(_CAPTIONS)] for scene in scenes]
    return {
        "image": [_png(scene, random) for scene in scenes],
        "text": texts,
        "colour": [scene.colour for scene in scenes],
        "shape": [scene.shape for scene in scenes],
        "size": [scene.size for scene in scenes],
        "number": [scene.number for scene in scenes],
    }


def _sometimes_painted(scene: Scene, random: np.random.Generator) -> Scene:
    return painted(scene, random) if random.random() < _PAINTED else scene


def write_pictures(folder: Path, kind: str, count: int, seed: int, processes: int | None = None) -> None:
    """Draw and write one of the files."""
    sizes = [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]
    # Spawned: a fork of a process with threads may inherit locks and wait for them forever.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        chunks = pool.map(rows, *zip(*((kind, number, size, seed) for number, size in enumerate(sizes)), strict=True))
        tables = [pa.table(columns) for columns in chunks]
    pa.parquet.write_table(pa.concat_tables(tables), folder / f"{kind}.parquet", row_group_size=_CHUNK)


def write_examples(folder: Path, seed: int) -> None:
    """Write an image of each held-out pair, its label, and all names to choose from."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    truths = {}
    for number, pair in enumerate(HELD_OUT):
        random = np.random.default_rng([seed, len(PICTURES), number])
        scene = draw_scene(random, (pair,))
        file = f"{short_caption(scene).replace(' ', '-')}.png"
        draw(scene, random).save(pictures / file, optimize=True)
        truths[file] = name(*pair)
    (pictures / "labels.json").write_text(json.dumps(truths, indent=2) + "\n", encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(names()) + "\n", encoding="utf-8")


def write_model(folder: Path, seed: int) -> None:
    """Write everything a model consists of except its weights."""
    random = np.random.default_rng(seed)
    texts = [caption(draw_scene(random), random) for _ in range(5_000)]
    size = train_vocabulary(texts, _MERGES, folder)
    ends = {"bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1}
    config = CLIPConfig(
        text_config={
            **TEXT,
            **ends,
            "hidden_act": HIDDEN_ACT,
            "vocab_size": size,
            "max_position_embeddings": POSITIONS,
        },
        vision_config={**VISION, "hidden_act": HIDDEN_ACT, "image_size": SIZE, "patch_size": PATCH_SIZE},
        projection_dim=PROJECTION,
    )
    config.save_pretrained(folder)
    tokenizer = CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=POSITIONS)
    pictures = CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD
    )
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)


def _png(scene: Scene, random: np.random.Generator) -> bytes:
    file = io.BytesIO()
    draw(scene, random).save(file, "PNG", compress_level=1)
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(run_program(main, "generate.py"))
