"""Row 14: embedded stores of vectors, and the rate of `clip-zoo index`.

The vectors are unit vectors of 512 values around one centre for each 100. Every store holds the same ones and answers
the same queries in turns, in one process; recall@10 is measured beside an exact search. The build includes the index,
and an update adds 100 vectors permanently. On a busy machine, processor time means more than time by the clock. A store
that cannot be imported is left out. Building usearch's graph of a million vectors takes hours, so it is left out there.

For the last column, ten processes add 100 vectors at a time and are killed (SIGKILL) at random moments: it counts the
vectors whose addition had returned, and of these the ones that are not in the store when it is opened again.

`ImageIndex.add` is compared with `encode_images` on the same JPEG files, with ViT-B/32 of random weights in PyTorch.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from checkpoints import write_processed
from goals import at_least, at_most
from harness import COLUMNS, Row, compare, times_as_fast
from report import Report, Table
from serving import drawn
from targets import ROOT, Target

from clip_core.tasks.search import ImageIndex
from clip_core.tasks.zero_shot import ZeroShotClassifier

if TYPE_CHECKING:
    from goals import Goal
    from settings import Settings

COUNTS = (100_000, 1_000_000)
TURNS = 15
IMAGES = 24
WITHIN, RECALL, SECONDS, RATE = 1.5, 0.95, 0.010, 0.95  # the targets
OURS, LISTS, NUMPY = "ours, exact", "ours, inverted lists", "NumPy on a memory map"
# Of the largest count.
FEW = (OURS, LISTS, NUMPY, "sqlite-vec, exact", "LanceDB, exact", "LanceDB, IVF_HNSW_SQ", "faiss alone, 8 bits")
KILLS = 10
PROGRAM = Path(__file__).parent / "adapters" / "vector_measurements.py"


def report(settings: Settings) -> Report:
    """Run the benchmark; a quick check uses few vectors and a tiny model."""
    found = []
    for count in (2_000,) if settings.quick else COUNTS:
        found += measured(count, settings)
    return composed(found, indexing(settings), quick=settings.quick)


def composed(found: list[dict[str, Any]], row: Row, *, quick: bool) -> Report:
    """Return the report of what the programs printed, and of the rate of indexing."""
    stores = [one for one in found if "build" in one]
    written = Report("stores", "Stores of vectors", __doc__ or "", quick=quick)
    written.versions |= {name: number for one in found for name, number in one.get("versions", {}).items()}
    written.tables = [table(stores), Table(["images", *COLUMNS], [row.cells()])]
    written.measurements = [*stores, row.record()]
    written.goals = [*goals(stores), times_as_fast(row, RATE)]
    written.notes = [f"{one['store']} was left out: {one['left_out']}" for one in found if "left_out" in one]
    return written


def measured(count: int, settings: Settings) -> list[dict[str, Any]]:
    """Measure every store in a process of the peers' environment, or of ours if there is none."""
    python = Target("", "stores").python()
    python = python if python.exists() else Path(sys.executable)
    turns = 2 if settings.quick else TURNS
    names = FEW if count == max(COUNTS) else ()  # all
    kills = 1 if settings.quick else KILLS if count == min(COUNTS) else 0
    command = [str(python), str(PROGRAM), str(count), str(settings.scratch / "stores"), str(turns), str(kills), *names]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)  # noqa: S603
    return [json.loads(line) for line in done.stdout.splitlines()]


def indexing(settings: Settings) -> Row:
    """Compare a new index of images with their embeddings alone."""
    folder, images = settings.scratch / "model", settings.scratch / "images"
    write_processed(folder, quick=settings.quick)
    images.mkdir()
    files = drawn("images", 8 if settings.quick else IMAGES)
    paths = [images / f"{number:04}.jpg" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    classifier = ZeroShotClassifier.from_pretrained(folder, backend="torch")
    numbers = counting()
    made = ImageIndex(settings.scratch / "made", model=folder, backend="torch", create=True)
    made.model  # noqa: B018  loaded before it is timed

    def ours() -> None:
        with ImageIndex(settings.scratch / f"index-{next(numbers)}", model=folder, create=True) as index:
            index.__dict__["model"] = made.model  # loading is not timed
            index.add(paths)
        shutil.rmtree(index._store.folder)  # noqa: SLF001

    with made:
        assert made.add(paths).added == len(paths)
        embeds = classifier.encode_images(paths)
        for path, embed in zip(paths, embeds, strict=True):
            hit = made.nearest(embed, top_k=1)[0]
            assert hit.path == path
            assert abs(hit.score - 1) < 1e-5
        return compare(f"{len(paths)} images", ours, lambda: classifier.encode_images(paths), peer_name="encode_images")


def table(stores: list[dict[str, Any]]) -> Table:
    """Return the table of the stores."""
    rows = [
        [
            f"{one['count']:,} vectors, {one['store']}",
            f"{one['build']:.1f}",
            f"{one['build_processor']:.1f}",
            f"{1e3 * statistics.median(one['seconds']):.2f}",
            f"{1e3 * float(np.quantile(one['seconds'], 0.9)):.2f}",
            f"{1e3 * statistics.median(one['processor']):.2f}",
            f"{one['recall']:.3f}",
            f"{one['bytes'] / 1e6:.0f}",
            f"{1e3 * one['update']:.0f}",
            f"{one['lost']:,} of {one['acknowledged']:,}" if one["acknowledged"] else "",
        ]
        for one in stores
    ]
    heads = ["store", "build, s", "on the processor", "query, ms", "p90, ms", "on the processor", "recall@10"]
    return Table([*heads, "size, MB", "update, ms", "lost by kills"], rows)


def goals(stores: list[dict[str, Any]]) -> list[Goal]:
    """Return the targets: exact search beside NumPy, and approximate search of a million."""
    by_name = {(one["store"], one["count"]): one for one in stores}
    found = []
    for count in COUNTS:
        if {(OURS, count), (NUMPY, count)} <= by_name.keys() and count == min(COUNTS):
            ours, least = (statistics.median(by_name[name, count]["seconds"]) for name in (OURS, NUMPY))
            found.append(at_most(f"exact search of {count:,} vectors: times NumPy's", ours / least, WITHIN))
        if (LISTS, count) in by_name and count == max(COUNTS):
            one = by_name[LISTS, count]
            found.append(at_least(f"inverted lists of {count:,} vectors: recall@10", one["recall"], RECALL))
            seconds = statistics.median(one["seconds"])
            found.append(at_most(f"inverted lists of {count:,} vectors: a query", seconds, SECONDS, " s"))
    return found
