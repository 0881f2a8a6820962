"""CLIPTokenizerFast: the same ids as CLIPTokenizer, by the `tokenizers` library."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from clip_core.tokenization.text import TextReader
from clip_core.tokenization.tokenizer import CLIPTokenizerBase
from clip_core.tokenization.unicode import END_OF_WORD, to_symbols
from clip_core.tokenization.vocabulary import SIGNS_PATTERN, WORD_PATTERN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tokenization.lengths import CallOptions, Truncation
    from clip_core.tokenization.rows import Pair


class CLIPTokenizerFast(CLIPTokenizerBase):
    """Texts to ids and back, by the `tokenizers` library, which also knows where in a text each token stands.

    With clean="openai" the text is cleaned and split in Python, as by `CLIPTokenizer`, and the places are not known.

    Arguments as of `CLIPTokenizerBase`.

    Example:
        >>> tokenizer = CLIPTokenizerFast.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> tokenizer("a photo of a cat", return_offsets_mapping=True).offset_mapping  # doctest: +SKIP
        [(0, 0), (0, 1), (2, 7), (8, 10), (11, 12), (13, 16), (0, 0)]
    """

    is_fast = True
    _engine: Any

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's tokenizer. It is rebuilt when tokens change; changes made to it are lost."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def update_reader(self) -> None:
        """Find the added tokens as they now are; called when a token was added or named."""
        super().update_reader()
        self._engine = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}  # made again from the rest, which is faster than to pickle it

    def _make_engine(self) -> Tokenizer:
        engine = self._engine_of(self.table.vocab)
        if all(engine.token_to_id(token.content) == token_id for token_id, token in self.table.added.items()):
            return engine
        # The library numbers added tokens on from the vocabulary; ids that do not follow on have to stand in it.
        return self._engine_of(self.table.ids)

    def _engine_of(self, ids: dict[str, int]) -> Tokenizer:
        unknown = str(self.unk_token)
        ids = ids if unknown in ids else self.table.ids
        affixes = {"continuing_subword_prefix": "", "end_of_word_suffix": END_OF_WORD}
        engine = Tokenizer(models.BPE(ids, self.table.merges, unk_token=unknown, fuse_unk=False, **affixes))
        engine.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        pattern = f"{SIGNS_PATTERN}|{WORD_PATTERN}" if self._signs_in_pattern else WORD_PATTERN
        split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
        engine.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        engine.decoder = decoders.ByteLevel()
        # Added before the post-processor is set: it is to find the signs in the vocabulary.
        for token in TextReader("hf", self.table.added, self.table.ids).found_tokens:
            engine.add_tokens([AddedToken(**token.to_dict())])
        bos, eos = (self.bos_token, self.bos_token_id), (self.eos_token, self.eos_token_id)
        # By position: the second argument is called cls before tokenizers 0.23, and cls_token from then on.
        engine.post_processor = processors.RobertaProcessing(eos, bos, trim_offsets=False, add_prefix_space=False)
        return engine

    def _encode_word(self, word: str) -> list[int]:
        return [token.id for token in self.backend_tokenizer.model.tokenize(to_symbols(word))]

    def _rows(self, pairs: Sequence[Pair], cut: Truncation | None, options: CallOptions) -> list[Any]:
        if self.clean == "openai":
            return super()._rows(pairs, cut, options)
        engine = self.backend_tokenizer
        if engine.encode_special_tokens != options.split_special_tokens:
            engine.encode_special_tokens = options.split_special_tokens
        inputs = [first if second is None else (first, second) for first, second in pairs]
        # The engine's own truncation and padding are settings of the engine; without them, threads can share it.
        encodings: list[Any] = engine.encode_batch(inputs, options.is_split_into_words, options.add_special_tokens)
        if cut is not None:
            for place, encoding in enumerate(encodings):
                if len(encoding) > cut.max_length:
                    encodings[place] = self._cut(pairs[place], cut, options)
        return encodings

    def _cut(self, pair: Pair, cut: Truncation, options: CallOptions) -> Any:
        engine = self.backend_tokenizer
        encode = partial(engine.encode, is_pretokenized=options.is_split_into_words, add_special_tokens=False)
        first, second = encode(pair[0]), None if pair[1] is None else encode(pair[1])
        special = self.num_special_tokens_to_add(second is not None) if options.add_special_tokens else 0
        kept = cut.kept(len(first), None if second is None else len(second), special)
        for part, length in zip((first, second), kept, strict=True):
            if part is not None and length is not None and length < len(part):
                part.truncate(length, stride=cut.stride, direction=cut.side)
        return engine.post_process(first, second, options.add_special_tokens)


def _keep_forks_quiet() -> None:
    """Tell forked processes to encode in one thread.

    The library's threads do not survive a fork. It prints a warning of that unless this variable is set; a value that
    the user has set stays as it is.
    """
    variable, forking = "TOKENIZERS_PARALLELISM", []

    def before() -> None:
        if variable not in os.environ:
            os.environ[variable] = "false"
            forking.append(True)

    def after_in_parent() -> None:
        if forking:
            forking.clear()
            del os.environ[variable]

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after_in_parent)


_keep_forks_quiet()
