"""Grey images of more than 8 bits: scaled where the file states the depth, and named in a warning elsewhere."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from clip_core.images.decoding import ImageFileError, decode_image
from clip_core.images.depth import is_deep
from clip_core.images.inputs import load_image
from clip_core.images.processor import CLIPImageProcessor
from support.messages import naming

LEVELS = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
SHORT = LEVELS.astype(np.uint16) * 257  # 16 bits of the same brightness


def file_of(values, format_="TIFF", **options) -> bytes:
    """Write an image file of an array."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format_, **options)
    return buffer.getvalue()


def tiff(values, bits, *, sample_format=1, photometric=1, order="<") -> bytes:
    """Write an uncompressed grey TIFF byte by byte, because Pillow writes few depths. `values` are its raw bytes."""
    height, width = LEVELS.shape
    tags = [
        *((256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)),
        *((278, height), (279, len(values)), (339, sample_format)),
    ]
    directory = struct.pack(f"{order}H", len(tags))
    directory += b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    padding = b"\0" * (len(values) % 2)
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(values) + len(padding))
    return start + values + padding + directory + b"\0" * 4


def packed_12_bits() -> bytes:
    """Return the levels as 12 bits each, two in three bytes; every row starts on a byte."""
    rows = []
    for row in LEVELS.astype(int):
        bits = "".join(f"{level << 4 | level >> 4:012b}" for level in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)))
    return b"".join(rows)


