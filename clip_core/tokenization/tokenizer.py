"""The common part of CLIPTokenizer and CLIPTokenizerFast: everything except the byte-pair encoding of a word.

The methods from `specials`, `calls`, `decoding` and `files` are functions whose first argument is the tokenizer.
"""

from __future__ import annotations

import codecs
import logging
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

from clip_core.configuration.arguments import shows_fields, to_int
from clip_core.hub.pushable import push_to_hub
from clip_core.hub.readable import from_pretrained
from clip_core.processing.chat import apply_chat_template, get_chat_template
from clip_core.processing.encoding import BatchEncoding, as_pairs, first_row
from clip_core.tokenization import calls, decoding, files, rows, specials
from clip_core.tokenization.rows import CallOptions, check_values, make_columns
from clip_core.tokenization.specials import TokenTable
from clip_core.tokenization.text import TextReader
from clip_core.tokenization.vocabulary import END_OF_TEXT, MERGES_FILE, START_OF_TEXT, VOCAB_FILE, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from clip_core.processing.encoding import Pair
    from clip_core.tokenization.rows import Side
    from clip_core.tokenization.text import Clean
    from clip_core.tokenization.vocabulary import StrPath

# These are not in `init_kwargs`, as in transformers.
_NOT_KEPT = {"self", "kwargs", "tokenizer_object", "added_tokens_decoder"}

_CACHED_WORDS, _LONGEST_CACHED_WORD = 100_000, 256


