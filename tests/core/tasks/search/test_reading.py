"""One read of a file gives an index all it needs, and decodes the picture once."""

from __future__ import annotations

import hashlib
import io

from PIL import Image, ImageFile

from clip_core.images.decoding import decode_image
from clip_core.tasks.search import reading
from clip_core.tasks.search.reading import row_of_image


def test_a_png_is_decoded_once_wherever_its_exif_is(monkeypatch):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:05:04 03:02:01"
    exif[0x0131] = "a program"  # Pillow writes no EXIF without a tag of its own
    content = io.BytesIO()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(content, "png", exif=exif)
    early = content.getvalue()
    start = early.index(b"eXIf") - 4
    end = early.index(b"IDAT") - 4
    late = early[:start] + early[end:-12] + early[start:end] + early[-12:]  # before the last chunk
    decoded = []
    decode = ImageFile.ImageFile.load_prepare
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda self: decoded.append(self) or decode(self))
    for png, taken in (
        (early, "2019-05-04T03:02:01"),
        (late, "2019-05-04T03:02:01"),
        (early[:start] + early[end:], ""),
    ):
        image = decode_image(png, "x.png")
        assert row_of_image(b"x.png", png, image, None).taken == taken
        assert len(decoded) == 1
        decoded.clear()


def test_the_hash_of_the_pixels_is_that_of_all_their_bytes(monkeypatch):
    image = Image.effect_noise((7, 5), 90).convert("RGB")
    expected = hashlib.sha256(b"(7, 5)" + image.tobytes()).digest()
    for pixels in (1, 7, 20, 2**20):
        monkeypatch.setattr(reading, "_STRIP", pixels)
        assert row_of_image(b"x", b"", image, None).pixels == expected
