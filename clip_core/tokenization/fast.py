"""CLIPTokenizerFast: the ids of CLIPTokenizer, computed by the `tokenizers` library."""

from __future__ import annotations

from functools import cached_property, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

import clip_core.processing.forks  # noqa: F401  children of a fork encode in one thread
from clip_core.processing.learning import train_new_from_iterator
from clip_core.tokenization.rows import join
from clip_core.tokenization.text import CLEANING, TextReader, splitter
from clip_core.tokenization.tokenizer import CLIPTokenizerBase
from clip_core.tokenization.vocabulary import END_OF_WORD, TOKENIZER_FILE, WORD_PATTERN, WORDS_AND_SIGNS, to_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.processing.encoding import Pair
    from clip_core.tokenization.rows import CallOptions

# Column -> its value for an encoding.
_COLUMNS: dict[str, Any] = {name: attrgetter(name) for name in ("attention_mask", "special_tokens_mask")}
_COLUMNS |= {"token_type_ids": attrgetter("type_ids"), "offset_mapping": attrgetter("offsets"), "length": len}


class CLIPTokenizerFast(CLIPTokenizerBase):
    """A tokenizer on the `tokenizers` library, which also returns the offsets of each token in its text.

    With clean="openai", texts are cleaned and split in Python, as in `CLIPTokenizer`, without offsets.
    Takes the arguments of `CLIPTokenizerBase`.

    Example:
        >>> tokenizer = CLIPTokenizerFast.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> tokenizer("a photo of a cat", return_offsets_mapping=True).offset_mapping  # doctest: +SKIP
        [(0, 0), (0, 1), (2, 7), (8, 10), (11, 12), (13, 16), (0, 0)]
    """

    is_fast = True
    vocab_files_names: ClassVar[Any] = {**CLIPTokenizerBase.vocab_files_names, "tokenizer_file": TOKENIZER_FILE}
    decoder = property(lambda self: self.backend_tokenizer.decoder)
    _tokenizer = property(lambda self: self.backend_tokenizer)
    train_new_from_iterator = train_new_from_iterator
    add_prefix_space = property(lambda self: self.init_kwargs.get("add_prefix_space", False))

    @cached_property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's tokenizer. It is rebuilt when tokens change, which discards changes made to it."""
        engine = self._engine(self.table.vocab)
        if all(engine.token_to_id(token.content) == token_id for token_id, token in self.table.added.items()):
            return engine
        # The library numbers added tokens after the vocabulary; tokens with other ids must be part of the vocabulary.
        return self._engine(self.table.ids)

    def update_reader(self) -> None:
        """Also discard the library's tokenizer, which is rebuilt when needed."""
        super().update_reader()
        self.__dict__.pop("backend_tokenizer", None)

    def __getstate__(self) -> dict[str, Any]:
        # Rebuilding the library's tokenizer is faster than pickling it.
        return {name: value for name, value in self.__dict__.items() if name != "backend_tokenizer"}

    def _engine(self, ids: dict[str, int]) -> Tokenizer:
        unknown = self.unk_token
        ids = ids if unknown is None or unknown in ids else self.table.ids
        affixes = {"continuing_subword_prefix": "", "end_of_word_suffix": END_OF_WORD}
        engine = Tokenizer(models.BPE(ids, self.table.merges, unk_token=unknown, fuse_unk=False, **affixes))
        engine.normalizer = CLEANING
        split = splitter(WORDS_AND_SIGNS if self._signs_in_pattern else WORD_PATTERN)
        engine.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        engine.decoder = decoders.ByteLevel()
        # This must precede the post-processor, which needs the ids of the signs.
        for token in TextReader("hf", self.table.added, self.table.ids).found_tokens:
            engine.add_tokens([token])
        bos, eos = (self.bos_token, self.bos_token_id), (self.eos_token, self.eos_token_id)
        if None not in bos + eos:
            # By position, because the second argument is named cls before tokenizers 0.23, and cls_token since.
            engine.post_processor = processors.RobertaProcessing(eos, bos, trim_offsets=False, add_prefix_space=False)
        return engine

    def _encode_word(self, word: str) -> list[int]:
        return [token.id for token in self.backend_tokenizer.model.tokenize(to_symbols(word))]

    def _library_columns(self, pairs: Sequence[Pair], asked: CallOptions) -> tuple[dict[str, Any], list[Any]]:
        """Return the columns of pairs of texts and the library's encodings."""
        engine = self.backend_tokenizer
        if asked.add_special_tokens and engine.post_processor is None:
            join(self.table, [])  # raises an error
        if engine.encode_special_tokens != asked.split_special_tokens:
            engine.encode_special_tokens = asked.split_special_tokens
        inputs = [first if second is None else (first, second) for first, second in pairs]
        # The library stores truncation and padding in its tokenizer. Without them, threads can share the tokenizer.
        rows: list[Any] = engine.encode_batch(inputs, asked.is_split_into_words, asked.add_special_tokens)
        if asked.truncation is not None:
            self._cut(rows, pairs, asked)
        samples = {}
        if asked.return_overflowing_tokens:
            parts = [(sample, part) for sample, row in enumerate(rows) for part in (row, *row.overflowing)]
            samples, rows = {"overflow_to_sample_mapping": [one for one, _ in parts]}, [part for _, part in parts]
        if asked.padding is not None:
            target, pad_token = asked.target(rows), str(self.table.named["pad_token"])
            pads = {"pad_token": pad_token, "pad_id": self.table.ids[pad_token], "pad_type_id": self.pad_token_type_id}
            for row in rows:
                if len(row) < target:  # otherwise only the tokens cut off from it would be padded
                    row.pad(target, direction=asked.padding_side, **pads)
        columns = {"input_ids": list(map(attrgetter("ids"), rows))}
        for name in asked.columns:
            columns[name] = list(map(_COLUMNS[name], rows))
        return columns | samples, rows

    def _cut(self, rows: list[Any], pairs: Sequence[Pair], asked: CallOptions) -> None:
        """Replace the rows that are too long."""
        limit, engine = asked.max_length or 0, self.backend_tokenizer
        long = [place for place, row in enumerate(rows) if len(row) > limit]
        if not long:
            return
        encode = partial(engine.encode, is_pretokenized=asked.is_split_into_words, add_special_tokens=False)
        cut = [[*map(encode, pairs[place] if pairs[place][1] is not None else pairs[place][:1])] for place in long]
        added = asked.add_special_tokens
        special = {count: engine.num_special_tokens_to_add(count > 1) if added else 0 for count in (1, 2)}
        for place, counts in asked.kept(cut, special).items():
            for part, count in zip(cut[place], counts, strict=True):
                if count < len(part):
                    part.truncate(count, stride=asked.stride, direction=self.truncation_side)
        for place, row in zip(long, cut, strict=True):
            rows[place] = engine.post_process(*row, add_special_tokens=added)
