"""`clip-zoo convert`: convert a checkpoint to another format."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from clip_core.commands.options import check_subfolder, dtype_option, note_ignored_revision
from clip_core.commands.wording import LOCAL
from clip_core.configuration.checks import DTYPES
from clip_core.hub.printing import counted


def _help_of_to() -> str:
    """Return the help of `--to`, listing the formats that are registered when the help is shown."""
    from converters.formats import target_names

    *names, last = target_names()
    return f"The format: {', '.join(names)} or {last}."


def convert(
    source: Annotated[str, Parameter(name="SRC")],
    target: Annotated[str, Parameter(name="DST"), LOCAL],
    /,
    *,
    to: Annotated[str, Parameter(help=_help_of_to())],
    dtype: Annotated[str | None, dtype_option(*DTYPES)] = None,
    max_shard_size: str | None = None,
    subfolder: str | None = None,
    revision: str | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Convert a checkpoint into another format. If this fails, the target is unchanged.

    Parameters
    ----------
    source
        A folder, a weight file or a hub id, in any format.
    target
        The folder to write to, created if missing.
    dtype
        The dtype of the weights: float32, float16, bfloat16 or float64; by default it is kept.
    max_shard_size
        A size such as 500MB or 5GB; larger weights are split into several files.
    subfolder
        The subfolder of the source.
    revision
        A branch, tag or commit on the hub; ignored for a local source.
    overwrite
        Replace existing files.
    json
        Print a JSON object instead of text.
    """
    from converters.conversion import convert as convert_checkpoint
    from converters.formats import FORMATS

    endings = tuple(suffix for format_ in FORMATS for suffix in format_.suffixes)
    if target.endswith(endings) and not Path(target).exists():
        raise ValueError(f"DST {target} is named like a weight file; give a folder, in which files have standard names")
    check_subfolder(source, subfolder)
    note_ignored_revision(source, revision)
    result = convert_checkpoint(
        source,
        target,
        to,
        dtype=dtype,
        max_shard_size=max_shard_size,
        overwrite=overwrite,
        subfolder=subfolder,
        revision=revision,
    )
    if json:
        print(json_module.dumps(asdict(result), ensure_ascii=False))
        return 0
    size = f"{counted(result.tensors, 'tensor')}, {result.bytes / 1e6:,.1f} MB"
    print(f"{result.class_name} ({size}): {result.source_format} to {result.target_format}, in {result.target}")
    print("\n".join(f"  {name}" for name in result.files))
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    return 0
