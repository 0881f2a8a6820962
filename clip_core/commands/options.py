"""Checks of options shared by several commands."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from clip_core.configuration.arguments import not_one_of
from clip_core.hub.targets import expanded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from cyclopts import Token

    from clip_core.configuration import CLIPConfig


def _integer(_: type, tokens: Sequence[Token]) -> int:
    """Convert what was typed for an integer option; cyclopts by itself rounds 1.5."""
    typed = tokens[0].value
    try:
        return int(typed, 0 if typed[:2].lower() in {"0x", "0o", "0b"} else 10)
    except ValueError as error:
        raise ValueError("is not an integer") from error


def _page(_: type, tokens: Sequence[Token]) -> Path:
    """Convert what was typed for a file to write; a Path by itself drops the slash that a folder was typed with."""
    typed = tokens[0].value
    if typed.endswith(("/", os.sep)):
        raise ValueError("is a folder; give a file")
    return Path(typed)


def _at_least_one(_: type, values: Sequence[object] | None) -> None:
    if values is not None and not values:
        raise ValueError("has no value")


def dtype_option(*names: str) -> Parameter:
    """Return the parameter of an option that takes dtypes.

    Args:
        names: the long names of the dtypes, and other words that the option takes; short names are taken, too.
    """
    return Parameter(converter=lambda _, tokens: long_dtype(tokens[0].value, names))


def long_dtype(typed: str, names: Collection[str]) -> str:
    """Return the long name of a dtype.

    Args:
        typed: the long or the short name.
        names: the long names that the option takes.

    Raises:
        ValueError: if it is none of these.
    """
    name = LONG_DTYPES.get(typed, typed)
    if name not in names:
        raise ValueError(not_one_of(names))
    return name


LONG_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}  # by their short names, which all options take

INTEGER = Parameter(converter=_integer)
SEVERAL = Parameter(consume_multiple=True, negative="", validator=_at_least_one)
Integer = Annotated[int, INTEGER]
Page = Annotated[Path | None, Parameter(converter=_page)]
MODEL_DTYPES = tuple(LONG_DTYPES.values())  # in which models of all backends compute
Dtype = Annotated[str | None, dtype_option(*MODEL_DTYPES, "auto")]


def check_backend(backend: str | None, device: str | None, parallel: str | None = None) -> None:
    """Check the options of a framework before data are read, which may take long.

    The framework is imported only for an option that was typed.

    Args:
        backend: the value of `--backend`.
        device: the value of `--device`.
        parallel: the value of `--parallel`.

    Raises:
        ValueError: if there is no such backend, or it lacks the device or the way of sharing a model.
        ImportError: if its framework cannot be imported.
    """
    from clip_core.backends import load_backend
    from clip_core.processing.frameworks import default_backend

    if any(value is not None for value in (backend, device, parallel)):
        load_backend(backend or default_backend()).check(device, parallel)


def check_out(out: str | os.PathLike[str], name: str, sources: Sequence[str]) -> None:
    """Check that a command does not write into a folder that it reads.

    Args:
        out: the value of `--out`.
        name: the positional argument with the sources.
        sources: its values.

    Raises:
        ValueError: if it is one of the sources.
    """
    if os.path.realpath(expanded(out)) in {os.path.realpath(expanded(source)) for source in sources}:
        raise ValueError(f"--out {os.fspath(out)} is also {name}; give another folder")


def note_ignored_revision(source: str, revision: str | None) -> None:
    """Print that a local source has no revisions; `from_pretrained` ignores the argument silently, as in transformers.

    Args:
        source: the checkpoint.
        revision: the value of `--revision`.
    """
    if revision is not None and expanded(source).exists():
        print(f"note: --revision {revision} is ignored: {source} is local, and not on the hub", file=sys.stderr)


def check_subfolder(source: str, subfolder: str | None) -> None:
    """Check that a subfolder is that of a folder or repository; `from_pretrained` ignores it beside a file.

    Args:
        source: the checkpoint.
        subfolder: the value of `--subfolder`.

    Raises:
        ValueError: if the checkpoint is a file.
    """
    if subfolder is not None and os.path.isfile(expanded(source)):  # noqa: PTH113  no error for a long name
        raise ValueError(f"--subfolder {subfolder}: {source} is a file; give its folder, or leave the option out")


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


@contextmanager
def images_of(source: str, option: str = "--model") -> Iterator[None]:
    """Encode images with a model in this block, and report an image processor of another model.

    Args:
        source: the source of the image processor.
        option: the option that names it.

    Raises:
        ValueError: if preprocessed images do not fit the model.
    """
    from clip_core.modeling.inputs import ImageShapeError

    try:
        yield
    except ImageShapeError as error:
        found = str(error).partition(";")[0]
        raise ValueError(
            f"{option} {source}: its image processor does not fit the model: {found}; set size and crop_size in its "
            "preprocessor_config.json"
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
