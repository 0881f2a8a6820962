"""What a backend's trainer is to the loop: numpy in, plain numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np


class StepReport(NamedTuple):
    """What a step tells.

    Attributes:
        loss: before the step.
        grad_norm: of all gradients, before they are scaled down.
        logit_scale: the temperature's inverse, after the step.
    """

    loss: float
    grad_norm: float
    logit_scale: float


class Trainer(Protocol):
    """A model of some framework that is trained with AdamW.

    Attributes:
        process_index: of this process, where several train one model; the first one logs and writes.
        process_count: of all.
    """

    process_index: int
    process_count: int

    def step(self, pieces: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> StepReport:
        """Train on a batch. Its gradients are those of the whole batch, whatever pieces it comes in.

        A step whose gradients are not finite changes nothing.

        Args:
            pieces: of this process's share: `pixel_values` `(pairs, channels, height, width)`, `input_ids` and
                `attention_mask` `(pairs, seq)`; each piece is inside the towers alone.
            learning_rate: of this step.
        """
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model in Hugging Face's layout, and the optimizer's moments beside it.

        Every process calls this, for each may have a part of them; the first alone writes.
        """
        ...

    def gather(self, value: Any) -> list[Any]:
        """Plain values of all processes, in their order; every process calls this with its own."""
        ...

    def restore(self, folder: str | os.PathLike[str], steps: int) -> None:
        """Go on from what `save` wrote after so many steps, in whichever framework."""
        ...
