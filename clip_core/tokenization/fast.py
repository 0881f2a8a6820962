"""CLIPTokenizerFast: the same ids as CLIPTokenizer, by the `tokenizers` library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from clip_core.tokenization.base import CLIPTokenizerBase
from clip_core.tokenization.text import TextReader
from clip_core.tokenization.unicode import END_OF_TEXT, END_OF_WORD, START_OF_TEXT, to_symbols
from clip_core.tokenization.vocabulary import SIGNS_PATTERN, WORD_PATTERN, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clip_core.tokenization.lengths import Truncation
    from clip_core.tokenization.rows import Pair, Text


class CLIPTokenizerFast(CLIPTokenizerBase):
    """Texts to ids and back, by the `tokenizers` library, which also says where in a text each token stands.

    With clean="openai" the text is cleaned and split in Python, as by `CLIPTokenizer`, and that is not known.

    Args:
        vocab_file: vocab.json, or OpenAI's bpe_simple_vocab_16e6.txt, gzipped or not.
        merges_file: merges.txt, where `vocab_file` is a vocab.json.
        tokenizer_file: tokenizer.json, instead of the other files.
        unk_token: stands for what the vocabulary cannot write.
        bos_token: begins each text.
        eos_token: ends each text.
        pad_token: fills up shorter texts. Where it is an ordinary word, such as "!", it is nothing else.
        **kwargs: see `CLIPTokenizerBase`; `clean="openai"` for OpenAI's exact ids.

    Raises:
        ValueError: the files are missing or damaged, or an argument is not valid.

    Example:
        >>> tokenizer = CLIPTokenizerFast.from_pretrained("openai/clip-vit-base-patch32")  # doctest: +SKIP
        >>> tokenizer("a photo of a cat", return_offsets_mapping=True).offset_mapping  # doctest: +SKIP
        [(0, 0), (0, 1), (2, 7), (8, 10), (11, 12), (13, 16), (0, 0)]
    """

    is_fast = True
    _engine: Any

    def __init__(
        self,
        vocab_file: str | os.PathLike[str] | None = None,
        merges_file: str | os.PathLike[str] | None = None,
        tokenizer_file: str | os.PathLike[str] | None = None,
        unk_token: Any = END_OF_TEXT,
        bos_token: Any = START_OF_TEXT,
        eos_token: Any = END_OF_TEXT,
        pad_token: Any = END_OF_TEXT,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            read_vocabulary(vocab_file, merges_file, tokenizer_file),
            unk_token=unk_token,
            bos_token=bos_token,
            eos_token=eos_token,
            pad_token=pad_token,
            string_normalized=tokenizer_file is None,
            **kwargs,
        )

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The library's tokenizer. It is made anew when tokens change; what is done to it is not kept."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _tokens_changed(self) -> None:
        super()._tokens_changed()
        self._engine = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}  # made again from the rest, which is faster than to pickle it

    def _make_engine(self) -> Tokenizer:
        engine = self._engine_of(self._vocab)
        if all(engine.token_to_id(token.content) == token_id for token_id, token in self._added.items()):
            return engine
        # The library numbers added tokens on from the vocabulary; ids that do not follow on have to stand in it.
        return self._engine_of(self._ids)

    def _engine_of(self, ids: dict[str, int]) -> Tokenizer:
        unknown = str(self.unk_token)
        if unknown not in ids:
            ids = self._ids
        model = models.BPE(
            vocab=ids,
            merges=self._merges,
            continuing_subword_prefix="",
            end_of_word_suffix=END_OF_WORD,
            unk_token=unknown,
            fuse_unk=False,
        )
        engine = Tokenizer(model)
        engine.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        pattern = f"{SIGNS_PATTERN}|{WORD_PATTERN}" if self._signs_in_pattern else WORD_PATTERN
        engine.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        engine.decoder = decoders.ByteLevel()
        # Added before the post-processor is set: it is to find the signs in the vocabulary.
        for token in TextReader("hf", self._added, self._ids).found_tokens:
            engine.add_tokens([AddedToken(**token.to_dict())])
        bos, eos = self._signs()
        # By position: the second argument is called cls before tokenizers 0.23, and cls_token from then on.
        engine.post_processor = processors.RobertaProcessing(
            (str(self.eos_token), eos), (str(self.bos_token), bos), trim_offsets=False, add_prefix_space=False
        )
        return engine

    def _encode_word(self, word: str) -> list[int]:
        return [token.id for token in self.backend_tokenizer.model.tokenize(to_symbols(word))]

    def _encode_pairs(
        self,
        pairs: Sequence[Pair],
        *,
        add_special_tokens: bool,
        truncation: Truncation | None,
        is_split_into_words: bool,
        split_special_tokens: bool,
    ) -> list[Any]:
        if self.clean == "openai":
            return super()._encode_pairs(
                pairs,
                add_special_tokens=add_special_tokens,
                truncation=truncation,
                is_split_into_words=is_split_into_words,
                split_special_tokens=split_special_tokens,
            )
        engine = self.backend_tokenizer
        if engine.encode_special_tokens != split_special_tokens:
            engine.encode_special_tokens = split_special_tokens
        inputs = [first if second is None else (first, second) for first, second in pairs]
        # The engine's own truncation and padding are settings of the engine; without them, threads can share it.
        encodings: list[Any] = engine.encode_batch(
            inputs, is_pretokenized=is_split_into_words, add_special_tokens=add_special_tokens
        )
        if truncation is not None:
            for place, encoding in enumerate(encodings):
                if len(encoding) > truncation.max_length:
                    encodings[place] = self._cut(
                        pairs[place], truncation, add_special_tokens=add_special_tokens, split=is_split_into_words
                    )
        return encodings

    def _cut(self, pair: Pair, truncation: Truncation, *, add_special_tokens: bool, split: bool) -> Any:
        engine = self.backend_tokenizer

        def encoding(text: Text) -> Any:
            return engine.encode(text, is_pretokenized=split, add_special_tokens=False)

        first, second = encoding(pair[0]), None if pair[1] is None else encoding(pair[1])
        special = self.num_special_tokens_to_add(second is not None) if add_special_tokens else 0
        kept = truncation.kept(len(first), None if second is None else len(second), special)
        for part, length in zip((first, second), kept, strict=True):
            if part is not None and length is not None and length < len(part):
                part.truncate(length, stride=truncation.stride, direction=truncation.side)
        return engine.post_process(first, second, add_special_tokens)

    def _tokenizer_json(self) -> str:
        return str(self.backend_tokenizer.to_str(pretty=True))


def _keep_forks_quiet() -> None:
    """Tell forked processes to encode in one thread.

    The library's threads do not survive a fork. It notices, and says so on stderr, unless this variable speaks; one
    that the user has set stays as it is.
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
