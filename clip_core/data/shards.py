"""WebDataset shards: tar files in which the files of a sample are adjacent and share a name up to the first dot.

They are read with Python's own `tarfile`. The `webdataset` library imports PyTorch if it is installed, and a loader
that serves three frameworks must load none.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import tarfile
import zlib
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from importlib import import_module
from itertools import islice
from lzma import LZMAError
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from clip_core.data.pairs import LARGEST, Broken, Pair, StreamedPairs, make_pair
from clip_core.data.tables import CAPTION_COLUMNS
from clip_core.hub.changes import check_written
from clip_core.hub.files import read_json
from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.hub.printing import counted, printable, reason_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz")

SHARD_IMAGES = ("jpg", "jpeg", "png", "webp")
_SIZES = "sizes.json"
# tarfile also raises a ValueError at a number that is none, and a RecursionError at a thousand headers of one file.
_UNREADABLE = (tarfile.TarError, OSError, EOFError, zlib.error, LZMAError, ValueError, RecursionError)
_COMPRESSIONS = {rb"\x1f\x8b\x08": "gzip", rb"BZh[1-9]1AY&SY": "bz2", rb"\xfd7zXZ\x00": "lzma"}
_LONGEST_MARK = 10
_LARGEST_EXPANSION, _ALWAYS_ALLOWED = 16, 2**24
_LARGEST_HEADER = 2**20  # of the names, times and so on of one file
_logger = logging.getLogger(__name__)


class Sample(NamedTuple):
    """The files of one sample.

    Attributes:
        name: the name that they share.
        files: their contents by the lower-case name after the first dot; empty if not wanted, or too large.
        too_large: the sizes in bytes of files that are too large, by the same names.
    """

    name: str
    files: dict[str, bytes]
    too_large: dict[str, int]


class ShardPairs(StreamedPairs):
    """Pairs in tar shards: a .jpg, .jpeg, .png or .webp with a .txt, or with a .json that holds the caption.

    The number of samples per shard is read from a `sizes.json` beside it (`{"train-000.tar": 1000}`), or counted once
    from the file headers.

    Args:
        shards: paths of the shards.
        image: the extension of the images, such as "jpg"; by default any of the four.
        caption: the extension of the captions, such as "txt", or a key of the .json; "txt", "text" or "caption" by
            default.
    """

    def __init__(self, shards: Sequence[Path], image: str | None = None, caption: str | None = None) -> None:
        self._shards = list(shards)
        self._images = SHARD_IMAGES if image is None else (image.lower(),)
        self._captions = CAPTION_COLUMNS if caption is None else (caption,)

    @cached_property
    def sizes(self) -> list[int]:
        """The number of samples in each shard, from `sizes.json` or counted."""
        stated = {folder: _stated_sizes(folder) for folder in {shard.parent for shard in self._shards}}
        unknown = [shard for shard in self._shards if shard.name not in stated[shard.parent]]
        if unknown:
            _logger.info("counting the samples of %d shards; a %s beside them would avoid this", len(unknown), _SIZES)
        return [stated[shard.parent].get(shard.name) or _count(shard) for shard in self._shards]

    def read(self, shard: int, start: int, stop: int) -> Iterator[Pair | Broken]:
        """Yield samples `start` to `stop` (exclusive) of a shard.

        Raises:
            ValueError: if the shard cannot be read or ends before `stop`.
        """
        path = self._shards[shard]
        number = start
        wanted = {*self._images, *self._captions, "json"}
        with open_shard(path) as tar:
            for sample in islice(shard_samples(tar, path, wanted, start, LARGEST), start, stop):
                yield self._pair(path, sample)
                number += 1
        if number < stop:
            stated = self.sizes[shard]
            raise ValueError(
                f"{path}: {counted(number, 'sample')} found; expected {stated}, from {_SIZES} or an earlier count"
            )

    def _pair(self, path: Path, sample: Sample) -> Pair | Broken:
        key = f"{path} sample {printable(sample.name)}"
        if sample.too_large:
            ending, size = next(iter(sample.too_large.items()))
            return Broken(key, f"its .{ending} has {size:,} bytes; at most {LARGEST:,} are read")
        image = next((sample.files[ending] for ending in self._images if ending in sample.files), None)
        try:
            caption = self._caption(sample)
        except (ValueError, RecursionError) as error:
            return Broken(key, f"the caption cannot be read ({printable(error)})")
        return make_pair(key, image, caption)

    def _caption(self, sample: Sample) -> Any:
        """Return the caption from the sample's text file or JSON object; None if it has neither.

        Raises:
            ValueError: if the file is not valid UTF-8 or JSON.
        """
        text = next((sample.files[name] for name in self._captions if name in sample.files), None)
        if text is not None:
            return text.decode()
        content = json.loads(sample.files["json"]) if "json" in sample.files else None
        if not isinstance(content, dict):
            return None
        return next((content[name] for name in self._captions if name in content), None)


def _stated_sizes(folder: Path) -> dict[str, int]:
    path = folder / _SIZES
    if not path.is_file():
        return {}
    sizes = read_json(path)
    if not isinstance(sizes, dict) or not all(isinstance(size, int) and size > 0 for size in sizes.values()):
        raise ValueError(f"{path}: expected a JSON object from shard name to number of samples")
    return sizes


def _count(path: Path) -> int:
    with open_shard(path) as tar:
        return sum(1 for _ in shard_samples(tar, path))


class _Bounded(io.RawIOBase):
    """A shard, decompressed if necessary, that refuses to give many times its size, or long headers.

    Args:
        file: the file.
        size: its size in bytes, if it is compressed before decompression.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._end = _LARGEST_EXPANSION * size + _ALWAYS_ALLOWED
        self.left = _LARGEST_HEADER  # bytes until it is set again; tarfile reads a header of whatever length it states

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of more than {_LARGEST_HEADER:,} bytes")
        self.left -= size
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self._check(place)
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def _check(self, place: int) -> None:
        if place > self._end:
            raise tarfile.ReadError(f"it expands to {place:,} bytes or more; expected at most {self._end:,}")


