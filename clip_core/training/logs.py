"""Where the numbers of a run go: a file of JSON lines, TensorBoard, or Weights & Biases."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from clip_core.hub.files import write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

KINDS = ("jsonl", "tensorboard", "wandb")


class Log(Protocol):
    """Takes the numbers of steps, in order."""

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of a step."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


def open_log(kind: str, folder: str | os.PathLike[str], *, resumed_at: int, settings: Mapping[str, Any]) -> Log:
    """A log by its kind.

    Args:
        kind: one of KINDS.
        folder: of the run.
        resumed_at: the steps that were done before; what an interrupted run logged beyond them is dropped.
        settings: of the run, for logs that show them.

    Raises:
        ValueError: there is no such kind.
        ImportError: its package is not installed.
    """
    if kind == "jsonl":
        return JsonLinesLog(Path(folder) / "log.jsonl", resumed_at)
    if kind == "tensorboard":
        return TensorBoardLog(Path(folder) / "tensorboard", resumed_at)
    if kind == "wandb":
        return WandbLog(folder, resumed_at, settings)
    raise ValueError(f"log={kind!r} is not known; it is one of {', '.join(KINDS)}")


class JsonLinesLog:
    """A JSON object a line, `{"step": ..., "loss": ...}`, flushed as it comes.

    Args:
        path: the file.
        resumed_at: lines of later steps are dropped.
    """

    def __init__(self, path: Path, resumed_at: int) -> None:
        kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= resumed_at] if resumed_at else []
        write_text(path, "".join(f"{line}\n" for line in kept))
        self._path, self._file = path, path.open("a", encoding="utf-8")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of a step.

        Raises:
            OSError: the file cannot be written to, as where the disk is full.
        """
        try:
            self._file.write(json.dumps({"step": step, **numbers}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(f"{self._path} could not be written ({error.strerror})") from error

    def close(self) -> None:
        """Nothing more comes."""
        with suppress(OSError):  # of a line that could not be written, which was told
            self._file.close()


class TensorBoardLog:
    """Event files for TensorBoard, by the package tensorboardX, which needs no framework."""

    def __init__(self, folder: Path, resumed_at: int) -> None:
        writer = _import("tensorboardX", "tensorboard").SummaryWriter
        self._writer = writer(
            str(folder),
            purge_step=resumed_at + 1 if resumed_at else None,
            filename_suffix=f".{resumed_at}",  # else a file is named by the second, and one of the same is overwritten
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of a step."""
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, step)

    def close(self) -> None:
        """Nothing more comes."""
        self._writer.close()


class WandbLog:
    """A run of Weights & Biases; where and as whom is set by that package's own environment variables.

    It has the name of the folder, and an id that is kept there, by which a resumed run is found again.
    """

    def __init__(self, folder: str | os.PathLike[str], resumed_at: int, settings: Mapping[str, Any]) -> None:
        wandb = _import("wandb", "wandb")
        kept = Path(folder) / "wandb-id.txt"
        if not resumed_at or not kept.exists():  # a folder's name alone would overwrite the run of another such folder
            write_text(kept, uuid4().hex)
        self._run = wandb.init(
            dir=str(folder),
            name=Path(folder).resolve().name,
            id=kept.read_text(encoding="utf-8"),
            resume="allow" if resumed_at else None,
            config=dict(settings),
        )

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """The numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Nothing more comes."""
        self._run.finish()


def _import(package: str, kind: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"log={kind!r} needs the package {package}: pip install {package}") from error


def _whole_lines(path: Path) -> list[str]:
    """The lines of a log; a killed process may have left half of one at the end."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
