"""Training in PyTorch: AdamW steps with the gradients of the whole batch, however it is split into pieces."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clip_core.configuration import CLIPConfig
from clip_core.training.settings import LARGEST_LOGIT_SCALE, decays, is_trained
from clip_core.training.step import StepReport
from clip_torch.arrays import to_torch
from clip_torch.distributed import (
    Replicated,
    Towers,
    check_parallel,
    gathered_loss,
    gathered_objects,
    join_processes,
    local_device,
    mean_over_processes,
    process_count,
    process_index,
)
from clip_torch.loss import chunked_clip_loss, clip_loss
from clip_torch.model import CLIPModel
from clip_torch.tensors import check_device, to_entry
from converters.moments import read_moments, write_moments

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np

    from clip_core.training.settings import TrainSettings
    from clip_torch.sharding import Sharded
    from converters.tensors import TensorEntry


def check_options(device: str | None, parallel: str | None) -> None:
    """Check a device and a way of sharing a model; see `clip_core.backends.Backend`.

    Raises:
        ValueError: there is no such device; or `parallel` is neither "ddp", the default for several processes, nor
            "fsdp"; or it is "fsdp" with only one process.
    """
    check_parallel(parallel)
    if device is not None:
        check_device(device)


def make_trainer(
    source: str | os.PathLike[str],
    settings: TrainSettings,
    *,
    device: str | None = None,
    parallel: str | None = None,
    **options: Any,
) -> Trainer:
    """Create a trainer; see `clip_core.backends.TrainerFactory`.

    Raises:
        ValueError: `check_options` refuses an argument.
    """
    check_options(device, parallel)
    place = check_device(device or local_device())
    join_processes(place)
    torch.manual_seed(settings.seed)
    if str(source).endswith(".json"):
        model = CLIPModel(CLIPConfig.from_pretrained(source, **options)).to(place)
    else:
        model = CLIPModel.from_pretrained(source, device_map=place, **options)
    return Trainer(model, settings, parallel)


class Trainer:
    """A model in training; see `clip_core.training.step.Trainer`.

    Args:
        model: the model, on the device to train on.
        settings: the hyperparameters.
        parallel: "fsdp" shards the weights over several processes; by default each process has all weights.
    """

    def __init__(self, model: CLIPModel, settings: TrainSettings, parallel: str | None = None) -> None:
        self.model, self.settings = model.train(), settings
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(is_trained(name, settings.freeze))
        self.process_index, self.process_count = process_index(), process_count()
        self.towers = Towers(model)
        self.spread = _spread(self.towers, settings, parallel)
        self.trained = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self._groups(), lr=settings.lr, betas=(settings.beta_1, settings.beta_2), eps=settings.epsilon, fused=True
        )

    def _groups(self) -> list[dict[str, Any]]:
        """Return the optimizer's groups. Each group is updated in one call, so its tensors must have the same type."""
        groups: dict[tuple[bool, type[Tensor]], list[Tensor]] = {}
        for name, tensor in self.trained.items():
            groups.setdefault((decays(name), type(tensor)), []).append(tensor)
        decay = self.settings.weight_decay
        return [
            {"params": tensors, "weight_decay": decay if decayed else 0.0} for (decayed, _), tensors in groups.items()
        ]

    def step(self, pieces: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> StepReport:
        """Train on a batch given in pieces; see `clip_core.training.step.Trainer.step`."""
        self.optimizer.zero_grad(set_to_none=True)
        batches = [self._on_device(piece) for piece in pieces]
        loss = mean_over_processes(self._whole(batches[0]) if len(batches) == 1 else self._in_pieces(batches))
        if self.model.logit_scale.grad is not None:
            mean_over_processes(self.model.logit_scale.grad)
        norm = self.spread.total_norm([tensor.grad for tensor in self.trained.values() if tensor.grad is not None])
        self._clip(norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if torch.isfinite(norm):  # otherwise the weights are unchanged, and the loop stops
            self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0.0, LARGEST_LOGIT_SCALE)
        return StepReport(loss.item(), norm.item(), self.model.logit_scale.exp().item())

    def _whole(self, batch: Mapping[str, Tensor]) -> Tensor:
        with self._precision():
            images, texts = self.spread.towers(batch)
        loss = self._loss(images, texts)
        loss.backward()
        return loss.detach()

    def _in_pieces(self, batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """Compute the gradients of the whole batch, one piece in the towers at a time (GradCache, Gao et al. 2021).

        First embed all pieces without keeping intermediate results; then compute the gradients of their embeddings from
        the loss; then run each piece again, to pass its gradients on to the weights.
        """
        states = []
        with torch.no_grad(), self._precision():
            embeds = []
            for batch in batches:
                states.append(_random_state(self.model.device))
                embeds.append(self.towers(batch))
        images, texts = (torch.cat(parts).requires_grad_() for parts in zip(*embeds, strict=True))
        loss = self._loss(images, texts)
        loss.backward()
        sizes = [len(batch["input_ids"]) for batch in batches]
        gradients = zip(images.grad.split(sizes), texts.grad.split(sizes), strict=True)  # type: ignore[union-attr]
        for batch, state, of_embeds in zip(batches, states, gradients, strict=True):
            _set_random_state(self.model.device, state)  # repeats the dropout
            with self.spread.added_up(is_last=batch is batches[-1]):
                with self._precision():
                    again = self.spread.towers(batch)
                torch.autograd.backward(again, of_embeds)
        return loss.detach()

    def _loss(self, images: Tensor, texts: Tensor) -> Tensor:
        scale, chunk = self.model.logit_scale.exp(), self.settings.loss_chunk
        if self.process_count > 1:
            return gathered_loss(images, texts, scale, chunk)
        return (
            clip_loss(texts @ images.t() * scale) if chunk is None else chunked_clip_loss(texts, images, scale, chunk)
        )

    def _clip(self, norm: Tensor) -> None:
        if self.settings.max_grad_norm is not None:
            scale = (self.settings.max_grad_norm / norm).clamp(max=1.0)
            for tensor in self.trained.values():
                if tensor.grad is not None:
                    self.spread.own_part(tensor.grad).mul_(scale)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.settings.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def _on_device(self, batch: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array).to(self.model.device) for name, array in batch.items()}

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model in Hugging Face's layout, and the moments beside it; see the protocol."""
        weights, moments = self.spread.whole(self.model.state_dict()), self.optimizer_state()
        if self.process_index == 0:
            self.model.save_pretrained(folder, state_dict=weights)
            write_moments(folder, moments)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order."""
        return gathered_objects(value)

    def restore(self, folder: str | os.PathLike[str], steps: int) -> None:
        """Resume with the moments that `save` wrote after `steps` steps; the model was loaded from the same folder."""
        self.load_optimizer_state(read_moments(folder), steps)

    # The moments of AdamW by canonical name, so that a run can resume in any framework.

    def optimizer_state(self) -> dict[str, TensorEntry]:
        """Return the moments as `exp_avg.<canonical name>` and `exp_avg_sq.<canonical name>`; all processes call it."""
        moments = {
            f"{moment}.{name}": self.optimizer.state[tensor][moment]
            for name, tensor in self.trained.items()
            for moment in ("exp_avg", "exp_avg_sq")
            if moment in self.optimizer.state[tensor]
        }
        return {name: to_entry(tensor) for name, tensor in self.spread.whole(moments).items()}

    def load_optimizer_state(self, moments: Mapping[str, np.ndarray], steps: int) -> None:
        """Set the moments and the number of steps."""
        for name, tensor in self.trained.items():
            if f"exp_avg.{name}" in moments:
                state = {
                    m: self.spread.placed(to_torch(moments[f"{m}.{name}"]), tensor) for m in ("exp_avg", "exp_avg_sq")
                }
                self.optimizer.state[tensor] = {"step": torch.tensor(float(steps)), **state}


def _spread(towers: Towers, settings: TrainSettings, parallel: str | None) -> Replicated | Sharded:
    """Return the towers, replicated or sharded over the processes."""
    if parallel != "fsdp":
        return Replicated(towers)
    from clip_torch.sharding import Sharded

    return Sharded(towers, settings.precision)


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    torch.cuda.set_rng_state(state, device) if device.type == "cuda" else torch.set_rng_state(state)
