"""Calls that give the same in both tokenizers: arguments, defaults, what is logged and what is refused."""

from __future__ import annotations

import logging

import pytest

from clip_core.tokenization import CLIPTokenizer
from clip_core.tokenization.fast import CLIPTokenizerFast
from support.messages import mentions, naming
from support.vocabulary import BOS, EOS, IDS, write_openai_file

CAT, THE = IDS["cat</w>"], IDS["the</w>"]


@pytest.fixture
def tokenizer(make):
    return make(model_max_length=6)


def test_one_text_is_a_row_and_a_list_is_a_batch(tokenizer):
    row, mask = [BOS, THE, CAT, EOS], [1, 1, 1, 1]
    assert dict(tokenizer("the cat")) == {"input_ids": row, "attention_mask": mask}
    assert dict(tokenizer(["the cat"])) == {"input_ids": [row], "attention_mask": [mask]}
    assert tokenizer("the cat", return_tensors="np").input_ids.shape == (1, 4)


def test_special_tokens_around_ids(tokenizer):
    assert tokenizer.build_inputs_with_special_tokens([1, 2]) == [BOS, 1, 2, EOS]
    assert tokenizer.build_inputs_with_special_tokens([1], [2]) == [BOS, 1, EOS, EOS, 2, EOS]
    assert tokenizer.create_token_type_ids_from_sequences([1], [2]) == [0] * 6
    assert [tokenizer.num_special_tokens_to_add(pair) for pair in (False, True)] == [2, 4]
    assert (tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair) == (4, 2)


def test_columns_that_are_asked_for(tokenizer):
    batch = tokenizer(
        "the",
        return_token_type_ids=True,
        return_special_tokens_mask=True,
        return_length=True,
        return_attention_mask=False,
    )
    assert dict(batch) == {
        "input_ids": [BOS, THE, EOS],
        "token_type_ids": [0, 0, 0],
        "special_tokens_mask": [1, 0, 1],
        "length": [3] if tokenizer.is_fast else 3,
    }


def test_columns_that_the_model_takes(make):
    assert list(make(model_input_names=["input_ids", "token_type_ids"])("a")) == ["input_ids", "token_type_ids"]


def test_truncation_cuts_to_what_the_model_takes(tokenizer):
    assert tokenizer("the " * 9, truncation=True)["input_ids"] == [BOS, THE, THE, THE, THE, EOS]
    assert tokenizer("the the cat", truncation=True, max_length=4)["input_ids"] == [BOS, THE, THE, EOS]
    tokenizer.truncation_side = "left"
    assert tokenizer("the the cat", truncation=True, max_length=4)["input_ids"] == [BOS, THE, CAT, EOS]


def test_padding_sides(make):
    tokenizer = make(padding_side="left", pad_token="<|startoftext|>")  # noqa: S106  a token
    assert tokenizer(["a", "the cat"], padding=True)["attention_mask"][0] == [0, 1, 1, 1]
    batch = tokenizer("the", padding="max_length", max_length=5, padding_side="right")
    assert batch["input_ids"] == [BOS, THE, EOS, BOS, BOS]


def test_a_text_that_is_too_long_is_returned_whole_with_one_warning(tokenizer, caplog):
    for _ in range(2):
        assert len(tokenizer("the " * 9)["input_ids"]) == 11
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert mentions(record.message, 11, 6, "truncation=True")


def test_max_length_alone_cuts_with_one_warning(tokenizer, caplog):
    for _ in range(2):
        assert len(tokenizer("the " * 9, max_length=5)["input_ids"]) == 5
    [record] = caplog.records
    assert mentions(record.message, "max_length", "truncation=True")
    assert len(tokenizer("the " * 9, max_length=5, truncation=False)["input_ids"]) == 11


def test_without_a_greatest_length_nothing_is_cut_or_filled_up_to_it(make, caplog):
    tokenizer = make()
    batch = tokenizer(["the " * 9, "a"], truncation=True, padding="max_length")
    assert [len(row) for row in batch["input_ids"]] == [11, 3]
    assert len(caplog.records) == 1


