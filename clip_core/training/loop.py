"""The training loop: batches to steps, with schedule, logs and checkpoints. It stops on a non-finite loss."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from clip_core.configuration.arguments import check_integers
from clip_core.hub.files import write_text
from clip_core.training.checkpoints import own_state, written
from clip_core.training.settings import learning_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from clip_core.data import PairLoader
    from clip_core.processing import CLIPProcessor
    from clip_core.training.checkpoints import RunCheckpoint, RunFolder
    from clip_core.training.logs import Log
    from clip_core.training.settings import TrainSettings
    from clip_core.training.step import StepReport, Trainer

_SHOWN_SAMPLES = 5


class TrainingStoppedError(ValueError):
    """A loss or gradient norm that is not finite."""


@dataclass
class Run:
    """A training run.

    Args:
        trainer: the model and its optimizer.
        loader: the data.
        processor: saved beside the model.
        settings: the hyperparameters.
        folder: the folder of checkpoints.
        logs: the logs, written by the first process.
        save_every: steps between two checkpoints; the last step is always saved.
        progress: show a progress bar in a terminal.
    """

    trainer: Trainer
    loader: PairLoader
    processor: CLIPProcessor
    settings: TrainSettings
    folder: RunFolder
    logs: Sequence[Log] = ()
    save_every: int = 1000
    progress: bool = True

    def __post_init__(self) -> None:
        check_integers(save_every=(self.save_every, 1))
        self.step = 0
        self.steps = self.settings.epochs * len(self.loader)
        self.is_first = self.trainer.process_index == 0
        self._since = time.perf_counter()
        self.progress = self.progress and self.is_first

    def resume(self, checkpoint: RunCheckpoint) -> None:
        """Resume from a checkpoint whose weights the trainer has already loaded.

        Args:
            checkpoint: the checkpoint.

        Raises:
            ValueError: if its settings, data or order differ from this run's.
        """
        changed = {
            name: (was, value)
            for name, value in self.settings.to_dict().items()
            if (was := checkpoint.state["settings"].get(name, value)) != value
        }
        if changed:
            differences = ", ".join(f"{name} was {was!r} and is now {now!r}" for name, (was, now) in changed.items())
            raise ValueError(
                f"{checkpoint.folder} belongs to another run: {differences}; use the same settings to resume"
            )
        self.loader.load_state_dict(own_state(checkpoint.state["loader"], self.loader))
        self.trainer.restore(checkpoint.folder, checkpoint.step)
        self.step = checkpoint.step

    def __call__(self) -> StepReport | None:
        """Train to the end, and return the report of the last step; None if no steps were left.

        Raises:
            TrainingStoppedError: if the loss or the gradient norm is not finite. The last good checkpoint is kept.
        """
        report = None
        bar = tqdm(
            total=self.steps,
            initial=self.step,
            unit="step",
            disable=None if self.progress else True,
            dynamic_ncols=True,
        )
        self._since = time.perf_counter()
        with bar:
            while self.step < self.steps:
                for batch in self.loader:
                    report = self._one(batch, bar)
                    if self.step >= self.steps:
                        break
        if report is not None and self.step % self.save_every:
            self._save()
        return report

    def _one(self, batch: Mapping[str, np.ndarray], bar: Any) -> StepReport:
        settings = self.settings
        rate = learning_rate(self.step, steps=self.steps, peak=settings.lr, warmup=settings.warmup)
        report = self.trainer.step(list(cut(batch, settings.accum)), rate)
        if not (math.isfinite(report.loss) and math.isfinite(report.grad_norm)):
            raise TrainingStoppedError(self._what_broke(report))
        self.step += 1
        speed = settings.batch_size / (time.perf_counter() - self._since)  # including the wait for data
        numbers = {"loss": report.loss, "lr": rate, "grad_norm": report.grad_norm, "logit_scale": report.logit_scale}
        for log in self.logs:
            log.write(self.step, {**numbers, "epoch": self.loader.epoch, "samples_per_second": speed})
        bar.update()
        bar.set_postfix(loss=f"{report.loss:.3f}", pairs=f"{speed:.0f}/s")
        if self.step % self.save_every == 0:
            self._save()
        self._since = time.perf_counter()
        return report

    def _save(self) -> None:
        """Write a checkpoint. All processes contribute to it, and the first one writes it."""
        loaders = self.trainer.gather(self.loader.state_dict())
        if not self.is_first:
            self.trainer.save(self.folder.root)
            return

        def save(folder: Path) -> None:
            self.trainer.save(folder)
            self.processor.save_pretrained(folder)

        self.folder.write(self.step, {"settings": self.settings.to_dict(), "loader": written(loaders)}, save)

    def _what_broke(self, report: StepReport) -> str:
        samples = self.loader.samples
        named = ", ".join(samples[:_SHOWN_SAMPLES])
        if len(samples) > _SHOWN_SAMPLES:
            named += f" and {len(samples) - _SHOWN_SAMPLES} more, all listed in {self._listed(samples)}"
        return (
            f"step {self.step + 1}: the loss is {report.loss} and the gradient norm {report.grad_norm}; "
            f"the batch contained {named}; {self.folder.last_good()}. "
            "A lower learning rate, a longer warm-up or fp32 may help"
        )

    def _listed(self, samples: Sequence[str]) -> Path:
        """Write the keys of this process's failing batch to a file, and return its path."""
        self.folder.root.mkdir(parents=True, exist_ok=True)
        path = self.folder.root / f"stopped-{self.trainer.process_index}.json"
        write_text(path, json.dumps({"step": self.step + 1, "samples": list(samples)}, indent=1) + "\n")
        return path


def cut(batch: Mapping[str, np.ndarray], pieces: int) -> Iterator[dict[str, np.ndarray]]:
    """Yield the pieces of a batch, which are equal in size, in order.

    Args:
        batch: arrays with the same first axis.
        pieces: number of pieces.
    """
    size = len(batch["input_ids"]) // pieces
    for start in range(0, size * pieces, size):
        yield {name: array[start : start + size] for name, array in batch.items()}
