"""Threads share one model and one processor: each gets the answer that it would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clip_core import CLIPProcessor
from support.entries import assert_identical
from support.imports import ROOT

MODEL = ROOT / "examples" / "shapes" / "checkpoint"
TEXTS = ("a red heart", "four blue rings", "a green cross and a star", "caf\u00e9")


def test_eight_threads_on_one_model_and_processor(backend):
    model, processor = backend.load("CLIPModel", MODEL), CLIPProcessor.from_pretrained(MODEL)

    def answer(number):
        random = np.random.default_rng(number % 5)
        images = [random.integers(0, 255, (30 + number % 5, 40, 3), np.uint8)]
        texts = [TEXTS[number % 4], TEXTS[number % 3]]
        batch = processor(text=texts, images=images, padding="max_length", return_tensors="np")
        return backend.forward(model, {name: np.asarray(array) for name, array in batch.items()})

    expected = [answer(number) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answer, range(24)))
    for one, other in zip(found, expected, strict=True):
        assert_identical(one, other)
