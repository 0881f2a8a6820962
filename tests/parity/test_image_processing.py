"""The image processor against transformers' slow one: the same shapes, dtypes and, bit for bit, values."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from clip_core.images.processor import CLIPImageProcessor

REFERENCE = "oracle_processors"
RANDOM_CASES = 400
PICTURE_MODES = [
    *("RGB", "RGB", "RGB", "RGBA", "L", "LA", "P", "P with a transparent colour", "P with alpha", "1", "CMYK"),
    *("YCbCr", "HSV", "LAB", "RGBa", "RGBX", "PA", "La", "I", "I;16", "F"),
]
ARRAY_KINDS = {
    "uint8": lambda rng, shape: rng.integers(0, 256, shape, dtype=np.uint8),
    "bool": lambda rng, shape: rng.integers(0, 2, shape).astype(bool),
    "int16": lambda rng, shape: rng.integers(0, 256, shape, dtype=np.int16),
    "int64 below zero": lambda rng, shape: rng.integers(-9, 256, shape),
    "uint16 beyond a byte": lambda rng, shape: rng.integers(0, 2**16, shape, dtype=np.uint16),
    "whole float32": lambda rng, shape: rng.integers(0, 256, shape).astype(np.float32),
    "almost whole float64": lambda rng, shape: rng.integers(100, 255, shape) + 5e-4,
    "zeros and ones": lambda rng, shape: rng.integers(0, 2, shape).astype(np.float64),
    "unit float16": lambda rng, shape: rng.random(shape).astype(np.float16),
    "unit float32": lambda rng, shape: rng.random(shape, dtype=np.float32),
    "unit float64": lambda rng, shape: rng.random(shape),
    "float32 up to 255": lambda rng, shape: rng.random(shape, dtype=np.float32) * 255,
    "normal float64": lambda rng, shape: rng.standard_normal(shape),
    "NaN": lambda rng, shape: np.full(shape, np.nan, np.float32),
}
OPTIONS = {
    "do_resize": [True, False],
    "size": [
        *({"shortest_edge": n} for n in (1, 17, 30, 32)),
        *({"height": 20, "width": 31}, {"height": 1, "width": 9}, 23, [12, 19]),
        {"shortest_edge": 24, "longest_edge": 30},
    ],
    "resample": list(range(6)),
    "do_center_crop": [True, False],
    "crop_size": [16, 17, {"height": 33, "width": 12}, {"height": 1, "width": 40}, (21, 22)],
    "do_rescale": [True, False],
    "rescale_factor": [1 / 127.5, 2, 1 / 255],
    "do_normalize": [True, False],
    "image_mean": [0.5, [0.1, 0.2, 0.3], (0.48, 0.46, 0.41)],
    "image_std": [0.25, [0.3, 0.2, 0.1]],
    "do_convert_rgb": [True, False],
    "data_format": ["channels_first", "channels_last"],
}
AT_THE_CALL_ONLY = {"data_format"}


def assert_same(reference, images, arguments=(), **options):
    """Check that our result equals the reference's, or that both are errors. The reference is told the layout."""
    first = images[0] if isinstance(images, list) and images else images
    told = {"input_data_format": "channels_last"} if isinstance(first, (Image.Image, str)) else {}
    expected = reference("preprocess", images=images, arguments=dict(arguments), options=told | options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(expected, str):
            with pytest.raises((ValueError, TypeError)):
                CLIPImageProcessor(**dict(arguments))(images, **options)
            return
        found = CLIPImageProcessor(**dict(arguments))(images, **options)["pixel_values"]
    if hasattr(found, "numpy"):
        found = found.numpy()
    assert type(found) is type(expected)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs)


def random_picture(rng, mode, height, width):
    """Return a Pillow image of any mode, with noise."""
    rgba = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8))
    if mode.startswith("P "):
        picture = rgba.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
        alpha = rng.integers(0, 256, 256, dtype=np.uint8).tobytes()
        picture.info["transparency"] = 7 if mode == "P with a transparent colour" else alpha
        return picture
    if mode in {"PA", "La"}:
        return Image.frombytes(mode, (width, height), rng.bytes(height * width * 2))
    if mode in {"I", "I;16", "F"}:
        kind = {"I": np.int32, "I;16": np.uint16, "F": np.float32}[mode]
        return Image.fromarray((rng.random((height, width)) * rng.choice([200, 60000])).astype(kind))
    if mode in {"HSV", "YCbCr", "LAB", "RGBX"}:
        bands = rgba.split()[: 4 if mode == "RGBX" else 3]
        return Image.merge(mode, bands)
    return rgba if mode == "RGBA" else rgba.convert(mode)


