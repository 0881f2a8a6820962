"""Hostile datasets: tar shards, tables and Parquet files."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from hostile.catalogue import Hostile
from pyarrow import parquet

from clip_core.tasks.embedding.manifest import MANIFEST, new_manifest
from clip_core.tasks.embedding.parts import EMBEDDINGS
from support.training_data import picture_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ESCAPE = "\x1b[2J"


def shard(*files: tuple[str, bytes], sizes: str = "") -> Callable[[Path], Path]:
    """Return a tar shard with a picture and more files, and the sizes that are stated beside it."""

    def make(folder: Path) -> Path:
        if sizes:
            (folder / "sizes.json").write_text(sizes)
        with tarfile.open(folder / "x.tar", "w") as tar:
            for name, content in (("a.png", picture_bytes(1)), *files):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return folder / "x.tar"

    return make


def sparse(folder: Path) -> Path:
    """Write a shard of 10 KB with a picture of 700 MB, no part of which is stored."""
    sizes = {"GNU.sparse.name": "b.png", "GNU.sparse.realsize": str(700 * 2**20)}
    parts = b"0\n".ljust(512, b"\0")
    with tarfile.open(folder / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("GNUSparseFile.0/b.png")
        member.size = len(parts)
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", **sizes}
        tar.addfile(member, io.BytesIO(parts))
    return folder / "x.tar"


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return the header of a file in a tar."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def negative(name: str) -> bytes:
    """Return the header of a file of -1,024 bytes."""
    made = bytearray(header(name, 0))
    made[124:136] = (-1024).to_bytes(12, "big", signed=True)
    made[148:156] = b" " * 8
    made[148:156] = b"%06o\0 " % sum(made)
    return bytes(made)


def extended(records: dict[str, str] | bytes) -> bytes:
    """Return a header that extends the next one, as POSIX defines it."""
    text = records if isinstance(records, bytes) else b""
    for key, value in {} if isinstance(records, bytes) else records.items():
        length = len(f" {key}={value}\n")
        length += len(str(length + len(str(length))))
        text += f"{length} {key}={value}\n".encode()
    return header("x", len(text), tarfile.XHDTYPE) + text.ljust(-(-len(text) // 512) * 512, b"\0")


def tar_of(*parts: bytes, end: bytes = bytes(1024)) -> Callable[[Path], Path]:
    """Return a shard whose second file is made of parts."""

    def make(folder: Path) -> Path:
        first = shard()(folder).read_bytes()[: 512 + -(-len(picture_bytes(1)) // 512) * 512]
        (folder / "x.tar").write_bytes(first + b"".join(parts) + end)
        return folder / "x.tar"

    return make


def bomb(compress: Callable[[bytes], bytes], *parts: bytes, zeros: int = 3 * 2**30) -> Callable[[Path], Path]:
    """Return a compressed shard with many zeros."""

    def make(folder: Path) -> Path:
        first = compress(tar_of(*parts, end=b"")(folder).read_bytes())
        (folder / "x.tar").unlink()
        (folder / "x.tar.gz").write_bytes(first + compress(bytes(2**24)) * (zeros // 2**24))
        return folder / "x.tar.gz"

    return make


def hollow(name: str) -> Callable[[Path], Path]:
    """Return a shard that lacks its end, before 16 GB that were never written."""

    def make(folder: Path) -> Path:
        content = tar_of(end=b"")(folder).read_bytes()
        (folder / "x.tar").unlink()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        with (folder / name).open("r+b") as file:
            file.truncate(16 * 2**30)
        return folder / name

    return make


def sparse_parts(folder: Path) -> Path:
    """Write a shard with a picture of 60 MB of zeros and 30,000 single bytes between them."""
    stated = b"30000\n" + b"".join(b"%d\n1\n" % (60_000_000 + 2 * place) for place in range(30_000))
    stated = stated.ljust(-(-len(stated) // 512) * 512, b"\0")
    facts = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "60060000"}
    picture = header("b.png", len(stated) + 30_208) + stated + bytes(30_208)
    return tar_of(extended(facts | {"GNU.sparse.name": "b.png"}), picture)(folder)


def table(name: str, content: bytes) -> Callable[[Path], Path]:
    """Return a table beside a picture."""

    def make(folder: Path) -> Path:
        (folder / "a.png").write_bytes(picture_bytes(1))
        (folder / name).write_bytes(content)
        return folder / name

    return make


def beside(write: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Return a folder of a picture with its caption, which a function writes."""

    def make(folder: Path) -> Path:
        (folder / "pairs").mkdir()
        (folder / "pairs" / "a.png").write_bytes(picture_bytes(1))
        write(folder / "pairs" / "a.txt")
        return folder / "pairs"

    return make


