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
        # All names come first: a token may be added only if it is not a mere pad token.
        given = {name: token for name, token in named.items() if token is not None}
        self.names = tuple(dict.fromkeys([*NAMES, *named]))
        self.named = {name: as_added_token(given[name]).content for name in self.names if name in given}
        for name in NEEDED:
            _check_needed(name, given.get(name))
        saved = vocabulary.added_tokens | {int(key): as_added_token(token) for key, token in added_tokens.items()}
        for token_id, token in sorted(saved.items()):
            self.place(token, token_id)
        for name, content in self.named.items():
            normalized = string_normalized if name in NEEDED else None
            self._add_if_new(as_added_token(given[name], special=True, normalized=normalized))
            self.check_known(content, name)
        for value in additional:
            self._add_if_new(as_added_token(value, special=True))
            self.additional.append(self.check_known(as_added_token(value).content, ADDITIONAL))

    def special_tokens(self) -> list[str]:
        """Return the tokens that have a name and the additional ones, each once."""
        named = map(self.named.get, self.names)
        return [*dict.fromkeys(token for token in (*named, *self.additional) if token is not None)]

    def special_tokens_map(self) -> dict[str, Any]:
        """Return the names and the tokens that have them; added tokens as such."""
        found: dict[str, Any] = {name: self.named[name] for name in self.names if name in self.named}
        found = {name: self.added.get(self.ids[token], token) for name, token in found.items()}
        additional = [self.added.get(self.ids[token], token) for token in self.additional]
        return found | ({ADDITIONAL: additional} if additional else {})

    def set_named(self, name: str, token: Token | None) -> None:
        """Give a name to a token of the vocabulary, or take the name away."""
        _check_needed(name, token)
        if token is None:
            self.named.pop(name, None)
        else:
            self.named[name] = self.check_known(as_added_token(token).content, name)

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

    def _add_if_new(self, token: AddedToken) -> None:
        token_id = self.ids.get(token.content)
        if token_id is None or token_id not in self.added:
            self.place(token, token_id)


def named_attributes(name: str) -> tuple[property, property]:
    """Return the attributes of a tokenizer for a special token and its id, such as `bos_token` and `bos_token_id`."""

    def get(tokenizer: Any) -> Any:
        return tokenizer.table.named.get(name)

    def set_(tokenizer: Any, token: Token | None) -> None:
        tokenizer.table.set_named(name, token)
        tokenizer.update_reader()

    def get_id(tokenizer: Any) -> Any:
        table = tokenizer.table
        return table.ids[table.named[name]] if name in table.named else None

    def set_id(tokenizer: Any, token_id: int | None) -> None:
        tokens = tokenizer.table.tokens
        if token_id is not None and token_id not in tokens:
            raise ValueError(f"{name}_id={token_id} is not in the vocabulary of {len(tokenizer)} tokens")
        set_(tokenizer, None if token_id is None else tokens[token_id])

    return property(get, set_), property(get_id, set_id)


def additional_attributes() -> tuple[property, property]:
    """Return the attributes of a tokenizer for its special tokens without a name, and their ids."""

    def get(tokenizer: Any) -> list[str]:
        return list(tokenizer.table.additional)

    def set_(tokenizer: Any, tokens: Iterable[Token] | None) -> None:
        contents = [as_added_token(token).content for token in tokens or ()]
        tokenizer.table.additional = [tokenizer.table.check_known(content, ADDITIONAL) for content in contents]

    def get_ids(tokenizer: Any) -> list[int]:
        return [tokenizer.table.ids[token] for token in tokenizer.table.additional]

    return property(get, set_), property(get_ids)


def extra_special_tokens(tokenizer: Any) -> dict[str, str]:
    """Return the special tokens with a name of their own; each is an attribute of the tokenizer too."""
    return {name: token for name, token in tokenizer.table.named.items() if name not in NAMES}


def get_extra(tokenizer: Any, name: str) -> Any:
    """Return an extra special token by its name, or its id by its name with `_id`, as `__getattr__` of a tokenizer."""
    table = tokenizer.__dict__.get("table")  # missing while an object is unpickled
    token = table and table.named.get(name.removesuffix("_id"))
    if not token:
        raise AttributeError(f"{type(tokenizer).__name__} has no {name!r}")
    return table.ids[token] if name.endswith("_id") else token


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
