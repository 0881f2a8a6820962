"""What CLIPTokenizer and CLIPTokenizerFast share: all but how a word becomes ids."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from clip_core.tokenization.added import AddedToken
from clip_core.tokenization.batch import NO_MAX_LENGTH
from clip_core.tokenization.calls import TextEncoding
from clip_core.tokenization.encoding import BatchEncoding, CharSpan, TokenSpan
from clip_core.tokenization.files import PretrainedTokenizer
from clip_core.tokenization.lengths import check_side
from clip_core.tokenization.specials import NAMES
from clip_core.tokenization.text import TextReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tokenization.lengths import Side
    from clip_core.tokenization.text import Clean
    from clip_core.tokenization.vocabulary import Vocabulary

__all__ = ["AddedToken", "BatchEncoding", "CLIPTokenizerBase", "CharSpan", "TokenSpan"]

# The context length of every model that OpenAI's vocabulary file belongs to.
_OPENAI_MAX_LENGTH = 77


class CLIPTokenizerBase(TextEncoding, PretrainedTokenizer):
    """The tokenizer without its byte-pair encoding.

    Args:
        vocabulary: as it was read from files.
        errors: what decoding does with bytes that are no UTF-8, see `bytes.decode`.
        clean: how text is cleaned and split: "hf" as transformers' CLIPTokenizerFast does it, "openai" as OpenAI's code
            does it, whose ids it then gives exactly.
        model_max_length: the longest row that the model takes; none by default, 77 with OpenAI's vocabulary file.
        padding_side: "right" or "left".
        truncation_side: "right" or "left".
        clean_up_tokenization_spaces: whether decoding removes the spaces before English punctuation.
        split_special_tokens: read special tokens in a text as ordinary text.
        model_input_names: the columns of a result that are not asked for.
        name_or_path: where it was read from.
        string_normalized: see `SpecialTokens`.
        **kwargs: `bos_token`, `eos_token` and the other names, `additional_special_tokens`, `added_tokens_decoder`
            (id -> token); and what else a tokenizer_config.json holds, which is kept and written back.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        errors: str = "replace",
        clean: Clean = "hf",
        model_max_length: int | None = None,
        padding_side: Side = "right",
        truncation_side: Side = "right",
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        model_input_names: Sequence[str] = ("input_ids", "attention_mask"),
        name_or_path: str = "",
        string_normalized: bool = True,
        **kwargs: Any,
    ) -> None:
        if clean not in {"hf", "openai"}:
            raise ValueError(f"clean={clean!r} is not known; it is 'hf' (as transformers does) or 'openai'")
        codecs.lookup_error(errors)
        super().__init__(
            vocabulary,
            added_tokens_decoder=kwargs.pop("added_tokens_decoder", None) or {},
            named={name: kwargs.pop(name, None) for name in NAMES},
            additional=kwargs.pop("additional_special_tokens", None) or (),
            string_normalized=string_normalized,
        )
        self.errors = errors
        self.clean = clean
        self._signs_in_pattern = vocabulary.signs_in_pattern
        old_name = kwargs.pop("max_len", None)
        default_length = _OPENAI_MAX_LENGTH if vocabulary.is_openai else NO_MAX_LENGTH
        self.model_max_length = next(n for n in (model_max_length, old_name, default_length) if n is not None)
        self.padding_side = check_side(padding_side, "padding_side")
        self.truncation_side = check_side(truncation_side, "truncation_side")
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.split_special_tokens = split_special_tokens
        self.model_input_names = list(model_input_names)
        self.name_or_path = name_or_path
        self._processor_class = kwargs.pop("processor_class", None)
        self.init_kwargs = kwargs
        self._logged: set[str] = set()
        self._tokens_changed()

    @property
    def max_len_single_sentence(self) -> int:
        """The most tokens of a text that fit beside the special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """The most tokens of a pair of texts that fit beside the special tokens."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    def _tokens_changed(self) -> None:
        self._reader = TextReader(self.clean, self._added, self._ids, signs_in_pattern=self._signs_in_pattern)
        self._word_cache: dict[str, list[int]] = {}

    def _set_processor_class(self, processor_class: str) -> None:
        """The name of the processor that this is a part of, to write into the file; transformers looks for it."""
        self._processor_class = processor_class

    def __repr__(self) -> str:
        added = "".join(f"\n    {token_id}: {token!r}," for token_id, token in self.added_tokens_decoder.items())
        return (
            f"{type(self).__name__}(name_or_path={str(self.name_or_path)!r}, vocab_size={self.vocab_size}, "
            f"model_max_length={self.model_max_length}, is_fast={self.is_fast}, padding_side={self.padding_side!r}, "
            f"truncation_side={self.truncation_side!r}, special_tokens={self.special_tokens_map}, "
            f"clean_up_tokenization_spaces={self.clean_up_tokenization_spaces}, clean={self.clean!r}, "
            f"added_tokens_decoder={{{added}\n}})"
        )