def special(name: str, write: Callable[[Path], object], *, in_folder: bool = False) -> Callable[[Path], Path]:
    """Return a file that a function makes, or its folder."""

    def make(folder: Path) -> Path:
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        write(place)
        if place.parent.name == EMBEDDINGS:
            (folder / MANIFEST).write_text(json.dumps(MANIFEST_FACTS))
        return folder if in_folder else place

    return make


def zeros(path: Path) -> None:
    """Make a link to a device without an end."""
    path.symlink_to("/dev/zero")


def piped_picture(folder: Path) -> Path:
    """Write a Parquet file beside a pipe that it names as its picture."""
    os.mkfifo(folder / "a.png")
    return columns(image=["a.png"], text=["a"])(folder)


def never_written(path: Path) -> None:
    """Write a file of 16 GB that takes no room."""
    with path.open("wb") as file:
        file.truncate(16 * 2**30)


def large_picture(folder: Path) -> Path:
    never_written(folder / "a.png")
    return folder / "a.png"


def columns(**values: Any) -> Callable[[Path], Path]:
    """Return a Parquet file."""

    def make(folder: Path) -> Path:
        parquet.write_table(pa.table(values), folder / "x.parquet")
        return folder / "x.parquet"

    return make


def stating(rows: int, *, is_part: bool = False) -> Callable[[Path], Path]:
    """Return a Parquet file of 77 rows that states another number; possibly as a part of a dataset of embeddings.

    A negative number is stated of the row group alone.
    """

    def make(folder: Path) -> Path:
        path = columns(image=PIXELS * _TRUE_ROWS, text=["a"] * _TRUE_ROWS)(folder)
        content = path.read_bytes()
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        kept, true, footer = content[start:-8].partition(_varint(_TRUE_ROWS))
        footer = kept + (true if rows < 0 else _varint(rows)) + footer.replace(true, _varint(rows))
        path.write_bytes(content[:start] + footer + struct.pack("<I", len(footer)) + b"PAR1")
        if not is_part:
            return path
        (folder / EMBEDDINGS).mkdir()
        path.rename(folder / EMBEDDINGS / path.name)
        (folder / MANIFEST).write_text(json.dumps(MANIFEST_FACTS))
        return folder

    return make


def _varint(number: int) -> bytes:
    """Return a number as Thrift writes it: zigzag, seven bits to a byte."""
    left = number << 1 if number >= 0 else (-number << 1) - 1
    groups = []
    while left >= 0x80:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*groups, left])


def row(file_name: bytes) -> Callable[[Path], Path]:
    """Return a table of one row, whose file name is JSON."""
    return table("x.jsonl", b'{"file_name": ' + file_name + b', "text": "a"}')


_MODEL = {"model": "a", "backend": "torch", "dtype": "float32", "versions": {}, "preprocessing": {}}
MANIFEST_FACTS = new_manifest("a", {"kind": "images"}, _MODEL | {"fingerprint": [[0.6, 0.8]]}, "float32")
_TRUE_ROWS = 77

PIXELS = [picture_bytes(1)]
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(struct.pack("ii", 0, 2)), pa.py_buffer(b"\xff\xfe")]
)
LATE = pa.array([2**62], pa.timestamp("ms"))

_ERROR = {"error": "ValueError", "read": "pairs"}
_BROKEN = {"error": "", "read": "pairs"}  # samples that are left out and counted

