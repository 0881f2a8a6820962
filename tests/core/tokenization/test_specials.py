"""Names of tokens, added tokens and their ids, the same in both tokenizers."""

# ruff: noqa: S105, S106  the tokens are those of a vocabulary

from __future__ import annotations

import json

import pytest
import tokenizers

from clip_core.tokenization import AddedToken, CLIPTokenizer, CLIPTokenizerFast
from clip_core.tokenization.specials import as_added_token, as_dict
from support.messages import naming
from support.vocabulary import BOS, EOS, IDS


@pytest.fixture
def tokenizer(make):
    return make()


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_names_and_ids(tokenizer):
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|startoftext|>", BOS)
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id} == {EOS}
    assert tokenizer.mask_token is tokenizer.sep_token_id is None
    assert tokenizer.all_special_tokens == ["<|startoftext|>", "<|endoftext|>"]
    assert tokenizer.all_special_ids == [BOS, EOS]
    assert tokenizer.additional_special_tokens == tokenizer.additional_special_tokens_ids == []
    assert list(tokenizer.special_tokens_map) == ["bos_token", "eos_token", "unk_token", "pad_token"]
    assert isinstance(tokenizer.special_tokens_map_extended["bos_token"], AddedToken)


def test_the_vocabulary(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer) == len(IDS)
    assert tokenizer.get_vocab() == IDS
    assert tokenizer.convert_tokens_to_ids("cat</w>") == IDS["cat</w>"]
    assert tokenizer.convert_tokens_to_ids(["cat</w>", "nothing"]) == [IDS["cat</w>"], EOS]
    assert tokenizer.convert_tokens_to_ids(tokenizer.mask_token) is None
    assert (
        tokenizer.get_added_vocab() == tokenizer.added_tokens_encoder == {"<|startoftext|>": BOS, "<|endoftext|>": EOS}
    )


def test_tokens_that_are_added_are_found_in_the_text_in_any_case(tokenizer):
    assert tokenizer.add_tokens(["<New>", "dogs", "<New>", "cat</w>"]) == 2
    assert (tokenizer.vocab_size, len(tokenizer)) == (len(IDS), len(IDS) + 2)
    assert ids(tokenizer, "<new>xDOGS") == [len(IDS), IDS["x</w>"], len(IDS) + 1]
    assert tokenizer.decode([len(IDS)]) == "<New>"
    assert tokenizer.add_tokens("one") == 1
    assert tokenizer.add_tokens([]) == tokenizer.add_tokens("") == 0


def test_special_tokens_are_found_in_the_text_as_they_stand(tokenizer):
    assert tokenizer.add_tokens(["<New>"], special_tokens=True) == 1
    assert ids(tokenizer, "<New>") == [len(IDS)]
    assert len(IDS) not in ids(tokenizer, "<new>")
    assert tokenizer.decode([len(IDS), IDS["cat</w>"]], skip_special_tokens=True) == "cat"


def test_adding_a_token_again_changes_its_settings(tokenizer):
    tokenizer.add_tokens("dogs")
    assert tokenizer.add_tokens(AddedToken("dogs", single_word=True)) == 0
    assert tokenizer.added_tokens_decoder[len(IDS)].single_word
    assert len(IDS) not in ids(tokenizer, "underdogs")


def test_names_for_new_tokens(tokenizer):
    grown = tokenizer.add_special_tokens(
        {"mask_token": "<M>", "pad_token": "<P>", "additional_special_tokens": ["<A>"]}
    )
    assert grown == 3
    assert (tokenizer.mask_token_id, tokenizer.pad_token_id) == (len(IDS), len(IDS) + 1)
    assert tokenizer.additional_special_tokens_ids == [len(IDS) + 2]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<B>"]}, replace_additional_special_tokens=False)
    assert tokenizer.additional_special_tokens == ["<A>", "<B>"]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<C>"]})
    assert tokenizer.additional_special_tokens == ["<C>"]
    assert ids(tokenizer, "<A><M>") == [len(IDS) + 2, len(IDS)]


def test_new_begin_and_end(tokenizer):
    tokenizer.add_special_tokens({"bos_token": "<B>", "eos_token": "<E>"})
    assert tokenizer("cat")["input_ids"] == [len(IDS), IDS["cat</w>"], len(IDS) + 1]
    tokenizer.eos_token = "<|endoftext|>"
    assert tokenizer("cat")["input_ids"][-1] == EOS


def test_names_can_be_set(tokenizer):
    tokenizer.pad_token = tokenizer.bos_token
    assert tokenizer.pad_token_id == BOS
    tokenizer.pad_token_id = EOS
    assert tokenizer.pad_token == "<|endoftext|>"
    tokenizer.mask_token = AddedToken("cat</w>")
    assert tokenizer.mask_token_id == IDS["cat</w>"]
    tokenizer.mask_token = None
    assert tokenizer.mask_token is None
    tokenizer.additional_special_tokens = ["the</w>"]
    assert tokenizer.all_special_ids == [BOS, EOS, IDS["the</w>"]]


