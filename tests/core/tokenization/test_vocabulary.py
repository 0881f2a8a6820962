"""A vocabulary is read from each of its files alike, and a damaged file is named."""

from __future__ import annotations

import copy
import json

import pytest

from clip_core.tokenization import vocabulary
from clip_core.tokenization.fast import CLIPTokenizerFast
from clip_core.tokenization.vocabulary import (
    NO_MAX_LENGTH,
    read_text_steps,
    read_vocabulary,
    vocabulary_contents,
)
from support.messages import naming
from support.vocabulary import IDS, MERGES, write_openai_file, write_vocabulary


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vocabulary")
    return json.loads(CLIPTokenizerFast(**write_vocabulary(folder)).backend_tokenizer.to_str())


@pytest.fixture
def content(good):
    return copy.deepcopy(good)


def test_clips_own_is_taken(content):
    assert read_text_steps(content, "tokenizer.json") is False


def test_the_signs_may_stand_in_the_pattern(content):
    pattern = content["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    pattern["Regex"] = r"<\|startoftext\|>|<\|endoftext\|>|" + pattern["Regex"]
    assert read_text_steps(content, "tokenizer.json") is True


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (["normalizer"], None, "normalizer"),
        (["normalizer", "normalizers"], [{"type": "NFC"}], "normalizer"),
        (["normalizer", "normalizers", 0], {"type": "NFKC"}, "normalizer"),
        (["normalizer", "normalizers", 1, "content"], "", "normalizer"),
        (["pre_tokenizer"], None, "pre_tokenizer"),
        (["pre_tokenizer"], {"type": "ByteLevel", "add_prefix_space": False}, "pre_tokenizer"),
        (["pre_tokenizer", "pretokenizers", 0, "pattern"], {"String": " "}, "pre_tokenizer"),
        (["pre_tokenizer", "pretokenizers", 0, "invert"], False, "pre_tokenizer"),
        (["pre_tokenizer", "pretokenizers", 1, "add_prefix_space"], True, "pre_tokenizer"),
        (["model", "end_of_word_suffix"], None, "model"),
        (["model", "continuing_subword_prefix"], "##", "model"),
        (["model", "dropout"], 0.1, "model"),
        (["model", "byte_fallback"], True, "model"),
        (["model", "ignore_merges"], True, "model"),
    ],
)
def test_other_steps_are_refused_by_name(content, path, value, named):
    part = content
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=naming("here/tokenizer.json", named, "from_slow=True")):
        read_text_steps(content, "here/tokenizer.json")


@pytest.fixture
def files(tmp_path):
    return write_vocabulary(tmp_path)


@pytest.fixture
def tokenizer_file(files, tmp_path):
    CLIPTokenizerFast(**files).save_pretrained(tmp_path / "saved")
    return tmp_path / "saved" / "tokenizer.json"


def test_all_forms_hold_the_same(files, tokenizer_file, tmp_path):
    forms = [
        read_vocabulary(**files),
        read_vocabulary(tokenizer_file=tokenizer_file),
        read_vocabulary(write_openai_file(tmp_path / "bpe.txt")),
        read_vocabulary(write_openai_file(tmp_path / "bpe.txt.gz")),
    ]
    for form in forms:
        assert form.ids == IDS
        assert form.merges == MERGES
    assert [form.model_max_length for form in forms] == [NO_MAX_LENGTH, NO_MAX_LENGTH, 77, 77]
    assert [token["content"] for token in forms[1].added_tokens.values()] == ["<|startoftext|>", "<|endoftext|>"]


def test_a_tokenizer_json_counts_before_the_others(files, tokenizer_file):
    content = json.loads(tokenizer_file.read_text())
    content["model"]["vocab"]["new"] = len(IDS)
    tokenizer_file.write_text(json.dumps(content))
    assert "new" in read_vocabulary(**files, tokenizer_file=tokenizer_file).ids


def test_merges_may_be_strings_as_in_older_files(tokenizer_file):
    content = json.loads(tokenizer_file.read_text())
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    tokenizer_file.write_text(json.dumps(content))
    assert read_vocabulary(tokenizer_file=tokenizer_file).merges == MERGES


def test_a_merges_file_without_a_header_loses_no_merge(files):
    lines = files["merges_file"].read_text().split("\n")[1:]
    files["merges_file"].write_text("\n".join(lines))
    assert read_vocabulary(**files).merges == MERGES


def test_openais_file_is_read_as_far_as_its_vocabulary_reaches(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, "_OPENAI_MERGES", 3)
    form = read_vocabulary(write_openai_file(tmp_path / "bpe.txt"))
    assert form.merges == MERGES[:3]
    assert form.ids["<|startoftext|>"] == 512 + 3


def test_what_is_written_is_read_back(files):
    form = read_vocabulary(**files)
    contents = vocabulary_contents(form.ids, form.merges)
    files["vocab_file"].write_text(contents["vocab.json"], encoding="utf-8")
    files["merges_file"].write_text(contents["merges.txt"], encoding="utf-8")
    assert read_vocabulary(**files) == form


def test_without_files_the_error_names_those_that_would_do():
    with pytest.raises(
        ValueError, match=naming("vocab.json", "merges.txt", "tokenizer.json", vocabulary.OPENAI_FILES[0])
    ):
        read_vocabulary()


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("vocab_file", "{", ("vocab.json", "JSON")),
        ("vocab_file", "[]", ("vocab.json", "vocabulary")),
        ("vocab_file", '{"a": "1"}', ("vocab.json", "vocabulary")),
        ("vocab_file", '{"a": 1, "b": 1}', ("vocab.json", "same id")),
        ("merges_file", "#version: 0.2\ni n\na b c\n", ("merges.txt", 3, "'a b c'")),
        ("merges_file", "#version: 0.2\nx y\n", ("merges.txt", "'x'", "'y'", "'xy'")),
        ("merges_file", b"\xff\xfe", ("merges.txt",)),
    ],
)
def test_damaged_files_are_named(files, name, content, named):
    files[name].write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=naming(*named)):
        read_vocabulary(**files)


@pytest.mark.parametrize(
    ("name", "content"), [("a.gz", b"no gzip"), ("a.txt", b"\xff"), ("a.txt", b"i n\n"), ("a.gz", b"\x1f\x8b\x08")]
)
def test_what_is_not_openais_file_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=naming(name, "bpe_simple_vocab_16e6.txt.gz")):
        read_vocabulary(path)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    for path in (tmp_path / "no.gz", tmp_path / "no.txt"):
        with pytest.raises(FileNotFoundError, match=naming(path.name)):
            read_vocabulary(path)
