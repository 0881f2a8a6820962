"""The tokenizer stays one class of few parts: how it inherits, and how many of our functions a call enters."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

import clip_core
from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tokenization import CLIPTokenizer, CLIPTokenizerFast
from support.vocabulary import write_vocabulary

ROOT = Path(clip_core.__file__).parents[1]
OURS = [ROOT / name for name in ("clip_core", "clip_torch", "clip_tf", "clip_flax")]


@pytest.fixture(scope="module", params=itertools.product([CLIPTokenizer, CLIPTokenizerFast], ["hf", "openai"]))
def processor(request, tmp_path_factory):
    (cls, clean), files = request.param, write_vocabulary(tmp_path_factory.mktemp("vocabulary"))
    return CLIPProcessor(CLIPImageProcessor(), cls(**files, model_max_length=77, clean=clean))


def entered(call):
    """Return the files of our own functions that a call enters, comprehensions counted as functions, once it is warm.

    The tokenizer in Python then has the words of the texts in its cache; their merges are not counted.
    """
    files = []

    def note(frame, event, _):
        if event == "call" and any(folder in Path(frame.f_code.co_filename).parents for folder in OURS):
            files.append(frame.f_code.co_filename)

    call()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return files


ONE = "a photo of a cat"
TEXTS = {
    "one": ONE,
    "many": [ONE] * 20,
    "pairs": [[ONE, ONE]] * 20,
    "long": ONE * 60,
    "long texts": [ONE * 60] * 20,
    "long pairs": [[ONE * 60, ONE]] * 20,
    "not ASCII": ["caf\u00e9"] * 20,
    "long pairs not ASCII": [["caf\u00e9 " * 60, ONE]] * 20,
}
LENGTHS = {
    "as they are": {},
    "padded": {"padding": True},
    "truncated": {"padding": True, "truncation": True},
    "of 16": {"padding": "max_length", "max_length": 16, "truncation": True},
    "of a multiple": {"padding": True, "pad_to_multiple_of": 8},
}
COLUMNS = {"return_length": True, "return_special_tokens_mask": True, "return_token_type_ids": True}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("return_tensors", ["np", None])
def test_a_call_enters_few_functions_in_few_files(processor, text, lengths, return_tensors):
    files = entered(lambda: processor(text=TEXTS[text], return_tensors=return_tensors, **LENGTHS[lengths]))
    assert 10 < len(files) <= 30
    assert len(set(files)) <= 7


@pytest.mark.parametrize(("text", "lengths"), [("one", "padded"), ("many", "of 16"), ("long pairs", "truncated")])
@pytest.mark.parametrize("return_tensors", ["pt", "tf", "jax"])
def test_a_call_for_a_framework_enters_as_few(processor, text, lengths, return_tensors):
    files = entered(lambda: processor(text=TEXTS[text], return_tensors=return_tensors, **LENGTHS[lengths]))
    assert 10 < len(files) <= 30
    assert len(set(files)) <= 7


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("overflow", [False, True])
@pytest.mark.parametrize("return_tensors", ["np", "pt", None])
def test_a_call_for_every_column_enters_as_few(processor, text, overflow, return_tensors):
    options = {**LENGTHS["of 16"], **COLUMNS, "return_tensors": return_tensors}
    if overflow:
        options |= {"return_overflowing_tokens": True, "truncation": "only_first"}
    files = entered(lambda: processor(text=TEXTS[text], **options))
    assert 10 < len(files) <= 30
    assert len(set(files)) <= 7


@pytest.mark.parametrize("cls", [CLIPTokenizer, CLIPTokenizerFast])
def test_one_class_is_below_the_public_one(cls):
    assert len(cls.__mro__) == 3  # its own, the shared one, and object


def test_the_whole_is_small():
    lines = {path.name: path.read_text().count("\n") for path in (ROOT / "clip_core" / "tokenization").glob("*.py")}
    assert 0 < sum(lines.values()) <= 1900, lines
