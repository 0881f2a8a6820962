"""Row 15: the rate of `clip-zoo embed` on a folder, on shards and on a table, beside `encode_images` on the same files.

The model is ViT-B/32 with random weights in PyTorch, loaded once and prepared for the CPU, as `embed` does. Both write
or return the embeddings of the same JPEG files, in turns; `embed` also hashes files and pixels, reads what the source
has, and writes Parquet. The last column is the processor time of one image, of all threads: it depends least on other
work on the machine, and the arithmetic in docs/embedding.md starts from it.
"""

from __future__ import annotations

import io
import shutil
import statistics
import tarfile
import time
from itertools import count as counting
from typing import TYPE_CHECKING

import numpy as np
from checkpoints import write_processed
from harness import COLUMNS, Row, compare, times_as_fast
from report import Report, Table
from serving import drawn

from clip_core.tasks.embedding import EmbeddedDataset
from clip_core.tasks.embedding.embedder import Embedder, ModelSettings
from clip_core.tasks.embedding.manifest import MANIFEST, new_manifest
from clip_core.tasks.embedding.places import Location
from clip_core.tasks.embedding.sources import open_source
from clip_core.tasks.search.identity import describe_model

if TYPE_CHECKING:
    from pathlib import Path

    from settings import Settings

    from clip_core.tasks.zero_shot import ZeroShotClassifier

IMAGES = 64
PIECES = 1  # a small one; in a real job, 4,096 images share what each piece costs
RATE = 0.95  # the target: the share of the rate of `encode_images`
SAME = 1e-5  # of embeddings of unit norm


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses few images and a tiny model."""
    model = settings.scratch / "model"
    write_processed(model, quick=settings.quick)
    files = drawn("images", 8 if settings.quick else IMAGES)
    sources = write_sources(settings.scratch, files)
    loaded = ModelSettings(str(model), "torch").load().prepared()  # as the job does
    paths = sorted((settings.scratch / "folder").iterdir())
    written = Report("embedding", "Embedding into Parquet files", __doc__ or "", quick=settings.quick)
    rows, cells = [], []
    for kind, source in sources.items():
        row, processor = measured(kind, source, paths, loaded, settings.scratch)
        rows.append(row)
        cells.append([*row.cells(), *(f"{1e3 * seconds:.1f}" for seconds in processor)])
        written.measurements.append(
            row.record() | {"processor_seconds": dict(zip(("ours", "peer"), processor, strict=True))}
        )
    columns = [*COLUMNS, "ours, processor ms an image", "peer, processor ms an image"]
    written.tables = [Table([f"{len(files)} images", *columns], cells)]
    written.goals = [times_as_fast(row, RATE) for row in rows]
    return written


def write_sources(folder: Path, files: list[bytes]) -> dict[str, str]:
    """Write the same images as files, as shards and as a table, in the order of their names."""
    import pyarrow as pa
    from pyarrow import parquet

    for name in ("folder", "shards"):
        (folder / name).mkdir()
    for number, content in enumerate(files):
        (folder / f"folder/{number:04}.jpg").write_bytes(content)
    each = len(files) // PIECES
    for piece in range(PIECES):
        with tarfile.open(folder / f"shards/{piece}.tar", "w") as tar:
            for number in range(piece * each, (piece + 1) * each):
                member = tarfile.TarInfo(f"{number:04}.jpg")
                member.size = len(files[number])
                tar.addfile(member, io.BytesIO(files[number]))
    parquet.write_table(pa.table({"image": files}), folder / "table.parquet", row_group_size=each)
    return {"a folder": f"{folder}/folder", "shards": f"{folder}/shards", "a table": f"{folder}/table.parquet"}


def measured(
    kind: str, source: str, paths: list[Path], model: ZeroShotClassifier, scratch: Path
) -> tuple[Row, tuple[float, float]]:
    """Compare a kind of source; return the row, and the median processor seconds of an image, ours and the peer's."""
    opened = open_source(source, image=None, columns=None, rows=len(paths) // PIECES)
    settings = ModelSettings("random", "torch")
    facts = new_manifest(source, opened.settings, describe_model(model, "random", "torch", None), "float32")
    numbers = counting()
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}

    def embedded() -> Path:
        folder = scratch / f"dataset-{next(numbers)}"
        place = Location.open(folder)
        place.write_json(MANIFEST, facts)
        embedder = Embedder(model, settings, opened, place, facts)
        assert sum(embedder(piece).images for piece in opened.pieces()) == len(paths)
        return folder

    def ours() -> None:
        start = time.process_time()
        folder = embedded()
        seconds["ours"].append((time.process_time() - start) / len(paths))
        shutil.rmtree(folder)

    def peer() -> np.ndarray:
        start = time.process_time()
        found = model.encode_images(paths)
        seconds["peer"].append((time.process_time() - start) / len(paths))
        return found

    first = embedded()
    check(first, peer())
    shutil.rmtree(first)
    row = compare(f"{kind}, {len(paths)} images", ours, peer, peer_name="encode_images")
    return row, (statistics.median(seconds["ours"]), statistics.median(seconds["peer"]))


def check(folder: Path, expected: np.ndarray) -> None:
    """Check that a dataset has the embeddings of the peer, in any order of the parts."""
    by_number = {
        _number(row.path): embed
        for rows, embeds in EmbeddedDataset(folder).batches()
        for row, embed in zip(rows, embeds, strict=True)
    }
    ordered = np.stack([by_number[number] for number in range(len(expected))])
    assert np.abs(ordered - expected).max() < SAME


def _number(path: bytes) -> int:
    name = path.decode().rpartition("#")[2] if b"#" in path else path.decode().rpartition("/")[2]
    return int(name.removesuffix(".jpg"))
