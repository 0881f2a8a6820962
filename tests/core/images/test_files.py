"""Image processors read from files of every age, and written without loss."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clip_core.images.processor import CLIPImageProcessor, CLIPImageProcessorFast
from support.messages import naming

OLD = {
    "crop_size": 24,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 2,
    "size": 25,
}
OF_THE_FAST_ONE = {
    "crop_size": {"height": 24, "width": 24},
    "data_format": "channels_first",
    "default_to_square": False,
    "device": None,
    "do_pad": None,
    "image_processor_type": "CLIPImageProcessorFast",
    "input_data_format": None,
    "pad_size": None,
    "resample": 2,
    "return_tensors": None,
    "size": {"shortest_edge": 25},
}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("content", [OLD, OF_THE_FAST_ONE])
def test_files_of_every_age_are_read(tmp_path, content):
    write(tmp_path / "preprocessor_config.json", content)
    processor = CLIPImageProcessor.from_pretrained(tmp_path)
    assert processor.size == {"shortest_edge": 25}
    assert processor.crop_size == {"height": 24, "width": 24}
    assert processor.resample == 2
    assert processor.do_convert_rgb is True
    assert processor(np.zeros((30, 40, 3), np.uint8), return_tensors="np").pixel_values.shape == (1, 3, 24, 24)


def test_a_file_is_read_by_its_own_name_whatever_that_is(tmp_path):
    path = write(tmp_path / "mine.json", OLD)
    write(tmp_path / "preprocessor_config.json", {"size": 99})
    assert CLIPImageProcessor.from_pretrained(path).size == {"shortest_edge": 25}
    assert CLIPImageProcessor.from_pretrained(str(path)).size == {"shortest_edge": 25}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "model.safetensors"])
def test_a_file_of_the_model_stands_for_its_folder(tmp_path, name):
    path = write(tmp_path / name, {"model_type": "clip"})
    write(tmp_path / "preprocessor_config.json", OLD)
    assert CLIPImageProcessor.from_pretrained(path).size == {"shortest_edge": 25}


def test_a_subfolder_is_looked_into(tmp_path):
    (tmp_path / "0_CLIPModel").mkdir()
    write(tmp_path / "0_CLIPModel" / "preprocessor_config.json", OLD)
    assert CLIPImageProcessor.from_pretrained(tmp_path, subfolder="0_CLIPModel").size == {"shortest_edge": 25}


def test_the_part_of_a_processors_file_is_read_where_there_is_no_file_of_its_own(tmp_path):
    part = {"size": {"shortest_edge": 25}, "_processor_class": "CLIPProcessor"}
    write(tmp_path / "processor_config.json", {"image_processor": part, "processor_class": "CLIPProcessor"})
    processor = CLIPImageProcessor.from_pretrained(tmp_path)
    assert processor.size == {"shortest_edge": 25}
    assert processor.to_dict()["_processor_class"] == "CLIPProcessor"
    assert json.loads(processor.to_json_string())["processor_class"] == "CLIPProcessor"
    write(tmp_path / "preprocessor_config.json", OLD | {"size": 77})
    assert CLIPImageProcessor.from_pretrained(tmp_path).size == {"shortest_edge": 77}


def test_keywords_go_before_the_file(tmp_path):
    write(tmp_path / "preprocessor_config.json", OLD)
    processor = CLIPImageProcessor.from_pretrained(tmp_path, size=30, crop_size=(7, 8), do_normalize=False)
    assert processor.size == {"shortest_edge": 30}
    assert processor.crop_size == {"height": 7, "width": 8}
    assert processor.do_normalize is False


def test_keywords_that_are_no_attribute_are_handed_back_or_warned_of(tmp_path):
    write(tmp_path / "preprocessor_config.json", OLD)
    processor, unused = CLIPImageProcessor.from_pretrained(tmp_path, size=30, foo=1, return_unused_kwargs=True)
    assert (processor.size, unused) == ({"shortest_edge": 30}, {"foo": 1})
    with pytest.warns(UserWarning, match=naming("CLIPImageProcessor", "foo")):
        CLIPImageProcessor.from_pretrained(tmp_path, foo=1)
    CLIPImageProcessor.from_pretrained(tmp_path, use_fast=False)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("preprocessor_config.json", "{", ["JSON"]),
        ("preprocessor_config.json", [1], []),
        ("preprocessor_config.json", {"size": "big"}, ["size='big'"]),
        ("processor_config.json", {"processor_class": "CLIPProcessor"}, ["preprocessor_config.json"]),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, content, named):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=naming(path, *named)):
        CLIPImageProcessor.from_pretrained(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=naming("preprocessor_config.json", "processor_config.json")):
        CLIPImageProcessor.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=naming(repr(str(tmp_path / "nowhere")))):
        CLIPImageProcessor.from_pretrained(tmp_path / "nowhere")


def test_what_is_saved_is_what_was_there_and_what_was_changed(tmp_path):
    processor = CLIPImageProcessor(size=25, image_mean=np.float64([0.5, 0.25, 0.125]), a_key_of_my_own={"kept": [1]})
    processor.do_convert_rgb = False
    (path,) = processor.save_pretrained(tmp_path / "new")
    assert path == str(tmp_path / "new" / "preprocessor_config.json")
    again = CLIPImageProcessor.from_pretrained(tmp_path / "new")
    assert again.image_mean == [0.5, 0.25, 0.125]
    assert again.a_key_of_my_own == {"kept": [1]}
    assert again.to_json_string() == processor.to_json_string()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["preprocessor_config.json"]


def test_the_history_of_a_file_is_not_written_back():
    content = CLIPImageProcessor.from_dict(OLD | {"_valid_processor_keys": ["images"]}).to_dict()
    assert "feature_extractor_type" not in content
    assert "_valid_processor_keys" not in content
    assert content["image_processor_type"] == "CLIPImageProcessor"


def test_a_square_of_old_files_becomes_a_size(tmp_path):
    content = CLIPImageProcessor(size=25, use_square_size=True).to_dict()
    assert content["size"] == {"height": 25, "width": 25}
    assert "use_square_size" not in content


def test_a_failed_save_leaves_the_old_file_whole(tmp_path):
    CLIPImageProcessor(size=25).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=naming("object", "JSON")):
        CLIPImageProcessor(size=26, image_mean=object()).save_pretrained(tmp_path)
    assert CLIPImageProcessor.from_pretrained(tmp_path).size == {"shortest_edge": 25}


def test_a_save_onto_a_file_is_refused(tmp_path):
    path = write(tmp_path / "file", "")
    with pytest.raises(NotADirectoryError, match=naming(path)):
        CLIPImageProcessor().save_pretrained(path)


def test_a_dictionary_made_of_a_processor_is_a_copy():
    processor = CLIPImageProcessor()
    processor.to_dict()["size"]["shortest_edge"] = 7
    assert processor.size == {"shortest_edge": 224}
    assert repr(processor).startswith('CLIPImageProcessor {\n  "crop_size"')


def test_uploads_hold_the_file(monkeypatch, tmp_path):
    uploads = []

    def upload(folder, repo_id, **options):
        content = json.loads((Path(folder) / "preprocessor_config.json").read_text())
        uploads.append((content["size"], repo_id, options))
        return "address"

    monkeypatch.setattr("clip_core.hub.pushable.upload_folder", upload)
    processor = CLIPImageProcessor(size=25)
    assert processor.push_to_hub("me/it", private=True) == "address"
    processor.save_pretrained(tmp_path / "it", push_to_hub=True, create_pr=True)
    processor.save_pretrained(tmp_path / "it", push_to_hub=True, repo_id="me/other")
    assert uploads == [
        ({"shortest_edge": 25}, "me/it", {"private": True}),
        ({"shortest_edge": 25}, "it", {"create_pr": True}),
        ({"shortest_edge": 25}, "me/other", {}),
    ]


def test_a_file_of_settings_is_read_and_written_by_itself(tmp_path):
    CLIPImageProcessor(size=40, image_mean=np.float32(0.5)).to_json_file(tmp_path / "a.json")
    read = CLIPImageProcessor.from_json_file(tmp_path / "a.json")
    assert (read.size, read.image_mean) == ({"shortest_edge": 40}, 0.5)
    assert read.to_json_string() == (tmp_path / "a.json").read_text()
    content, unused = CLIPImageProcessor.get_image_processor_dict(tmp_path / "a.json", token=None, crop_size=3)
    assert content == json.loads(read.to_json_string())
    assert unused == {"crop_size": 3}


def test_keywords_of_loaders_that_ask_for_nothing_bring_no_warning(tmp_path):
    CLIPImageProcessor().save_pretrained(tmp_path)
    CLIPImageProcessor.from_pretrained(tmp_path, gguf_file=None, device_map=None, trust_remote_code=False)


def test_the_fast_processors_name_is_an_alias():
    assert CLIPImageProcessorFast is CLIPImageProcessor
    assert CLIPImageProcessorFast().to_dict()["image_processor_type"] == "CLIPImageProcessor"
