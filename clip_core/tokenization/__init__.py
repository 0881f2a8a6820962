"""Texts to ids and back: CLIPTokenizer in plain Python, CLIPTokenizerFast on the `tokenizers` library.

The names in `__all__` are public; the modules are internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clip_core.imports.lazy import names_on_demand

if TYPE_CHECKING:
    from tokenizers import AddedToken

    from clip_core.processing.encoding import BatchEncoding
    from clip_core.tokenization.bpe import CLIPTokenizer
    from clip_core.tokenization.fast import CLIPTokenizerFast

__all__ = ["AddedToken", "BatchEncoding", "CLIPTokenizer", "CLIPTokenizerFast"]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {"AddedToken": "specials", "BatchEncoding": "calls", "CLIPTokenizer": "bpe", "CLIPTokenizerFast": "fast"},
)
