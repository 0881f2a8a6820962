"""Hostile image files, and image processors whose settings would make huge images."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from hostile.catalogue import Hostile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def file(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 9 9
(started) (w) file closefile
showpage
"""


def png(width: int, height: int, *, rows: bytes = b"") -> bytes:
    """Return a PNG of one channel that states a size, with any rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def photo(**options: Any) -> bytes:
    return encoded(Image.fromarray(np.zeros((8, 8, 3), np.uint8)), "JPEG", **options)


def large_batch(folder: Path) -> Path:
    """Write 32 images of 2.5 million pixels, which take 330 MB if all are decoded at once."""
    content = encoded(Image.new("L", (1600, 1600)), "PNG")
    for number in range(32):
        (folder / f"{number}.png").write_bytes(content)
    return folder


def preprocessor(**settings: Any) -> Callable[[Path], Path]:
    return file("preprocessor_config.json", json.dumps(settings).encode())


def long_name(folder: Path) -> Path:
    (folder / ("\x1b[2J" * 40 + ".png")).write_bytes(b"no image")
    return folder


_IMAGE = {"error": "ImageFileError", "read": "image"}
_WORDS = {"error": "ValueError", "read": "image"}
_SETTINGS = {"error": "ValueError", "read": "processor"}

FILES = [
    Hostile("PostScript named .png", file("cat.png", POSTSCRIPT), **_WORDS),
    Hostile("PostScript named .eps", file("cat.eps", POSTSCRIPT), **_WORDS),
    Hostile("PostScript in Windows' wrapping", file("cat.jpg", b"\xc5\xd0\xd3\xc6" + bytes(8) + POSTSCRIPT), **_WORDS),
    Hostile("an image of 100,000 by 100,000", file("cat.png", png(100_000, 100_000)), **_WORDS),
    Hostile("an image of 2**31 by 1", file("cat.png", png(2**31 - 1, 1)), **_WORDS),
    Hostile(
        "an image of 1 by 5 million", file("cat.png", png(1, 5_000_000, rows=zlib.compress(b"\0" * 100))), **_WORDS
    ),
    Hostile("an image without rows", file("cat.png", png(3000, 3000)), **_WORDS),
    Hostile("EXIF that is no TIFF", file("cat.jpg", photo(exif=b"Exif\0\0" + b"\xff" * 100)), "", "image"),
    Hostile("EXIF that ends", file("cat.jpg", photo(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff")), "", "image"),
    Hostile(
        "EXIF of another orientation",
        file("cat.jpg", photo(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x63\0\0")),
        "",
        "image",
    ),
    Hostile("a text", file("cat.png", b"<html>" * 100), **_WORDS),
    Hostile("an empty file", file("cat.png", b""), **_WORDS),
    Hostile("a cut JPEG", file("cat.jpg", photo()[:-200]), **_WORDS),
    Hostile("a file name with escapes", long_name, **_WORDS),
    Hostile("a batch of 32 large images", large_batch, "", "image"),
    Hostile("crop_size of 30,000", preprocessor(crop_size=30_000), **_SETTINGS),
    Hostile("crop_size of 30,000 by 1", preprocessor(crop_size={"height": 30_000, "width": 1}), **_SETTINGS),
    Hostile("size of 30,000", preprocessor(size=30_000), **_SETTINGS),
    Hostile("size of 2**80", preprocessor(size={"shortest_edge": 2**80}), **_SETTINGS),
    Hostile("size with a key that is not one", preprocessor(size={"shortest_edge": 3, "x" * 10**6: 4}), **_SETTINGS),
    Hostile("size of a text", preprocessor(size="x" * 10**6), **_SETTINGS),
    Hostile("a mean of 10,000 values", preprocessor(image_mean=[0.5] * 10_000), **_SETTINGS),
    Hostile("a mean of texts", preprocessor(image_mean=["a", "b", "c"]), **_SETTINGS),
    Hostile("a mean of lists of different lengths", preprocessor(image_mean=[[1], [2, 3]]), **_SETTINGS),
    Hostile("a standard deviation of 0", preprocessor(image_std=[0, 0, 0]), **_SETTINGS),
    Hostile("a factor of a text", preprocessor(rescale_factor="1"), **_SETTINGS),
    Hostile("a factor of a list", preprocessor(rescale_factor=[1, 2]), **_SETTINGS),
    Hostile(
        "a factor of 10**400",
        file("preprocessor_config.json", b'{"rescale_factor": 1' + b"0" * 400 + b"}"),
        **_SETTINGS,
    ),
    Hostile("a filter that is none", preprocessor(resample=99), **_SETTINGS),
    Hostile("a filter of a list", preprocessor(resample=[3]), **_SETTINGS),
    Hostile("a filter of a map", preprocessor(resample={"a": 3}), **_SETTINGS),
    Hostile("a step of a text", preprocessor(do_resize="no"), **_SETTINGS),
    Hostile("a step of a list", preprocessor(do_center_crop=[[]]), **_SETTINGS),
    Hostile("a key named preprocess", preprocessor(preprocess=3), **_SETTINGS),
    Hostile("a key named self", preprocessor(self=3), **_SETTINGS),
    Hostile("a key named __class__", preprocessor(__class__="x"), **_SETTINGS),
    Hostile("a key named to_dict", preprocessor(to_dict={}), **_SETTINGS),
    Hostile("a key named model_input_names", preprocessor(model_input_names=3), "", "processor"),
    Hostile("a key with escapes", preprocessor(**{"\x1b[2J": 3}), "", "processor"),
    Hostile("settings that are a list", file("preprocessor_config.json", b"[1]"), **_SETTINGS),
    Hostile(
        "settings of a processor that are a text",
        file("processor_config.json", b'{"image_processor": "x"}'),
        **_SETTINGS,
    ),
    Hostile("settings nested deeply", file("preprocessor_config.json", b"[" * 10**5), **_SETTINGS),
]
