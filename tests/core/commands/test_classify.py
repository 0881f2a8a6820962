"""Images of `clip-zoo classify`: only those in preparation are in memory, and a damaged one is reported."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clip_core.commands import classify
from clip_core.images import inputs
from clip_core.images.pipeline import usable_threads
from clip_core.images.processor import CLIPImageProcessor
from support.messages import mentions, naming

ENCODER = SimpleNamespace(
    encode_images=lambda pixels: np.ones((len(pixels), 4), np.float32),
    logits_per_image=lambda images, labels: images @ labels.T,
)


def answer(paths, processor):
    classifier = SimpleNamespace(encoder=ENCODER, processor=processor)
    answers = classify.Answers()
    found = classify._answer(classifier, np.eye(2, 4, dtype=np.float32), ["a", "b"], paths, answers, json=False)
    return [one.image for one in found], answers.errors


@pytest.fixture
def paths(tmp_path):
    for number in range(24):
        Image.new("RGB", (9, 8)).save(tmp_path / f"{number}.png")
    return sorted(tmp_path.iterdir())


def test_a_batch_is_decoded_as_it_is_needed(paths, monkeypatch):
    alive, most, lock = [], [], threading.Lock()

    class Counted(CLIPImageProcessor):
        def __call__(self, images, **options):
            try:
                return super().__call__(images, **options)
            finally:
                with lock:
                    alive.pop()

    opened = inputs.load_image

    def counted(source):
        with lock:
            alive.append(source)
            most.append(len(alive))
        return opened(source)

    monkeypatch.setattr(inputs, "load_image", counted)
    assert answer(paths, Counted()) == ([str(path) for path in paths], [])
    assert len(most) == len(paths)
    assert max(most) <= usable_threads()


def test_damaged_images_are_reported_and_the_others_answered(paths, capsys):
    paths[3].write_bytes(b"no image")
    named, errors = answer(paths, CLIPImageProcessor())
    assert errors == [str(paths[3])]
    assert named == [str(path) for path in paths if path != paths[3]]
    assert mentions(capsys.readouterr().err, "clip-zoo", paths[3])


def test_an_error_that_is_not_about_a_file_is_raised(paths):
    def fail(images, **_):
        raise ValueError("crop_size=3 is invalid")

    with pytest.raises(ValueError, match=naming("crop_size=3")):
        answer(paths, fail)
