"""Vocabulary of the captions: byte-pair merges in OpenAI's layout, so that any text can be tokenized."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from clip_core.tokenization.vocabulary import BYTE_TO_CHARACTER, END_OF_TEXT, END_OF_WORD, START_OF_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def train_vocabulary(captions: Iterable[str], merges: int, folder: Path) -> int:
    """Write `vocab.json` and `merges.txt`, and return the number of tokens.

    Args:
        captions: texts to learn from.
        merges: number of pairs to merge; fewer if the texts contain fewer.
        folder: the folder to write to.
    """
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # captions contain only words and punctuation
    symbols = list(BYTE_TO_CHARACTER.values())
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(symbols) + merges,
        initial_alphabet=symbols,
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.lower() for text in captions), trainer)
    learned = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]][:merges]
    tokens = [
        *symbols,
        *(symbol + END_OF_WORD for symbol in symbols),
        *map("".join, learned),
        START_OF_TEXT,
        END_OF_TEXT,
    ]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in learned)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(vocabulary)
