"""The joint processor routes each keyword, and reads and writes its two parts together."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TypedDict, Unpack, get_origin

import numpy as np
import pytest
from PIL import Image

from clip_core.images.processor import CLIPImageProcessor, CLIPImageProcessorFast
from clip_core.processing import CLIPProcessor
from clip_core.processing.batch import BatchFeature
from clip_core.processing.processor import GROUPS, IMAGE_KEYWORDS, TEXT_KEYWORDS, CLIPProcessorKwargs
from support.messages import naming

PICTURE = Image.new("RGB", (30, 20), (10, 100, 200))


class Tokenizer:
    """A recorder of its calls."""

    model_input_names = ("input_ids", "attention_mask")

    def __init__(self, **init_kwargs):
        self.init_kwargs = init_kwargs
        self.calls = []
        self._processor_class = None

    def __call__(self, text, **keywords):
        self.calls.append((text, keywords))
        return BatchFeature({"input_ids": [[1, 2]], "attention_mask": [[1, 1]]}, keywords.get("return_tensors"))

    def save_pretrained(self, folder, **options):
        content = {**self.init_kwargs, "processor_class": self._processor_class}
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(content))

    def decode(self, ids, **options):
        return f"{ids} {options}"

    def batch_decode(self, rows, **options):
        return [self.decode(ids, **options) for ids in rows]


@pytest.fixture
def tokenizer():
    return Tokenizer()


@pytest.fixture
def processor(tokenizer):
    return CLIPProcessor(CLIPImageProcessor(size=16, crop_size=12), tokenizer)


def test_images_and_texts_come_together_images_first(processor):
    batch = processor(text=["a cat"], images=PICTURE, return_tensors="np")
    assert list(batch) == processor.model_input_names == ["pixel_values", "input_ids", "attention_mask"]
    assert batch.pixel_values.shape == (1, 3, 12, 12)
    assert batch.input_ids.shape == (1, 2)


def test_either_may_be_left_out_but_not_both(processor, tokenizer):
    assert list(processor(images=PICTURE, padding=True)) == ["pixel_values"]
    assert list(processor(text="a cat", do_resize=False)) == ["input_ids", "attention_mask"]
    with pytest.raises(ValueError, match=naming("images=...", "text=...")):
        processor()


@pytest.mark.parametrize("text", ["a cat", ["a cat", "a dog"], [["a", "cat"]]])
def test_by_position_images_go_first_and_the_order_of_older_releases_is_recognised(processor, tokenizer, text):
    for arguments in ((PICTURE, text), (text, PICTURE), (text, [PICTURE]), ([np.asarray(PICTURE)], text)):
        assert list(processor(*arguments)) == ["pixel_values", "input_ids", "attention_mask"]
        assert tokenizer.calls.pop()[0] == text


def test_paths_and_texts_by_position_are_taken_in_todays_order(processor, tokenizer, tmp_path):
    PICTURE.save(tmp_path / "picture.png")
    processor([str(tmp_path / "picture.png")], ["a cat"])
    assert tokenizer.calls.pop()[0] == ["a cat"]


def test_each_keyword_goes_where_it_belongs(processor, tokenizer):
    batch = processor(
        text="a cat",
        images=PICTURE,
        padding="max_length",
        max_length=9,
        crop_size=8,
        do_convert_rgb=True,
        return_tensors="np",
        data_format="channels_last",
    )
    assert tokenizer.calls == [("a cat", {"padding": "max_length", "max_length": 9, "return_tensors": "np"})]
    assert batch.pixel_values.shape == (1, 8, 8, 3)


def test_keywords_may_be_grouped(processor, tokenizer):
    batch = processor(
        text="a cat",
        images=PICTURE,
        images_kwargs={"crop_size": 8},
        text_kwargs={"padding": True, "new": 1},
        common_kwargs={"return_tensors": "np"},
        truncation=True,
    )
    expected = {"padding": True, "new": 1, "return_tensors": "np", "truncation": True}
    assert tokenizer.calls == [("a cat", expected)]
    assert batch.pixel_values.shape == (1, 3, 8, 8)


class Keywords(CLIPProcessorKwargs, total=False):
    _defaults = {  # noqa: RUF012  as transformers declares them
        "text_kwargs": {"padding": "max_length", "max_length": 5},
        "images_kwargs": {"crop_size": 8},
        "common_kwargs": {"return_tensors": "np"},
    }


class WithDefaults(CLIPProcessor):
    valid_processor_kwargs = Keywords


def test_a_subclass_has_defaults_of_its_own_for_keywords_that_are_not_given():
    tokenizer = Tokenizer(max_length=7)
    processor = WithDefaults(CLIPImageProcessor(size=16, crop_size=12), tokenizer)
    assert processor(text="a cat", images=PICTURE).pixel_values.shape == (1, 3, 8, 8)
    assert isinstance(processor(images=PICTURE, crop_size=10, return_tensors=None).pixel_values, list)
    processor(text="a cat", text_kwargs={"padding": False}, max_length=9)
    assert [keywords for _, keywords in tokenizer.calls] == [
        {"padding": "max_length", "max_length": 7, "return_tensors": "np"},
        {"padding": False, "max_length": 9, "return_tensors": "np"},
    ]
    assert Keywords._defaults["text_kwargs"] == {"padding": "max_length", "max_length": 5}


def test_keywords_that_a_subclass_declares_reach_their_part():
    class OfTexts(TypedDict, total=False):
        shout: bool

    class Declared(TypedDict, total=False):
        images_kwargs: dict

    Declared.__annotations__["text_kwargs"] = OfTexts  # as transformers advises, the class itself and not its name
    processor = CLIPProcessor(CLIPImageProcessor(), Tokenizer(max_length=7))
    merged = processor._merge_kwargs(Declared, tokenizer_init_kwargs={"max_length": 3, "a": 1}, shout=True, size=5)
    assert merged["text_kwargs"] == {"max_length": 3, "shout": True}
    assert merged["images_kwargs"] == {"size": 5}


def test_a_group_is_not_changed(processor):
    group = {"padding": True}
    processor(text="a cat", text_kwargs=group)
    assert group == {"padding": True}


@pytest.mark.parametrize(
    ("group", "keyword"), [("text_kwargs", "padding"), ("images_kwargs", "size"), ("common_kwargs", "return_tensors")]
)
def test_a_keyword_may_not_be_given_twice(processor, group, keyword):
    with pytest.raises(ValueError, match=naming(keyword, group)):
        processor(text="a cat", **{group: {keyword: 1}, keyword: 1})


def test_a_keyword_that_is_nobodys_brings_a_warning(processor, tokenizer):
    with pytest.warns(UserWarning, match=naming("CLIPProcessor", "audios", "paddding")):
        processor(text="a cat", paddding=True, audios=None)
    assert tokenizer.calls == [("a cat", {})]


@pytest.mark.parametrize("other", ["videos", "audio"])
def test_other_media_bring_a_warning_unless_they_are_none(processor, tokenizer, other):
    processor(text="a cat", **{other: None})
    with pytest.warns(UserWarning, match=naming("CLIPProcessor", other)):
        processor(text="a cat", **{other: [PICTURE]})
    assert tokenizer.calls == [("a cat", {})] * 2


def test_texts_may_outnumber_images(processor):
    batch = processor(text=["a cat", "a dog", "a fox"], images=[[], [PICTURE], [PICTURE]], return_tensors="np")
    assert len(batch.pixel_values) == 2
    assert processor.chat_template is None


def test_what_the_tokenizers_file_states_is_a_default_of_each_call():
    tokenizer = Tokenizer(max_length=77, padding_side="left", model_max_length=77)
    tokenizer.padding_side = "right"  # set since
    processor = CLIPProcessor(CLIPImageProcessor(), tokenizer)
    processor(text="a cat")
    processor(text="a cat", max_length=9)
    assert [keywords for _, keywords in tokenizer.calls] == [
        {"max_length": 77, "padding_side": "right"},
        {"max_length": 9, "padding_side": "right"},
    ]


def test_both_parts_must_be_there_and_in_their_places(tokenizer):
    with pytest.raises(TypeError, match=naming("image_processor", "NoneType", "pixel_values")):
        CLIPProcessor(tokenizer=tokenizer)
    with pytest.raises(TypeError, match=naming("tokenizer", "NoneType", "input_ids")):
        CLIPProcessor(CLIPImageProcessor())
    with pytest.raises(TypeError, match=naming("image_processor", "Tokenizer", "pixel_values")):
        CLIPProcessor(tokenizer, CLIPImageProcessor())


def test_the_old_name_of_the_image_processor_warns(tokenizer):
    image_processor = CLIPImageProcessor()
    with pytest.warns(FutureWarning, match=naming("feature_extractor", "image_processor")):
        processor = CLIPProcessor(feature_extractor=image_processor, tokenizer=tokenizer)
    assert processor.image_processor is image_processor
    with pytest.warns(FutureWarning, match=naming("feature_extractor", "image_processor")):
        assert processor.feature_extractor is image_processor


def test_decoding_is_the_tokenizers(processor):
    assert processor.decode([1], skip_special_tokens=True) == "[1] {'skip_special_tokens': True}"
    assert processor.batch_decode([[1], [2]]) == ["[1] {}", "[2] {}"]


def test_saving_writes_the_files_of_both_with_the_processors_name(processor, tmp_path):
    assert processor.save_pretrained(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preprocessor_config.json", "tokenizer_config.json"]
    for path in tmp_path.iterdir():
        assert json.loads(path.read_text())["processor_class"] == "CLIPProcessor"


def test_saving_in_the_new_way_puts_the_image_processor_into_the_processors_file(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    assert processor.save_pretrained(tmp_path, legacy_serialization=False) == [str(tmp_path / "processor_config.json")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["processor_config.json", "tokenizer_config.json"]
    assert CLIPImageProcessor.from_pretrained(tmp_path).to_dict() == processor.image_processor.to_dict()
    processor.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preprocessor_config.json", "tokenizer_config.json"]


def test_a_failed_save_leaves_the_old_files_whole(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    processor.image_processor.image_mean = object()
    processor.image_processor.size = {"shortest_edge": 99}
    processor.tokenizer = Tokenizer(changed=True)
    with pytest.raises(TypeError, match=naming("JSON")):
        processor.save_pretrained(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_uploads_hold_the_files_of_both(processor, monkeypatch, tmp_path):
    uploads = []

    def upload(folder, repo_id, **options):
        uploads.append((sorted(path.name for path in Path(folder).iterdir()), repo_id, options))
        return "address"

    monkeypatch.setattr("clip_core.hub.pushable.upload_folder", upload)
    files = ["preprocessor_config.json", "tokenizer_config.json"]
    assert processor.push_to_hub("me/it", private=True) == "address"
    processor.save_pretrained(tmp_path / "it", push_to_hub=True, create_pr=True)
    assert uploads == [(files, "me/it", {"private": True}), (files, "it", {"create_pr": True})]


def test_its_own_settings_as_json(processor, tmp_path):
    assert json.loads(processor.to_json_string()) == processor.to_dict() == {"processor_class": "CLIPProcessor"}
    processor.to_json_file(tmp_path / "processor_config.json", legacy_serialization=False)
    content = json.loads((tmp_path / "processor_config.json").read_text())
    assert content["image_processor"] == json.loads(processor.image_processor.to_json_string())
    assert processor.to_dict(legacy_serialization=False)["image_processor"] == processor.image_processor.to_dict()


def test_the_signature_names_every_keyword_of_a_call(processor):
    assert CLIPProcessorKwargs.__annotations__.keys() == {*IMAGE_KEYWORDS, *TEXT_KEYWORDS, *GROUPS}
    keywords = inspect.signature(processor.__call__).parameters["kwargs"].annotation
    assert get_origin(keywords) is Unpack
    assert keywords.__args__ == (CLIPProcessorKwargs,)


def test_the_class_has_the_attributes_that_generic_code_reads():
    processor = CLIPProcessor(CLIPImageProcessor(), Tokenizer())
    with pytest.warns(FutureWarning, match="image_processor_class"):
        assert processor.feature_extractor_class == ("CLIPImageProcessor", "CLIPImageProcessorFast")
    assert CLIPProcessor.valid_processor_kwargs.__annotations__.keys() >= {"images_kwargs", "text_kwargs", "padding"}
    assert "CLIPImageProcessorFast" in CLIPImageProcessorFast.__doc__