def random_images(rng):
    """Draw one to three images of one kind, and the layout of their arrays."""
    edges = (1, 2, 3, 4, 5, 16, 17, 29, 30, 31, 32, 33, 47, 64, 65)
    shapes = [tuple(int(edge) for edge in rng.choice(edges, 2)) for _ in range(rng.integers(1, 4))]
    if rng.random() < 0.5:
        mode = str(rng.choice(PICTURE_MODES))
        images = [random_picture(rng, mode, *shape) for shape in shapes]
        layout = "channels_last"
    else:
        kind = ARRAY_KINDS[str(rng.choice(list(ARRAY_KINDS)))]
        layout = str(rng.choice(["channels_first", "channels_last"]))
        channels = int(rng.choice([3, 3, 3, 1, 2, 4, 5]))
        is_first = layout == "channels_first"
        images = [kind(rng, (channels, *shape) if is_first else (*shape, channels)) for shape in shapes]
    return images, layout


@pytest.mark.parametrize("seed", range(RANDOM_CASES))
def test_any_image_with_any_options(reference, seed):
    rng = np.random.default_rng(seed)
    images, layout = random_images(rng)
    arguments, options = {}, {}
    is_rgb = isinstance(images[0], Image.Image) or 3 in {images[0].shape[0], images[0].shape[-1]}
    if not is_rgb and rng.random() < 0.9:  # the other tenth shows that errors agree
        arguments |= {"image_mean": 0.45, "image_std": 0.27}
        options["input_data_format"] = layout
    for name, values in OPTIONS.items():
        if name not in arguments and rng.random() < 0.3:
            chosen = values[rng.integers(len(values))]
            (options if name in AT_THE_CALL_ONLY or rng.random() < 0.5 else arguments)[name] = chosen
    if rng.random() < 0.4:
        options["input_data_format"] = layout
    if isinstance(images[0], Image.Image) and images[0].mode in {"L", "P", "1", "I", "I;16", "F"}:
        arguments["do_convert_rgb"] = True  # without, they have two axes, which only we take
        options.pop("do_convert_rgb", None)
    arguments = {"size": 24, "crop_size": 20, **arguments}
    assert_same(reference, images if len(images) > 1 else images[0], arguments, **options)


@pytest.mark.parametrize("mode", sorted(set(PICTURE_MODES)))
def test_every_mode_of_pillow(reference, mode):
    picture = random_picture(np.random.default_rng(0), mode, 37, 53)
    assert_same(reference, picture, return_tensors="np")
    assert_same(reference, picture, {"size": {"height": 30, "width": 40}, "do_center_crop": False})


@pytest.mark.parametrize("kind", ARRAY_KINDS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("do_resize", [True, False])
def test_every_kind_of_array(reference, kind, channels, do_resize):
    image = ARRAY_KINDS[kind](np.random.default_rng(0), (41, 29, channels))
    arguments = {"size": 20, "crop_size": 24, "do_resize": do_resize, "image_mean": 0.4, "image_std": 0.3}
    assert_same(reference, image, arguments, input_data_format="channels_last")
    assert_same(reference, image.transpose(2, 0, 1), arguments, input_data_format="channels_first")
    assert_same(reference, image, arguments)
    assert_same(reference, image, {**arguments, "do_rescale": False}, input_data_format="channels_last")
    assert_same(reference, image, {**arguments, "image_mean": [0.1, 0.2, 0.3]}, input_data_format="channels_last")


@pytest.mark.parametrize("crop", range(1, 12))
@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 7), (1, 9)])
def test_the_middle_is_found_for_every_difference_of_sizes(reference, crop, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert_same(
        reference, image, {"crop_size": crop}, do_resize=False, do_normalize=False, input_data_format="channels_last"
    )


@pytest.mark.parametrize("size", [20, 21, 224])
def test_the_long_edge_is_rounded_down_for_every_proportion(reference, size):
    pictures = [Image.new("RGB", (width, 33), (9, 99, 199)) for width in range(4, 90, 3)]
    assert_same(reference, pictures, {"size": size}, do_center_crop=False, do_normalize=False, do_rescale=False)


@pytest.mark.parametrize("shape", [(1, 30), (30, 1), (2, 60), (60, 2), (3, 30), (30, 3), (1, 1), (3, 3)])
def test_extreme_shapes(reference, shape):
    picture = random_picture(np.random.default_rng(0), "RGB", *shape)
    assert_same(reference, picture)
    assert_same(reference, picture, input_data_format="channels_last")
    assert_same(reference, picture, do_normalize=False)


@pytest.mark.parametrize("return_tensors", ["np", "pt", "tf", "jax"])
@pytest.mark.parametrize("do_rescale", [True, False])
def test_tensors_of_every_framework(reference, return_tensors, do_rescale):
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), dtype=np.uint8)
    expected = reference(
        "preprocess", images=images, arguments={}, options={"return_tensors": "np", "do_rescale": do_rescale}
    )
    found = CLIPImageProcessor()(images, return_tensors=return_tensors, do_rescale=do_rescale)["pixel_values"]
    assert tuple(found.shape) == expected.shape
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_batches_nested_and_not(reference):
    batch = np.random.default_rng(0).integers(0, 256, (4, 31, 23, 3), dtype=np.uint8)
    arguments = {"size": 20, "crop_size": 18}
    for images in (batch, list(batch), [list(batch[:2]), list(batch[2:])], [batch[:2], batch[2:]]):
        assert_same(reference, images, arguments, return_tensors="np")
    assert_same(reference, [[], list(batch)], arguments, return_tensors="np")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_turned_back_when_it_comes_by_path_alone(reference, tmp_path, orientation):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    random_picture(np.random.default_rng(0), "RGB", 30, 50).save(path, exif=exif)
    assert_same(reference, str(path), {"size": 20, "crop_size": 20})
    with Image.open(path) as picture:
        picture.load()
        assert_same(reference, picture, {"size": 20, "crop_size": 20})


