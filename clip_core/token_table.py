"""The tokens of a tokenizer and their ids, both ways: its vocabulary, and the tokens added to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_core.added_tokens import AddedToken
    from clip_core.vocabulary import Vocabulary


class TokenTable:
    """Tokens and ids.

    Args:
        vocabulary: as it was read from files; its added tokens are left to the caller.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocab = vocabulary.ids
        self._merges = vocabulary.merges
        self._ids = dict(self._vocab)
        self._tokens = {token_id: token for token, token_id in self._ids.items()}
        self._added: dict[int, AddedToken] = {}

    @property
    def vocab_size(self) -> int:
        """The number of tokens without the added ones; `len(tokenizer)` counts them all."""
        return len(self._vocab)

    def __len__(self) -> int:
        return len(self._ids)

    def __bool__(self) -> bool:
        return True

    def get_vocab(self) -> dict[str, int]:
        """All tokens, the added ones too, and their ids."""
        return dict(self._ids)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The added tokens by id, in the order of the ids."""
        return dict(sorted(self._added.items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """The ids of the added tokens, in their order."""
        return {token.content: token_id for token_id, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """The ids of the added tokens, in their order."""
        return self.added_tokens_encoder

    def _place(self, token: AddedToken, token_id: int | None) -> None:
        """Make a token an added one, under an id of its own or the next that is free."""
        if not token.content or self._is_padding_word(token.content):
            return
        token_id = max(self._tokens, default=-1) + 1 if token_id is None else token_id
        other = self._tokens.get(token_id, token.content)
        if other != token.content or self._ids.get(token.content, token_id) != token_id:
            raise ValueError(f"the added token {token.content!r} has the id {token_id}, which is that of {other!r}")
        self._added[token_id] = token
        self._ids[token.content] = token_id
        self._tokens[token_id] = token.content

    def _is_padding_word(self, token: str) -> bool:
        """Whether a token is there to fill up texts, and an ordinary word beside that."""
        raise NotImplementedError
