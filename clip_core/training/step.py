"""The trainer protocol between the loop and a backend: numpy arrays in, plain numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np


class StepReport(NamedTuple):
    """The metrics of one step.

    Attributes:
        loss: the loss before the update.
        grad_norm: the global gradient norm before clipping.
        logit_scale: the inverse temperature after the update.
    """

    loss: float
    grad_norm: float
    logit_scale: float


class Trainer(Protocol):
    """A model of any framework, trained with AdamW.

    Attributes:
        process_index: index of this process when several train one model; process 0 logs and writes.
        process_count: total number of processes.
    """

    process_index: int
    process_count: int

    def step(self, pieces: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> StepReport:
        """Train on a batch. The gradients are those of the whole batch, however it is split into pieces.

        A step with non-finite gradients changes nothing.

        Args:
            pieces: this process's share of the batch: `pixel_values` `(pairs, channels, height, width)`, `input_ids`
                and `attention_mask` `(pairs, seq)`. Only the towers run piece by piece; the loss is computed over the
                whole batch.
            learning_rate: learning rate of this step.

        Returns:
            The metrics of the step.
        """
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model in Hugging Face's layout, with the optimizer's moments beside it.

        Every process must call this, because each may hold a part of the weights. Only the first writes.

        Args:
            folder: the folder to write into.
        """
        ...

    def gather(self, value: Any) -> list[Any]:
        """Return the plain values of all processes, in order. Every process must call this with its own value.

        Args:
            value: this process's value.
        """
        ...

    def restore(self, folder: str | os.PathLike[str], steps: int) -> None:
        """Resume from a folder written by `save` in any framework.

        Args:
            folder: the folder.
            steps: number of steps done when it was written.
        """
        ...