@pytest.mark.parametrize("ending", ["png", "tiff", "gif", "webp", "bmp"])
def test_files_of_every_format(reference, tmp_path, ending):
    path = tmp_path / f"picture.{ending}"
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if ending in {"gif", "bmp"} else {"exif": exif}
    random_picture(np.random.default_rng(0), "P" if ending in {"gif", "png"} else "RGB", 30, 50).save(path, **options)
    assert_same(reference, [str(path), str(path)], {"size": 20, "crop_size": 20}, return_tensors="np")


def test_photographs_as_they_are_and_in_the_sizes_of_known_checkpoints(reference, shared):
    photos = [path for path in sorted((shared / "photos").iterdir()) if path.suffix in {".jpg", ".png"}]
    for path in photos:
        with Image.open(path) as picture:
            picture.load()
        assert_same(reference, str(path), return_tensors="np")
        assert_same(reference, picture, return_tensors="pt")
        assert_same(
            reference, picture, {"size": 336, "crop_size": 336, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        )
        assert_same(reference, picture, {"size": {"height": 378, "width": 378}, "crop_size": 378})
        assert_same(reference, np.asarray(picture.convert("RGB")) / 255, do_rescale=False)
    assert len(photos) >= 4


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"size": 336, "crop_size": 336, "resample": 2, "do_normalize": False},
        {
            "size": {"height": 378, "width": 378},
            "do_center_crop": False,
            "image_mean": 0.5,
            "image_std": [0.5, 0.5, 0.5],
        },
        {"size": 64, "use_square_size": True},
        {"size": 64, "use_square_size": False},
        {"feature_extractor_type": "CLIPFeatureExtractor", "processor_class": "CLIPProcessor", "do_pad": None},
        {"size": (20, 30), "crop_size": {"height": 5, "width": 6}, "a key of my own": {"kept": [1, 2]}},
        {"_valid_processor_keys": ["images"], "image_processor_type": "CLIPImageProcessorFast", "device": None},
    ],
)
def test_files_are_the_same_and_are_read_the_same(reference, tmp_path, arguments):
    theirs = json.loads(reference("image_processor_file", arguments=arguments))
    assert json.loads(CLIPImageProcessor(**arguments).to_json_string()) == theirs

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(arguments))
    expected = json.loads(reference("loaded_image_processor", folder=str(tmp_path), options={}))
    assert json.loads(CLIPImageProcessor.from_pretrained(tmp_path).to_json_string()) == expected


@pytest.mark.parametrize("class_name", ["CLIPImageProcessor", "AutoImageProcessor"])
def test_the_reference_loads_what_we_save(reference, tmp_path, class_name):
    ours = CLIPImageProcessor(size=99, crop_size=(7, 8), image_mean=np.float32([0.5, 0.25, 0.125]), mine=1)
    ours.save_pretrained(tmp_path)
    options = {"use_fast": False} if class_name == "AutoImageProcessor" else {}
    theirs = reference("loaded_image_processor", folder=str(tmp_path), options=options, class_name=class_name)
    assert json.loads(theirs) == json.loads(ours.to_json_string())


@pytest.mark.parametrize("name", ["resize", "center_crop", "rescale", "normalize"])
@pytest.mark.parametrize("data_format", [None, "channels_first", "channels_last"])
def test_a_step_by_itself(reference, name, data_format):
    arguments = {
        "resize": {"size": {"shortest_edge": 14}, "resample": 2},
        "center_crop": {"size": {"height": 15, "width": 40}},
        "rescale": {"scale": 0.5},
        "normalize": {"mean": [1, 2, 3], "std": 4.0},
    }[name]
    image = np.random.default_rng(0).integers(0, 256, (3, 21, 33), dtype=np.uint8)
    for pixels in (image, image.transpose(1, 2, 0)):
        call = {"image": pixels, **arguments, "data_format": data_format}
        theirs = reference("image_step", name=name, arguments=call)
        ours = getattr(CLIPImageProcessor(), name)(**call)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        np.testing.assert_array_equal(ours, theirs)
