"""Data preparation for the emoji example: many variations of two vendors' drawings, and a third's for testing."""

from __future__ import annotations

import argparse
import io
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from catalogue import TEMPLATE, Emoji, captions, drawn_by_all, find_drawings, read_names
from packages import GOOGLE, MICROSOFT, NAMES, TWITTER, find
from variation import on_white, varied

sys.path.append(str(Path(__file__).parents[1] / "shapes"))
from vocabulary import train_vocabulary

from clip_core import CLIPConfig, CLIPImageProcessor, CLIPProcessor, CLIPTokenizer
from clip_core.commands.streams import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE = 64
MERGES = 2000
MODEL = Path(__file__).parent / "model.json"

_QUALITY = 95
# Per channel, over the variations.
_MEAN, _STD = (0.81, 0.8, 0.76), (0.27, 0.26, 0.3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, and write everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--packages", type=Path, help="the folder of the npm packages; FOLDER/packages")
    parser.add_argument("--variations", type=int, default=16, help="variations of each drawing; 16")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw, 0 to use this process only; 2")
    parser.add_argument("--seed", type=int, default=0, help="seed of the variations and captions; 0")
    given = parser.parse_args(arguments)
    for name, value, least in (
        ("variations", given.variations, 1),
        ("workers", given.workers, 0),
        ("seed", given.seed, 0),
    ):
        if value < least:
            parser.error(f"--{name} {value}: give {least} or more")
    packages = given.packages or given.folder / "packages"
    given.folder.mkdir(parents=True, exist_ok=True)
    try:
        _pyarrow()  # fails early if it is missing
        vendors = [find_drawings(find(package, packages)) for package in (GOOGLE, MICROSOFT, TWITTER)]
        emoji = drawn_by_all(read_names(find(NAMES, packages)), vendors)
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"prepare.py: {error}")
    print(f"{len(emoji)} emoji are drawn by all vendors")
    write_test(emoji, vendors[2], given.folder / "test")
    write_model(emoji, given.folder / "scratch", given.seed)
    write_training(emoji, vendors[:2], given.folder / "train.parquet", given.variations, given.seed, given.workers)


def write_test(emoji: Sequence[Emoji], drawings: dict[str, Path], folder: Path) -> None:
    """Write images on white, with a metadata.jsonl of their names and captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in emoji:
        name = f"{one.code}.png"
        on_white(drawings[one.code], SIZE).save(folder / name)
        rows.append({"file_name": name, "label": one.name, "text": TEMPLATE.format(one.name)})
    (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    print(f"{folder}: {len(rows)} images of {TWITTER.name}")


def write_model(emoji: Sequence[Emoji], folder: Path, seed: int) -> None:
    """Write the config.json, vocabulary and processor of a model to train from scratch."""
    random = np.random.default_rng(seed)
    size = train_vocabulary([text for one in emoji for text in captions(one, random)], MERGES, folder)
    shape = json.loads(MODEL.read_text(encoding="utf-8"))
    shape["text_config"] |= {
        "vocab_size": size,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": size - 1,
    }
    config = CLIPConfig.from_dict(shape)
    longest = config.text_config.max_position_embeddings
    tokenizer = CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=longest)
    side = config.vision_config.image_size
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_mean=_MEAN, image_std=_STD
    )
    CLIPProcessor(image_processor, tokenizer).save_pretrained(folder)
    config.save_pretrained(folder)
    print(f"{folder}: a model to train from scratch, with {size} tokens")


def write_training(
    emoji: Sequence[Emoji],
    vendors: Sequence[dict[str, Path]],
    file: Path,
    variations: int,
    seed: int,
    workers: int,
) -> None:
    """Write a Parquet file in which each row group is one variation of all of one vendor's drawings.

    Training reads it by row groups, so few batches contain the same emoji twice, as each other's negatives.
    """
    pa, parquet = _pyarrow()
    schema = pa.schema({"image": pa.binary(), "text": pa.list_(pa.string())})
    groups = [(number, vendor) for number in range(variations) for vendor in range(len(vendors))]
    unfinished = file.with_name(f"{file.name}.part")
    draw = partial(_group, emoji, vendors, seed)
    with ExitStack() as open_things:
        writer = open_things.enter_context(parquet.ParquetWriter(unfinished, schema, compression="none"))
        # spawned, as forking a process with threads may hang
        pool = open_things.enter_context(ProcessPoolExecutor(workers, get_context("spawn"))) if workers else None
        for done, rows in enumerate(map(draw, groups) if pool is None else pool.map(draw, groups), 1):
            writer.write_table(pa.Table.from_pylist(rows, schema), row_group_size=len(rows))
            print(f"\r{file}: {done} of {len(groups)} parts", end="", flush=True)
    unfinished.replace(file)
    print(f"\n{file}: {len(emoji) * len(groups)} images of {GOOGLE.name} and {MICROSOFT.name}")


def _group(
    emoji: Sequence[Emoji], vendors: Sequence[dict[str, Path]], seed: int, group: tuple[int, int]
) -> list[dict[str, bytes | list[str]]]:
    random = np.random.default_rng((seed, *group))
    drawings = vendors[group[1]]
    return [{"image": _encoded(drawings[one.code], random), "text": captions(one, random)} for one in emoji]


def _encoded(drawing: Path, random: np.random.Generator) -> bytes:
    file = io.BytesIO()
    varied(drawing, SIZE, random).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow; pip install 'clip-zoo[train]'") from error
    return pa, parquet


if __name__ == "__main__":
    sys.exit(run_program(main, "prepare.py"))
