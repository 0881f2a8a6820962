"""The tokens of a tokenizer and their ids, and its special tokens by their names: `bos_token`, `eos_token`, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.tokenization.added import AddedToken, as_added_token
from clip_core.tokenization.unicode import END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clip_core.tokenization.added import AddedToken
    from clip_core.tokenization.vocabulary import Vocabulary

    Token = str | AddedToken


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


# In the order in which those that the vocabulary lacks get their ids.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
NEEDED = ("bos_token", "eos_token", "unk_token")
ADDITIONAL = "additional_special_tokens"


def _token(name: str) -> property:
    """The attribute `bos_token`, ...: the token as a string, or None."""

    def get(self: SpecialTokens) -> str | None:
        return self._named.get(name)

    def set_(self: SpecialTokens, token: Token | None) -> None:
        self._set_named(name, token)

    return property(get, set_)


def _token_id(name: str) -> property:
    """The attribute `bos_token_id`, ...: the id, or None."""

    def get(self: SpecialTokens) -> int | None:
        token = self._named.get(name)
        return None if token is None else self._ids[token]

    def set_(self: SpecialTokens, token_id: int | None) -> None:
        if token_id is not None and token_id not in self._tokens:
            raise ValueError(f"{name}_id={token_id} is not in the vocabulary of {len(self)} tokens")
        self._set_named(name, None if token_id is None else self._tokens[token_id])

    return property(get, set_)


class SpecialTokens(TokenTable):
    """A table of tokens, some of which have names.

    A `pad_token` that is an ordinary word of the vocabulary, such as the "!" (id 0) of Stable Diffusion 2 and XL, fills
    up shorter texts and nothing else: a "!" in a text stays what it would be without it.

    Args:
        vocabulary: as it was read from files.
        added_tokens_decoder: id -> token to add, which count before those of the files.
        named: `bos_token`, ... -> the token, which is added to the vocabulary where it is not yet there.
        additional: further special tokens.
        string_normalized: `normalized` of bos, eos and unk where they are given as strings and are new.
    """

    bos_token = _token("bos_token")
    eos_token = _token("eos_token")
    unk_token = _token("unk_token")
    sep_token = _token("sep_token")
    pad_token = _token("pad_token")
    cls_token = _token("cls_token")
    mask_token = _token("mask_token")
    bos_token_id = _token_id("bos_token")
    eos_token_id = _token_id("eos_token")
    unk_token_id = _token_id("unk_token")
    sep_token_id = _token_id("sep_token")
    pad_token_id = _token_id("pad_token")
    cls_token_id = _token_id("cls_token")
    mask_token_id = _token_id("mask_token")

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        added_tokens_decoder: Mapping[int, Any],
        named: Mapping[str, Token | None],
        additional: Iterable[Token],
        string_normalized: bool,
    ) -> None:
        super().__init__(vocabulary)
        self._additional: list[str] = []
        # All names first: what else a pad token is decides whether it can be an added token.
        tokens = {name: token for name, token in named.items() if token is not None}
        self._named = {name: as_added_token(tokens[name]).content for name in NAMES if name in tokens}
        for name in NEEDED:
            if name not in tokens:
                raise ValueError(f"{name} cannot be None; CLIP needs {', '.join(NEEDED)}")
        saved = vocabulary.added_tokens | {
            int(key): as_added_token(token) for key, token in added_tokens_decoder.items()
        }
        for token_id, token in sorted(saved.items()):
            self._place(token, token_id)
        for name in self._named:
            normalized = string_normalized if name in NEEDED else None
            self._add_if_new(as_added_token(tokens[name], special=True, normalized=normalized))
            self._known(self._named[name], name)
        for value in additional:
            self._add_if_new(as_added_token(value, special=True))
            self._additional.append(self._known(as_added_token(value).content, ADDITIONAL))

    # Special tokens

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of one token, or of a list of them; that of `unk_token` for one that is not in the vocabulary."""
        unknown: int = self.unk_token_id
        if isinstance(tokens, str):
            return self._ids.get(tokens, unknown)
        return [self._ids.get(token, unknown) for token in tokens]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The names and the tokens that have them."""
        named: dict[str, str | list[str]] = {name: self._named[name] for name in NAMES if name in self._named}
        return named | ({ADDITIONAL: list(self._additional)} if self._additional else {})

    @property
    def special_tokens_map_extended(self) -> dict[str, Token | list[Token]]:
        """As `special_tokens_map`, with those that are added tokens as such."""
        named: dict[str, Token | list[Token]] = {
            name: self._as_added(self._named[name]) for name in NAMES if name in self._named
        }
        return named | ({ADDITIONAL: [self._as_added(token) for token in self._additional]} if self._additional else {})

    @property
    def all_special_tokens(self) -> list[str]:
        """The tokens that have a name, and the additional ones; each once."""
        named = [self._named[name] for name in NAMES if name in self._named]
        return list(dict.fromkeys([*named, *self._additional]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [self._ids[token] for token in self.all_special_tokens]

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name."""
        return list(self._additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[Token] | None) -> None:
        self._additional = [self._known(as_added_token(token).content, ADDITIONAL) for token in tokens or ()]

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """The ids of `additional_special_tokens`."""
        return [self._ids[token] for token in self._additional]

    # Adding tokens

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens, which are then found in a text as they stand. The model's embeddings are to be resized after.

        Args:
            new_tokens: a str, an AddedToken, or a list of them. One that is an added token already takes the new
                settings.
            special_tokens: make them special: skipped when decoding, and matched in the text before it is lower-cased.

        Returns:
            By how many tokens the vocabulary grew.
        """
        size = len(self)
        for value in [new_tokens] if isinstance(new_tokens, str) or hasattr(new_tokens, "content") else new_tokens:
            token = as_added_token(value, special=special_tokens)
            self._place(token, self._ids.get(token.content))
        self._tokens_changed()
        return len(self) - size

    def add_special_tokens(
        self,
        special_tokens_dict: Mapping[str, Token | Sequence[Token]],
        replace_additional_special_tokens: bool = True,
    ) -> int:
        """Give names to tokens, and add those that are not in the vocabulary.

        Args:
            special_tokens_dict: `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`, `cls_token` or
                `mask_token` -> a token; `additional_special_tokens` -> a list.
            replace_additional_special_tokens: put the list in place of the one before, rather than behind it.

        Returns:
            By how many tokens the vocabulary grew.
        """
        size = len(self)
        for name, value in special_tokens_dict.items():
            if name == ADDITIONAL and isinstance(value, (list, tuple)):
                self.add_tokens(value, special_tokens=True)
                kept = [] if replace_additional_special_tokens else self._additional
                self._additional = list(dict.fromkeys([*kept, *map(str, value)]))
            elif name in NAMES and (isinstance(value, str) or hasattr(value, "content")):
                token = as_added_token(value, special=True)
                self._named[name] = token.content  # first, so that it is known to be the pad token alone
                self._place(token, self._ids.get(token.content))
                self._known(token.content, name)
            else:
                raise ValueError(
                    f"{name!r}: {value!r} names no special token; the names are {', '.join(NAMES)}, {ADDITIONAL}"
                )
        self._tokens_changed()
        return len(self) - size

    def _set_named(self, name: str, token: Token | None) -> None:
        if token is None and name in NEEDED:
            raise ValueError(f"{name} cannot be None; CLIP needs {', '.join(NEEDED)}")
        if token is None:
            self._named.pop(name, None)
        else:
            self._named[name] = self._known(as_added_token(token).content, name)
        self._tokens_changed()

    def _known(self, token: str, name: str) -> str:
        if token not in self._ids:
            raise ValueError(
                f"{name}={token!r} is not in the vocabulary; add_special_tokens({{{name!r}: ...}}) adds it"
            )
        return token

    def _as_added(self, token: str) -> Token:
        return self._added.get(self._ids[token], token)

    def _add_if_new(self, token: AddedToken) -> None:
        token_id = self._ids.get(token.content)
        if token_id is None or token_id not in self._added:
            self._place(token, token_id)

    def _is_padding_word(self, token: str) -> bool:
        """Whether a token is the pad token alone, and one that ordinary text can hold."""
        names = [name for name in NAMES if self._named.get(name) == token]
        if names != ["pad_token"] or token in self._additional or token not in self._vocab:
            return False
        is_byte = len(token.removesuffix(END_OF_WORD)) == 1
        return is_byte or any(first + second == token for first, second in self._merges)

    def _tokens_changed(self) -> None:
        """Called when a token was added or named."""
