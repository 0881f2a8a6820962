"""Files of tokenizers against transformers and OpenAI: ours read there, theirs read here, and OpenAI's ids."""

# ruff: noqa: S106  the tokens are those of a vocabulary

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest

from clip_core.tokenization import CLIPTokenizer
from support.added_tokens import ADDED, ADDED_PIECES, CLASSES, as_added, assert_rows_equal
from support.texts import PIECES, corpus
from support.vocabulary import IDS, openai_package

REFERENCE = "oracle_tokenizers"


@pytest.fixture(scope="module")
def openai():
    folder = openai_package()
    spec = importlib.util.spec_from_file_location("openai_simple_tokenizer", folder / "simple_tokenizer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer()


# OpenAI's ids


@pytest.mark.parametrize("cls", CLASSES)
def test_clean_openai_gives_openais_ids(openai, cls):
    texts = [
        *corpus(3000, seed=7),
        "\ud83d\ude00 paired and \ud800 lone surrogates",
        "!!<|endoftext|> x<|startoftext|>y",
    ]
    vocab_file = openai_package() / "bpe_simple_vocab_16e6.txt.gz"
    tokenizer = cls(vocab_file, clean="openai")
    found = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    assert_rows_equal(found, [openai.encode(text) for text in texts], texts)


def test_openais_vocabulary_file_is_the_checkpoints_vocabulary(checkpoint, tokenizers):
    tokenizer = CLIPTokenizer.from_pretrained(openai_package() / "bpe_simple_vocab_16e6.txt.gz")
    assert tokenizer.get_vocab() == tokenizers[0].get_vocab()
    assert tokenizer.table.merges == tokenizers[0].table.merges
    assert tokenizer.model_max_length == 77
    texts = corpus(300, seed=8)
    assert tokenizer(texts, verbose=False)["input_ids"] == tokenizers[0](texts, verbose=False)["input_ids"]


def test_clean_openai_decodes_as_openai_does_but_for_the_last_space(openai, checkpoint):
    tokenizer = CLIPTokenizer.from_pretrained(checkpoint, clean="openai")
    texts = corpus(500, seed=9)
    rows = [openai.encode(text) for text in texts]
    assert_rows_equal(tokenizer.batch_decode(rows), [openai.decode(row).strip() for row in rows], texts)


# Files

READ = [
    {},
    {"pad_token": "<|startoftext|>", "model_max_length": 20, "padding_side": "left", "truncation_side": "left"},
    {"mask_token": "<M>", "additional_special_tokens": ["<A>", "<B>"], "sep_token": "cat</w>"},
    {"clean_up_tokenization_spaces": True, "split_special_tokens": True, "model_input_names": ["input_ids"]},
    {"from_slow": True, "bos_token": "<BOS>"},
]


@pytest.mark.parametrize("number", range(len(READ)))
@pytest.mark.parametrize("cls", CLASSES)
def test_the_same_is_read_from_the_references_files(reference, small, tmp_path, cls, number):
    from support.oracle_tokenizers import description

    options = READ[number]
    assert description(cls.from_pretrained(small, **options)) == reference(
        "described", folder=str(small), options=options
    )
    reference("save_tokenizer", source=str(small), folder=str(tmp_path), options=options, added=ADDED)
    assert description(cls.from_pretrained(tmp_path)) == reference("described", folder=str(tmp_path))


def test_the_trained_checkpoint_is_read_alike(reference, checkpoint, tokenizers):
    from support.oracle_tokenizers import description

    expected = reference("described", folder=str(checkpoint))
    assert [description(tokenizer) for tokenizer in tokenizers] == [expected, expected]


@pytest.mark.parametrize("fast", [False, True])
def test_old_folders_are_read_alike(reference, small, tmp_path, fast):
    from support.oracle_tokenizers import description

    for name in ["merges.txt", "vocab.json", *(["tokenizer.json"] if fast else [])]:
        shutil.copy(small / name, tmp_path / name)
    old = {
        "model_max_length": 77,
        "do_lower_case": True,
        "pad_token": "<|endoftext|>",
        "tokenizer_class": "CLIPTokenizer",
    }
    sign = {"content": "<|startoftext|>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    old["bos_token"] = {"__type": "AddedToken", **sign}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(old))
    special = {"bos_token": sign, "pad_token": "<pad>", "additional_special_tokens": ["<extra>"]}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    (tmp_path / "added_tokens.json").write_text(
        json.dumps({"<pad>": len(IDS), "<Cat-Toy>": len(IDS) + 1, "<extra>": len(IDS) + 2})
    )
    expected = reference("described", folder=str(tmp_path))
    for cls in CLASSES:
        assert description(cls.from_pretrained(tmp_path)) == expected


@pytest.mark.parametrize("number", range(len(READ)))
@pytest.mark.parametrize("cls", CLASSES)
def test_the_reference_reads_our_files(reference, small, tmp_path, cls, number):
    from support.oracle_tokenizers import description

    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    options = {key: value for key, value in READ[number].items() if key != "split_special_tokens"}
    tokenizer = cls.from_pretrained(small, **options)
    tokenizer.add_tokens(as_added(ADDED))
    paths = tokenizer.save_pretrained(ours)
    files = reference("save_tokenizer", source=str(small), folder=str(theirs), fast=cls.is_fast, added=ADDED)
    assert sorted(path.name for path in ours.iterdir()) == files
    assert sorted(paths) == sorted(str(ours / name) for name in files)
    assert reference("described", folder=str(ours)) == description(tokenizer)
    texts = corpus(300, extra=ADDED_PIECES, seed=10)
    expected = reference("tokenizer_calls", folder=str(ours), calls=[{"text": texts}])[0]["input_ids"]
    assert_rows_equal(tokenizer(texts, verbose=False)["input_ids"], expected, texts)
    for again in CLASSES:
        assert description(again.from_pretrained(ours)) == description(tokenizer)
        assert_rows_equal(again.from_pretrained(ours)(texts, verbose=False)["input_ids"], expected, texts)


@pytest.mark.parametrize("cls", CLASSES)
def test_files_of_the_openai_mode_keep_it_and_load_in_the_reference(reference, checkpoint, tmp_path, cls):
    tokenizer = cls.from_pretrained(checkpoint, clean="openai")
    tokenizer.save_pretrained(tmp_path)
    texts = ["&amp;lt; don\u2019t", *PIECES]
    expected = tokenizer(texts)["input_ids"]
    for again in CLASSES:
        loaded = again.from_pretrained(tmp_path)
        assert loaded.clean == "openai"
        assert loaded(texts)["input_ids"] == expected
    plain = reference("tokenizer_calls", folder=str(tmp_path), calls=[{"text": "a photo of a cat"}])[0]
    assert plain == dict(tokenizer("a photo of a cat"))


# A pad token that is an ordinary word


@pytest.mark.parametrize("cls", CLASSES)
def test_a_real_exclamation_mark_survives_as_pad_token(reference, checkpoint, tmp_path, cls):
    texts = ["hello!", "!", "a!!b ! !~ !?", "no mark"]
    plain = cls.from_pretrained(checkpoint)
    # The reference makes every "!" of a text the pad token (transformers 24925), and writes that into its files.
    reference("save_tokenizer", source=str(checkpoint), folder=str(tmp_path), options={"pad_token": "!"})
    theirs = reference("tokenizer_calls", folder=str(tmp_path), calls=[{"text": "hello!"}])[0]["input_ids"]
    assert theirs != plain("hello!")["input_ids"]
    overridden = cls.from_pretrained(checkpoint, pad_token="!")
    for tokenizer in (overridden, cls.from_pretrained(tmp_path)):
        assert tokenizer.pad_token_id == 0
        batch = tokenizer(texts, padding=True)
        for row, mask, text in zip(batch["input_ids"], batch["attention_mask"], texts, strict=True):
            ids = plain(text)["input_ids"]
            assert row == ids + [0] * (len(row) - len(ids))
            assert mask == [1] * len(ids) + [0] * (len(row) - len(ids))
