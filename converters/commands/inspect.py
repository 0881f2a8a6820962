"""`clip-zoo inspect`: describe a checkpoint, and warn of known traps."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clip_core.commands.options import check_subfolder, note_ignored_revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from converters.inspection.inspect import Inspection


def inspect(
    source: Annotated[str, Parameter(name="SRC")],
    /,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    values: Annotated[bool, Parameter(name="--hash", negative="--no-hash")] = True,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Describe a checkpoint, and warn of known traps.

    Parameters
    ----------
    source
        A folder, a weight file or a hub id, in any format.
    subfolder
        The subfolder of the source.
    revision
        A branch, tag or commit on the hub; ignored for a local source.
    values
        Also read the weights, to compute a hash that is the same in every format, to find NaN, and to compare several
        formats in one folder.
    json
        Print a JSON object instead of text.
    """
    from converters.inspection.inspect import inspect as inspect_checkpoint

    check_subfolder(source, subfolder)
    note_ignored_revision(source, revision)
    result = inspect_checkpoint(source, values=values, subfolder=subfolder, revision=revision)
    if json:
        print(json_module.dumps(result.to_dict(), ensure_ascii=False))
        return 0
    rows = list(_rows(result))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    for name, text in result.warnings.items():
        print(f"warning: {name}: {text}")
    return 0


def _rows(result: Inspection) -> Iterator[tuple[str, Any]]:
    from converters.formats import format_named

    yield "checkpoint", result.source
    own_layout = format_named(result.format).layout.name
    yield "format", result.format + ("" if result.layout == own_layout else f" with {result.layout}'s names")
    yield "model", f"{result.class_name}, configuration from {result.config_from}"
    for name, tower in result.towers.items():
        yield name, ", ".join(f"{field} {value}" for field, value in tower.items())
    yield "projection", result.projection_dim or "none"
    yield "parameters", f"{result.parameters:,}"
    yield "dtypes", ", ".join(result.dtypes)
    for name, value in (result.preprocessing or {"unknown": ""}).items():
        yield f"images: {name}", value
    for name, size in result.files.items():
        yield f"file {name}", f"{size:,} bytes"
    if result.sha256 is not None:
        yield "hash of the weights", result.sha256
