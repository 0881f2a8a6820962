"""`open_pairs`: image-text pairs from any supported storage."""

from __future__ import annotations

import glob
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import check_integers
from clip_core.data.folder import open_folder, open_table, table_in
from clip_core.data.pairs import IndexedPairs, StreamedPairs
from clip_core.data.parquet import PARQUET_ENDINGS, ParquetPairs
from clip_core.data.rows import RowPairs, RowStream
from clip_core.data.shards import SHARD_ENDINGS, ShardPairs
from clip_core.data.tables import TABLE_ENDINGS
from clip_core.hub.files import check_no_device
from clip_core.hub.printing import shortened
from clip_core.hub.targets import expanded, given_path

if TYPE_CHECKING:
    from clip_core.data.folder import Unpaired
    from clip_core.data.pairs import Pairs

_KNOWN = (
    "give a folder of images with captions, a .jsonl, .csv or .tsv table, .tar shards, .parquet files, "
    "or a data set with named columns"
)
_NUMBERS = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_MOST_NAMES = 1_000_000  # that braces may stand for


def open_pairs(
    source: Any,
    *,
    image_column: str | None = None,
    caption_column: str | None = None,
    unpaired: Unpaired = "error",
    length: int | None = None,
) -> Pairs:
    """Open image-text pairs for a `PairLoader`.

    Args:
        source: one of:

            - a folder of images, with captions beside them (cat.jpg, cat.txt) or in a metadata.jsonl, .csv or .tsv;
            - such a table;
            - WebDataset shards (.tar, .tar.gz), or Parquet files with embedded image bytes: a path, a pattern such
              as "train-{000..099}.tar" or "data/*.parquet", a list of those, or the folder that contains them;
            - a `datasets.Dataset`, or any object with `len` and integer indexing; a `datasets.IterableDataset`, or
              any re-iterable object; rows are dictionaries;
            - a return value of this function.
        image_column: the column of images; by default "file_name" in tables and "image" elsewhere. For shards, the
            extension of the images.
        caption_column: the column of captions; "text" or "caption" by default. For shards, the extension or the JSON
            key.
        unpaired: how to treat a folder's images without a caption and captions without an image: "error", or "skip" to
            log and leave them out.
        length: the number of rows of an object without random access, which saves counting them.

    Returns:
        The pairs, by index where the source allows it and as a stream otherwise.

    Raises:
        TypeError: if `source` is an object of another kind.
        ValueError: if `source` is a path to anything else, is empty, or cannot be read. The message names the file and
            the place in it.
        ImportError: if a library needed to read it is not installed.
    """
    check_integers(length=(length, 0), optional=True)
    pairs = _opened(source, image_column, caption_column, unpaired, length)
    if len(pairs) == 0:
        raise ValueError(f"{_named(source)} contains no image-caption pairs")
    return pairs


def _opened(source: Any, image: str | None, caption: str | None, unpaired: Unpaired, length: int | None) -> Pairs:
    if isinstance(source, (IndexedPairs, StreamedPairs)):
        return source
    if isinstance(source, (str, Path)):
        return _from_paths(_found([source]), image, caption, unpaired)
    if isinstance(source, (list, tuple)) and source and all(isinstance(part, (str, Path)) for part in source):
        return _from_paths(_found(source), image, caption, unpaired)
    if isinstance(source, Mapping):
        raise TypeError(f"{_named(source)} of {', '.join(map(str, source))}: give one of them, such as data['train']")
    if isinstance(source, Iterator):
        raise TypeError(f"{_named(source)} can be read only once, but training rereads its data; give a list")
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return RowPairs(source, image, caption)
    if hasattr(source, "__iter__"):
        return RowStream(source, image, caption, length)
    raise TypeError(f"{_named(source)} is not a source of image-text pairs; {_KNOWN}")