def test_names_given_to_the_class_add_what_is_new(make):
    tokenizer = make(bos_token="<B>", mask_token=AddedToken("<M>", lstrip=True), additional_special_tokens=["<A>"])
    added = {token_id: token for token_id, token in tokenizer.added_tokens_decoder.items() if token_id >= len(IDS)}
    assert added == {
        len(IDS): AddedToken("<B>", special=True, normalized=True),
        len(IDS) + 1: AddedToken("<M>", special=True, lstrip=True),
        len(IDS) + 2: AddedToken("<A>", special=True),
    }


@pytest.mark.parametrize("name", ["bos_token", "eos_token"])
def test_without_begin_or_end_none_is_put_around_a_text(make, name):
    unset = make()
    setattr(unset, name, None)
    for tokenizer in (make(**{name: None}), unset):
        assert (getattr(tokenizer, name), getattr(tokenizer, f"{name}_id")) == (None, None)
        assert name not in tokenizer.special_tokens_map
        assert ids(tokenizer, "cat") == [IDS["cat</w>"]]
        assert tokenizer.decode([IDS["cat</w>"], EOS]) == "cat <|endoftext|>"
        for call in (tokenizer, tokenizer.encode, tokenizer.tokenize):
            with pytest.raises(ValueError, match=naming(name, None, "add_special_tokens=False")):
                call("cat", add_special_tokens=True)


def test_without_an_unknown_token_what_cannot_be_written_is_left_out(files, tmp_path):
    vocab = files["vocab_file"].read_text().replace('"x":', '"<no x>":')
    (tmp_path / "vocab.json").write_text(vocab)
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        tokenizer = cls(tmp_path / "vocab.json", files["merges_file"], unk_token=None)
        assert tokenizer.unk_token is tokenizer.unk_token_id is None
        assert ids(tokenizer, "xxa") == [IDS["a</w>"]]
        assert tokenizer.convert_tokens_to_ids("nothing") is None


def test_every_name_can_be_unset_and_set_by_its_id(tokenizer):
    for name in ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"):
        setattr(tokenizer, f"{name}_id", None)
        assert getattr(tokenizer, name) is getattr(tokenizer, f"{name}_id") is None
        setattr(tokenizer, f"{name}_id", IDS["cat</w>"])
        assert getattr(tokenizer, name) == "cat</w>"
    tokenizer.additional_special_tokens = None
    assert tokenizer.additional_special_tokens is None
    assert tokenizer.additional_special_tokens_ids == []
    tokenizer.additional_special_tokens_ids = [IDS["the</w>"]]
    assert tokenizer.additional_special_tokens == ["the</w>"]
    assert tokenizer.all_special_tokens == ["cat</w>", "the</w>"]
    with pytest.raises(TypeError, match=naming(None)):
        tokenizer.additional_special_tokens_ids = [999999]


def test_a_name_for_a_token_that_is_not_there_is_refused(tokenizer):
    # transformers takes the id of unk_token without a word.
    with pytest.raises(ValueError, match=naming("pad_token='[PAD]'", "add_special_tokens")):
        tokenizer.pad_token = "[PAD]"
    with pytest.raises(ValueError, match=naming("pad_token_id=999999", len(IDS))):
        tokenizer.pad_token_id = 999999
    for error in (ValueError, AssertionError):
        with pytest.raises(error, match=naming("'pad'", "'x'", "bos_token", "pad_token")):
            tokenizer.add_special_tokens({"pad": "x"})
        with pytest.raises(error, match=naming("'additional_special_tokens'", "'<a>'")):
            tokenizer.add_special_tokens({"additional_special_tokens": "<a>"})
    with pytest.raises(ValueError, match=naming("mask_token=''", "add_special_tokens")):
        tokenizer.add_special_tokens({"mask_token": ""})


def test_a_name_for_what_is_no_token_is_refused(make):
    for value in (3, ["<P>"]):
        with pytest.raises(TypeError, match=naming(str, AddedToken, repr(value))):
            make(pad_token=value)
        with pytest.raises(TypeError, match=naming(str, AddedToken, repr(value))):
            make().pad_token = value


def test_ids_of_saved_tokens_need_not_follow_on(make):
    tokenizer = make(added_tokens_decoder={700: AddedToken("<far>"), 600: AddedToken("<near>")})
    assert ids(tokenizer, "<far><near>cat") == [700, 600, IDS["cat</w>"]]
    assert tokenizer.add_tokens("<next>") == 1
    assert ids(tokenizer, "<next>") == [701]
    assert len(tokenizer) == len(IDS) + 3


def test_an_id_that_is_anothers_is_refused(make):
    with pytest.raises(ValueError, match=naming("'<new>'", 3, "'$'")):
        make(added_tokens_decoder={3: AddedToken("<new>")})


def test_half_a_surrogate_pair_is_no_token(tokenizer):
    with pytest.raises(ValueError, match=naming("surrogate", "U+D800")):
        tokenizer.add_tokens("\ud800")


# A pad token that is an ordinary word, as in Stable Diffusion 2 and XL


