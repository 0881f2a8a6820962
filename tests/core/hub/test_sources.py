"""Files from a folder or a file, and a one-line error for each way in which they can be missing; names and keywords."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clip_core.hub import check_file_name, find_file, list_files, require_file, split_hub_options
from clip_core.hub.options import LOADER_KEYWORDS, refuse_loader_keywords
from support.messages import mentions, naming


class TestLocalSources:
    def test_first_of_the_names_that_is_there(self, folder):
        assert find_file(folder, ["missing.json", "config.json"]) == folder / "config.json"
        assert find_file(str(folder), "model.safetensors") == folder / "model.safetensors"

    def test_none_where_no_name_is_there(self, folder):
        assert find_file(folder, ["merges.txt", "vocab.json"]) is None

    def test_a_folder_of_that_name_is_no_file(self, folder):
        assert find_file(folder, "text_encoder") is None

    def test_subfolder(self, folder):
        assert find_file(folder, "config.json", subfolder="text_encoder") == folder / "text_encoder" / "config.json"
        assert find_file(folder, "model.safetensors", subfolder="text_encoder") is None

    def test_missing_subfolder(self, folder):
        with pytest.raises(FileNotFoundError, match=naming(folder, "'unet'")):
            find_file(folder, "config.json", subfolder="unet")

    def test_file_under_the_name_asked_for(self, folder):
        assert find_file(folder / "config.json", ["preprocessor_config.json", "config.json"]) == folder / "config.json"

    def test_file_of_another_name_stands_for_the_only_one_of_its_kind(self, folder):
        mine = folder / "mine.json"
        mine.write_text("{}")
        assert find_file(mine, "config.json") == mine
        assert find_file(mine, "config.json", exact=True) == folder / "config.json"
        assert find_file(mine, "generation_config.json", exact=True) is None
        assert find_file(mine, "mine.json", exact=True) == mine

    def test_a_weight_file_leads_to_the_config_beside_it(self, folder):
        assert find_file(folder / "model.safetensors", "config.json") == folder / "config.json"
        assert find_file(folder / "model.safetensors", ["vocab.json", "merges.txt"]) is None

    def test_home_is_expanded(self, folder, monkeypatch):
        monkeypatch.setenv("HOME", str(folder.parent))
        assert find_file("~/clip", "config.json") == folder / "config.json"

    @pytest.mark.parametrize(
        "source", ["./missing", "../missing", "~/missing", "/missing/clip", "a/b/c", Path("missing")]
    )
    def test_a_path_that_does_not_exist(self, source):
        with pytest.raises(FileNotFoundError, match=naming(repr(str(source)))):
            find_file(source, "config.json")

    def test_required_file_names_all_that_were_looked_for_and_what_is_there(self, folder):
        with pytest.raises(FileNotFoundError) as caught:
            require_file(folder, ["a.json", "b.json", "c.json"])
        there = ("config.json", "model.safetensors", "text_encoder/")
        assert mentions(str(caught.value), folder, "a.json", "b.json", "c.json", *there)

    def test_required_file_in_a_subfolder(self, folder):
        with pytest.raises(FileNotFoundError, match=naming("clip/text_encoder", "a.json", "config.json")):
            require_file(folder, "a.json", subfolder="text_encoder")

    def test_required_file_in_an_empty_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=naming(tmp_path, "config.json")):
            require_file(tmp_path, "config.json")

    def test_long_lists_are_cut(self, tmp_path):
        for number in range(20):
            (tmp_path / f"{number:02}.txt").touch()
        with pytest.raises(FileNotFoundError, match=naming("config.json", "11.txt", 8)):
            require_file(tmp_path, "config.json")

    def test_list_of_files(self, folder):
        assert list_files(folder) == ["config.json", "model.safetensors", "text_encoder/config.json"]
        assert list_files(folder, subfolder="text_encoder") == ["config.json"]
        assert list_files(folder / "config.json") == list_files(folder)


class TestNamesStayInside:
    @pytest.mark.parametrize(
        "name", ["", ".", "..", "../a", "a/../../b", "a/..", "/etc/passwd", "C:\\a", "C:a", "\\a", "..\\a", "a\0b"]
    )
    def test_names_that_lead_out(self, name, folder):
        with pytest.raises(ValueError, match=naming(repr(name))):
            check_file_name(name)
        with pytest.raises(ValueError, match=naming(repr(name))):
            find_file(folder, ["config.json", name])

    @pytest.mark.parametrize("name", ["a", "a.b", "a/b", "..a", "a..b/c", "model-00001-of-00002.safetensors"])
    def test_names_that_stay(self, name):
        assert check_file_name(name) == name

    @pytest.mark.parametrize("subfolder", ["..", "/tmp", "a/../.."])  # noqa: S108  no file is made
    def test_subfolders_that_lead_out(self, subfolder, folder):
        with pytest.raises(ValueError, match=naming(repr(subfolder))):
            find_file(folder, "config.json", subfolder=subfolder)
        with pytest.raises(ValueError, match=naming(repr(subfolder))):
            list_files(folder, subfolder=subfolder)


class TestOptions:
    def test_hub_keywords_are_taken_out(self):
        kwargs = {"revision": "v1", "token": None, "subfolder": "a", "hidden_size": 8}
        assert split_hub_options(kwargs) == {"revision": "v1", "token": None, "subfolder": "a"}
        assert kwargs == {"hidden_size": 8}

    def test_obsolete_keywords_are_dropped(self):
        kwargs = {"proxies": {}, "resume_download": True, "_from_auto": True, "trust_remote_code": False, "x": 1}
        assert split_hub_options(kwargs) == {}
        assert kwargs == {"x": 1}

    def test_keywords_that_ask_for_nothing_are_dropped(self):
        empty = {"offload_folder": None, "key_mapping": {}, "load_in_8bit": False, "gguf_file": "", "tp_plan": None}
        kwargs = {**empty, "adapter_name": "default", "code_revision": "main", "x": None}
        assert split_hub_options(kwargs) == {}
        assert kwargs == {"x": None}

    @pytest.mark.parametrize("name", LOADER_KEYWORDS)
    def test_keywords_that_ask_for_something_are_refused_by_name(self, name):
        kwargs = {name: "auto"}
        assert split_hub_options(kwargs) == {}
        with pytest.raises(TypeError, match=naming("CLIPModel", f"{name}='auto'", LOADER_KEYWORDS[name])):
            refuse_loader_keywords(kwargs, "CLIPModel")
        refuse_loader_keywords({"x": 1}, "CLIPModel")

    def test_old_name_of_token(self):
        assert split_hub_options({"use_auth_token": "t"}) == {"token": "t"}
        assert split_hub_options({"use_auth_token": None, "token": "t"}) == {"token": "t"}
        with pytest.raises(ValueError, match=naming("token", "use_auth_token")):
            split_hub_options({"use_auth_token": "a", "token": "b"})


@pytest.mark.skipif(os.name == "nt", reason="Windows has no device files")
def test_a_device_is_not_called_missing():
    with pytest.raises(FileNotFoundError, match=naming(os.devnull, "neither a file nor a folder")) as caught:
        find_file(os.devnull, "config.json")
    assert "exist" not in str(caught.value)
