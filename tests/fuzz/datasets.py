"""The targets that read datasets: shards, Parquet files, and tables and lists of labels in text files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from fuzz.folders import folder
from hostile.datasets import MANIFEST_FACTS
from hostile.mutations import read_or_refused
from hostile.reading import dataset, pairs

from clip_core.evaluation.labelled import choices, open_labelled
from clip_core.evaluation.templates import read_templates
from clip_core.tasks.embedding.manifest import MANIFEST
from clip_core.tasks.embedding.parts import EMBEDDINGS, PartWriter
from clip_core.tasks.embedding.places import Location
from clip_core.tasks.embedding.sources import open_source
from clip_core.tasks.labels import read_labels
from clip_core.tasks.search.rows import IndexedImage
from support.training_data import picture_bytes

if TYPE_CHECKING:
    from pathlib import Path

pa.array([0.5]).to_numpy()  # imports pandas, which may take longer than the fuzzer lets an input take

ROW = IndexedImage(b"a", 1, 1, "", bytes(32), bytes(32), 1, 1)
_DIM = 2


def shard(data: bytes) -> None:
    """Read a tar shard, possibly compressed, as pairs and as a source of images to embed."""
    path = folder("shard") / "x.tar"
    path.write_bytes(data)
    read_or_refused(pairs, path)
    read_or_refused(_embed, path)


def parquet(data: bytes) -> None:
    """Read a Parquet file, as pairs, as a source of images, and as a part of a dataset of embeddings."""
    path = folder("parquet") / "x.parquet"
    path.write_bytes(data)
    read_or_refused(pairs, path)
    read_or_refused(_embed, path)
    place = folder("dataset")
    (place / EMBEDDINGS).mkdir(exist_ok=True)
    (place / MANIFEST).write_text(json.dumps(MANIFEST_FACTS))
    (place / EMBEDDINGS / "x.parquet").write_bytes(data)
    read_or_refused(dataset, place)


def table(data: bytes) -> None:
    """Read a table of images, a file of labels or one of templates; the first byte chooses which."""
    name = ("x.jsonl", "x.csv", "x.tsv", "labels.txt", "labels.json", "templates.txt")[data[0] % 6 if data else 0]
    place = folder(f"table-{name}")
    (place / "a.png").write_bytes(picture_bytes(1))
    path = place / name
    path.write_bytes(data[1:])
    if name.startswith("x."):
        read_or_refused(pairs, path)
        read_or_refused(lambda path: choices(open_labelled(path, label_column="text"), None), path)
    else:
        read_or_refused(read_templates if name == "templates.txt" else read_labels, path)


def _embed(path: Path) -> None:
    """Write the parts of a source, whose images get embeddings of zeros."""
    source = open_source(str(path), image=None, columns=None, rows=2)
    place = Location.open(folder("parts"))
    for piece in source.pieces():
        with PartWriter(place, source, piece, "float32") as part:
            for picture in source.pictures(piece):
                if picture.error is None:
                    part.add([(picture, ROW)], np.zeros((1, _DIM), np.float32))
                else:
                    part.fail(picture, picture.error)
