"""The folder that is converted into: what it may hold, and that it never holds half a checkpoint."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from clip_core.files import new_folder
from converters.description import beside
from converters.formats import FORMATS
from converters.writing import weight_files

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from clip_core.hub import HubOptions
    from converters.formats import Format


def is_folder_of(source: str | os.PathLike[str], options: HubOptions, folder: Path) -> bool:
    """Whether the target is where the source is, and what stands beside the weights there is theirs already."""
    place, rest = beside(source, options)
    own = Path(place).expanduser() / (rest.get("subfolder") or "")
    return own.is_dir() and folder.is_dir() and own.samefile(folder)


def whole(folder: Path) -> AbstractContextManager[Path]:
    """A folder to write to: the one meant, or where there is none yet, one that gets its name when all is written."""
    return nullcontext(folder) if folder.exists() else new_folder(folder)


def check_target(folder: Path, format_: Format, texts: Mapping[str, str], notes: list[str], *, overwrite: bool) -> None:
    """Refuse a target that is no folder, or holds other weights or texts that are not to be replaced.

    Args:
        folder: the target.
        format_: what is to be written.
        texts: name to content of what is to stand beside the weights.
        notes: gets a line where the target holds weights of another format too.
        overwrite: whether what is there may be replaced.

    Raises:
        NotADirectoryError: a file stands in the way.
        FileExistsError: the folder holds such files, and `overwrite` is not given.
    """
    there_is = next(path for path in (folder, *folder.parents) if path.exists())
    if not there_is.is_dir():
        raise NotADirectoryError(f"{there_is} is a file; give a folder to convert into")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    other = [name for each in FORMATS if each.file != format_.file for name in there if name in each.candidates(None)]
    if other:
        notes.append(f"{folder} also holds {', '.join(other)}; clip-zoo inspect says which is taken, and if they agree")
    if overwrite:
        return
    replaced = weight_files(format_.file)
    taken = [name for name in there if replaced.fullmatch(name)]
    taken += [name for name, text in texts.items() if (folder / name).exists() and not _holds(folder / name, text)]
    if taken:
        raise FileExistsError(f"{folder} holds {', '.join(sorted(taken))} already; pass --overwrite to replace that")


def _holds(path: Path, text: str) -> bool:
    return path.read_bytes() == text.encode()
