"""Processors and tokenizers in worker processes, forked or spawned, after they have worked in many threads here."""

from __future__ import annotations

import os

from support.imports import ROOT

PROGRAM = """
import sys
from functools import partial
from multiprocessing import get_context
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clip_core import CLIPProcessor, CLIPTokenizer, CLIPTokenizerFast

if __name__ == "__main__":
    source = sys.argv[1]
    images = [np.full((30 + number, 40, 3), number, np.uint8) for number in range(12)]
    texts = ["a red heart " * number for number in range(12)]
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        processor = CLIPProcessor.from_pretrained(source)
        processor.tokenizer = cls.from_pretrained(source)
        encode = partial(processor, text=texts, padding=True, truncation=True, return_tensors="np")
        expected = [encode(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(encode, images))
        for method in sys.argv[2:]:
            with get_context(method).Pool(2) as pool:
                for one, other in zip(pool.map(encode, images), expected, strict=True):
                    assert one.keys() == other.keys()
                    assert all(np.array_equal(one[name], other[name]) for name in other), (cls, method)
                ids = pool.map(partial(processor.tokenizer, padding=True, truncation=True), [texts] * 3)
                assert all(batch["input_ids"] == ids[0]["input_ids"] for batch in ids), (cls, method)
                assert np.array_equal(ids[0]["input_ids"], encode(images[0])["input_ids"])
    print("equal")
"""


def test_forked_and_spawned_workers_give_equal_answers(run_program):
    methods = ("spawn",) if os.name == "nt" else ("fork", "spawn", "forkserver")
    assert run_program(PROGRAM, ROOT / "examples" / "shapes" / "checkpoint", *methods) == "equal\n"
