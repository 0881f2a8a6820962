"""Training checkpoints, written atomically; the last few are kept.

Each checkpoint is a folder in Hugging Face's layout. It also holds the positions of all loaders, so that any number of
processes can resume.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPConfig
from clip_core.configuration.arguments import check_integers
from clip_core.data.pairs import IndexedPairs
from clip_core.hub.files import new_folder, read_json, staged
from clip_core.hub.owning import owned
from clip_core.hub.switching import settle, temporary_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from clip_core.data import PairLoader


_OF_PROCESS = ("batch_size", "process_index", "process_count")


def written(states: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """Return the loader states of all processes as a checkpoint stores them: a list, or the only state itself.

    Args:
        states: one state per process, in order.
    """
    return states[0] if len(states) == 1 else states


def own_state(kept: dict[str, Any] | list[dict[str, Any]], loader: PairLoader) -> dict[str, Any]:
    """Return the state from which a process's loader resumes.

    With an unchanged number of processes, each resumes at its own position. Another number is supported only if it
    yields the same batches. This requires indexed data, because processes take turns at one order of indexed data but
    split a stream among them. It also requires that no process has skipped a broken sample.

    Args:
        kept: a return value of `written`.
        loader: the loader of this process.

    Raises:
        ValueError: if the number of processes has changed and they would get other batches.
    """
    states: list[dict[str, Any]] = kept if isinstance(kept, list) else [kept]
    now = loader.state_dict()["order"]
    index: int = now["process_index"]
    if len(states) == now["process_count"]:
        return states[index]
    first, was = states[0], states[0]["order"]
    if was["batch_size"] * was["process_count"] != now["batch_size"] * now["process_count"]:
        return first  # the loader reports the difference
    if not isinstance(loader.source, IndexedPairs) or any(state["broken"] for state in states):
        raise ValueError(
            f"the checkpoint was saved by {was['process_count']} processes, but now there are {now['process_count']}; "
            "with shards, Parquet files or broken samples, resume with the same number"
        )
    return {
        **first,
        "taken": first["batches"] * now["batch_size"],
        "order": {**was, **{name: now[name] for name in _OF_PROCESS}},
    }


STATE_NAME = "trainer_state.json"
_NAME = re.compile(r"step-(\d+)")
_ANY = re.compile(".+")

# Config fields that describe a file or a caller's choice, not the trained model.
_NOT_OF_THE_MODEL = {"architectures", "dtype", "id2label", "label2id", "problem_type", "transformers_version"}


@dataclass(frozen=True)
class RunCheckpoint:
    """A saved state of a run.

    Attributes:
        folder: the model, the optimizer's moments, and `trainer_state.json`.
        step: number of steps done.
        state: everything else needed to resume, as plain values.
    """

    folder: Path
    step: int
    state: dict[str, Any]


class RunFolder:
    """The folder of a run's checkpoints.

    Args:
        root: the folder; created with the first checkpoint.
        keep: number of checkpoints to keep.
    """

    def __init__(self, root: str | os.PathLike[str], keep: int = 2) -> None:
        check_integers(keep=(keep, 1))
        self.root, self.keep = Path(root), keep

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in ascending order."""
        if not self.root.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.root.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def last_good(self) -> str:
        """Return a sentence that names the checkpoint from which a failed run can resume."""
        steps = self.steps()
        return f"the last good checkpoint is step {steps[-1]}" if steps else "there is no checkpoint yet"

    def latest(self) -> RunCheckpoint | None:
        """Return the last checkpoint, or None.

        Raises:
            ValueError: if its state is damaged.
        """
        steps = self.steps()
        return self.read(steps[-1]) if steps else None

    def read(self, step: int) -> RunCheckpoint:
        """Read the checkpoint of a step.

        Args:
            step: the step.

        Returns:
            The checkpoint.

        Raises:
            ValueError: if its state is damaged.
        """
        folder = self._folder(step)
        settle(folder)
        state = read_json(folder / STATE_NAME)
        if not isinstance(state, dict) or state.get("step") != step:
            raise ValueError(f"{folder / STATE_NAME} is damaged: it does not describe step {step}")
        return RunCheckpoint(folder, step, state)

    @contextmanager
    def owned(self, since: RunCheckpoint | None) -> Iterator[None]:
        """Own the folder for a run; a second run would mix its checkpoints with those of the first.

        Args:
            since: the last checkpoint that the run has read, or None.

        Returns:
            A context manager, which owns it until its end.

        Raises:
            BlockingIOError: another process owns the folder.
            ValueError: another process has written a checkpoint in the meantime.
        """
        is_new = not self.root.exists()
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with owned(self.root, "a training run"):
                if self.steps()[-1:] != ([] if since is None else [since.step]):
                    raise ValueError(
                        f"{self.root} contains checkpoints of another run that has just ended; start again"
                    )
                yield
        finally:
            if is_new:
                with suppress(OSError):  # it has files
                    self.root.rmdir()

    def write(self, step: int, state: dict[str, Any], save: Callable[[Path], None]) -> Path:
        """Write the checkpoint of a step and delete the oldest. A killed process leaves earlier checkpoints intact.

        Args:
            step: number of steps done.
            state: plain values, for JSON.
            save: writes the model and the optimizer into a folder.

        Returns:
            The folder of the checkpoint.

        Raises:
            OSError: if it cannot be written, for example because the disk is full. No partial checkpoint is left, and
                the other checkpoints are kept.
        """
        folder = self._folder(step)
        # A run that resumed from an earlier step rewrites it.
        rewritten = staged(folder, replaces=_ANY) if folder.exists() else new_folder(folder)
        try:
            with rewritten as staging:
                save(staging)
                text = json.dumps({"step": step, **state}, indent=2) + "\n"
                (staging / STATE_NAME).write_text(text, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{folder} could not be written ({reason}); {self.last_good()}") from error
        with temporary_folder(self.root) as discarded:  # a killed process leaves a checkpoint whole, or not at all
            for old in self.steps()[: -self.keep]:
                self._folder(old).rename(discarded / str(old))
        return folder

    def _folder(self, step: int) -> Path:
        check_integers(step=(step, 0))
        return self.root / f"step-{step:08d}"


def check_config(checkpoint: RunCheckpoint, config: CLIPConfig) -> None:
    """Check that a run resumes with the configuration that it started with.

    Args:
        checkpoint: the checkpoint to resume from.
        config: the current configuration.

    Raises:
        ValueError: if they differ; the message names every field.
    """
    was, now = (_model_fields(found) for found in (CLIPConfig.from_pretrained(checkpoint.folder), config))
    if not config.projection_dim_stated:  # the weights determine it
        del was["projection_dim"], now["projection_dim"]
    changed = [name for name in sorted(was | now) if was.get(name) != now.get(name)]
    if changed:
        differences = ", ".join(f"{name} was {was.get(name)!r} and is now {now.get(name)!r}" for name in changed)
        raise ValueError(
            f"{checkpoint.folder} belongs to another model: {differences}; pass the same --model to resume"
        )


def _model_fields(config: CLIPConfig) -> dict[str, Any]:
    """Return the fields that define the model; a tower's fields are named like `text_config.hidden_size`."""
    fields = config.to_diff_dict()
    towers = {key: fields.pop(key) for key in config.sub_configs}
    for key, tower in towers.items():
        del tower["projection_dim"]  # the model's own takes precedence
        fields |= {f"{key}.{name}": value for name, value in tower.items()}
    return {name: value for name, value in fields.items() if name.rpartition(".")[2] not in _NOT_OF_THE_MODEL}
