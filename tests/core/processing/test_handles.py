"""Methods of a processor that libraries for transformers call; tests/parity compares them with transformers'."""

from __future__ import annotations

import pytest

from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.vocabulary import write_vocabulary


@pytest.fixture
def processor(tmp_path):
    return CLIPProcessor(CLIPImageProcessor(size=16, crop_size=12), CLIPTokenizerFast(**write_vocabulary(tmp_path)))


def test_a_processor_is_made_of_its_parts_and_a_dict(processor):
    parts = [processor.image_processor, processor.tokenizer]
    other = CLIPImageProcessor(size=8)
    made, unused = CLIPProcessor.from_args_and_dict(
        parts,
        {"processor_class": "CLIPProcessor", "chat_template": "x", "image_processor": other},
        extra=1,
        return_unused_kwargs=True,
    )
    assert made.image_processor is other
    assert made.tokenizer is processor.tokenizer
    assert unused == {"chat_template": "x", "extra": 1}
    assert CLIPProcessor.from_args_and_dict(parts, {}).image_processor is processor.image_processor


def test_the_dict_of_a_folder_has_no_parts(processor, tmp_path):
    for legacy, expected in ((True, {}), (False, {"processor_class": "CLIPProcessor"})):
        processor.save_pretrained(tmp_path / str(legacy), legacy_serialization=legacy)
        found = CLIPProcessor.get_processor_dict(tmp_path / str(legacy), revision="main", use_fast=True)
        assert found == (expected, {"use_fast": True})


def test_generated_ids_become_text_without_special_tokens(processor):
    rows = processor(text=["cat", "dog"]).input_ids
    assert processor.post_process_image_text_to_text(rows) == processor.batch_decode(rows, skip_special_tokens=True)
    assert processor.post_process_image_text_to_text(rows, False) == processor.batch_decode(rows)
