"""Checks of options shared by several commands."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_core.configuration import CLIPConfig


@contextmanager
def texts_of(model: str) -> Iterator[None]:
    """Encode texts with a model in this block, and report a tokenizer with ids that the model lacks.

    Args:
        model: the value of `--model`.

    Raises:
        ValueError: if a text has a token that the model does not know.
    """
    try:
        yield
    except IndexError as error:
        raise ValueError(
            f"--model {model}: its tokenizer returns ids outside the model's vocabulary; use the tokenizer that the "
            "model was trained with"
        ) from error


def check_vocabulary(tokenizer: Any, config: CLIPConfig, source: str) -> None:
    """Check that a model to be trained knows all tokens; compiled training would compute NaN for unknown ones.

    Args:
        tokenizer: the tokenizer.
        config: the model's configuration.
        source: the option that names the tokenizer's source, and its value.

    Raises:
        ValueError: if a token has an id outside the model's vocabulary.
    """
    largest, size = max(tokenizer.get_vocab().values()), config.text_config.vocab_size
    if largest >= size:
        raise ValueError(
            f"{source}: its tokenizer has ids up to {largest}, outside the model's vocabulary of {size} tokens; give "
            "--processor with the model's own tokenizer"
        )
