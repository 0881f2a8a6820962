"""A run's report of its steps."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from clip_core.training.loop import Run
from clip_core.training.settings import TrainSettings
from clip_core.training.step import StepReport

WAIT = 0.05  # seconds for each batch


class SlowLoader:
    epoch = 0

    def __len__(self):
        return 3

    def __iter__(self):
        for _ in range(3):
            time.sleep(WAIT)
            yield {"input_ids": np.zeros((4, 5), np.int64)}


def test_the_wait_for_data_counts_in_the_samples_per_second():
    told = []
    trainer = SimpleNamespace(process_index=0, step=lambda pieces, rate: StepReport(1.0, 1.0, 14.0))
    logs = [SimpleNamespace(write=lambda step, numbers: told.append(numbers["samples_per_second"]))]
    run = Run(trainer, SlowLoader(), None, TrainSettings(batch_size=4), Path(), logs, save_every=3, progress=False)
    run._save = lambda: None
    run()
    assert len(told) == 3
    assert max(told) <= 4 / WAIT
