"""Steps of the GPU benchmark, by importance: GPU time may run out after any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpu_steps import cudnn, ddp, large, suite
from gpu_steps.graphs import graphs
from gpu_steps.tables import CASES, PADDED_STEP, table

if TYPE_CHECKING:
    from gpu_steps.step import Step

STEPS: tuple[Step, ...] = (
    suite.STEP,
    *map(table, CASES),
    PADDED_STEP,
    *map(graphs, CASES),
    large.STEP,
    cudnn.STEP,
    ddp.STEP,
)
