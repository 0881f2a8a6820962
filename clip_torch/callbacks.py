"""A callback for transformers' `Trainer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_torch.handles import save_config
from clip_torch.pretrained import CLIPPreTrainedModel

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SaveConfigCallback"]


class SaveConfigCallback:
    """A callback that saves the model's `config.json` beside the weights that `Trainer` saves.

    Our models extend transformers' `Trainer` in this way by themselves. Use the callback for a trainer that replaces
    the method `_save`. Its checkpoints, and `output_dir` after `trainer.save_model()`, can then be loaded by
    `from_pretrained`.

    Example:
        >>> Trainer(model, args, callbacks=[SaveConfigCallback()])  # doctest: +SKIP
    """

    # Not a subclass of transformers' TrainerCallback, whose import takes seconds. Trainer calls a method for each
    # event.
    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a function that does nothing, for events that this callback ignores."""
        if name.startswith("on_"):
            return lambda *_args, **_kwargs: None
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **others: Any) -> None:  # noqa: ARG002
        """Save the configuration in `args.output_dir`.

        Args:
            args: the trainer's arguments.
            state: the trainer's state.
            control: the trainer's control flow, not changed.
            model: the model in training.
            **others: other arguments from `Trainer`, ignored.
        """
        if args.should_save:
            save_config(model, Path(args.output_dir), CLIPPreTrainedModel)

    def on_save(self, args: Any, state: Any, control: Any, *, model: Any, **others: Any) -> None:  # noqa: ARG002
        """Save the configuration in the checkpoint just written.

        Args:
            args: the trainer's arguments.
            state: the trainer's state, which counts the steps.
            control: the trainer's control flow, not changed.
            model: the model in training.
            **others: other arguments from `Trainer`, ignored.
        """
        if args.should_save:
            save_config(model, Path(args.output_dir) / f"checkpoint-{state.global_step}", CLIPPreTrainedModel)