def test_nothing_is_logged_unless_wanted(tokenizer, caplog):
    tokenizer("the " * 9, verbose=False)
    tokenizer("the " * 9, max_length=3, verbose=False)
    assert not caplog.records


def test_a_warning_is_logged_once_and_kept(tokenizer, caplog):
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True
    for _ in range(2):
        tokenizer("the " * 9)
    assert len(caplog.records) == 1
    assert [*tokenizer.deprecation_warnings.values()] == [True, True]


def test_padding_needs_a_pad_token(tokenizer):
    tokenizer.pad_token = None
    assert tokenizer.pad_token_id is None
    with pytest.raises(ValueError, match=naming("padding", "pad_token", "eos_token")):
        tokenizer(["a", "the cat"], padding=True)
    assert tokenizer("a")["input_ids"] == [BOS, IDS["a</w>"], EOS]


def test_offsets_are_for_the_fast_tokenizer(files):
    with pytest.raises(NotImplementedError, match=naming("return_offsets_mapping", CLIPTokenizerFast)):
        CLIPTokenizer(**files)("a", return_offsets_mapping=True)


def test_special_tokens_in_a_text_can_be_read_as_text(make):
    assert make()("<|endoftext|>")["input_ids"] == [BOS, EOS, EOS]
    for clean in ("hf", "openai"):
        found = make(split_special_tokens=True, clean=clean)("<|endoftext|>")["input_ids"]
        assert found == make(clean=clean)("<|endoftext|>", split_special_tokens=True)["input_ids"]
        assert EOS not in found[1:-1]


def test_openais_file_states_its_models_length(make, tmp_path):
    path = write_openai_file(tmp_path / "bpe.txt.gz")
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        assert cls(path).model_max_length == 77
        assert cls(path, model_max_length=5).model_max_length == 5
    assert make(max_len=9).model_max_length == 9


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clean": "ftfy"}, ("clean='ftfy'", "'hf'", "'openai'")),
        ({"padding_side": "up"}, ("padding_side='up'", "'right'", "'left'")),
        ({"truncation_side": 0}, ("truncation_side=0", "'right'", "'left'")),
    ],
)
def test_arguments_that_are_not_valid(make, options, named):
    with pytest.raises(ValueError, match=naming(*named)):
        make(**options)


def test_a_keyword_that_no_call_has_is_refused(tokenizer):
    for call in (tokenizer, tokenizer.encode, tokenizer.encode_plus, tokenizer.tokenize):
        with pytest.raises(TypeError, match=naming(f"{type(tokenizer).__name__}.__call__", "'pading'", "padding")):
            call("a", pading=True)
    with pytest.raises(TypeError, match=naming(f"{type(tokenizer).__name__}.prepare_for_model", "'pading'")):
        tokenizer.prepare_for_model([1], pading=True)


@pytest.mark.parametrize("name", ["model_input_names", "additional_special_tokens"])
@pytest.mark.parametrize("value", ["input_ids", {"input_ids": 1}])
def test_a_string_is_not_a_list_of_names(make, name, value):
    with pytest.raises(TypeError, match=naming(f"{name}={value!r}", "list")):
        make(**{name: value})


@pytest.mark.parametrize("name", ["added_tokens_decoder", "extra_special_tokens"])
def test_tokens_by_id_or_name_are_a_dict(make, name):
    with pytest.raises(TypeError, match=naming(f"{name}=['<x>']", dict)):
        make(**{name: ["<x>"]})


@pytest.mark.parametrize("name", ["self", "kwargs", "errors", "clean", "name_or_path"])
def test_an_extra_token_is_not_named_like_a_setting(make, name):
    with pytest.raises(TypeError, match=naming("extra_special_tokens", name)):
        make(extra_special_tokens={name: {"content": "<x>"}})
    given = make(extra_special_tokens={"image_token": "<a>"}, image_token="<b>")  # noqa: S106  a token
    assert given.special_tokens_map.items() >= {("image_token", "<b>")}


