"""A tokenizer is read from a folder, a file or the hub, and written so that it comes back the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clip_core.tokenization import AddedToken, CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from clip_core.tokenization.vocabulary import OPENAI_FILES
from support.hub_server import TOKEN, HubServer
from support.messages import naming
from support.vocabulary import BOS, EOS, IDS, write_openai_file, write_vocabulary

CLASSES = [CLIPTokenizer, CLIPTokenizerFast]
PLACES = {"vocab_file", "merges_file", "tokenizer_file", "name_or_path"}
ALL_FILES = ["added_tokens.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"]


@pytest.fixture
def files(tmp_path):
    return write_vocabulary(tmp_path)


@pytest.fixture(params=CLASSES)
def cls(request):
    return request.param


@pytest.fixture
def saved(files, tmp_path):
    """All files of a tokenizer that differs from the defaults."""
    tokenizer = CLIPTokenizerFast(
        **files,
        model_max_length=8,
        padding_side="left",
        truncation_side="left",
        mask_token=AddedToken("<M>", lstrip=True),
        additional_special_tokens=["<A>"],
        do_lower_case=True,
        split_special_tokens=True,
        clean_up_tokenization_spaces=True,
        errors="ignore",
    )
    tokenizer.add_tokens("dogs")
    tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def state(tokenizer):
    left_out = {"name_or_path", "table", "_reader", "backend_tokenizer", "bpe_ranks", "encoder", "decoder"}
    left_out |= {"_words", "init_kwargs", "deprecation_warnings"}
    found = {key: value for key, value in {**vars(tokenizer), **vars(tokenizer.table)}.items() if key not in left_out}
    arguments = {key: value for key, value in tokenizer.init_kwargs.items() if key not in PLACES and value is not None}
    return found | {"init_kwargs": arguments}


# Reading


def test_both_read_what_was_saved(saved, cls):
    tokenizer = cls.from_pretrained(saved)
    assert tokenizer.name_or_path == str(saved)
    assert (tokenizer.model_max_length, tokenizer.padding_side, tokenizer.truncation_side) == (8, "left", "left")
    assert tokenizer.special_tokens_map_extended["mask_token"] == AddedToken("<M>", lstrip=True, special=True)
    assert tokenizer.additional_special_tokens == ["<A>"]
    assert tokenizer.init_kwargs["do_lower_case"] is True
    assert tokenizer.errors == "ignore"
    assert tokenizer("dogs")["input_ids"] == [BOS, IDS["<|endoftext|>"] + 3, EOS]
    assert state(CLIPTokenizer.from_pretrained(saved)) == state(CLIPTokenizerFast.from_pretrained(saved))


def test_keywords_count_before_the_files(saved, cls):
    tokenizer = cls.from_pretrained(saved, model_max_length=5, pad_token="<A>", clean="openai")  # noqa: S106  a token
    assert (tokenizer.model_max_length, tokenizer.pad_token_id, tokenizer.clean) == (
        5,
        IDS["<|endoftext|>"] + 2,
        "openai",
    )


@pytest.mark.parametrize("kept", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
def test_the_vocabulary_alone_is_enough(saved, cls, kept):
    for path in saved.iterdir():
        if path.name not in kept:
            path.unlink()
    tokenizer = cls.from_pretrained(saved)
    assert tokenizer("the cat")["input_ids"] == [BOS, IDS["the</w>"], IDS["cat</w>"], EOS]
    assert ("dogs" in tokenizer.added_tokens_encoder) == (kept == ["tokenizer.json"])


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_file_stands_for_its_folder(saved, cls, name):
    assert state(cls.from_pretrained(saved / name)) == state(cls.from_pretrained(saved))


@pytest.mark.parametrize("name", ["bpe_simple_vocab_16e6.txt", "bpe_simple_vocab_16e6.txt.gz", "other.gz"])
def test_openais_file(tmp_path, cls, name):
    path = write_openai_file(tmp_path / name)
    tokenizer = cls.from_pretrained(path)
    assert tokenizer.get_vocab() == IDS
    assert tokenizer.model_max_length == 77
    if name != "other.gz":
        assert state(cls.from_pretrained(tmp_path)) == state(tokenizer)


def test_a_subfolder(saved, cls):
    assert cls.from_pretrained(saved.parent, subfolder="saved").model_max_length == 8


def test_another_pipeline_is_refused_unless_left_aside(saved, cls):
    path = saved / "tokenizer.json"
    content = json.loads(path.read_text())
    content["normalizer"] = None
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=naming("tokenizer.json", "normalizer", "from_slow=True")):
        cls.from_pretrained(saved)
    assert cls.from_pretrained(saved, from_slow=True)("dogs")["input_ids"] == [BOS, IDS["<|endoftext|>"] + 3, EOS]


def test_settings_of_older_files_that_mean_nothing_here(saved, cls):
    path = saved / "tokenizer_config.json"
    config = json.loads(path.read_text())
    stale = {"name_or_path": "elsewhere", "tokenizer_file": "/gone/tokenizer.json", "special_tokens_map_file": "/gone"}
    path.write_text(json.dumps({**config, **stale, "use_fast": True, "tokenizer_class": "CLIPTokenizerFast"}))
    assert state(cls.from_pretrained(saved)) == state(cls.from_pretrained(saved, use_fast=False, padding_side="left"))
    arguments = cls.from_pretrained(saved).init_kwargs
    assert not {str(value) for value in arguments.values()} & set(stale.values())
    assert not arguments.keys() & {"special_tokens_map_file", "use_fast", "tokenizer_class"}


def test_folders_that_hold_no_tokenizer(tmp_path, cls):
    with pytest.raises(FileNotFoundError, match=naming("tokenizer.json", "vocab.json", *OPENAI_FILES)):
        cls.from_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=naming(tmp_path, "vocab.json", "merges.txt")):
        cls.from_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=naming(tmp_path / "nowhere")):
        cls.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("tokenizer_config.json", "[]", "tokenizer_config.json"),
        ("tokenizer_config.json", "{", "tokenizer_config.json"),
        ("tokenizer_config.json", '{"padding_side": "up"}', "padding_side='up'"),
        ("tokenizer.json", "{}", "tokenizer.json"),
    ],
)
def test_damaged_files_are_named(saved, cls, name, content, named):
    (saved / name).write_text(content)
    with pytest.raises(ValueError, match=naming(saved, named)):
        cls.from_pretrained(saved)


def test_a_hub_id(saved, tmp_path):
    server = HubServer()
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    files |= {"chat_template.jinja": b"a", "additional_chat_templates/tool_use.jinja": b"b"}
    server.repositories = {"user/clip": {"main": files}}
    code = f"""
