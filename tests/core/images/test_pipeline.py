"""Images are processed one at a time, by the shorter of two routes, with the same result."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_core.images import pipeline
from clip_core.images.pipeline import on_channels_last, process_images, usable_threads
from clip_core.images.processor import CLIPImageProcessor
from clip_core.images.settings import settings_of
from support.messages import naming

FIRST, LAST = "channels_first", "channels_last"


def settings(**given):
    return settings_of(CLIPImageProcessor(size=16, crop_size=12), given)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def result(image, input_format=None, output_format=FIRST, **given):
    ((_, array),) = process_images(image, settings(**given), input_format, output_format)
    return array


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (16, 16), (5, 7), (1, 4), (300, 200)])
@pytest.mark.parametrize("given", [{}, {"do_center_crop": False}, {"do_resize": False}, {"do_rescale": False}])
def test_a_picture_and_its_array_in_either_layout_give_the_same_to_the_bit(shape, given):
    array = noise(*shape, 3)
    expected = result(array.astype(np.int64), LAST, **given)  # neither a picture nor bytes: no way is shorter
    np.testing.assert_array_equal(result(Image.fromarray(array), LAST, **given), expected)
    np.testing.assert_array_equal(result(array, LAST, **given), expected)
    np.testing.assert_array_equal(result(array.transpose(2, 0, 1), FIRST, **given), expected)


def test_the_first_image_tells_the_layout_of_all():
    images = [noise(20, 30, 3), noise(3, 30, 3)]  # the second by itself would be ambiguous
    assert [array.shape for _, array in process_images(images, settings(), None, LAST)] == [(12, 12, 3)] * 2


def test_files_are_opened_one_at_a_time(tmp_path, monkeypatch):
    for name in "abc":
        Image.fromarray(noise(9, 8, 3)).save(tmp_path / f"{name}.png")
    opened = []
    images = [str(tmp_path / f"{name}.png") for name in "abc"]
    open_source = pipeline.opened

    def watched(name, source):
        if isinstance(source, str):
            opened.append(name)
        return open_source(name, source)

    monkeypatch.setattr(pipeline, "opened", watched)
    for count, _ in enumerate(process_images(images, settings(), None, FIRST), start=1):
        assert len(opened) == count


def test_threads_share_the_images_and_leave_their_order(tmp_path):
    images = [noise(9 + seed, 20, 3, seed=seed) for seed in range(12)]
    Image.fromarray(images[3]).save(tmp_path / "third.png")
    images[3] = tmp_path / "third.png"
    alone = list(process_images(images, settings(), LAST, FIRST))
    together = list(process_images(images, settings(), LAST, FIRST, num_threads=3))
    assert [name for name, _ in together] == [name for name, _ in alone]
    assert together[3][0].startswith("images[3] (")
    for (_, found), (_, expected) in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_of_images_that_threads_cannot_process_the_first_is_named():
    images = [noise(9, 8, 3), noise(9, 8, 3), noise(9, 8, 1), noise(9, 8, 5)]
    with pytest.raises(ValueError, match=naming("images[2]", 1, "image_mean", 3)):
        list(process_images(images, settings(), LAST, FIRST, num_threads=4))


@pytest.mark.parametrize(("count", "given", "expected"), [(1, None, 0), (1, 4, 0), (3, 1, 0), (3, 4, 4), (3, None, 2)])
def test_one_image_starts_no_threads_and_a_batch_as_many_as_are_useful(monkeypatch, count, given, expected):
    started = [0]

    class Pool(pipeline.ThreadPoolExecutor):
        def __init__(self, max_workers, *names):
            started[0] = max_workers
            super().__init__(max_workers, *names)

    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(pipeline, "usable_threads", lambda: 2)
    list(process_images([noise(9, 8, 3)] * count, settings(), LAST, FIRST, num_threads=given))
    assert started == [expected]


def test_useful_threads_are_at_least_one_and_at_most_eight(monkeypatch):
    assert 1 <= usable_threads() <= 8
    monkeypatch.setattr(pipeline.os, "sched_getaffinity", lambda _: set(range(99)), raising=False)
    assert usable_threads() == 8


def test_a_step_alone_takes_and_gives_either_layout():
    image = noise(3, 20, 30)

    def upside_down(pixels):
        assert pixels.shape == (20, 30, 3)
        return pixels[::-1]

    expected = image[:, ::-1]
    np.testing.assert_array_equal(on_channels_last(upside_down, image, None, None), expected)
    np.testing.assert_array_equal(on_channels_last(upside_down, image, LAST, FIRST), expected.transpose(1, 2, 0))
    np.testing.assert_array_equal(on_channels_last(upside_down, image.transpose(1, 2, 0), FIRST, None), expected)