@pytest.fixture(params=["given", "saved", "set", "added"])
def padded(request, make):
    if request.param == "given":
        return make(pad_token="!")
    if request.param == "saved":  # as transformers writes it
        return make(pad_token="!", added_tokens_decoder={0: AddedToken("!", special=True)})
    tokenizer = make()
    if request.param == "set":
        tokenizer.pad_token = "!"
    else:
        assert tokenizer.add_special_tokens({"pad_token": "!"}) == 0
    return tokenizer


def test_an_ordinary_word_as_pad_token_leaves_texts_as_they_are(padded, make):
    assert padded.pad_token_id == IDS["!"] == 0
    for text in ("cat!", "!", "!!", "!a!~"):
        assert padded(text)["input_ids"] == make()(text)["input_ids"]
    batch = padded(["cat!", "the cat"], padding="max_length", max_length=6)
    assert batch["input_ids"][0] == [BOS, IDS["cat</w>"], IDS["!</w>"], EOS, 0, 0]
    assert batch["attention_mask"][0] == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_decoding_skips_the_padding_and_not_the_word(padded, side):
    # "!~" is the word's own id, 0, and then another.
    ids = padded("!~ cat", padding="max_length", max_length=8, padding_side=side)["input_ids"]
    assert ids.count(0) == 4
    assert padded.decode(ids, skip_special_tokens=True) == "!~ cat"
    text = slice(3, None) if side == "left" else slice(None, -3)
    assert padded.get_special_tokens_mask(ids, already_has_special_tokens=True)[text] == [1, 0, 0, 0, 1]
    assert sum(padded.get_special_tokens_mask(ids, already_has_special_tokens=True)) == 5


def test_decoding_a_row_that_is_all_padding(padded):
    assert padded.decode([0, 0], skip_special_tokens=True) == ""
    assert padded.decode([], skip_special_tokens=True) == ""


def test_a_sign_in_the_vocabulary_stays_a_sign_as_pad_token(make):
    tokenizer = make(pad_token="<|startoftext|>")
    assert ids(tokenizer, "<|startoftext|>") == [BOS]


# The forms of an added token


def test_normalized_is_by_default_what_is_not_special():
    assert AddedToken("a").normalized
    assert not AddedToken("a", special=True).normalized
    assert AddedToken("a", special=True, normalized=True).normalized


@pytest.mark.parametrize("given", [{}, {"normalized": True}, {"normalized": False}, {"lstrip": True, "special": True}])
@pytest.mark.parametrize("special", [False, True])
def test_a_token_is_copied_and_normalized_follows_special_unless_given(given, special):
    token = tokenizers.AddedToken("<x>", **given)
    made = as_added_token(token, special=special)
    is_special = special or given.get("special", False)
    assert as_dict(made) == as_dict(AddedToken("<x>", **{"normalized": not is_special, **given, "special": is_special}))
    assert made is not token
    assert token.special == given.get("special", False)  # it stays as it was


def test_the_class_is_that_of_the_library():
    assert AddedToken is tokenizers.AddedToken


def test_strings_and_dicts_are_taken():
    assert as_added_token("x") == AddedToken("x")
    assert as_added_token("x", special=True) == AddedToken("x", special=True, normalized=False)
    assert as_added_token("x", special=True, normalized=True) == AddedToken("x", special=True, normalized=True)
    saved = {"__type": "AddedToken", "content": "x", "lstrip": True, "normalized": True}
    assert as_added_token(saved, special=True) == AddedToken("x", lstrip=True, normalized=True, special=True)
    assert as_added_token(as_dict(AddedToken("x"))) == AddedToken("x")


@pytest.mark.parametrize("value", [None, 3, {"token": "x"}, ["x"]])
def test_anything_else_is_no_token(value):
    with pytest.raises(TypeError, match=naming(str, "AddedToken", repr(value))):
        as_added_token(value)


def test_half_a_surrogate_pair_makes_no_added_token():
    with pytest.raises(ValueError, match=naming("surrogate", 0, "U+DC00")):
        as_added_token("\udc00")


@pytest.mark.parametrize("layout", ["list", "names"])
def test_files_of_transformers_5_name_them_otherwise(make, tmp_path, layout):
    before = make(additional_special_tokens=["<A>"])
    before.save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    content = json.loads(file.read_text())
    if layout == "list":
        content["extra_special_tokens"] = content.pop("additional_special_tokens")
    else:
        content |= {"model_specific_special_tokens": {"object_token": "<A>"}, "object_token": "<A>"}
    file.write_text(json.dumps(content))
    tokenizer = type(before).from_pretrained(tmp_path)
    assert tokenizer.additional_special_tokens == ["<A>"]
    assert tokenizer.extra_special_tokens == ({} if layout == "list" else {"object_token": "<A>"})
    assert ids(tokenizer, "cat<A>") == ids(before, "cat<A>")
    tokenizer.save_pretrained(tmp_path)
    assert type(before).from_pretrained(tmp_path).special_tokens_map == tokenizer.special_tokens_map
    file.write_text(json.dumps(content | {"additional_special_tokens": None, "extra_special_tokens": []}))
    assert type(before).from_pretrained(tmp_path).additional_special_tokens == []
