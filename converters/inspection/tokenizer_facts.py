"""Facts in a checkpoint's tokenizer files, read without building a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clip_core.hub import find_file
from clip_core.hub.files import read_json

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Unpack

    from clip_core.hub import HubOptions

_UNLIMITED = 10**9  # transformers writes 1e30 for a tokenizer without a limit


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
    names = ("tokenizer.json", "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
    found = {name: _read_json(source, name, **options) for name in names}
    try:
        return _facts(found, lambda: _read_json(source, "vocab.json", **options))
    except (AttributeError, KeyError, TypeError) as error:  # the JSON has another structure
        raise ValueError(
            f"{source}: its tokenizer files do not have the structure of a CLIP tokenizer's: {error}"
        ) from error


def _facts(found: dict[str, dict[str, Any]], read_vocabulary: Callable[[], dict[str, int]]) -> TokenizerFacts | None:
    whole, settings = found["tokenizer.json"], found["tokenizer_config.json"]
    vocabulary: dict[str, int] = dict(whole.get("model", {}).get("vocab", {}) or read_vocabulary())
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


def _read_json(source: str | os.PathLike[str], name: str, **options: Unpack[HubOptions]) -> dict[str, Any]:
    path = find_file(source, name, **options)
    content = {} if path is None else read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a JSON object")  # noqa: TRY004  the file is at fault
    return content


def _text(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, dict) else str(token or "")
