"""From ids back to text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from clip_core.processing.batch import framework_of, to_numpy
from clip_core.tokenization.specials import SpecialTokens
from clip_core.tokenization.unicode import END_OF_WORD, to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What joining words with spaces does to English, and what to put in its place.
_ENGLISH = {
    " .": ".",
    " ?": "?",
    " !": "!",
    " ,": ",",
    " ' ": "'",
    " n't": "n't",
    " 'm": "'m",
    " 's": "'s",
    " 've": "'ve",
    " 're": "'re",
}


class Decoding(SpecialTokens):
    """The methods that read ids. What is skipped as special is told in `decode`."""

    errors: str
    clean_up_tokenization_spaces: bool

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str | None: ...
    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int], skip_special_tokens: bool = False) -> list[str | None]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str | None] | None:
        """The token of one id or of several; None for an id outside the vocabulary."""
        if isinstance(ids, int):
            return self._tokens.get(ids)
        ids = _as_list(ids)
        special = self._special_places(ids) if skip_special_tokens else [False] * len(ids)
        return [self._tokens.get(token_id) for token_id, skip in zip(ids, special, strict=True) if not skip]

    def convert_tokens_to_string(self, tokens: Iterable[str]) -> str:
        """The text of tokens; each word ends in a space, and nothing else does."""
        text = b"".join(map(to_bytes, tokens)).decode("utf-8", errors=self.errors)
        return text.replace(END_OF_WORD, " ").strip()

    def decode(
        self, token_ids: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of ids, lower-cased and with spaces between words and punctuation, as the ids have it.

        Args:
            token_ids: an id, a list of ids, or an array of any framework, (sequence,). Ids outside the vocabulary are
                left out.
            skip_special_tokens: leave out all special tokens. Where the pad token is an ordinary word, such as "!",
                it is left out at the end and before the first token alone: elsewhere it is text.
            clean_up_tokenization_spaces: remove the spaces before English punctuation; by default what the tokenizer
                was made with.

        Raises:
            ValueError: an id is negative.
        """
        tokens = self.convert_ids_to_tokens(_as_list(token_ids), skip_special_tokens)
        text = self.convert_tokens_to_string(token for token in tokens if token is not None)
        clean_up = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if clean_up else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """`decode` for each row of a list, or of an array (batch, sequence)."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """The text without the spaces before English punctuation and in English contractions."""
        for spaced, joined in _ENGLISH.items():
            out_string = out_string.replace(spaced, joined)
        return out_string

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 where `build_inputs_with_special_tokens` puts a special token, 0 elsewhere.

        Args:
            token_ids_0: the ids of a text.
            token_ids_1: those of the second text of a pair.
            already_has_special_tokens: the ids have their special tokens; mark them where they stand.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError(
                    "with already_has_special_tokens=True, both texts are in token_ids_0; leave token_ids_1"
                )
            return [int(special) for special in self._special_places(_as_list(token_ids_0))]
        second = [] if token_ids_1 is None else [1, *[0] * len(token_ids_1), 1]
        return [1, *[0] * len(token_ids_0), 1, *second]

    def _special_places(self, ids: list[int]) -> list[bool]:
        special = {token_id for token_id, token in self._added.items() if token.special} | set(self.all_special_ids)
        pad = self.pad_token
        if pad is None or not self._is_padding_word(pad):
            return [token_id in special for token_id in ids]
        pad_id = self._ids[pad]
        places = [token_id in special and token_id != pad_id for token_id in ids]
        text_end = next((place for place in range(len(ids), 0, -1) if ids[place - 1] != pad_id), 0)
        text_start = next((place for place, token_id in enumerate(ids) if token_id != pad_id), 0)
        # A text can begin with the word, but one that bos_token follows is padding on the left.
        text_start = text_start if text_start < len(ids) and ids[text_start] == self.bos_token_id else 0
        return [places[place] or place < text_start or place >= text_end for place in range(len(ids))]


def _as_list(ids: Any) -> list[int]:
    ids = to_numpy(ids).tolist() if framework_of(ids) else ids
    listed = [ids] if isinstance(ids, int) else [int(token_id) for token_id in ids]
    if listed and min(listed) < 0:
        raise ValueError(f"{min(listed)} is no token id; replace ids that mark what to ignore before decoding")
    return listed
