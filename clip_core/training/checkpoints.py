"""The checkpoints of a run, written whole or not at all; the last few are kept.

They are folders in Hugging Face's layout, with the positions of all loaders, so that any number of processes
can resume.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPConfig
from clip_core.data.pairs import IndexedPairs
from clip_core.hub.files import STAGING_PREFIX, new_folder, read_json

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from clip_core.data import PairLoader


_OF_PROCESS = ("batch_size", "process_index", "process_count")


def written(states: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """The states of the loaders of all processes, as a checkpoint has them: of one process, the state itself."""
    return states[0] if len(states) == 1 else states


def own_state(kept: dict[str, Any] | list[dict[str, Any]], loader: PairLoader) -> dict[str, Any]:
    """What a process's loader goes on from, of what `written` returned.

    As many processes as there were go on where each was. Others do where that gives the same batches: the processes
    take turns at one order, as long as none had to skip a broken sample, and no data come as a stream, of which each
    process has a part.

    Args:
        kept: the states.
        loader: of this process.

    Raises:
        ValueError: there are more or fewer processes now, and they would get other batches.
    """
    states: list[dict[str, Any]] = kept if isinstance(kept, list) else [kept]
    now = loader.state_dict()["order"]
    index: int = now["process_index"]
    if len(states) == now["process_count"]:
        return states[index]
    first, was = states[0], states[0]["order"]
    if was["batch_size"] * was["process_count"] != now["batch_size"] * now["process_count"]:
        return first  # the loader tells what differs
    if not isinstance(loader.source, IndexedPairs) or any(state["broken"] for state in states):
        raise ValueError(
            f"the checkpoint is of {was['process_count']} processes, and now there are {now['process_count']}: with "
            "shards, Parquet files or broken samples a run goes on with as many as it had"
        )
    return {
        **first,
        "taken": first["batches"] * now["batch_size"],
        "order": {**was, **{name: now[name] for name in _OF_PROCESS}},
    }


STATE_NAME = "trainer_state.json"
_NAME = re.compile(r"step-(\d+)")

# Fields of a config that tell of a file and of what a caller wants, and not of the model that is trained.
_NOT_OF_THE_MODEL = {"architectures", "dtype", "id2label", "label2id", "problem_type", "transformers_version"}


@dataclass(frozen=True)
class RunCheckpoint:
    """Where a run stood.

    Attributes:
        folder: the model, the optimizer's moments, and `trainer_state.json`.
        step: steps done.
        state: what else a run needs to go on, as plain values.
    """

    folder: Path
    step: int
    state: dict[str, Any]


class RunFolder:
    """The folder of a run's checkpoints.

    Args:
        root: the folder; made when the first is written.
        keep: how many checkpoints to keep.
    """

    def __init__(self, root: str | os.PathLike[str], keep: int = 2) -> None:
        self.root, self.keep = Path(root), keep

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of, in order."""
        if not self.root.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.root.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def last_good(self) -> str:
        """Which checkpoint a run that has to end can go on from, in words."""
        steps = self.steps()
        return f"the last good checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"

    def latest(self) -> RunCheckpoint | None:
        """The last checkpoint, or None.

        Raises:
            ValueError: its state is damaged.
        """
        steps = self.steps()
        return self.read(steps[-1]) if steps else None

    def read(self, step: int) -> RunCheckpoint:
        """The checkpoint of a step.

        Raises:
            ValueError: its state is damaged.
        """
        folder = self._folder(step)
        state = read_json(folder / STATE_NAME)
        if not isinstance(state, dict) or state.get("step") != step:
            raise ValueError(f"{folder / STATE_NAME} does not tell of step {step}")
        return RunCheckpoint(folder, step, state)

    def write(self, step: int, state: dict[str, Any], save: Callable[[Path], None]) -> Path:
        """Write the checkpoint of a step, and remove those too many; a killed process leaves the earlier ones whole.

        Args:
            step: steps done.
            state: plain values, for JSON.
            save: writes the model and the optimizer into a folder.

        Raises:
            OSError: it cannot be written, as where the disk is full; nothing of it is left, and the others stay.
        """
        folder = self._folder(step)
        if folder.exists():  # a run that resumed further back comes by again
            shutil.rmtree(folder)
        try:
            with new_folder(folder) as staging:
                save(staging)
                text = json.dumps({"step": step, **state}, indent=2) + "\n"
                (staging / STATE_NAME).write_text(text, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{folder} could not be written ({reason}); {self.last_good()}") from error
        for old in self.steps()[: -self.keep]:
            shutil.rmtree(self._folder(old))
        for left in self.root.glob(f"{STAGING_PREFIX}*"):  # of a process that was killed while it saved
            shutil.rmtree(left, ignore_errors=True)
        return folder

    def _folder(self, step: int) -> Path:
        return self.root / f"step-{step:08d}"


def check_config(checkpoint: RunCheckpoint, config: CLIPConfig) -> None:
    """Check that a run goes on with the configuration that it began with.

    Raises:
        ValueError: it is another; the message names every field.
    """
    was, now = (_model_fields(found) for found in (CLIPConfig.from_pretrained(checkpoint.folder), config))
    if not config.projection_dim_stated:  # then it is as the weights have it
        del was["projection_dim"], now["projection_dim"]
    changed = [name for name in sorted(was | now) if was.get(name) != now.get(name)]
    if changed:
        told = ", ".join(f"{name} was {was.get(name)!r} and is now {now.get(name)!r}" for name in changed)
        raise ValueError(f"{checkpoint.folder} is of another model: {told}; give the same --model to resume it")


def _model_fields(config: CLIPConfig) -> dict[str, Any]:
    """The fields that make the model what it is, those of towers as in `text_config.hidden_size`."""
    fields = config.to_diff_dict()
    towers = {key: fields.pop(key) for key in config.sub_configs}
    for key, tower in towers.items():
        del tower["projection_dim"]  # the model's own counts
        fields |= {f"{key}.{name}": value for name, value in tower.items()}
    return {name: value for name, value in fields.items() if name.rpartition(".")[2] not in _NOT_OF_THE_MODEL}