FILES = [
    Hostile("a shard's caption nested deeply", shard(("a.json", b"[" * 10**5)), **_BROKEN),
    Hostile("a shard's caption of 5,000 digits", shard(("a.json", b'{"text": 1' + b"0" * 5000 + b"}")), **_BROKEN),
    Hostile("a shard's caption that is not UTF-8", shard(("a.txt", b"\xff")), **_BROKEN),
    Hostile("a shard's picture of 700 MB that were never written", sparse, **_BROKEN),
    *[
        Hostile(f"{name}, read as {read}", make, "ValueError", read)
        for read in ("pairs", "source")
        for name, make in {
            "a gzipped shard with a file of 3 GB of zeros": bomb(gzip.compress, header("b.bin", 3 * 2**30)),
            "an xz shard with a file of 3 GB of zeros": bomb(lzma.compress, header("b.bin", 3 * 2**30)),
            "a bzip2 shard with a file of 300 MB of zeros": bomb(
                bz2.compress, header("b.bin", 300 * 2**20), zeros=300 * 2**20
            ),
            "a gzipped shard with a name of 300 MB": bomb(
                gzip.compress, header("b", 300 * 2**20, tarfile.GNUTYPE_LONGNAME), zeros=300 * 2**20
            ),
            "a gzipped shard with 300 MB of facts": bomb(
                gzip.compress, header("b", 300 * 2**20, tarfile.XHDTYPE), zeros=300 * 2**20
            ),
            "a shard with 30 MB of facts": tar_of(extended(b"6 a=b\n" * 5_000_000), header("b.png", 0)),
            "a shard with a file of -1,024 bytes": tar_of(negative("b.png")),
            "a shard with a file of -1,536 bytes": tar_of(extended({"size": "-1536"}), header("b.png", 0)),
            "a shard with 3,000 headers of one file": tar_of(extended({"a": "b"}) * 3_000, header("b.png", 0)),
            "a shard with a sparse map of letters": tar_of(extended({"GNU.sparse.map": "a,b"}), header("b.png", 0)),
            "a shard with a sparse picture of many parts": sparse_parts,
            "a shard of which 16 GB were never written": hollow("x.tar"),
            "a gzipped shard of which 16 GB were never written": hollow("x.tar.gz"),
        }.items()
    ],
    Hostile("a shard's name with escapes", shard(*[(f"{ESCAPE}.txt", b"a")] * 2), **_ERROR),
    Hostile("a shard of 10**18 samples", shard(("a.txt", b"a"), sizes='{"x.tar": 1' + "0" * 18 + "}"), **_ERROR),
    Hostile("a table's caption of 5,000 digits", table("x.jsonl", b'{"text": 1' + b"0" * 5000 + b"}"), **_ERROR),
    Hostile("a table nested deeply", table("x.jsonl", b"[" * 10**5), **_ERROR),
    Hostile("a table with 300 MB of spaces", table("x.jsonl", b" " * (300 * 2**20) + b"{}"), **_ERROR),
    Hostile("a CSV of 300 MB in one line", table("x.csv", b" " * (300 * 2**20)), **_ERROR),
    Hostile("a CSV with a long field", table("x.csv", b'file_name,text\na.png,"' + b"a" * 200_000), **_ERROR),
    Hostile("a CSV of 200,000 columns", table("x.csv", b"c," * 200_000 + b"c\na.png,a\n"), **_ERROR),
    Hostile("a file name of a null", row(b'"\\u0000"'), **_ERROR),
    Hostile("a file name of half a surrogate pair", row(b'"\\ud800"'), **_ERROR),
    Hostile("a file name of 100,000 letters", row(b'"' + b"a" * 10**5 + b'"'), **_ERROR),
    Hostile("a file name with escapes in a table", row(b'"\\u001b[2J"'), **_ERROR),
    Hostile("a file name that is a map", row(b'{"a": 1}'), **_ERROR),
    Hostile("a column with escapes", table("x.jsonl", b'{"\\u001b[2J": "a.png", "text": "a"}'), **_ERROR),
    Hostile("a caption of 16 GB that were never written", beside(never_written), **_BROKEN),
    *[
        Hostile(f"{name} that is a {what}, in {read}", special(name, write, in_folder=inside), "ValueError", read)
        for what, write in (("pipe", os.mkfifo), ("device", zeros))
        for read, inside, names in (
            ("pairs", False, ("x.tar", "x.tar.gz", "x.parquet", "x.csv", "x.jsonl")),
            ("pairs", True, ("x.tar", "x.parquet")),
            ("source", False, ("x.tar", "x.parquet")),
            ("source", True, ("x.tar", "x.parquet")),
            ("dataset", True, (MANIFEST, f"{EMBEDDINGS}/x.parquet")),
        )
        for name in names
    ],
    Hostile("a picture that is a pipe, in Parquet", piped_picture, "ValueError", "source"),
    Hostile("a caption that is a pipe", beside(os.mkfifo), **_ERROR),
    Hostile("an image to index of 16 GB that were never written", large_picture, "ValueError", "indexed"),
    Hostile("a Parquet caption that is not UTF-8", columns(image=PIXELS, text=NOT_UTF8), **_ERROR),
    Hostile("a Parquet caption of a time that Python lacks", columns(image=PIXELS, text=LATE), **_ERROR),
    Hostile("a Parquet column with escapes", columns(**{ESCAPE: ["a"], "b": ["a"]}), **_ERROR),
    *[
        Hostile(f"a Parquet file of {rows} rows, {read}", stating(rows, is_part=read == "dataset"), "ValueError", read)
        for rows in (-2443, 2**31, 2**62)
        for read in ("pairs", "source", "dataset")
    ],
]