def _from_paths(paths: list[Path], image: str | None, caption: str | None, unpaired: Unpaired) -> Pairs:
    """Open one folder or table, or any number of shards or Parquet files."""
    for path in paths:
        check_no_device(path)
    if all(path.name.lower().endswith(SHARD_ENDINGS) for path in paths):
        return ShardPairs(paths, image, caption)
    if all(path.name.lower().endswith(PARQUET_ENDINGS) for path in paths):
        return ParquetPairs(paths, image, caption)
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {len(paths) - 1} more: several files must all be .tar shards or all .parquet")
    (path,) = paths
    if path.is_dir():
        return _from_folder(path, image, caption, unpaired)
    if path.name.lower().endswith(TABLE_ENDINGS):
        return open_table(path, image, caption, unpaired)
    raise ValueError(f"{path} is not a source of image-text pairs; {_KNOWN}")


def _from_folder(folder: Path, image: str | None, caption: str | None, unpaired: Unpaired) -> Pairs:
    if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
        raise ValueError(f"{folder} was saved by `datasets`; load it with datasets.load_from_disk, and pass a split")
    table = table_in(folder)
    if table is not None:
        return open_table(table, image, caption, unpaired)
    files = {
        endings: sorted(path for path in folder.iterdir() if path.name.lower().endswith(endings))
        for endings in (SHARD_ENDINGS, PARQUET_ENDINGS)
    }
    kinds = [paths for paths in files.values() if paths]
    if len(kinds) > 1:
        raise ValueError(f"{folder} contains .tar shards and .parquet files; give a pattern for one kind")
    if kinds:
        return _from_paths(kinds[0], image, caption, unpaired)
    check_no_columns(folder, image_column=image, caption_column=caption)
    return open_folder(folder, unpaired)


def check_no_columns(folder: Path, **columns: str | None) -> None:
    """Check that no column is named for a folder of image files.

    Args:
        folder: the folder.
        **columns: the names of columns, by the argument that gives them.

    Raises:
        ValueError: if one is.
    """
    for name, column in columns.items():
        if column is not None:
            raise ValueError(f"{name}={column!r}: {folder} is a folder of image files, which have no columns; omit it")


def _found(sources: list[str | Path] | tuple[str | Path, ...]) -> list[Path]:
    """Resolve paths and patterns to existing paths, each pattern's matches sorted by name.

    Raises:
        ValueError: if nothing matches.
    """
    found: list[Path] = []
    for source in sources:
        if "://" in str(source) or str(source).startswith("pipe:"):
            raise ValueError(f"{source}: only local files can be read; download it first")
        for name in expand_braces(str(expanded(given_path(source)))):
            # An existing file wins even if its name looks like a pattern.
            matches = [name] if Path(name).exists() else sorted(glob.glob(name, recursive=True))  # noqa: PTH207
            if not matches:
                raise ValueError(f"{name}: no such file or folder")
            found += map(Path, matches)
    return found


def expand_braces(pattern: str) -> list[str]:
    """Expand braces as shells do: {000..012} and {a,b}.

    Args:
        pattern: a path or URL.

    Raises:
        ValueError: if it stands for more than a million names.
    """
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    ranges = [_NUMBERS.fullmatch(piece) if place % 2 else None for place, piece in enumerate(pieces)]
    counts = [int(found[2]) - int(found[1]) + 1 for found in ranges if found]
    counts += [piece.count(",") + 1 for piece in pieces[1::2]]
    if math.prod(max(count, 1) for count in counts) > _MOST_NAMES:
        raise ValueError(f"{shortened(pattern)}: its braces stand for more than {_MOST_NAMES:,} names; give fewer")
    choices = [_choices(piece) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(inner: str) -> list[str]:
    bounds = _NUMBERS.fullmatch(inner)
    if bounds is None:
        return inner.split(",") if "," in inner else [f"{{{inner}}}"]
    first, last = bounds.groups()
    width = len(first) if first.startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _named(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else f"an object of type {type(source).__name__}"