def test_a_string_is_not_a_list_of_tokens_or_ids(make):
    tokenizer = make()
    with pytest.raises(TypeError, match=naming("additional_special_tokens='the</w>'", "list")):
        tokenizer.additional_special_tokens = "the</w>"
    for call, shown in (
        (tokenizer.decode, "'12'"),
        (tokenizer.convert_ids_to_tokens, "'12'"),
        (tokenizer.batch_decode, "'1'"),
    ):
        with pytest.raises(TypeError, match=naming(shown, "ids", int)):
            call("12")


def test_the_arguments_are_kept(make, files, tmp_path):
    tokenizer = make(do_lower_case=True, sep_token="cat</w>", max_length=9)  # noqa: S106  a token
    arguments = tokenizer.init_kwargs
    assert (arguments["vocab_file"], arguments["merges_file"]) == (files["vocab_file"], files["merges_file"])
    assert {name: arguments[name] for name in ("do_lower_case", "sep_token", "max_length", "bos_token", "errors")} == {
        "do_lower_case": True,
        "sep_token": "cat</w>",
        "max_length": 9,
        "bos_token": "<|startoftext|>",
        "errors": "replace",
    }
    tokenizer.sep_token = tokenizer.pad_token = None
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert again.sep_token is again.pad_token is None  # and not the default
    assert (again.padding_side, again.init_kwargs["max_length"]) == ("left", 9)


def test_it_shows_what_it_is(tokenizer):
    shown = repr(tokenizer)
    assert f"special_tokens={tokenizer.special_tokens_map}" in shown
    assert shown.startswith(f"{type(tokenizer).__name__}(name_or_path='', vocab_size={len(IDS)}, model_max_length=6")
    assert 'AddedToken("<|endoftext|>"' in shown
    assert tokenizer


@pytest.mark.parametrize("name", ["__call__", "encode", "encode_plus", "batch_encode_plus", "prepare_for_model"])
def test_signatures_name_the_options_of_a_call(tokenizer, name):
    import inspect

    parameters = inspect.signature(getattr(tokenizer, name)).parameters
    assert {"padding", "truncation", "max_length", "return_tensors", "return_offsets_mapping"} < parameters.keys()
    assert all(one.kind is not one.VAR_KEYWORD for one in parameters.values())
    assert parameters["truncation"].default is None
    assert "revision" in inspect.signature(tokenizer.from_pretrained).parameters
    assert list(inspect.signature(tokenizer.encode).parameters)[:5] == [
        "text",
        "text_pair",
        "add_special_tokens",
        "padding",
        "truncation",
    ]


def test_extra_special_tokens_come_back(make, tmp_path):
    tokenizer = make(extra_special_tokens={"image_token": "<image>"})
    tokenizer.save_pretrained(tmp_path / "saved")
    for again in (type(tokenizer).from_pretrained(tmp_path / "saved"), tokenizer):
        assert (again.image_token, again.image_token_id) == ("<image>", len(IDS))
        assert again.extra_special_tokens == {"image_token": "<image>"}
        assert again("<image>")["input_ids"] == [BOS, len(IDS), EOS]
    tokenizer.image_token_id = CAT
    assert tokenizer.image_token == "cat</w>"  # noqa: S105  set like any other name
    with pytest.raises(ValueError, match=naming("image_token='<none>'")):
        tokenizer.image_token = "<none>"  # noqa: S105
    with pytest.raises(AttributeError, match=naming("'video_token'")):
        tokenizer.video_token  # noqa: B018  what is not there


@pytest.mark.parametrize("name", ["add_special_tokens", "get_vocab"])
def test_a_setting_named_like_a_method_is_refused(make, name, tmp_path):
    with pytest.raises(AttributeError, match=naming(name)):
        make(**{name: True})
    tokenizer = make()
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(AttributeError, match=naming(tmp_path, name)):
        type(tokenizer).from_pretrained(tmp_path, **{name: True})


def test_attributes_that_other_code_reads(make):
    tokenizer = make()
    assert tokenizer._special_tokens_map["eos_token"] == tokenizer.special_tokens_map_extended["eos_token"]
    assert tokenizer.init_inputs == ()
