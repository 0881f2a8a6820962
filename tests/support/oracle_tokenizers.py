"""The oracle's functions on tokenizers; see `support.oracle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.tokenizer_subclasses import (
    as_lists,
    overriding,
    overriding_rows,
    results_of_calls,
    results_of_rows,
    results_of_steps,
    with_placeholders,
)


def make(folder: str, options: dict[str, Any], added: list[Any], *, fast: bool = True) -> Any:
    """Return a tokenizer of the reference; added tokens are strings, or dicts of the fields of an AddedToken."""
    from transformers import AddedToken, CLIPTokenizer, CLIPTokenizerFast

    tokenizer = (CLIPTokenizerFast if fast else CLIPTokenizer).from_pretrained(folder, **options)
    tokenizer.add_tokens([token if isinstance(token, str) else AddedToken(**token) for token in added])
    return tokenizer


def call(tokenizer: Any, arguments: dict[str, Any]) -> dict[str, Any] | str:
    """Return the columns of a call in lists, in order, or the error that it raises."""
    try:
        batch = tokenizer(**arguments)
    except BaseException as error:  # noqa: BLE001  a panic of the library is no Exception, and an answer too
        return f"{type(error).__name__}: {error}"
    return as_lists(batch)


def tokenizer_calls(
    folder: str,
    calls: list[dict[str, Any]],
    options: dict[str, Any] | None = None,
    added: list[Any] | None = None,
    **kind: Any,
) -> list[Any]:
    """Return `call` for each of several arguments."""
    tokenizer = make(folder, options or {}, added or [], **kind)
    return [call(tokenizer, arguments) for arguments in calls]


def decoded(folder: str, rows: list[list[int]], added: list[Any] | None = None, **options: Any) -> list[str]:
    """Return the texts of rows of ids."""
    return make(folder, {}, added or []).batch_decode(rows, **options)


def alignment(folder: str, texts: list[str], pairs: list[str]) -> list[dict[str, Any]]:
    """Return the tokens of each pair and their positions, as the reference's BatchEncoding gives them."""
    batch = make(folder, {}, [])(texts, pairs)
    return [where_tokens_stand(batch, row) for row in range(len(texts))]


def where_tokens_stand(batch: Any, row: int) -> dict[str, Any]:
    """Return the same for a row of a BatchEncoding of either library."""
    count = len(batch["input_ids"][row])
    return {
        "tokens": batch.tokens(row),
        "sequence_ids": batch.sequence_ids(row),
        "word_ids": batch.word_ids(row),
        "token_to_word": [batch.token_to_word(row, place) for place in range(count)],
        "token_to_sequence": [batch.token_to_sequence(row, place) for place in range(count)],
        "token_to_chars": [batch.token_to_chars(row, place) for place in range(count)],
        "char_to_token": [batch.char_to_token(row, place, sequence_index=1) for place in range(5)],
        "char_to_word": [batch.char_to_word(row, place) for place in range(5)],
        "word_to_tokens": batch.word_to_tokens(row, 0),
        "word_to_chars": batch.word_to_chars(row, 0, sequence_index=1),
    }


def described(folder: str, options: dict[str, Any] | None = None, *, fast: bool = True) -> dict[str, Any]:
    """Return the state of the tokenizer that the reference reads from a folder."""
    return description(make(folder, options or {}, [], fast=fast))


def description(tokenizer: Any) -> dict[str, Any]:
    """Return a tokenizer's state, ours or the reference's."""
    fields = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    return {
        "special_tokens_map": tokenizer.special_tokens_map,
        "all_special_ids": tokenizer.all_special_ids,
        "pad_token_id": tokenizer.pad_token_id,
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "model_input_names": list(tokenizer.model_input_names),
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "split_special_tokens": tokenizer.split_special_tokens,
        "vocab_size": tokenizer.vocab_size,
        "length": len(tokenizer),
        "vocab": tokenizer.get_vocab(),
        "added": {
            token_id: {field: getattr(token, field) for field in fields}
            for token_id, token in tokenizer.added_tokens_decoder.items()
        },
    }


def save_tokenizer(
    source: str,
    folder: str,
    options: dict[str, Any] | None = None,
    added: list[Any] | None = None,
    *,
    fast: bool = True,
    legacy_format: bool | None = None,
) -> list[str]:
    """Read a tokenizer with the reference, save it elsewhere, and return the names of the files."""
    make(source, options or {}, added or [], fast=fast).save_pretrained(folder, legacy_format=legacy_format)
    return sorted(path.name for path in Path(folder).iterdir())


def behaviours(folder: str, *, fast: bool) -> dict[str, Any]:
    """Return `behaviours_of` the reference's class."""
    from transformers import CLIPTokenizer, CLIPTokenizerFast

    return behaviours_of(CLIPTokenizerFast if fast else CLIPTokenizer, folder)


