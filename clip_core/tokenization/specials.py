"""Tokens and their ids, and the special tokens by name: `bos_token`, `eos_token`, ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from clip_core.tokenization.added import AddedToken, as_added_token
from clip_core.tokenization.unicode import END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clip_core.tokenization.vocabulary import Vocabulary

    Token: TypeAlias = str | AddedToken

# In the order in which those that the vocabulary lacks get their ids.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
NEEDED = ("bos_token", "eos_token", "unk_token")
ADDITIONAL = "additional_special_tokens"


class TokenTable:
    """Tokens and their ids, some of them added, some with a name.

    A `pad_token` that is an ordinary word of the vocabulary, such as the "!" (id 0) of Stable Diffusion 2 and XL, only
    pads: a "!" in a text is read as if there were no such pad token. Tokens that the vocabulary lacks are added;
    `string_normalized` is `normalized` of bos, eos and unk if they are new and given as strings.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        named: Mapping[str, Token | None],
        additional: Iterable[Token],
        added_tokens: Mapping[int, Any],
        *,
        string_normalized: bool,
    ) -> None:
        self.vocab, self.merges = vocabulary.ids, vocabulary.merges
        self.ids = dict(self.vocab)  # with the added tokens, as are the rest
        self.tokens = {token_id: token for token, token_id in self.ids.items()}
        self.added: dict[int, AddedToken] = {}
        self.additional: list[str] = []
        names = dict.fromkeys([*NAMES, *named])
        given = {
            name: as_added_token(named[name], special=True, normalized=string_normalized if name in NEEDED else None)
            for name in names
            if named.get(name) is not None
        }
        # All names come first: a token may be added only if it is not a mere pad token.
        self.named: dict[str, str | None] = names | {name: token.content for name, token in given.items()}
        for name in NEEDED:
            _check_needed(name, given.get(name))
        saved = vocabulary.added_tokens | {int(key): as_added_token(token) for key, token in added_tokens.items()}
        for token_id, token in sorted(saved.items()):
            self.place(token, token_id)
        for name, token in given.items():
            self._add_if_new(token, name)
        self.additional = [self._add_if_new(as_added_token(one, special=True), ADDITIONAL) for one in additional]

    def special_tokens(self) -> list[str]:
        """Return the tokens that have a name and the additional ones, each once."""
        return [*dict.fromkeys(token for token in (*self.named.values(), *self.additional) if token is not None)]

    def special_tokens_map(self) -> dict[str, Any]:
        """Return the names and the tokens that have them; added tokens as such."""
        found: dict[str, Any] = {
            name: self.added.get(self.ids[token], token) for name, token in self.named.items() if token is not None
        }
        additional = [self.added.get(self.ids[token], token) for token in self.additional]
        return found | ({ADDITIONAL: additional} if additional else {})

    def set_named(self, name: str, token: Token | None) -> None:
        """Give a name to a token of the vocabulary, or take the name away."""
        _check_needed(name, token)
        self.named[name] = None if token is None else self.check_known(as_added_token(token).content, name)

    def is_padding_word(self, token: str) -> bool:
        """Return whether a token is nothing but the pad token, and one that ordinary text can hold."""
        names = [name for name, named in self.named.items() if named == token]
        if names != ["pad_token"] or token in self.additional or token not in self.vocab:
            return False
        return len(token.removesuffix(END_OF_WORD)) == 1 or any(a + b == token for a, b in self.merges)

    def place(self, token: AddedToken, token_id: int | None) -> None:
        """Make a token an added one, with the id given or the next free one."""
        if not token.content or self.is_padding_word(token.content):
            return
        token_id = max(self.tokens, default=-1) + 1 if token_id is None else token_id
        other = self.tokens.get(token_id, token.content)
        if other != token.content or self.ids.get(token.content, token_id) != token_id:
            raise ValueError(f"the added token {token.content!r} has the id {token_id}, which is that of {other!r}")
        self.added[token_id] = token
        self.ids[token.content] = token_id
        self.tokens[token_id] = token.content

    def check_known(self, token: str, name: str) -> str:
        """Return the token if it is in the vocabulary; if not, raise a ValueError that calls it `name`."""
        if token not in self.ids:
            hint = f"add_special_tokens({{{name!r}: ...}}) adds it"
            raise ValueError(f"{name}={token!r} is not in the vocabulary; {hint}")
        return token

    def _add_if_new(self, token: AddedToken, name: str) -> str:
        token_id = self.ids.get(token.content)
        if token_id is None or token_id not in self.added:
            self.place(token, token_id)
        return self.check_known(token.content, name)


def set_additional(tokenizer: Any, tokens: Iterable[Token] | None) -> None:
    """Set the special tokens without a name, which are tokens of the vocabulary."""
    contents = [as_added_token(token).content for token in tokens or ()]
    tokenizer.table.additional = [tokenizer.table.check_known(content, ADDITIONAL) for content in contents]


def add_tokens(tokenizer: Any, new_tokens: Any, special_tokens: bool = False) -> int:
    """Add tokens, which are then found in a text as they stand. Resize the model's embeddings afterwards.

    Args:
        new_tokens: a str, an AddedToken, or a list of them. An added token given again takes the new settings.
        special_tokens: make them special: skipped when decoding, and matched in the text before it is lower-cased.

    Returns:
        The number of tokens by which the vocabulary grew.
    """
    size, table = len(tokenizer), tokenizer.table
    for value in [new_tokens] if isinstance(new_tokens, str) or hasattr(new_tokens, "content") else new_tokens:
        token = as_added_token(value, special=special_tokens)
        table.place(token, table.ids.get(token.content))
    tokenizer.update_reader()
    return len(tokenizer) - size


def add_special_tokens(
    tokenizer: Any,
    special_tokens_dict: Mapping[str, Token | Sequence[Token]],
    replace_additional_special_tokens: bool = True,
) -> int:
    """Give names to tokens, and add those that are not in the vocabulary.

    Args:
        special_tokens_dict: `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`, `cls_token` or
            `mask_token` -> a token; `additional_special_tokens` -> a list.
        replace_additional_special_tokens: replace the list, rather than extend it.

    Returns:
        The number of tokens by which the vocabulary grew.

    Raises:
        ValueError: a name is not known, or its value is not a token.
    """
    size, table = len(tokenizer), tokenizer.table
    for name, value in special_tokens_dict.items():
        if name == ADDITIONAL and isinstance(value, (list, tuple)):
            tokenizer.add_tokens(value, special_tokens=True)
            kept = [] if replace_additional_special_tokens else table.additional
            table.additional = list(dict.fromkeys([*kept, *map(str, value)]))
        elif name in NAMES and (isinstance(value, str) or hasattr(value, "content")):
            token = as_added_token(value, special=True)
            table.named[name] = token.content  # first, so that a mere pad token is known as one
            table.place(token, table.ids.get(token.content))
            table.check_known(token.content, name)
        else:
            names = ", ".join([*NAMES, ADDITIONAL])
            raise ValueError(f"{name!r}: {value!r} names no special token; the names are {names}")
    tokenizer.update_reader()
    return len(tokenizer) - size


def _check_needed(name: str, token: Token | None) -> None:
    if token is None and name in NEEDED:
        raise ValueError(f"{name} cannot be None; CLIP needs {', '.join(NEEDED)}")
