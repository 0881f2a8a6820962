"""Training logs: a JSON lines file, TensorBoard, or Weights & Biases."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from clip_core.configuration.arguments import check_integers
from clip_core.hub.files import write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

KINDS = ("jsonl", "tensorboard", "wandb")
_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}  # tensorboardX needs no framework


class Log(Protocol):
    """A destination for the metrics of each step, in order."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the metrics of a step."""
        ...

    def close(self) -> None:
        """Close the log."""
        ...


def check_installed(kinds: Iterable[str]) -> None:
    """Check that the packages of logs are installed.

    Args:
        kinds: some of KINDS.

    Raises:
        ImportError: if a package is not installed.
    """
    for kind in kinds:
        if kind in _PACKAGES:
            _package(kind)


def open_log(kind: str, folder: str | os.PathLike[str], *, resumed_at: int, settings: Mapping[str, Any]) -> Log:
    """Open a log of the given kind.

    Args:
        kind: one of KINDS.
        folder: the run's folder.
        resumed_at: steps already done; entries for later steps, logged before an interruption, are dropped.
        settings: the run's settings, for logs that display them.

    Returns:
        The log, to be closed by the caller.

    Raises:
        ValueError: if the kind is unknown.
        ImportError: if its package is not installed.
    """
    check_integers(resumed_at=(resumed_at, 0))
    if kind == "jsonl":
        return JsonLinesLog(Path(folder) / "log.jsonl", resumed_at)
    if kind == "tensorboard":
        return TensorBoardLog(Path(folder) / "tensorboard", resumed_at)
    if kind == "wandb":
        return WandbLog(folder, resumed_at, settings)
    raise ValueError(f"log={kind!r} is unknown; choose from {', '.join(KINDS)}")


class JsonLinesLog:
    """A log with one JSON object per line, `{"step": ..., "loss": ...}`, flushed after every step.

    Args:
        path: the file.
        resumed_at: steps already done; lines for later steps are dropped.
    """

    def __init__(self, path: Path, resumed_at: int) -> None:
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= resumed_at] if resumed_at else []
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path, self._file = path, path.open("a", encoding="utf-8")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the metrics of a step.

        Raises:
            OSError: if the file cannot be written, for example because the disk is full.
        """
        try:
            self._file.write(json.dumps({"step": step, **numbers}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(f"{self._path} could not be written ({error.strerror})") from error

    def close(self) -> None:
        """Close the log."""
        with suppress(OSError):  # a failed write was already reported
            self._file.close()


class TensorBoardLog:
    """TensorBoard event files, written with tensorboardX."""

    def __init__(self, folder: Path, resumed_at: int) -> None:
        writer = _package("tensorboard").SummaryWriter
        self._writer = writer(
            str(folder),
            purge_step=resumed_at + 1 if resumed_at else None,
            filename_suffix=f".{resumed_at}",  # the default, a timestamp in seconds, can repeat and overwrite a file
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the metrics of a step."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Close the log."""
        self._writer.close()


class WandbLog:
    """A Weights & Biases run, configured by that package's own environment variables.

    The run is named after the folder. The folder also stores the run's id, so that a resumed run continues the same
    log.
    """

    def __init__(self, folder: str | os.PathLike[str], resumed_at: int, settings: Mapping[str, Any]) -> None:
        wandb = _package("wandb")
        kept = Path(folder) / "wandb-id.txt"
        if not resumed_at or not kept.exists():  # the folder's name is not unique enough for an id
            write_text(kept, uuid4().hex)
        self._run = wandb.init(
            dir=str(folder),
            name=Path(folder).resolve().name,
            id=kept.read_text(encoding="utf-8"),
            resume="allow" if resumed_at else None,
            config=dict(settings),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the metrics of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Close the log."""
        self._run.finish()


def _package(kind: str) -> Any:
    """Import the package of a log."""
    from importlib import import_module

    package = _PACKAGES[kind]
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"log={kind!r} needs the package {package}: pip install {package}") from error


def _whole_lines(path: Path) -> list[str]:
    """Return the complete lines of a log; a killed process may have left an incomplete one at the end."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
