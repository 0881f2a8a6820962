"""Grey images of more than 8 bits: scaled where the file states the depth, and named in a warning elsewhere."""

from __future__ import annotations

import base64
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


def planes_of_16_bits(order):
    """Write an uncompressed TIFF of three channels of 16 bits, each stored by itself."""
    height, width = LEVELS.shape
    plane = SHORT.astype(f"{order}u2").tobytes()
    # The bits of each channel, the place of each plane and its size stand after the planes.
    values = 8 + 3 * len(plane)
    tags = [
        *((256, 1, width), (257, 1, height), (258, 3, values), (259, 1, 1), (262, 1, 2), (273, 3, values + 12)),
        *((277, 1, 3), (278, 1, height), (279, 3, values + 24), (284, 1, 2)),
    ]
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", values + 36)
    lists = struct.pack(f"{order}9I", *[16] * 3, *(8 + channel * len(plane) for channel in range(3)), *[len(plane)] * 3)
    directory = b"".join(struct.pack(f"{order}HHII", tag, 4, count, value) for tag, count, value in tags)
    return start + 3 * plane + lists + struct.pack(f"{order}H", len(tags)) + directory + b"\0" * 4


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
    "TIFF of 16-bit planes": planes_of_16_bits("<"),
    "TIFF of 16-bit planes, big-endian": planes_of_16_bits(">"),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_a_deep_file_has_the_levels_of_its_version_of_8_bits(name):
    picture = decode_image(DEEP_FILES[name], "x")
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), np.repeat(LEVELS[..., np.newaxis], 3, axis=2))


TURNED = {  # by EXIF orientation, the image as it is to be shown
    1: LEVELS,
    2: LEVELS[:, ::-1],
    3: LEVELS[::-1, ::-1],
    4: LEVELS[::-1],
    5: LEVELS.T,
    6: np.rot90(LEVELS, -1),
    7: LEVELS[::-1, ::-1].T,
    8: np.rot90(LEVELS),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_a_file_of_any_depth_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for ending, options in (("png", {"exif": exif}), ("tiff", {"tiffinfo": {0x0112: orientation}})):
        path = tmp_path / f"turned.{ending}"
        for values in (SHORT, LEVELS, *([LEVELS.astype(np.float32)] if ending == "tiff" else [])):
            Image.fromarray(values).save(path, **options)
            for found in (load_image(path), load_image(str(path)), decode_image(path.read_bytes(), "x")):
                np.testing.assert_array_equal(np.asarray(found)[..., 0], TURNED[orientation])


# JPEG 2000 files of 16-bit colours, which Pillow does not write: one of (0, 1, 2) and white, and one of
# (300, 4000, 65407) and (4000, 30000, 60000), of which no value becomes 0.
START = "/0//UQAvAAAAAAACAAAAAQAAAAAAAAAAAAAAAgAAAAEAAAAAAAAAAAADDwEBDwEBDwEB/1IADAAAAAEBAAQEAAH/XAAEQID/kAAKAAAAAAA"
JPEG2000_WITH_ZEROS = base64.b64decode(START + "cAAH/k8/8MAgJlcAAIQPAACEH/9k=")
JPEG2000 = base64.b64decode(START + "pAAH/k8f+DAoGoOvpL9/4kCgDD3Koec/8MBQMCcxnpP/Z")


def test_white_of_deep_colours_is_never_black(tmp_path):
    found = np.asarray(decode_image(JPEG2000, "x"))
    np.testing.assert_array_equal(found, [[[1, 16, 255], [16, 117, 234]]])
    (tmp_path / "x.jp2").write_bytes(JPEG2000_WITH_ZEROS)
    for read in (lambda: load_image(tmp_path / "x.jp2"), lambda: decode_image(JPEG2000_WITH_ZEROS, "x.jp2")):
        with pytest.raises(ImageFileError, match=naming("x.jp2", "JPEG 2000", "8 bits", "PNG")):
            read()


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