class CLIPTokenizerBase:
    """A tokenizer for CLIP. Subclasses add `_encode_word`, which returns the ids of a word.

    Args:
        vocab_file: vocab.json, or OpenAI's bpe_simple_vocab_16e6.txt, gzipped or not.
        merges_file: merges.txt, if `vocab_file` is a vocab.json.
        tokenizer_file: tokenizer.json, used instead of the other files.
        unk_token: replaces text that the vocabulary cannot represent.
        bos_token: starts each text.
        eos_token: ends each text.
        pad_token: pads shorter texts. If it is an ordinary word, such as "!", it does nothing else.
        errors: how decoding treats bytes that are not UTF-8; see `bytes.decode`.
        clean: how text is cleaned and split: "hf" as in transformers' CLIPTokenizerFast; "openai" as in OpenAI's code,
            with exactly its ids.
        model_max_length: the maximum row length of the model; no limit by default, 77 with OpenAI's vocabulary file.
        padding_side: "right" or "left"; like the next and `model_input_names`, by default the attribute of the class.
        truncation_side: "right" or "left".
        clean_up_tokenization_spaces: remove the spaces before English punctuation when decoding.
        split_special_tokens: treat special tokens in a text as ordinary text.
        model_input_names: the default columns of a result.
        name_or_path: the folder, file or hub id that the tokenizer was loaded from.
        **kwargs: `sep_token`, `cls_token`, `mask_token`, `additional_special_tokens`, `extra_special_tokens` (name ->
            token), `added_tokens_decoder` (id -> token); `tokenizer_object`, a `tokenizers.Tokenizer` that replaces its
            file; and any other entry of a tokenizer_config.json, which is kept and written back.

    Raises:
        ValueError: the files are missing or damaged, or an argument is invalid.
    """

    is_fast = False
    pad_token_type_id = 0
    # Defaults of the arguments of the same names, which a subclass may replace.
    padding_side = truncation_side = "right"
    model_input_names: Any = ["input_ids", "attention_mask"]  # noqa: RUF012  a list, as in transformers
    init_inputs = ()
    SPECIAL_TOKENS_ATTRIBUTES: ClassVar[list[str]] = [*specials.NAMES, specials.ADDITIONAL]
    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": VOCAB_FILE, "merges_file": MERGES_FILE}
    _encode_word: Callable[[str], list[int]]
    _library_columns: Callable[[Sequence[Pair], CallOptions], tuple[dict[str, Any], list[Any]]]

    additional_special_tokens = property(
        lambda self: self.table.additional and [*self.table.additional], specials.set_additional
    )
    additional_special_tokens_ids = property(
        lambda self: self.convert_tokens_to_ids(self.additional_special_tokens or ()),
        lambda self, ids: specials.set_additional(self, self.convert_ids_to_tokens(ids)),
    )
    # The special tokens with a name of their own.
    extra_special_tokens = property(
        lambda self: {name: token for name, token in self.table.named.items() if token and name not in specials.NAMES}
    )
    all_special_tokens = property(lambda self: self.table.special_tokens())
    all_special_ids = property(lambda self: [self.table.ids[token] for token in self.table.special_tokens()])
    special_tokens_map = property(lambda self: self.table.special_tokens_map(str))
    special_tokens_map_extended = _special_tokens_map = property(lambda self: self.table.special_tokens_map())
    all_special_tokens_extended = property(lambda self: [*map(self.table.as_added, self.table.special_tokens())])
    add_tokens = specials.add_tokens
    add_special_tokens = specials.add_special_tokens

    encode = calls.encode
    encode_plus = calls.encode_plus
    batch_encode_plus = calls.batch_encode_plus
    tokenize = calls.tokenize
    prepare_for_model = calls.prepare_for_model
    pad = calls.pad
    build_inputs_with_special_tokens = rows.build_inputs_with_special_tokens
    create_token_type_ids_from_sequences = rows.create_token_type_ids_from_sequences
    get_special_tokens_mask = rows.get_special_tokens_mask
    num_special_tokens_to_add = rows.num_special_tokens_to_add
    # The maximum number of tokens of a text, or of a pair, beside the special tokens.
    max_len_single_sentence = property(lambda self: self.model_max_length - self.num_special_tokens_to_add())
    max_len_sentences_pair = property(lambda self: self.model_max_length - self.num_special_tokens_to_add(pair=True))

    apply_chat_template = apply_chat_template
    get_chat_template = get_chat_template
    decode = decoding.decode
    _decode = decoding.decode_list
    batch_decode = decoding.batch_decode
    convert_tokens_to_ids = decoding.convert_tokens_to_ids
    convert_ids_to_tokens = decoding.convert_ids_to_tokens
    convert_tokens_to_string = decoding.convert_tokens_to_string
    clean_up_tokenization = staticmethod(decoding.clean_up_tokenization)

    from_pretrained = classmethod(from_pretrained)
    _read = classmethod(files.read)
    save_pretrained = files.save_pretrained
    save_vocabulary = files.save_vocabulary
    push_to_hub = push_to_hub

    def __init__(
        self,
        vocab_file: StrPath | None = None,
        merges_file: StrPath | None = None,
        tokenizer_file: StrPath | None = None,
        unk_token: Any = END_OF_TEXT,
        bos_token: Any = START_OF_TEXT,
        eos_token: Any = END_OF_TEXT,
        pad_token: Any = END_OF_TEXT,
        *,
        errors: str = "replace",
        clean: Clean = "hf",
        model_max_length: int | None = None,
        padding_side: Side | None = None,
        truncation_side: Side | None = None,
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        model_input_names: Sequence[str] | None = None,
        name_or_path: str = "",
        **kwargs: Any,
    ) -> None:
        codecs.lookup_error(errors)
        given = {**locals(), **kwargs}
        given |= {name: getattr(self, name) for name in files.OF_THE_CLASS if given[name] is None}
        specials.check_types(given, given.keys() - kwargs)
        self.init_kwargs = {name: value for name, value in given.items() if name not in _NOT_KEPT}
        tokenizer_file = kwargs.get("tokenizer_object", tokenizer_file)
        vocabulary = read_vocabulary(vocab_file, merges_file, tokenizer_file)
        self.table = TokenTable(vocabulary, given, string_normalized=tokenizer_file is None)
        self.errors, self.clean, self.name_or_path = errors, clean, name_or_path
        self.padding_side, self.truncation_side = given["padding_side"], given["truncation_side"]
        check_values(self, "clean", "padding_side", "truncation_side")
        self._signs_in_pattern = vocabulary.signs_in_pattern
        lengths = model_max_length, kwargs.get("max_len"), vocabulary.model_max_length
        self.model_max_length = to_int("model_max_length", next(length for length in lengths if length is not None))
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.split_special_tokens, self.model_input_names = split_special_tokens, copy(given["model_input_names"])
        self._processor_class, self.chat_template = kwargs.get("processor_class"), kwargs.get("chat_template")
        if methods := [name for name in kwargs if callable(getattr(type(self), name, None))]:
            raise AttributeError(f"{methods[0]} is a method of {type(self).__name__}, not a setting")
        # As in transformers, the warnings that were logged. Code for it sets other keys to silence that library.
        self.verbose, self.deprecation_warnings = bool(kwargs.get("verbose")), dict[str, bool]()
        self.update_reader()

    def __getattr__(self, name: str) -> Any:
        """Return a special token by its name, such as `bos_token`, or its id by its name with `_id`."""
        table, token_name = self.__dict__.get("table"), name.removesuffix("_id")
        if table is None or token_name not in table.named:  # an object has no table while it is unpickled
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        token = table.named[token_name]
        return token if name == token_name else table.ids.get(token)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a special token, by its name or id, to a token of the vocabulary or to None; or any other attribute."""
        table, token_name = self.__dict__.get("table"), name.removesuffix("_id")
        if table is None or token_name not in table.named:
            object.__setattr__(self, name, value)
            return
        if name != token_name and value is not None:
            if value not in table.tokens:
                raise ValueError(f"{name}={value} is not in the vocabulary of {len(self)} tokens")
            value = table.tokens[value]
        table.named[token_name] = None if value is None else table.check_known(value, token_name)
        self.update_reader()

    @shows_fields(CallOptions)
    def __call__(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """Return the ids of texts, with the masks that a model takes.

        A text longer than `model_max_length`, which the model does not accept, is returned in full unless `truncation`
        is given. Each tokenizer logs one warning about this.

        Args:
            text: a text, a list of texts, or a list of pairs of texts.
            text_pair: the second text, or a list of them. CLIP was not trained on pairs.
            add_special_tokens: start each text with bos_token and end it with eos_token.
            padding: True or "longest" to pad to the longest row, "max_length" to pad to `max_length`, or False.
            truncation: True or "longest_first" to truncate the longer text of a pair first, "only_first",
                "only_second", or False. None means False, or True if `max_length` is given without padding.
            max_length: the length to truncate and pad to, in tokens; `model_max_length` by default.
            stride: with `return_overflowing_tokens`, the number of tokens that each row repeats from the previous one.
            is_split_into_words: each text is a list of words, tokenized one by one.
            pad_to_multiple_of: pad to a multiple of this.
            padding_side: "right" or "left"; the tokenizer's setting by default.
            return_tensors: "np", "pt", "tf" or "jax" for arrays (batch, sequence): int64 in numpy and torch, int32 in
                TensorFlow and JAX. None for lists.
            return_token_type_ids: add `token_type_ids`, which are 0.
            return_attention_mask: add `attention_mask`, 0 where there is padding; True by default.
            return_overflowing_tokens: return the truncated tokens as further rows, and `overflow_to_sample_mapping`,
                the index of each row's text.
            return_special_tokens_mask: add `special_tokens_mask`, 1 for padding and for tokens that were put around a
                text.
            return_offsets_mapping: add `offset_mapping`, the (start, end) of each token in the original text; only with
                CLIPTokenizerFast and clean="hf".
            return_length: add `length`, the number of tokens of each row.
            verbose: log warnings.
            split_special_tokens: treat special tokens in the text as ordinary text.
            **options: the keywords from `add_special_tokens` on.

        Raises:
            NotImplementedError: offsets are requested but not available.
            TypeError: an item is not a text.
            ValueError: an argument is invalid, rows of different lengths should form a tensor, or a text contains half
                of a surrogate pair.
        """
        asked = CallOptions.settled(self, "__call__", options)
        uses_library = self.is_fast and self.clean == "hf"
        if asked.return_offsets_mapping and not uses_library:
            reason = "CLIPTokenizer does not track the characters of a text, and OpenAI's steps rewrite it"
            raise NotImplementedError(f"return_offsets_mapping needs CLIPTokenizerFast with clean='hf': {reason}")
        repairs = self.clean == "openai"  # ftfy repairs halves of surrogate pairs
        pairs, asked.is_batch = as_pairs(text, text_pair, words=asked.is_split_into_words, allow_surrogates=repairs)
        columns, encodings = self._library_columns(pairs, asked) if uses_library else self._columns(pairs, asked)
        if options.get("max_length") is None and asked.truncation is None:
            longest = max(map(len, columns["input_ids"]))
            if longest > self.model_max_length:
                message = "a text has %d tokens, but the model takes at most %d; pass truncation=True to truncate it"
                self.warn_once(message, asked.verbose, longest, self.model_max_length)
        makes_rows = asked.return_overflowing_tokens and encodings is not None
        if not asked.is_batch and asked.return_tensors is None and not makes_rows:
            columns = first_row(columns, keep_length=self.is_fast)
        return BatchEncoding(columns, encodings, asked.return_tensors)

    _encode = __call__  # for `encode` and the like: a subclass may override both, to the same effect

    def __len__(self) -> int:
        return len(self.table.ids if self.is_fast else self.get_vocab())

    def get_vocab(self) -> dict[str, int]:
        """Return all tokens, including added ones, and their ids."""
        return dict(self.table.ids)

    def get_added_vocab(self) -> dict[str, int]:
        """Return the ids of the added tokens, in the order of the ids."""
        return {token.content: token_id for token_id, token in self.added_tokens_decoder.items()}

    vocab, added_tokens_encoder = property(lambda self: self.get_vocab()), property(get_added_vocab)
    vocab_size = property(lambda self: len(self.table.vocab))  # without added tokens, unlike `len(tokenizer)`
    added_tokens_decoder = property(lambda self: dict(sorted(self.table.added.items())))

    def _convert_token_to_id(self, token: str) -> Any:
        return self.table.ids.get(token, self.unk_token_id)

    def _convert_id_to_token(self, index: int) -> str | None:
        return self.table.tokens.get(index)

    def update_reader(self) -> None:
        """Rebuild the splitter of texts and clear the cache of words. Call this after a token was added or named."""
        self._words: dict[str, list[int]] = {}
        self._reader = TextReader(self.clean, self.table.added, self.table.ids, signs_in_pattern=self._signs_in_pattern)

    def warn_once(self, message: str, verbose: bool, *numbers: int) -> None:
        """Log a warning if `verbose`, but only once. Takes the arguments of `logging.Logger.warning`."""
        if verbose and not self.deprecation_warnings.get(message):
            self.deprecation_warnings[message] = True
            logging.getLogger(__name__).warning(message, *numbers)

    def _columns(self, pairs: Sequence[Pair], asked: CallOptions) -> tuple[dict[str, Any], None]:
        """Return the columns of pairs of texts, without encodings of the `tokenizers` library."""
        rows: list[list[list[int]]] = []  # the ids of the one or two texts of each row, without special tokens
        pieces: list[Any] = []  # the pieces of each text are followed by its row
        for first, second in pairs:
            rows.append([])
            for text in (first,) if second is None else (first, second):
                pieces += [text, rows[-1]] if isinstance(text, str) else [*text, rows[-1]]
        ids, words = [], self._words
        for piece in self._reader.pieces(pieces, split_special_tokens=bool(asked.split_special_tokens)):
            if isinstance(piece, str):
                found = words.get(piece)
                if found is None:
                    found = self._encode_word(piece)
                    if len(piece) <= _LONGEST_CACHED_WORD and len(words) < _CACHED_WORDS:
                        words[piece] = found
                ids += found
            elif isinstance(piece, int):
                ids.append(piece)
            else:
                piece.append(ids)
                ids = []
        return make_columns(self, rows, asked), None

    def __repr__(self) -> str:
        names = ["name_or_path", "vocab_size", "model_max_length", "is_fast", "padding_side", "truncation_side"]
        names += ["special_tokens_map", "clean_up_tokenization_spaces", "clean"]
        shown = ", ".join(f"{name.removesuffix('_map')}={getattr(self, name)!r}" for name in names)
        added = "".join(f"\n    {token_id}: {token!r}," for token_id, token in self.added_tokens_decoder.items())
        return f"{type(self).__name__}({shown}, added_tokens_decoder={{{added}\n}})"
