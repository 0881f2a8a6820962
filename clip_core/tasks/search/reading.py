"""One read of an image file gives all that an index needs: hashes, dates, pixels, and the model's input."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from clip_core.hub.files import check_no_device
from clip_core.hub.pointers import is_lfs_pointer
from clip_core.hub.printing import reason_of
from clip_core.images.decoding import decode_image
from clip_core.tasks.search.rows import IndexedImage

if TYPE_CHECKING:
    from pathlib import Path

    from clip_core.processing import CLIPProcessor

_EXIF, _TAKEN = 0x8769, 0x9003  # the tags of EXIF: its own table, and DateTimeOriginal in it
_CAPTION, _CAPTION_READ = 10_000, 100_000  # characters kept, and read
_STRIP = 2**20  # pixels
LARGEST = 2**28  # bytes of an image file
_LATEST = 2**63 - 1  # nanoseconds; integers of SQLite and times of Parquet have 64 bits


class FileReader:
    """A processor that also notes the facts about each file; its threads call it, so files are read side by side.

    Args:
        processor: the model's processor.
        captions: also read the text file of the same name beside each image.
    """

    def __init__(self, processor: CLIPProcessor, *, captions: bool = False) -> None:
        self.processor = processor
        self.captions = captions
        self._rows: dict[Path, IndexedImage] = {}
        self._lock = threading.Lock()

    def __call__(self, images: list[Path], **options: Any) -> Any:
        """Return the model's input for one image file.

        Args:
            images: the path, alone in a list.
            **options: options of the processor.

        Raises:
            ValueError: if the file cannot be read; the message names it.
        """
        (path,) = images
        try:
            check_no_device(path)  # which may have replaced the file since it was listed
            status = path.stat()
            if status.st_size > LARGEST:
                raise ValueError(f"{path}: too large, {status.st_size:,} bytes; at most {LARGEST:,} are read")
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path}: {reason_of(error)}") from error
        image = decode_image(content, str(path))
        batch = self.processor(images=[image], **options)
        caption = read_caption(path) if self.captions else None
        row = row_of_image(os.fsencode(path), content, image, time_of_change(status), caption)
        with self._lock:
            self._rows[path] = row
        return batch

    def row_of(self, path: Path) -> IndexedImage:
        """Return the facts about a file that was read, and forget them.

        Args:
            path: the file.
        """
        with self._lock:
            return self._rows.pop(path)


def row_of_image(
    path: bytes, content: bytes, image: Image.Image, changed: int | None, caption: str | None = None
) -> IndexedImage:
    """Return the facts about an image.

    Args:
        path: its stored path.
        content: the bytes of its file.
        image: the image, upright and RGB.
        changed: the time of the file, in nanoseconds; None if it is not known, which is stored as 0.
        caption: the text beside it, if any.
    """
    taken = _taken(content, image)
    if taken is None and changed is not None:
        taken = datetime.fromtimestamp(changed / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return IndexedImage(
        path,
        len(content),
        changed or 0,
        taken or "",
        hashlib.sha256(content).digest(),
        _hash_of_pixels(image),
        *image.size,
        caption,
    )


def _hash_of_pixels(image: Image.Image) -> bytes:
    """Return the hash of an image's size and pixels, computed in strips because the bytes of all would be a copy."""
    found = hashlib.sha256(f"{image.size}".encode())
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        found.update(image.crop((0, top, image.width, min(top + rows, image.height))).tobytes())
    return found.digest()


def time_of_change(status: os.stat_result) -> int:
    """Return the modification time of a file in nanoseconds, or the nearest that has 64 bits (1677 to 2262).

    Args:
        status: the status of the file.
    """
    return min(max(status.st_mtime_ns, -_LATEST), _LATEST)


def hash_of_file(path: Path) -> bytes:
    """Return the hash of a file that `IndexedImage.file` holds.

    Args:
        path: the file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def read_caption(path: Path) -> str | None:
    """Return the text of the file beside an image, of the same name with the ending .txt.

    It is None if there is no such file, or only its Git LFS pointer.

    Args:
        path: the image.
    """
    beside = path.with_suffix(".txt")
    if not beside.is_file():  # a pipe would wait for a writer
        return None
    try:
        with beside.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(_CAPTION_READ)
    except OSError:
        return None
    if is_lfs_pointer(text.encode()):
        return None
    return caption_of(text)


def caption_of(text: str) -> str | None:
    """Return a text as an index stores it: on one line, without spaces around it, and cut; None if nothing is left.

    Args:
        text: the text.
    """
    return " ".join(text.split())[:_CAPTION] or None


def _taken(content: bytes, image: Image.Image) -> str | None:
    """Return the date that the camera wrote, as in "2024-06-30T12:00:00"; None without one."""
    try:
        with Image.open(BytesIO(content)) as opened:
            # Pillow decodes a PNG whose EXIF, if it has any, follows the pixels; `image` has been decoded.
            is_late = opened.format == "PNG" and "exif" not in opened.info
            exif = (image if is_late else opened).getexif()
            text = str(exif.get_ifd(_EXIF).get(_TAKEN, ""))
        return datetime.strptime(text.strip("\0 "), "%Y:%m:%d %H:%M:%S").strftime("%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007
    except Exception:  # noqa: BLE001  Pillow may raise anything on damaged metadata; the pixels are fine
        return None
