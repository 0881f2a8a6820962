"""`clip-zoo index`: embed images for searching."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, suppress
from pathlib import Path  # noqa: TC003  cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from clip_core.commands.options import SEVERAL, Dtype, Integer, check_backend, check_out, images_of
from clip_core.commands.streams import print_row
from clip_core.commands.wording import LOCAL, as_typed
from clip_core.configuration.arguments import check_integers
from clip_core.hub.printing import counted, printable
from clip_core.hub.targets import expanded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_core.tasks.search import IndexChanges

BAD_INPUT = 2


def index(
    folders: Annotated[list[str] | None, Parameter(name="FOLDER", negative=""), LOCAL] = None,
    /,
    *,
    out: Path,
    dataset: Annotated[str | None, Parameter(name="--from")] = None,
    remove: Annotated[list[str] | None, SEVERAL] = None,
    model: str | None = None,
    backend: str | None = None,
    device: str | None = None,
    dtype: Dtype = None,
    captions: Annotated[bool, Parameter(negative="")] = False,
    batch_size: Integer = 32,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Index images for searching, or bring an index up to date.

    Parameters
    ----------
    folders
        Folders (searched recursively), image files and globs. If the index exists, only new and changed files are
        encoded, and files deleted from these folders are removed from it.
    out
        The folder of the index.
    dataset
        A dataset that `clip-zoo embed` wrote, instead of folders: its embeddings are used, and no model is loaded.
    remove
        Files and folders whose images to remove from the index, such as a folder that was moved. They are removed last,
        and nothing is deleted from the disk.
    model
        A local folder or a hub id; by default that of the index, or openai/clip-vit-base-patch32.
    backend
        The framework that runs the model: torch, flax or tf; by default the first of these that is installed.
    device
        The device, such as cpu or cuda; by default the best available.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or auto; by default that of the index, or float32.
    captions
        Also store the text file of the same name beside each image, to show it with the hits.
    batch_size
        Images to encode at a time.
    json
        Print one JSON object per line: each image once it is stored, each broken file, and a summary.
    """
    check_integers(batch_size=(batch_size, 1))
    given = {"--model": model, "--backend": backend, "--device": device, "--dtype": dtype, "--captions": captions}
    _check_sources(folders, dataset, remove, [name for name, value in given.items() if value])
    check_backend(backend, device)
    _check_no_index(folders or [])
    check_out(out, "FOLDER", folders or [])
    from tqdm import tqdm

    from clip_core.tasks.search import ImageIndex

    def stored(paths: list[Path]) -> None:
        bar.update(len(paths))
        if json:
            for path in paths:
                print_row({"image": str(path)})

    def broken(path: Path, error: ValueError) -> None:
        bar.update(1)
        with tqdm.external_write_mode(file=sys.stderr):
            told = as_typed(str(error), "FOLDER", folders or [])
            print(f"clip-zoo: {printable(told)}", file=sys.stderr)
        if json:
            print_row({"image": str(path), "error": str(error)})

    with (
        _removed_if_empty(out),
        tqdm(unit="image", disable=None) as bar,
        ImageIndex(
            out, model=model, backend=backend, device=device, dtype=dtype, create=bool(folders) or dataset is not None
        ) as images,
        images_of(model or images.facts.get("model", "")),
    ):
        if dataset is not None:
            changes = images.add_embedded(dataset, on_start=bar.reset, on_commit=bar.update)
        else:
            changes = images.add(
                folders or [],
                captions=captions,
                batch_size=batch_size,
                on_start=bar.reset,
                on_commit=stored,
                on_error=broken,
            )
        removed = images.remove(remove or [])  # after the rest, which may fail
        if remove and not removed:
            raise ValueError(f"--remove {' '.join(remove)}: the index has no image there; give paths as it has them")
        changes.removed += removed
        total = len(images)
    _report(changes, total, out, json=json)
    return BAD_INPUT if changes.broken else 0


def _check_sources(
    folders: list[str] | None, dataset: str | None, remove: list[str] | None, encoding: list[str]
) -> None:
    """Check that there is something to do, and that a dataset comes without options for encoding images.

    Raises:
        ValueError: otherwise.
    """
    if dataset is not None and folders:
        raise ValueError("give either a FOLDER, or --from with a dataset that `clip-zoo embed` wrote, not both")
    if not (folders or dataset is not None or remove):
        raise ValueError("give a FOLDER, --from with a dataset that `clip-zoo embed` wrote, or --remove")
    if dataset is not None and encoding:
        raise ValueError(f"{encoding[0]} does not go with --from, which uses the embeddings of the dataset as they are")


def _check_no_index(folders: list[str]) -> None:
    from clip_core.tasks.search.store import DATABASE

    for folder in folders:
        if os.path.isfile(expanded(folder) / DATABASE):  # noqa: PTH113  no error for a long name
            raise ValueError(f"FOLDER {folder} is an index; give the folder of its images")


@contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a new index, and the folders created for it, if no image is in it after the block."""
    from clip_core.tasks.search.store import DATABASE, SqliteStore

    is_new = not (folder / DATABASE).exists()
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # such as for an index that could not be created
            if is_new:
                with closing(SqliteStore(folder)) as store:
                    store.remove_if_empty()
        with suppress(OSError):
            for one in missing:
                one.rmdir()  # fails if anything is in it


def _report(changes: IndexChanges, total: int, folder: Path, *, json: bool) -> None:
    from clip_core.tasks.search.store import DATABASE

    counts = {
        "added": changes.added,
        "changed": changes.changed,
        "removed": changes.removed,
        "unchanged": changes.unchanged,
        "broken": len(changes.broken),
    }
    if json:
        print_row({"index": str(folder), "images": total, **counts})
        return
    told = [f"{count} {name}" for name, count in counts.items() if count]
    if list(filter(counts.get, counts)) == ["unchanged"]:
        told.append("nothing to do")
    if not (folder / DATABASE).exists():
        told.append("no index made")
    print(f"{folder}: {counted(total, 'image')} ({', '.join(told)})")
