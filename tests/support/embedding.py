"""Sources of images in a folder or at a URL of fsspec, and the datasets that are made from them.

As a program it embeds a source, and prints the parts as they are written:

    python tests/support/embedding.py SOURCE DATASET
"""

from __future__ import annotations

import io
import sys
import tarfile

import fsspec
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from clip_core.tasks.embedding import embed
from clip_core.tasks.embedding.sources import open_source
from support.search import Colours, stand_in
from support.training_data import picture, picture_bytes


def write(url: str, content: bytes) -> None:
    """Write a file at a path or URL, with its folders."""
    files, path = fsspec.core.url_to_fs(url)
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    files.pipe_file(path, content)


def write_images(url: str, numbers) -> str:
    for number in numbers:
        write(f"{url}/{number // 4}/{number:03}.png", picture_bytes(number))
    return url


def write_shard(url: str, numbers, extra=()) -> str:
    """Write a shard of images with texts, and of extra files by name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        files = [(f"{number:03}.png", picture_bytes(number)) for number in numbers]
        files += [(f"{number:03}.txt", f"cat {number}".encode()) for number in numbers]
        for name, data in [*sorted(files), *extra]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write(url, content.getvalue())
    return url


def write_table(url: str, columns, rows_per_group: int = 4) -> str:
    content = io.BytesIO()
    parquet.write_table(pa.table(columns), content, row_group_size=rows_per_group)
    write(url, content.getvalue())
    return url


def opened(source, **options):
    """Return a source with the default options, except for the given ones."""
    return open_source(str(source), **{"image": None, "columns": None, "rows": 4} | options)


def pictures(source):
    """Return the pictures of all pieces of a source."""
    return [picture for piece in source.pieces() for picture in source.pictures(piece)]


def embeddings(numbers) -> np.ndarray:
    """Return the embeddings of images, by the model of colours: `(images, 3)`, float32."""
    colours = Colours()
    pixels = [colours(images=[picture(number)])["pixel_values"] for number in numbers]
    return colours.encode_images(np.concatenate(pixels))


def read(url: str, folder: str = "embeddings") -> pa.Table:
    """Return all parts of a dataset as one table, sorted by id."""
    files, root = fsspec.core.url_to_fs(url)
    paths = sorted(path for path in files.ls(f"{root}/{folder}", detail=False) if path.endswith(".parquet"))
    tables = []
    for path in paths:
        with files.open(path) as file:
            tables.append(parquet.read_table(file))
    return pa.concat_tables(tables).sort_by("id")


def vectors(table: pa.Table) -> np.ndarray:
    rows = table["embedding"].combine_chunks()
    return rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)


def main(source: str, dataset: str) -> None:
    with stand_in():
        print("started", flush=True)  # noqa: T201
        embed(source, dataset, model="colours", rows_per_part=4, on_part=lambda part: print(part.piece, flush=True))  # noqa: T201
    print("done", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
