"""The joint processor against transformers': the same arrays in the same order, and files that either reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast

REFERENCE = "oracle_processors"
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
TEXTS = ["a photo of a cat", "two dogs, a bird and something else"]
LONG = "word " * 100


CALLS = [
    {"text": TEXTS, "images": PICTURE, "return_tensors": "np", "padding": True},
    {"text": TEXTS[0], "images": [PICTURE, PICTURE]},
    {"text": TEXTS},
    {"images": [PICTURE], "padding": True, "return_tensors": "np"},
    {"text": [LONG, "a"], "padding": "max_length", "truncation": True, "max_length": 20, "return_tensors": "np"},
    {"text": TEXTS, "images": PICTURE, "crop_size": 32, "size": 40, "do_normalize": False, "return_length": True},
    {"text": TEXTS, "images": PICTURE, "text_kwargs": {"padding": True}, "images_kwargs": {"crop_size": 20}},
    {
        "text": TEXTS,
        "images": PICTURE,
        "text_kwargs": {"padding": "max_length", "max_length": 12, "truncation": True},
        "images_kwargs": {"do_convert_rgb": False, "data_format": "channels_last"},
        "common_kwargs": {"return_tensors": "np"},
    },
    {"text": TEXTS, "images": PICTURE, "text_kwargs": {"padding": True}, "return_tensors": "np"},
    {"text": TEXTS, "text_pair": ["x", "y"], "add_special_tokens": False, "return_special_tokens_mask": True},
    {"text": TEXTS, "return_attention_mask": False, "return_offsets_mapping": True},
    {"text": TEXTS, "images": PICTURE, "return_tensors": "pt"},  # of different lengths: an error
    {},
    {"text": TEXTS, "padding": True, "text_kwargs": {"padding": False}},
]
STATED = [{}, {"padding_side": "left"}, {"max_length": 9, "truncation": True}]


def assert_same(found, expected):
    assert list(found) == list(expected)
    for key, theirs in expected.items():
        ours = found[key]
        assert type(ours) is type(theirs), key
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert np.asarray(one).dtype == np.asarray(other).dtype
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("number", range(len(CALLS)))
@pytest.mark.parametrize("stated", STATED)
def test_a_call_returns_the_same(reference, checkpoint, number, stated):
    arguments = CALLS[number]
    tokenizer = CLIPTokenizerFast.from_pretrained(checkpoint, **stated)
    processor = CLIPProcessor(CLIPImageProcessor.from_pretrained(checkpoint), tokenizer)
    expected = reference("process", folder=str(checkpoint), arguments=arguments, tokenizer=stated)
    if isinstance(expected, str):
        with pytest.raises(ValueError):  # noqa: PT011  the words are ours
            processor(**arguments)
    else:
        assert_same(processor(**arguments), expected)


@pytest.mark.parametrize("use_fast", [None, True, False])
def test_the_files_of_the_reference_are_read(reference, checkpoint, tmp_path, use_fast):
    for legacy in (True, False):
        folder = tmp_path / f"{legacy}"
        reference("save_processor", source=str(checkpoint), folder=str(folder), legacy_serialization=legacy)
        options = {} if use_fast is None else {"use_fast": use_fast}
        processor = CLIPProcessor.from_pretrained(folder, **options)
        assert type(processor.tokenizer) is (CLIPTokenizer if use_fast is False else CLIPTokenizerFast)
        assert processor.image_processor.crop_size == {"height": 64, "width": 64}
        assert processor.decode(processor(text="a cat").input_ids, skip_special_tokens=True).strip() == "a cat"


def test_the_reference_reads_what_we_save_and_the_same_files_are_there(reference, checkpoint, tmp_path):
    processor = CLIPProcessor.from_pretrained(checkpoint, size=48, crop_size=40)
    for legacy in (True, False):
        ours, theirs = tmp_path / f"ours {legacy}", tmp_path / f"theirs {legacy}"
        processor.save_pretrained(ours, legacy_serialization=legacy)
        names = reference("save_processor", source=str(checkpoint), folder=str(theirs), legacy_serialization=legacy)
        assert sorted(path.name for path in ours.iterdir()) == names
        assert json.loads((ours / "tokenizer_config.json").read_text())["processor_class"] == "CLIPProcessor"
        expected = reference("process", folder=str(ours), arguments=CALLS[0], tokenizer={})
        assert_same(processor(**CALLS[0]), expected)
        again = CLIPProcessor.from_pretrained(ours)
        assert again.image_processor.to_dict() == processor.image_processor.to_dict()


def test_keywords_of_loading_go_to_the_part_that_knows_them(checkpoint):
    processor = CLIPProcessor.from_pretrained(checkpoint, crop_size=20, padding_side="left")
    assert processor.image_processor.crop_size == {"height": 20, "width": 20}
    assert processor.tokenizer.padding_side == "left"


def test_the_processors_own_file_says_the_same(reference, checkpoint, tmp_path):
    options = {"legacy_serialization": False}
    reference("save_processor", source=str(checkpoint), folder=str(tmp_path / "theirs"), **options)
    CLIPProcessor.from_pretrained(checkpoint).save_pretrained(tmp_path / "ours", **options)
    theirs, ours = (json.loads((tmp_path / who / "processor_config.json").read_text()) for who in ("theirs", "ours"))
    assert theirs["image_processor"].pop("_processor_class") is None
    assert ours == theirs


def test_the_methods_that_make_a_processor_of_parts_are_the_same(reference, checkpoint, tmp_path):
    from support.oracle_processors import facts_of

    CLIPProcessor.from_pretrained(checkpoint).save_pretrained(tmp_path, legacy_serialization=False)
    expected = reference("processor_facts", folder=str(tmp_path))
    assert facts_of(CLIPProcessor, tmp_path) == expected
    assert [text.strip() for text in expected["texts"]] == ["a cat", "a dog"]
