"""Tokens and their ids: the vocabulary's tokens, added tokens, and special tokens by name, such as `bos_token`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from tokenizers import AddedToken

from clip_core.configuration.arguments import LARGEST, check_surrogates, dict_of, list_of, to_int
from clip_core.hub.printing import shortened
from clip_core.tokenization.vocabulary import END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from clip_core.tokenization.vocabulary import Vocabulary

    Token: TypeAlias = str | AddedToken

# Names whose tokens are missing from the vocabulary get new ids in this order.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"
FIELDS = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")


def as_added_token(value: Any, *, special: bool = False, normalized: bool | None = None) -> AddedToken:
    """Return an AddedToken made from a string, a dict of its fields, or another AddedToken, which is copied.

    `special` makes it special in any case. `normalized` is used if `value` is a string.
    """
    if isinstance(value, str):
        check_surrogates(value)
        return AddedToken(value, special=special, **{} if normalized is None else {"normalized": normalized})
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        fields = {name: value[name] for name in FIELDS if value.get(name) is not None}
        return AddedToken(**fields | {"special": special or bool(value.get("special"))})
    if isinstance(getattr(value, "content", None), str):
        # `normalized` follows `special` unless it was given, so it is read after `special` is set.
        was_special, value.special = value.special, value.special or special
        fields, value.special = as_dict(value), was_special
        return AddedToken(**fields)
    raise TypeError(f"a token must be a str or an AddedToken, not {shortened(repr(value))}")


def check_types(arguments: dict[str, Any], settings: Iterable[str] = ()) -> None:
    """Raise a TypeError if an argument of a tokenizer has another type, or an extra token is named like a setting."""
    tokens = {name: [arguments[name]] for name in NAMES if arguments.get(name) is not None}
    try:
        list_of(str, arguments.get("model_input_names"), "model_input_names")
        tokens[ADDITIONAL] = list_of(object, arguments.get(ADDITIONAL), ADDITIONAL)
        tokens["added_tokens_decoder"] = [*dict_of(arguments, "added_tokens_decoder").values()]
        extra = dict_of(arguments, "extra_special_tokens")
        to_int("model_max_length", arguments.get("model_max_length") or 0)
    except ValueError as error:
        raise TypeError(str(error)) from error
    if taken := extra.keys() & {*settings} - {*NAMES}:
        raise TypeError(f"extra_special_tokens: {min(taken)!r} is a setting; give the token another name")
    for name, several in tokens.items():
        try:
            [*map(as_added_token, several)]
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from error


def as_dict(token: AddedToken, names: Sequence[str] = FIELDS) -> dict[str, Any]:
    """Return the fields of a token, in the form stored in tokenizer_config.json."""
    return {name: getattr(token, name) for name in names}


class TokenTable:
    """Tokens and their ids: those of a vocabulary, and those in the arguments `given` to a tokenizer.

    A `pad_token` that is an ordinary word of the vocabulary, such as "!" (id 0) in Stable Diffusion 2 and XL, is used
    only for padding: a "!" in a text is read as if there were no such pad token. `string_normalized` is the
    `normalized` of bos, eos and unk if they are new and given as strings.
    """

    def __init__(self, vocabulary: Vocabulary, given: Mapping[str, Any], *, string_normalized: bool) -> None:
        self.vocab, self.merges = vocabulary.ids, vocabulary.merges
        self.ids = dict(self.vocab)  # includes added tokens, like `tokens`
        self.tokens = {token_id: token for token, token_id in self.ids.items()}
        self.added: dict[int, AddedToken] = {}
        self.additional: list[str] | None = []
        extra = given.get("extra_special_tokens") or {}
        normalized = dict.fromkeys(NAMES[:3], string_normalized)
        tokens = {name: given.get(name, extra.get(name)) for name in dict.fromkeys([*NAMES, *extra])}
        for name, token in tokens.items():
            if token is not None:
                tokens[name] = as_added_token(token, special=True, normalized=normalized.get(name))
        # All names are needed first, because a token that is used only for padding is not added.
        self.named = {name: None if token is None else token.content for name, token in tokens.items()}
        saved = {int(token_id): token for token_id, token in (given.get("added_tokens_decoder") or {}).items()}
        for token_id, token in sorted((vocabulary.added_tokens | saved).items()):
            self.place(as_added_token(token), token_id)
        for name, token in tokens.items():
            if token is not None:
                self._add_if_new(token, name)
        additional = given.get(ADDITIONAL) or ()
        self.additional = [self._add_if_new(as_added_token(one, special=True), ADDITIONAL) for one in additional]

    def special_tokens(self) -> list[str]:
        """Return the named and the additional special tokens, without duplicates."""
        tokens = [*self.named.values(), *(self.additional or ())]
        return [*dict.fromkeys(token for token in tokens if token is not None)]

    def special_tokens_map(self, as_token: Callable[[str], Any] | None = None) -> dict[str, Any]:
        """Return the special tokens by name; by default, added tokens are returned as `AddedToken`."""
        as_token = as_token or self.as_added
        found: dict[str, Any] = {name: as_token(token) for name, token in self.named.items() if token is not None}
        return found | ({ADDITIONAL: [*map(as_token, self.additional)]} if self.additional else {})

    def as_added(self, token: str) -> Token:
        """Return a token as an `AddedToken` if it is an added token."""
        return self.added.get(self.ids[token], token)

    def is_padding_word(self, token: str) -> bool:
        """Return True for a pad token that has no other use and that may occur in ordinary text."""
        names = [name for name, named in self.named.items() if named == token]
        if names != ["pad_token"] or token in (self.additional or ()) or token not in self.vocab:
            return False
        return len(token.removesuffix(END_OF_WORD)) == 1 or any(a + b == token for a, b in self.merges)

    def place(self, token: AddedToken, token_id: int | None = None) -> None:
        """Make a token an added token, with the given id, its present id or the next free one."""
        if not token.content or self.is_padding_word(token.content):
            return
        token_id = self.ids.get(token.content) if token_id is None else token_id
        token_id = max(self.tokens, default=-1) + 1 if token_id is None else token_id
        if not 0 <= token_id <= LARGEST:
            raise ValueError(f"the added token {shortened(token.content)} has the impossible id {shortened(token_id)}")
        other = self.tokens.get(token_id, token.content)
        if other != token.content or self.ids.get(token.content, token_id) != token_id:
            raise ValueError(f"the added token {token.content!r} has the id {token_id}, which {other!r} has already")
        self.added[token_id] = token
        self.ids[token.content] = token_id
        self.tokens[token_id] = token.content

    def check_known(self, token: Token, name: str) -> str:
        """Return the token, or its content, if it is in the vocabulary; otherwise raise a ValueError with `name`."""
        content: str = as_added_token(token).content
        if content not in self.ids:
            raise ValueError(f"{name}={content!r} is unknown; add_special_tokens({{{name!r}: ...}}) adds it")
        return content

    def _add_if_new(self, token: AddedToken, name: str) -> str:
        if self.ids.get(token.content) not in self.added:
            self.place(token)
        return self.check_known(token, name)


def set_additional(tokenizer: Any, tokens: Iterable[Token] | None) -> None:
    """Set the special tokens without a name, which must be in the vocabulary; None unsets them."""
    check_types({ADDITIONAL: tokens})
    table = tokenizer.table
    table.additional = None if tokens is None else [table.check_known(token, ADDITIONAL) for token in tokens]


def add_tokens(tokenizer: Any, new_tokens: Any, special_tokens: bool = False) -> int:
    """Add tokens that are found in a text before it is split into words. Resize the model's embeddings afterwards.

    Args:
        new_tokens: a str, an AddedToken, or a list of them. A token that was added before gets the new settings.
        special_tokens: make them special: skipped when decoding, and matched in the text before it is lower-cased.

    Returns:
        The number of tokens added to the vocabulary.
    """
    size, is_one = len(tokenizer.table.ids), isinstance(new_tokens, str) or hasattr(new_tokens, "content")
    for value in [new_tokens] if is_one else new_tokens:
        tokenizer.table.place(as_added_token(value, special=special_tokens))
    tokenizer.update_reader()
    return len(tokenizer.table.ids) - size


class SpecialTokenError(ValueError, AssertionError):
    """A name that no special token has, or a value that is not a token; an `AssertionError` too, as in transformers."""


def add_special_tokens(
    tokenizer: Any, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
) -> int:
    """Give names to tokens, and add tokens that are not in the vocabulary.

    Args:
        special_tokens_dict: `bos_token`, `eos_token`, `unk_token`, `sep_token`, `pad_token`, `cls_token` or
            `mask_token` -> a token; `additional_special_tokens` -> a list.
        replace_additional_special_tokens: replace the list instead of extending it.

    Returns:
        The number of tokens added to the vocabulary.

    Raises:
        ValueError: a name is unknown, or its value is not a token.
    """
    table, size = tokenizer.table, len(tokenizer.table.ids)
    for name, value in special_tokens_dict.items():
        if name == ADDITIONAL and isinstance(value, (list, tuple)):
            tokenizer.add_tokens(value, special_tokens=True)
            kept = [] if replace_additional_special_tokens else table.additional or ()
            table.additional = list(dict.fromkeys([*kept, *map(str, value)]))
        elif name in NAMES and (isinstance(value, str) or hasattr(value, "content")):
            token = as_added_token(value, special=True)
            table.named[name] = token.content  # before `place`, which ignores tokens that are used only for padding
            table.place(token)
            table.check_known(token, name)
        else:
            raise SpecialTokenError(f"{name!r}: {value!r} is invalid; give one of {', '.join([*NAMES, ADDITIONAL])}")
    tokenizer.update_reader()
    return len(table.ids) - size