def rgb_16_bits() -> bytes:
    """Write a PNG of three channels of 16 bits, which Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = LEVELS.shape
    rows = b"".join(b"\0" + np.repeat(row, 3).astype(">u2").tobytes() for row in SHORT)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


DEEP_FILES = {
    "PNG of 16 bits": file_of(SHORT, "PNG"),
    "TIFF of 16 bits": file_of(SHORT),
    "TIFF of 16 bits, big-endian": file_of(SHORT.astype(">u2")),
    "TIFF of 16 bits, white at 0": tiff((65535 - SHORT).astype("<u2").tobytes(), 16, photometric=0),
    "TIFF of 12 bits": tiff(packed_12_bits(), 12),
    "TIFF of 16 bits with a sign": tiff((SHORT >> 1).astype("<i2").tobytes(), 16, sample_format=2),
    "TIFF of 16 bits with a sign, big-endian": tiff(
        (SHORT >> 1).astype(">i2").tobytes(), 16, sample_format=2, order=">"
    ),
    "TIFF of 32 bits": tiff((SHORT.astype("<u4") << 16).tobytes(), 32),
    "TIFF of 32 bits with a sign": file_of(SHORT.astype(np.int32) << 15),
    "TIFF of 32 bits, with values of 16": file_of(SHORT.astype(np.int32)),
    "TIFF of 32 bits, with values of 8": file_of(LEVELS.astype(np.int32)),
    "PGM of 16 bits": file_of(SHORT, "PPM"),
    "PGM up to 1023": b"P5 7 5 1023\n" + np.rint(LEVELS / 255 * 1023).astype(">u2").tobytes(),
    "JPEG 2000 of 16 bits": file_of(SHORT, "JPEG2000"),
    "TIFF of floats up to 1": file_of(LEVELS.astype(np.float32) / 255),
    "TIFF of floats up to 1, white at 0": tiff(
        (1 - LEVELS / 255).astype("<f4").tobytes(), 32, sample_format=3, photometric=0
    ),
    "TIFF of floats up to 255": file_of(LEVELS.astype(np.float32)),
    "PFM of floats up to 1": b"Pf\n7 5\n-1.0\n" + (LEVELS[::-1].astype("<f4") / 255).tobytes(),
    "PNG of 16-bit colours": rgb_16_bits(),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_a_deep_file_has_the_levels_of_its_version_of_8_bits(name):
    picture = decode_image(DEEP_FILES[name], "x")
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), np.repeat(LEVELS[..., np.newaxis], 3, axis=2))


def test_a_deep_file_is_turned_as_its_version_of_8_bits_is(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it right to see it
    for ending, options in (("png", {"exif": exif}), ("tiff", {"tiffinfo": {0x0112: 6}})):
        found = []
        for values in (SHORT, LEVELS):
            Image.fromarray(values).save(tmp_path / f"turned.{ending}", **options)
            found.append(np.asarray(load_image(tmp_path / f"turned.{ending}"))[..., 0])
        np.testing.assert_array_equal(*found)
        if ending == "png":
            np.testing.assert_array_equal(found[0], np.rot90(LEVELS, -1))


def test_a_mask_of_floats_is_black_and_white():
    mask = (LEVELS > 127).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(decode_image(file_of(mask), "x"))[..., 0], mask * 255)


@pytest.mark.parametrize("values", [[-1, 0.5], [0.5, 1.5], [0, 4000], [0, np.nan]])
def test_floats_of_an_unknown_range_are_refused_by_name(tmp_path, values):
    Image.fromarray(np.float32([values])).save(tmp_path / "x.tiff")
    with pytest.raises(ImageFileError, match=naming(tmp_path / "x.tiff", 255, "8 bits")):
        load_image(tmp_path / "x.tiff")


def test_levels_below_zero_are_black():
    values = np.int32([[-5, 0, 2**31 - 1]])
    np.testing.assert_array_equal(np.asarray(decode_image(file_of(values), "x"))[0, :, 0], [0, 0, 255])


def signed_bytes(order="<") -> bytes:
    """Return a TIFF of the values -17 to 17 in 8 bits with a sign, and of the largest at its end."""
    values = np.arange(-17, 18, dtype=np.int8)
    values[-1] = 127
    return tiff(values.tobytes(), 8, sample_format=2, order=order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_eight_bits_with_a_sign_are_scaled_like_sixteen(order):
    found = np.asarray(decode_image(signed_bytes(order), "x"))[..., 0].reshape(-1)
    np.testing.assert_array_equal(found, [*[0] * 18, *range(2, 34, 2), 255])


def test_an_opened_image_of_eight_bits_with_a_sign_is_named_in_a_warning():
    picture = Image.open(io.BytesIO(signed_bytes()))
    processor = CLIPImageProcessor(size=4, crop_size=4)
    with pytest.warns(UserWarning, match=naming("sign", "8 bits")):
        found = processor(picture).pixel_values
    np.testing.assert_array_equal(found, processor(Image.fromarray(np.asarray(picture))).pixel_values)


BARE = {"I;16": SHORT, "I": SHORT.astype(np.int32), "F": LEVELS.astype(np.float32)}


@pytest.mark.parametrize("mode", BARE)
def test_a_bare_image_is_clipped_with_one_warning_of_its_mode(mode):
    picture = Image.fromarray(BARE[mode])
    assert is_deep(picture)
    assert picture.mode == mode
    processor = CLIPImageProcessor(size=4, crop_size=4)
    for images in (picture, [Image.new("RGB", (7, 5)), picture, picture]):
        with pytest.warns(UserWarning, match=naming(repr(mode), "8 bits")) as caught:
            found = processor(images).pixel_values
        assert len(caught) == 1
        np.testing.assert_array_equal(found[-1], processor(picture.convert("RGB")).pixel_values[0])


def test_nothing_is_warned_of_files_or_of_images_of_8_bits(tmp_path):
    (tmp_path / "x.png").write_bytes(DEEP_FILES["PNG of 16 bits"])
    processor = CLIPImageProcessor(size=4, crop_size=4)
    expected = processor(Image.fromarray(LEVELS)).pixel_values[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = processor([tmp_path / "x.png", str(tmp_path / "x.png")]).pixel_values
        np.testing.assert_array_equal(found, [expected, expected])
        for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB"):
            processor(Image.new(mode, (7, 5)))
