"""`clip-zoo duplicates`: find equal and similar images in an index."""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003  cyclopts reads the annotations
from typing import Annotated

from cyclopts import Parameter

from clip_core.commands.streams import print_row
from clip_core.hub.printing import path_from_here

_TITLES = {"file": "identical files", "pixels": "identical pixels", "similar": "look-alikes"}


def duplicates(
    index: Annotated[Path, Parameter(name="INDEX")],
    /,
    *,
    threshold: float = 0.97,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Find identical files, identical pixels and look-alikes in an index. Deletes nothing, and runs no model.

    Parameters
    ----------
    index
        The folder of the index, made by `clip-zoo index`.
    threshold
        The lowest cosine of look-alikes.
    json
        Print one JSON object per group instead of text.
    """
    from tqdm import tqdm

    from clip_core.tasks.search import ImageIndex

    with ImageIndex(index) as images, tqdm(total=len(images), unit="image", disable=None, leave=False) as bar:
        groups = images.duplicates(threshold=threshold, on_progress=bar.update)
    for group in groups:
        if json:
            row = {"kind": group.kind, "similarity": group.similarity, "images": [str(path) for path in group.images]}
            print_row(row)
            continue
        lowest = math.floor(group.similarity * 1e4) / 1e4  # rounded down, so that "or more" is true
        similarity = f", cosine {lowest:.4f} or more" if group.kind == "similar" else ""
        print(f"{_TITLES[group.kind]}{similarity}:")
        for path in group.images:
            print(f"  {path_from_here(path)}")
    if not groups and not json:
        print("no duplicates")
    return 0
