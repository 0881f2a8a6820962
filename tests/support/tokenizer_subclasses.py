"""Subclasses of tokenizers that override one method each, ours or the reference's, and what their calls return."""

from __future__ import annotations

from typing import Any


def as_lists(batch: Any) -> dict[str, Any]:
    """Return columns whose arrays are lists."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in batch.items()}


def overriding(kind: Any) -> list[Any]:
    """Return subclasses that each override one step of the slow tokenizer, and one that overrides two."""

    class Prepared(kind):
        def prepare_for_tokenization(self, text, is_split_into_words=False, **options):
            return text.replace("_", " "), options

    class Whole(kind):
        def tokenize(self, text, **options):
            return [*super().tokenize(text.replace("-", " "), **options), "a</w>"]

    class Lettered(kind):
        def bpe(self, token):
            return " ".join(f"{letter}</w>" for letter in token)

    class Backwards(kind):
        def convert_tokens_to_ids(self, tokens):
            ids = super().convert_tokens_to_ids(tokens)
            return ids[::-1] if isinstance(ids, list) else ids

    class Blind(kind):
        def _convert_token_to_id(self, token):
            return super()._convert_token_to_id("a</w>" if token.startswith("c") else token)

    class Renamed(kind):
        def _convert_id_to_token(self, index):
            return super()._convert_id_to_token(index).replace("a", "b")

    class Both(Lettered):
        def _tokenize(self, text):
            return super()._tokenize(text)[:2]

    return [Prepared, Whole, Lettered, Backwards, Blind, Renamed, Both]


def overriding_rows(kind: Any) -> list[Any]:
    """Return subclasses that each override a method of the making of rows, or what it reads."""

    class Padded(kind):
        def pad(self, encoded_inputs, *args, **options):
            names = sorted(encoded_inputs)
            columns = super().pad(encoded_inputs, *args, **options)
            columns["given"] = [names] * len(columns["input_ids"])
            return columns

    class Short(kind):
        def prepare_for_model(self, ids, pair_ids=None, *settings, **options):
            return super().prepare_for_model(ids[:2], pair_ids, *settings, **options)

    class Counted(kind):
        def num_special_tokens_to_add(self, pair=False):
            return 5 if pair else 3

    class Typed(kind):
        pad_token_type_id = 9

    class Larger(kind):
        def get_vocab(self):
            return {**super().get_vocab(), "more": 99_999}

    return [kind, Padded, Short, Counted, Typed, Larger]


def with_placeholders(kind: Any) -> Any:
    """Return a subclass that replaces a word of its texts by two, in calls and in `encode`."""

    def replaced(text: Any) -> Any:
        return text.replace("cat", "cat cat") if isinstance(text, str) else [*map(replaced, text)]

    class Replacing(kind):
        def __call__(self, text, *args, **options):
            return super().__call__(replaced(text), *args, **options)

        def encode(self, text, *args, **options):
            return super().encode(replaced(text), *args, **options)

    return Replacing


def results_of_calls(tokenizer: Any) -> list[Any]:
    """Return the results of the ways to call a tokenizer with one text, a batch and pairs."""
    one, many = "the cat a", ["the cat", "a"]
    batches = [
        *(tokenizer(one), tokenizer(one, "cat"), tokenizer(many, padding=True), tokenizer(many, ["a", "cat"])),
        *(tokenizer([("cat", "a")]), tokenizer(many, is_split_into_words=True)),
        *(tokenizer.encode_plus(one), tokenizer.encode_plus(one, "cat"), tokenizer.batch_encode_plus(many)),
    ]
    return [[*map(as_lists, batches)], tokenizer.encode(one), tokenizer.encode(one, "cat"), tokenizer.tokenize(one)]


def results_of_rows(tokenizer: Any) -> list[Any]:
    """Return the results of the ways to make rows of texts and of ids."""
    one, many, fixed = "the cat a a", ["the cat", "a", "a the cat"], {"padding": "max_length", "max_length": 8}
    batches = [
        *(tokenizer(one), tokenizer(many), tokenizer(many, padding=True), tokenizer(one, "cat", **fixed)),
        tokenizer(many, return_token_type_ids=True, return_special_tokens_mask=True, truncation=True, **fixed),
        tokenizer([("a", "the cat"), ("cat", "a a")], truncation="only_second", max_length=7),
        tokenizer(many[:1], padding=True, return_tensors="np", return_length=True),
        tokenizer.encode_plus(one, truncation=True, max_length=5, return_token_type_ids=True),
        tokenizer.encode_plus(one, "cat", True, "max_length", True, 8, 0, False, 4, "left", "np", True, True),
        tokenizer.batch_encode_plus(many, False, False, True, 2, 0, False, None, None, None, False, True),
        tokenizer.prepare_for_model([1, 2, 3], [4], **fixed),
        tokenizer.prepare_for_model([1, 2, 3], None, True, "max_length", True, 4, 0, None, "left", "np", False, True),
        tokenizer.prepare_for_model([1, 2, 3], return_tensors="np", prepend_batch_axis=True),
        tokenizer.prepare_for_model([1, 2, 3], prepend_batch_axis=True),
        tokenizer.pad({"input_ids": [[1], [2, 3]]}),
    ]
    vocabulary = (tokenizer.vocab if tokenizer.is_fast else tokenizer.get_vocab()).get("more")
    sizes = [tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair, len(tokenizer), vocabulary]
    return [[*map(as_lists, batches)], *sizes]


def results_of_steps(kind: Any, folder: str) -> list[Any]:
    """Return the results of all ways to call a tokenizer whose steps are overridden."""
    tokenizer = kind.from_pretrained(folder)
    tokenizer.add_tokens("<new>")
    texts = ["the_cat-can <new>cat", "A <|endoftext|> a_b", ""]
    ids = [
        *(tokenizer(text)["input_ids"] for text in texts[:2]),
        tokenizer(texts)["input_ids"],
        tokenizer(texts[0], texts[1])["input_ids"],
        tokenizer(["the_cat", "can<new>"], is_split_into_words=True)["input_ids"],
        tokenizer.encode(texts[0], add_special_tokens=False, truncation=True, max_length=3),
        tokenizer.convert_tokens_to_ids(["cat</w>", "<new>", "a</w>", "none"]),
        tokenizer.convert_tokens_to_ids("cat</w>"),
    ]
    return [
        ids,
        [tokenizer.tokenize(text) for text in texts],
        tokenizer.convert_ids_to_tokens(ids[0]),
        tokenizer.convert_ids_to_tokens(ids[0][1]),
        tokenizer.decode(ids[0], spaces_between_special_tokens=False),
    ]
