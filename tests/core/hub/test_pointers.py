"""A Git LFS pointer in place of a file is named as one, wherever the file is read."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPConfig
from clip_core.data import open_pairs
from clip_core.data.pairs import Pair
from clip_core.data.preparation import captions_of
from clip_core.evaluation.templates import read_templates
from clip_core.hub.pointers import check_not_lfs_pointer, is_lfs_pointer
from clip_core.images.processor import CLIPImageProcessor
from clip_core.tasks.labels import read_labels
from clip_core.tasks.search.reading import read_caption
from clip_core.tokenization import CLIPTokenizer, CLIPTokenizerFast
from support.messages import naming

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5\n"


def test_only_a_pointer_is_one(tmp_path):
    for content, expected in ((POINTER, True), (b"", False), (b"version 2", False), (b"#version: 0.2", False)):
        (tmp_path / "x").write_bytes(content)
        assert is_lfs_pointer(content) is is_lfs_pointer(tmp_path / "x") is expected
    assert not is_lfs_pointer(tmp_path / "gone")
    check_not_lfs_pointer(tmp_path / "x")


READERS = {
    "config.json": CLIPConfig.from_pretrained,
    "preprocessor_config.json": CLIPImageProcessor.from_pretrained,
    "tokenizer.json": CLIPTokenizerFast.from_pretrained,
    "tokenizer_config.json": CLIPTokenizer.from_pretrained,
    "vocab.json": CLIPTokenizer.from_pretrained,
    "merges.txt": CLIPTokenizer.from_pretrained,
    "bpe_simple_vocab_16e6.txt": CLIPTokenizer.from_pretrained,
    "x.tar": lambda folder: len(open_pairs(folder / "x.tar")),
    "x.jsonl": lambda folder: len(open_pairs(folder / "x.jsonl")),
    "x.csv": lambda folder: len(open_pairs(folder / "x.csv")),
    "x.tsv": lambda folder: len(open_pairs(folder / "x.tsv")),
    "labels.txt": lambda folder: read_labels(folder / "labels.txt"),
    "labels.json": lambda folder: read_labels(folder / "labels.json"),
    "templates.txt": lambda folder: read_templates(folder / "templates.txt"),
    "chat_template.jinja": CLIPTokenizer.from_pretrained,
    "additional_chat_templates/rag.jinja": CLIPTokenizer.from_pretrained,
    "x.parquet": lambda folder: len(open_pairs(folder / "x.parquet")),
}


@pytest.mark.parametrize("name", READERS)
def test_the_error_names_the_file_and_says_what_to_do(tmp_path, name):
    if name in {"merges.txt", "tokenizer_config.json"} or name.endswith(".jinja"):
        (tmp_path / "vocab.json").write_text('{"a": 0}')
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    if name == "vocab.json":
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=naming(tmp_path / name, "Git LFS pointer", "git lfs pull")):
        READERS[name](tmp_path)


def test_a_pointer_is_no_caption(tmp_path):
    caption = tmp_path / "cat.txt"
    caption.write_bytes(POINTER)
    with pytest.raises(ValueError, match=naming("cat.txt", "Git LFS pointer", "git lfs pull")):
        captions_of(Pair("cat", tmp_path / "cat.png", caption))
    assert read_caption(tmp_path / "cat.png") is None