@contextmanager
def open_shard(path: Path | str, file: IO[bytes] | None = None) -> Iterator[tarfile.TarFile]:
    """Open a shard, and close it after the block.

    Args:
        path: its path, or its name in messages.
        file: the open file, which need not be local; None to open the path.

    Raises:
        ValueError: if it is not a tar file.
    """
    with ExitStack() as stack:
        try:
            tar = _tar(stack.enter_context(Path(path).open("rb")) if file is None else file, stack)
        except FileNotFoundError as error:
            raise ValueError(f"{path}: no such file") from error
        except (PermissionError, IsADirectoryError) as error:
            raise ValueError(f"{path}: {reason_of(error)}") from error
        except _UNREADABLE as error:
            check_not_lfs_pointer(Path(path))
            raise ValueError(f"{path}: not a readable tar file ({printable(error)})") from error
        yield tar


def _tar(file: IO[bytes], stack: ExitStack) -> tarfile.TarFile:
    size = file.seek(0, os.SEEK_END)
    with suppress(OSError, AttributeError):  # not a file of this machine
        check_written(os.fstat(file.fileno()))
    file.seek(0)
    start = file.read(_LONGEST_MARK)
    file.seek(0)
    for mark, module in _COMPRESSIONS.items():
        if re.match(mark, start):  # imported when needed, because a build of Python may lack one
            file = stack.enter_context(import_module(module).open(file))
            break
    return stack.enter_context(tarfile.open(fileobj=cast("IO[bytes]", _Bounded(file, size)), mode="r:"))


def shard_samples(
    tar: tarfile.TarFile,
    path: Path | str,
    wanted: Collection[str] = (),
    first: int = 0,
    largest: int | None = None,
) -> Iterator[Sample]:
    """Yield the samples of a shard in order, with the contents of files of wanted types from sample `first` on.

    File contents are read when their headers are reached, because seeking back in a compressed file means starting
    over.

    Args:
        tar: the open shard.
        path: its path, or its name in messages.
        wanted: the names after the first dot of files to read.
        first: the number of the first sample to read.
        largest: bytes of the largest file to read; None for no limit.

    Raises:
        ValueError: if the file is truncated or damaged.
    """
    sample = Sample("", {}, {})
    number = -1
    for member in _members(tar, path):
        folder, slash, file = member.name.rpartition("/")
        stem, _, ending = file.partition(".")
        ending = ending.lower()
        if folder + slash + stem != sample.name:
            if number >= 0:
                yield sample
            sample = Sample(folder + slash + stem, {}, {})
            number += 1
        if ending in sample.files:
            raise ValueError(f"{path} sample {printable(sample.name)}: two files end in .{printable(ending)}")
        is_wanted = number >= first and ending in wanted
        if is_wanted and largest is not None and member.size > largest:
            sample.too_large[ending] = member.size
        is_read = is_wanted and ending not in sample.too_large
        sample.files[ending] = _content(tar, member, path) if is_read else b""
    if number >= 0:
        yield sample


def _members(tar: tarfile.TarFile, path: Path | str) -> Iterator[tarfile.TarInfo]:
    bounded = cast("_Bounded", tar.fileobj)
    last, end = "its beginning", 0
    try:
        while (member := tar.next()) is not None:
            vars(tar)["members"] = []  # tarfile keeps them all, and a shard has many
            if tar.offset <= end or member.size < 0:  # older releases of Python would read it for ever
                raise tarfile.ReadError(f"a file of {member.size:,} bytes")
            end = tar.offset
            bounded.left = _LARGEST_HEADER
            last = printable(member.name)
            if member.isreg() and "." in member.name and not member.name.startswith("__"):
                yield member
        is_whole = _ends_well(tar)
    except _UNREADABLE as error:
        raise ValueError(
            f"{path}: truncated or damaged after {last} ({printable(error)}); download it again"
        ) from error
    if not is_whole:
        raise ValueError(f"{path}: truncated or damaged after {last}; download it again")


def _ends_well(tar: tarfile.TarFile) -> bool:
    """Return True if the archive ends in a block of zeros; tarfile also accepts half a header as the end."""
    assert tar.fileobj is not None  # noqa: S101  the file is open
    tar.fileobj.seek(tar.offset)
    return tar.fileobj.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path | str) -> bytes:
    """Return a file's bytes.

    Raises:
        ValueError: if the archive ends inside the file, or stores it as a sparse one.
    """
    bounded = cast("_Bounded", tar.fileobj)
    if member.issparse():  # tarfile needs a time that grows with the square of its parts
        raise ValueError(f"{path}: {printable(member.name)} is stored as a sparse file; make the tar without --sparse")
    try:
        bounded.left = member.size
        file = tar.extractfile(member)
        content = b"" if file is None else file.read()
        bounded.left = _LARGEST_HEADER
    except _UNREADABLE as error:
        raise ValueError(
            f"{path}: truncated or damaged in {printable(member.name)} ({printable(error)}); download it again"
        ) from error
    if len(content) < member.size:
        raise ValueError(f"{path}: truncated in {printable(member.name)}; download it again")
    return content
