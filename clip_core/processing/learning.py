"""Learning the vocabulary of a new tokenizer from texts, by the `tokenizers` library. Internal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers

from clip_core.configuration.arguments import check_integers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_FILES = ("vocab_file", "merges_file", "tokenizer_file")


def train_new_from_iterator(
    tokenizer: Any,
    text_iterator: Iterable[Any],
    vocab_size: int,
    length: int | None = None,
    new_special_tokens: Sequence[str | AddedToken] | None = None,
    special_tokens_map: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Any:
    """Return a tokenizer of the same class and settings, with a vocabulary learned from texts.

    Special tokens are kept, and get the first ids. Other added tokens are left out.

    Args:
        tokenizer: the tokenizer.
        text_iterator: the texts, or lists of texts.
        vocab_size: the size of the vocabulary, including special tokens. It is smaller if the texts have fewer pairs to
            merge, and larger if the characters of all bytes do not fit.
        length: the number of texts, for the progress bar.
        new_special_tokens: further special tokens, which become additional ones.
        special_tokens_map: the tokenizer's special tokens -> their new texts.
        **kwargs: other keywords of `tokenizers.trainers.BpeTrainer`, such as `min_frequency` or `show_progress`.

    Raises:
        ValueError: `vocab_size` is not a positive integer.
    """
    check_integers(vocab_size=(vocab_size, 1))
    renamed, new = dict(special_tokens_map or {}), list(new_special_tokens or ())
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model, added = content["model"], content.pop("added_tokens")
    content["post_processor"] = None  # it contains the old ids; the new tokenizer makes its own
    model |= {"vocab": {}, "merges": [], "unk_token": renamed.get(model["unk_token"], model["unk_token"])}

    def as_special(token: str | AddedToken) -> str | AddedToken:
        if isinstance(token, str):
            return renamed.get(token, token)
        fields = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        return AddedToken(renamed.get(token.content, token.content), **fields, special=True)

    engine, table = Tokenizer.from_str(json.dumps(content)), tokenizer.table
    special = [as_special(table.as_added(token["content"])) for token in added if token["special"]]
    options = {"end_of_word_suffix": model["end_of_word_suffix"]}
    options |= {"continuing_subword_prefix": model["continuing_subword_prefix"], **kwargs}
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special + new, initial_alphabet=alphabet, **options
    )
    engine.train_from_iterator(text_iterator, trainer=trainer, length=length)
    settings = tokenizer.init_kwargs | dict.fromkeys(_FILES) | {"model_max_length": tokenizer.model_max_length}
    for name, token in table.named.items():
        settings[name] = None if token is None else as_special(table.as_added(token))
    settings["additional_special_tokens"] = [*map(as_special, map(table.as_added, table.additional or ())), *new]
    return type(tokenizer)(tokenizer_object=engine, **settings)
