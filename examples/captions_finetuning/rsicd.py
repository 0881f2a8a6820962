"""Tables to train and evaluate on, from a data set of captioned images in RSICD's format.

    python examples/captions_finetuning/rsicd.py dataset_rsicd.json RSICD_images/ build/rsicd

The format is that of Karpathy's splits of COCO and Flickr30k: `{"images": [{"filename": ..., "split": "train",
"sentences": [{"raw": ...}, ...]}, ...]}`. The tables `train.jsonl`, `val.jsonl` and `test.jsonl` have a line for each
image, with all its sentences, of which training draws one each time. RSICD repeats sentences of an image that has fewer
than five, so these are drawn more often.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).parents[1] / "captioning"))

from command import Parser, answered, run

from clip_core.configuration.arguments import check_surrogates
from clip_core.hub.files import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

# COCO has a fifth split, which is added to the training data by common practice.
TABLES = {"train": "train", "restval": "train", "val": "val", "test": "test"}
MISSING_SHOWN = 3


def read_entries(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the file name, the table and the sentences of each image.

    Args:
        path: the JSON file.

    Raises:
        ValueError: if the file is not in RSICD's format; the message names the image.
    """
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        places = list(enumerate(images))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f'{path} is not JSON in RSICD\'s format, {{"images": [...]}} ({error!r})') from error
    if not places:
        raise ValueError(f"{path} contains no images")
    for place, image in places:
        where = f"{path}: images[{place}]"
        try:
            name, split = image["filename"], image["split"]
            texts = [sentence["raw"].strip() for sentence in image["sentences"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{where} has no filename, split, or sentences with a raw text ({error!r})") from error
        if not isinstance(split, str) or split not in TABLES:
            raise ValueError(f"{where} has the split {split!r}; expected one of {', '.join(TABLES)}")
        if not isinstance(name, str) or not name or not any(texts):
            raise ValueError(f"{where} has no file name, or no sentence that is not empty")
        try:
            check_surrogates(name, *texts)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        yield name, TABLES[split], [text for text in texts if text]


def rows_of(texts: list[str], *, each: bool, distinct: bool) -> list[Any]:
    """Return the captions of the rows of an image.

    Args:
        texts: its sentences.
        each: return a row for each sentence instead of one with all.
        distinct: leave out repeated sentences.
    """
    texts = list(dict.fromkeys(texts)) if distinct else texts
    return list(texts) if each else [texts]


def write_tables(dataset: Path, images: Path, folder: Path, *, each: bool, distinct: bool) -> dict[str, int]:
    """Write the tables, and return the number of rows of each.

    Args:
        dataset: the JSON file.
        images: the folder of images.
        folder: the folder to write to.
        each: in the training table, write a row for each sentence.
        distinct: leave out repeated sentences of the training table.

    Raises:
        ValueError: if the file is not in RSICD's format, images are missing, or the tables would be among the images.
    """
    if images.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{folder} contains the images; give another folder for the tables")
    tables: dict[str, list[str]] = {name: [] for name in TABLES.values()}
    missing = []
    for name, table, texts in read_entries(dataset):
        if not (images / name).is_file():
            missing.append(name)
        file_name = os.path.relpath(images / name, folder)
        is_training = table == "train"
        rows = rows_of(texts, each=each and is_training, distinct=distinct or not is_training)
        tables[table] += [json.dumps({"file_name": file_name, "text": text}) for text in rows]
    if missing:
        shown = ", ".join(missing[:MISSING_SHOWN])
        raise ValueError(f"{images} lacks {len(missing)} images of {dataset}, such as {shown}")
    with staged(folder) as unfinished:
        for table, lines in tables.items():
            (unfinished / f"{table}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return {table: len(lines) for table, lines in tables.items()}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and write the tables."""
    parser = Parser(prog="rsicd.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dataset", type=Path, help="the JSON file, such as dataset_rsicd.json")
    parser.add_argument("images", type=Path, help="the folder of images")
    parser.add_argument("folder", type=Path, help="the folder to write the tables to")
    parser.add_argument(
        "--each", action="store_true", help="train on a row for each sentence, so that images are repeated in an epoch"
    )
    parser.add_argument("--distinct", action="store_true", help="leave repeated sentences of an image out")
    given = parser.parse_args(arguments)

    def write() -> None:
        counts = write_tables(given.dataset, given.images, given.folder, each=given.each, distinct=given.distinct)
        print(f"{given.folder}: {', '.join(f'{table} {count} rows' for table, count in counts.items())}")

    return answered(write, "rsicd.py")


if __name__ == "__main__":
    run(main, "rsicd.py")
