"""Ids to tokens and texts, as methods of `CLIPTokenizerBase`, and positions of special tokens."""

from __future__ import annotations

from itertools import chain, groupby, repeat
from typing import TYPE_CHECKING, Any

from clip_core.processing.batch import to_lists
from clip_core.tokenization.vocabulary import END_OF_WORD, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

# English as decoded, with spaces -> the usual spelling.
_ENGLISH = {" .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'"}
_ENGLISH |= {" n't": "n't", " 'm": "'m", " 's": "'s", " 've": "'ve", " 're": "'re"}


def convert_tokens_to_ids(tokenizer: Any, tokens: str | Iterable[str] | None) -> Any:
    """Return the id of a token, or a list of the ids of several tokens.

    Args:
        tokens: the tokens; those outside the vocabulary get the id of `unk_token`. None, such as a special token that
            is not set, gives None.
    """
    if tokens is None:
        return None
    ids, added, id_of = tokenizer.table.ids, tokenizer.table.added, tokenizer._convert_token_to_id  # noqa: SLF001
    found = (ids[token] if ids.get(token) in added else id_of(token) for token in tokens)
    return tokenizer.convert_tokens_to_ids([tokens])[0] if isinstance(tokens, str) else [*found]


def convert_ids_to_tokens(tokenizer: Any, ids: int | Iterable[int], skip_special_tokens: bool = False) -> Any:
    """Return the token of an id, or a list of the tokens of several ids; None for an id outside the vocabulary.

    Args:
        ids: the ids.
        skip_special_tokens: omit special tokens from a list.
    """
    table, token_of = tokenizer.table, tokenizer._convert_id_to_token  # noqa: SLF001  a subclass may override it
    if isinstance(ids, int):
        return table.added[ids].content if ids in table.added else token_of(ids)
    ids = as_list(ids)
    kept = zip(ids, special_places(table, ids) if skip_special_tokens else repeat(False), strict=False)
    return [table.added[one].content if one in table.added else token_of(one) for one, skip in kept if not skip]


def convert_tokens_to_string(tokenizer: Any, tokens: Iterable[str]) -> str:
    """Return the text of tokens; each word ends in a space. Takes the arguments of `convert_tokens_to_ids`."""
    text = b"".join(map(to_bytes, tokens)).decode("utf-8", errors=tokenizer.errors)
    return text.replace(END_OF_WORD, " ").strip()


def decode(
    tokenizer: Any,
    token_ids: Any,
    skip_special_tokens: bool = False,
    clean_up_tokenization_spaces: Any = None,
    **options: Any,
) -> str:
    """Return the text of ids, in lower case, with spaces between words and punctuation.

    Args:
        token_ids: an id, a list of ids, or an array of any framework, `(sequence,)`. Ids outside the vocabulary are
            omitted.
        skip_special_tokens: omit special tokens. A pad token that is an ordinary word, such as "!", is omitted only at
            the end and before the first token; elsewhere it is text.
        clean_up_tokenization_spaces: remove the spaces before English punctuation; by default the tokenizer's setting.
        **options: `spaces_between_special_tokens`: for CLIPTokenizer, put a space (True) or nothing (False) between an
            added token and its neighbours, as in transformers; by default, decode like CLIPTokenizerFast. Other
            keywords have no effect, as in transformers.

    Raises:
        ValueError: an id is negative.
    """
    options |= {"clean_up_tokenization_spaces": clean_up_tokenization_spaces}
    decode = tokenizer._decode  # noqa: SLF001  a subclass may override it
    return str(decode(as_list(token_ids), skip_special_tokens=skip_special_tokens, **options))


def decode_list(tokenizer: Any, token_ids: list[int], skip_special_tokens: bool = False, **options: Any) -> str:
    """Return the text of a list of ids. Takes the arguments of `decode`."""
    tokens = [token for token in tokenizer.convert_ids_to_tokens(token_ids, skip_special_tokens) if token is not None]
    write = tokenizer.convert_tokens_to_string
    text: str = write(tokens)
    spaces, cleans = options.get("spaces_between_special_tokens"), options.get("clean_up_tokenization_spaces")
    if not (tokenizer.is_fast or spaces is None):
        # Each added token without a name is decoded on its own, between the other texts.
        added = tokenizer.added_tokens_encoder.keys() - tokenizer.table.named.values()
        texts = (run if are_added else [write(run)] for are_added, run in groupby(tokens, added.__contains__))
        text = (" " if spaces else "").join(chain.from_iterable(texts))
    cleans = tokenizer.clean_up_tokenization_spaces if cleans is None else cleans
    return clean_up_tokenization(text) if cleans else text


def batch_decode(tokenizer: Any, sequences: Any, *options: Any, **named: Any) -> list[str]:
    """Return the texts of rows, given as a list or an array `(batch, sequence)`. Takes the arguments of `decode`."""
    return [tokenizer.decode(row, *options, **named) for row in to_lists(sequences)]


def clean_up_tokenization(out_string: str) -> str:
    """Return the text without the spaces before English punctuation and in English contractions.

    Args:
        out_string: a decoded text.
    """
    for spaced, joined in _ENGLISH.items():
        out_string = out_string.replace(spaced, joined)
    return out_string


def special_places(table: Any, ids: list[int]) -> list[bool]:
    """Return True for each id of a row that is a special token."""
    special = {token_id for token_id, token in table.added.items() if token.special}
    special |= {table.ids[token] for token in table.special_tokens()}
    pad = table.named.get("pad_token")
    if pad is None or not table.is_padding_word(pad):
        return [token_id in special for token_id in ids]
    pad_id, bos_id = table.ids[pad], table.ids.get(table.named["bos_token"])
    places = [token_id in special and token_id != pad_id for token_id in ids]
    used = [place for place, token_id in enumerate(ids) if token_id != pad_id]
    # A text can start with the word; but if bos_token follows, it is padding on the left.
    text_start = used[0] if used and ids[used[0]] == bos_id else 0
    text_end = used[-1] + 1 if used else 0
    return [places[place] or place < text_start or place >= text_end for place in range(len(ids))]


def as_list(ids: Any) -> list[int]:
    """Return one or several ids as a list, after checking them."""
    ids = to_lists(ids)
    if isinstance(ids, str):
        raise TypeError(f"token ids must be a list of int, not the text {ids[:40]!r}")
    listed = [ids] if isinstance(ids, int) else [int(token_id) for token_id in ids]
    if listed and min(listed) < 0:
        raise ValueError(f"{min(listed)} is not a token id; before decoding, replace the ids of ignored positions")
    return listed