from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from clip_core.tokenization.vocabulary import OPENAI_FILES
for cls in (CLIPTokenizer, CLIPTokenizerFast):
    tokenizer = cls.from_pretrained("user/clip")
    print(tokenizer.name_or_path, len(tokenizer), tokenizer.model_max_length, *tokenizer.chat_template.items())
    cached = cls.from_pretrained("user/clip", local_files_only=True)
    assert cached.chat_template == tokenizer.chat_template
tokenizer.push_to_hub("user/copy", token={TOKEN!r})
"""
    environment = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, check=False, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
        )
        templates = "('default', 'a') ('tool_use', 'b')"
        assert done.stdout.splitlines() == [f"user/clip {len(IDS) + 3} 8 {templates}"] * 2, done.stderr
        assert "user/copy" in server.repositories
    finally:
        server.close()


# Writing


def test_the_files_and_their_names(saved, cls, tmp_path):
    tokenizer = cls.from_pretrained(saved)
    paths = tokenizer.save_pretrained(tmp_path / "again")
    expected = sorted([*ALL_FILES, "tokenizer.json"] if cls.is_fast else ALL_FILES)
    assert names(tmp_path / "again") == expected
    assert sorted(paths) == [str(tmp_path / "again" / name) for name in expected]
    of_vocabulary = {argument: tmp_path / "again" / name for argument, name in cls.vocab_files_names.items()}
    assert ("tokenizer_file" in of_vocabulary) == cls.is_fast
    assert cls(**of_vocabulary).vocab_size == tokenizer.vocab_size
    for again in CLASSES:
        assert state(again.from_pretrained(tmp_path / "again")) == state(tokenizer)


def test_each_format_alone(saved, tmp_path):
    fast = CLIPTokenizerFast.from_pretrained(saved)
    fast.save_pretrained(tmp_path / "new", legacy_format=False)
    assert names(tmp_path / "new") == [
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    fast.save_pretrained(tmp_path / "old", legacy_format=True)
    assert names(tmp_path / "old") == ALL_FILES
    assert state(CLIPTokenizer.from_pretrained(tmp_path / "old")) == state(
        CLIPTokenizer.from_pretrained(tmp_path / "new")
    )
    with pytest.raises(ValueError, match=naming("legacy_format=False", CLIPTokenizerFast)):
        CLIPTokenizer.from_pretrained(saved).save_pretrained(tmp_path, legacy_format=False)


def test_no_file_of_another_tokenizer_stays_behind(saved, files, cls):
    (saved / "config.json").write_text("{}")
    templates = {"default": "a", "short": "b"}
    cls(**files, chat_template=templates).save_pretrained(saved)
    assert cls.from_pretrained(saved).chat_template == templates
    tokenizer = cls(**files, model_max_length=3)
    tokenizer.save_pretrained(saved)
    assert cls.from_pretrained(saved).chat_template is None
    assert not (saved / "additional_chat_templates").exists()
    assert not (saved / "added_tokens.json").exists()
    assert (saved / "tokenizer.json").exists() == cls.is_fast
    assert (saved / "config.json").exists()
    assert state(cls.from_pretrained(saved)) == state(tokenizer)


def test_prefixed_names_and_the_vocabulary_alone(saved, cls, tmp_path):
    tokenizer = cls.from_pretrained(saved)
    folder = tmp_path / "vocabulary"
    assert tokenizer.save_vocabulary(folder, "my") == (str(folder / "my-vocab.json"), str(folder / "my-merges.txt"))
    assert cls(folder / "my-vocab.json", folder / "my-merges.txt").get_vocab() == IDS
    assert f"{folder / 'my-tokenizer_config.json'}" in tokenizer.save_pretrained(folder, filename_prefix="my")


def test_a_default_is_not_written(files, cls, tmp_path):
    cls(**files).save_pretrained(tmp_path / "plain")
    config = json.loads((tmp_path / "plain" / "tokenizer_config.json").read_text())
    assert sorted(config) == [
        "added_tokens_decoder",
        "bos_token",
        "clean_up_tokenization_spaces",
        "eos_token",
        "errors",
        "model_max_length",
        "pad_token",
        "tokenizer_class",
        "unk_token",
    ]


def test_the_mode_and_the_pad_word_come_back(files, cls, tmp_path):
    cls(**files, clean="openai", pad_token="!").save_pretrained(tmp_path / "own")  # noqa: S106  a token
    for again in CLASSES:
        tokenizer = again.from_pretrained(tmp_path / "own")
        assert (tokenizer.clean, tokenizer.pad_token_id) == ("openai", 0)
        assert tokenizer("&amp;amp; cat!")["input_ids"] == [BOS, IDS["&</w>"], IDS["cat</w>"], IDS["!</w>"], EOS]


def test_ids_that_do_not_follow_on_come_back(files, cls, tmp_path):
    tokenizer = cls(**files, added_tokens_decoder={700: AddedToken("<far>")})
    tokenizer.save_pretrained(tmp_path / "far")
    for again in CLASSES:
        assert again.from_pretrained(tmp_path / "far")("<far>cat")["input_ids"] == [BOS, 700, IDS["cat</w>"], EOS]


def test_an_interrupted_save_leaves_the_old_files_whole(saved, cls, monkeypatch):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    tokenizer = cls.from_pretrained(saved, model_max_length=4)

    written = []

    def write_text(path, *args, **kwargs):
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        return really_write(path, *args, **kwargs)

    really_write = Path.write_text
    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(KeyboardInterrupt):
        tokenizer.save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_a_file_in_the_way_is_said(saved, cls):
    with pytest.raises(NotADirectoryError, match=naming(saved / "vocab.json")):
        cls.from_pretrained(saved).save_pretrained(saved / "vocab.json")


def test_upload_goes_to_the_folders_name_by_default(files, cls, tmp_path, monkeypatch):
    uploads = []
    monkeypatch.setattr("clip_core.hub.pushable.upload_folder", lambda *args, **kwargs: uploads.append((args, kwargs)))
    tokenizer = cls(**files)
    tokenizer.save_pretrained(tmp_path / "mine", push_to_hub=True, token="t")  # noqa: S106  no real one
    tokenizer.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="user/other")
    assert uploads == [((tmp_path / "mine", "mine"), {"token": "t"}), ((tmp_path / "mine", "user/other"), {})]
    shutil.rmtree(tmp_path / "mine")
