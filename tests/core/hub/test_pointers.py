"""A Git LFS pointer in place of a file is named as one, wherever the file is read."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPConfig
from clip_core.data import open_pairs
from clip_core.hub.pointers import check_not_lfs_pointer, is_lfs_pointer
from clip_core.images.processor import CLIPImageProcessor
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
    "x.parquet": lambda folder: len(open_pairs(folder / "x.parquet")),
}


@pytest.mark.parametrize("name", READERS)
def test_the_error_names_the_file_and_says_what_to_do(tmp_path, name):
    if name in {"merges.txt", "tokenizer_config.json"}:
        (tmp_path / "vocab.json").write_text('{"a": 0}')
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    if name == "vocab.json":
        (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=naming(tmp_path / name, "Git LFS pointer", "git lfs pull")):
        READERS[name](tmp_path)
