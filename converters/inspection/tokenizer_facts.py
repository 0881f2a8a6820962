"""Facts in a checkpoint's tokenizer files, read without building a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clip_core.hub import find_file
from clip_core.hub.files import read_json_object
from clip_core.tokenization.vocabulary import MERGES_FILE, TOKENIZER_FILE, VOCAB_FILE, read_merges

if TYPE_CHECKING:
    import os
    from pathlib import Path
    from typing import Unpack

    from clip_core.hub import HubOptions

_UNLIMITED = 10**9  # transformers writes 1e30 for a tokenizer without a limit

_JSON_FILES = (TOKENIZER_FILE, VOCAB_FILE, "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")


@dataclass
class TokenizerFacts:
    """Facts about a tokenizer.

    Attributes:
        size: the largest id plus one.
        added: the number of tokens added to the original vocabulary.
        eos_token_id: the id of the token that ends a text, if stated.
        pad_token_id: the id of the padding token, if stated.
        max_length: the maximum length of a text, if stated.
    """

    size: int
    added: int
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    max_length: int | None = None


def tokenizer_facts(source: str | os.PathLike[str], **options: Unpack[HubOptions]) -> TokenizerFacts | None:
    """Return the facts about a source's tokenizer; None if it has none."""
    found = {name: _read_json(find_file(source, name, **options)) for name in _JSON_FILES}
    if (merges := find_file(source, MERGES_FILE, **options)) is not None:
        read_merges(merges)  # refuses a file that is not whole, as `clip-zoo convert` does
    try:
        return _facts(found)
    except (AttributeError, KeyError, TypeError) as error:  # the JSON has another structure
        raise ValueError(
            f"{source}: its tokenizer files do not have the structure of a CLIP tokenizer's: {error}"
        ) from error


def _facts(found: dict[str, dict[str, Any]]) -> TokenizerFacts | None:
    whole, settings = found[TOKENIZER_FILE], found["tokenizer_config.json"]
    vocabulary: dict[str, int] = dict(whole.get("model", {}).get("vocab", {}) or found[VOCAB_FILE])
    if not vocabulary:
        return None
    ids = {token["content"]: token["id"] for token in whole.get("added_tokens", ())} | found["added_tokens.json"]
    ids |= {token["content"]: int(number) for number, token in settings.get("added_tokens_decoder", {}).items()}
    base_size = max(vocabulary.values()) + 1
    ids = {**vocabulary, **ids}
    special = {**found["special_tokens_map.json"], **settings}
    longest = settings.get("model_max_length")
    return TokenizerFacts(
        size=max(ids.values()) + 1,
        added=max(ids.values()) + 1 - base_size,
        eos_token_id=ids.get(_text(special.get("eos_token"))),
        pad_token_id=ids.get(_text(special.get("pad_token"))),
        max_length=longest if isinstance(longest, int) and longest < _UNLIMITED else None,
    )


def _read_json(path: Path | None) -> dict[str, Any]:
    return {} if path is None else read_json_object(path)


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