def behaviours_of(kind: Any, folder: str) -> dict[str, Any]:
    """Return the attributes of a class of tokenizers that code for transformers reads or overrides."""

    class Marked(kind):
        def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
            return [7, *token_ids_0, *(token_ids_1 or [])]

        def create_token_type_ids_from_sequences(self, token_ids_0, token_ids_1=None):
            return [5] * len(self.build_inputs_with_special_tokens(token_ids_0, token_ids_1))

        def get_special_tokens_mask(self, token_ids_0, token_ids_1=None, already_has_special_tokens=False):
            return [1] + [0] * (len(token_ids_0) + len(token_ids_1 or []))

    class Splitting(kind):
        def _tokenize(self, text, **_):
            return [word + "</w>" for word in text.split()]

    class Sided(kind):
        padding_side = truncation_side = "left"
        model_input_names = ("input_ids",)

        def _decode(self, token_ids, **options):
            return f"<{super()._decode(token_ids, **options)}>"

    plain, marked, splitting, sided = (one.from_pretrained(folder) for one in (kind, Marked, Splitting, Sided))
    for tokenizer in (plain, marked, splitting):
        tokenizer.add_tokens("<new>")
    ids = plain("the<new>cat <new> <new>a")["input_ids"]
    named = kind.from_pretrained(folder, extra_special_tokens={"image_token": "<image>"})
    columns = {"return_special_tokens_mask": True, "return_token_type_ids": True}
    found: dict[str, Any] = {
        "decoded": [
            plain.decode(ids, skip_special_tokens=skip, spaces_between_special_tokens=spaces, unknown=1)
            for skip in (False, True)
            for spaces in (False, True)
        ],
        "marked": dict(marked("the cat <new> a", **columns)),
        "marked pair": marked.encode("the cat a a", "cat", truncation=True, max_length=5),
        "marked added": [marked.num_special_tokens_to_add(pair) for pair in (False, True)],
        "split": dict(splitting("the cat<new> A", **columns)),
        "token type of padding": plain.pad_token_type_id,
        "image": (named.image_token, named.image_token_id, named.extra_special_tokens, named.all_special_tokens),
        "image map": named.special_tokens_map,
        "image ids": named("the <image> cat")["input_ids"],
        "names of special tokens": kind.SPECIAL_TOKENS_ATTRIBUTES,
        "verbose": (plain.verbose, kind.from_pretrained(folder, verbose=True).verbose),
        "warnings": plain.deprecation_warnings,
        "chat templates": chat_templates_of(named),
        "rows": {one.__name__: results_of_rows(one.from_pretrained(folder)) for one in overriding_rows(kind)},
        "calls": results_of_calls(with_placeholders(kind).from_pretrained(folder)),
    }
    found["sided"] = (sided.padding_side, sided.truncation_side, list(sided.model_input_names))
    found["sided decoded"] = sided.batch_decode(sided(["the cat", "a"])["input_ids"], skip_special_tokens=True)
    found["sided rows"] = dict(sided(["the cat a a", "a"], padding=True, truncation=True, max_length=5))
    found["sided files"] = settings_saved(sided)
    found["lengths"] = [
        named("a cat", return_length=True)["length"],
        named(["a cat", "a"], return_length=True)["length"],
        named.prepare_for_model([1, 2], return_length=True)["length"],
        named("a cat", return_length=True, return_tensors="np")["length"].tolist(),
    ]
    if plain.is_fast:
        again = kind(tokenizer_object=plain.backend_tokenizer)
        found["object"] = (again("the <new> cat")["input_ids"], again.vocab_size, len(again))
        found["vocabulary"] = (plain.vocab, type(plain.decoder).__name__)
        found["inner"] = plain._tokenizer.encode("the <new> cat").ids
        found["learned"] = learned_from(named) + learned_from(
            plain, new_special_tokens=["<one>"], special_tokens_map={"<|endoftext|>": "<end>"}, min_frequency=2
        )
    else:
        tables = ("encoder", "decoder", "bpe_ranks", "byte_encoder", "byte_decoder")
        found |= {name: sorted(getattr(plain, name).items()) for name in tables}
        found["bpe"] = [plain.bpe(word) for word in ("the", "x", "cat", "!!!", "thing")]
        found["tokens"] = plain._tokenize("The  cat can!")
        found["words"] = plain.pat.findall("the cat's <|endoftext|>2!")
        found["steps"] = {one.__name__: results_of_steps(one, folder) for one in overriding(kind)}
    return found


def settings_saved(tokenizer: Any) -> dict[str, Any]:
    """Return the settings of a tokenizer's class that its file states."""
    import json
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        content = json.loads(Path(folder, "tokenizer_config.json").read_text())
    names = ("tokenizer_class", "padding_side", "truncation_side", "model_input_names")
    return {name: content.get(name) for name in names}


def chat_templates_of(tokenizer: Any) -> list[str]:
    """Return the chat templates that a tokenizer with two of them chooses."""
    tokenizer.chat_template = {"default": "a", "tool_use": "b"}
    given = [(None, None), (None, [{}]), ("tool_use", None), ("default", [{}]), ("{{ c }}", None)]
    chosen = [tokenizer.get_chat_template(*one) for one in given]
    tokenizer.chat_template = "d"
    return [*chosen, tokenizer.get_chat_template(), tokenizer.get_chat_template("e")]


def learned_from(tokenizer: Any, **options: Any) -> list[Any]:
    """Return the tokens and merges of a tokenizer with a vocabulary learned from a few texts, and those of a text.

    The library numbers the last characters of words in a random order, so ids are not compared, and no two merges of
    these texts exclude each other.
    """
    import json

    texts = ["Cab car cat", "to go to we", "caf\u00e9 <image>", "cat to"]
    new = tokenizer.train_new_from_iterator([texts[:2], texts[2:]], 290, show_progress=False, **options)
    merges = json.loads(new.backend_tokenizer.to_str())["model"]["merges"]
    row = new("A car, cat <image><one> <|endoftext|><end> goto we!")["input_ids"]
    specials = {name: str(token) for name, token in new.special_tokens_map.items() if isinstance(token, str)}
    described = [type(new).__name__, len(new), sorted(new.vocab), sorted(map(list, merges)), new.model_max_length]
    return [*described, new.convert_ids_to_tokens(row), new.all_special_ids, specials, new.additional_special_tokens]
