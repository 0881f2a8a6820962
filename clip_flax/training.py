"""Training in Flax: AdamW steps with the gradients of the whole batch, however it is split into pieces."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from clip_core.configuration import CLIPConfig
from clip_core.training.settings import LARGEST_LOGIT_SCALE, decays, is_trained
from clip_core.training.step import StepReport
from clip_flax.loss import chunked_clip_loss, clip_loss
from clip_flax.model import CLIPModel, unit_norm
from clip_flax.tensors import (
    canonical_entries,
    canonical_paths,
    devices_named,
    flatten,
    flax_entries,
    to_entry,
    to_jax,
    unflatten,
)
from converters.moments import read_moments, write_moments

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from jax import Array

    from clip_core.training.settings import TrainSettings
    from converters.tensors import TensorEntry

    Leaves = dict[tuple[str, ...], Array]  # parameters by path


def check_options(device: str | None, parallel: str | None) -> None:
    """Check a device and a way of sharing a model; see `clip_core.backends.Backend`.

    Raises:
        ValueError: there is no such device; or `parallel` is given, but there is no choice here.
    """
    if parallel is not None:
        raise ValueError(
            f"parallel={parallel!r} exists only in torch; omit it: Flax splits a batch over all devices by itself "
            "(jax.sharding)"
        )
    if device is not None:
        devices_named(device)


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
    dtype = jnp.bfloat16 if settings.precision == "bf16" else jnp.float32
    devices = devices_named(device)
    with jax.default_device(devices[0]):
        if str(source).endswith(".json"):
            model = CLIPModel(CLIPConfig.from_pretrained(source, **options), seed=settings.seed, dtype=dtype)
        else:
            model = CLIPModel.from_pretrained(source, dtype, param_dtype=jnp.float32, **options)
    return Trainer(model, settings, devices)


class Trainer:
    """A model in training; see `clip_core.training.step.Trainer`.

    Args:
        model: the model, which computes in the settings' precision.
        settings: the hyperparameters.
        devices: the devices that share a batch; each holds all weights. The loss is that of the whole batch, and XLA
            adds the communication between devices.
    """

    def __init__(self, model: CLIPModel, settings: TrainSettings, devices: Sequence[jax.Device] | None = None) -> None:
        mesh = Mesh(np.array(devices or jax.devices()[:1]), ("data",))
        self._spread, self._everywhere = (
            NamedSharding(mesh, PartitionSpec("data")),
            NamedSharding(mesh, PartitionSpec()),
        )
        if settings.batch_size % (settings.accum * mesh.size):
            raise ValueError(
                f"batch_size={settings.batch_size} cannot be split into {settings.accum} pieces on each of {mesh.size} "
                "devices"
            )
        self.model, self.settings = model, settings
        self.process_index, self.process_count = 0, 1
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        leaves = jax.device_put(flatten(model.params), self._everywhere)
        paths = canonical_paths(model.params)
        self.trained: Leaves = {paths[n]: leaves[paths[n]] for n in paths if is_trained(n, settings.freeze)}
        self.frozen: Leaves = {path: leaf for path, leaf in leaves.items() if path not in self.trained}
        decayed = {paths[name]: decays(name) for name in paths if paths[name] in self.trained}
        self.optimizer = optax.chain(
            optax.scale_by_adam(b1=settings.beta_1, b2=settings.beta_2, eps=settings.epsilon),
            optax.add_decayed_weights(settings.weight_decay, mask=decayed),
        )
        self.state: Any = self.optimizer.init(self.trained)
        self._value_and_gradients = jax.jit(jax.value_and_grad(self._whole))
        self._encode = jax.jit(self._embeds)
        self._head = jax.jit(jax.value_and_grad(self._loss, argnums=(0, 1, 2)))
        self._hand_on = jax.jit(self._piece_gradients)
        self._apply = jax.jit(self._update)
        self._norm = jax.jit(_global_norm)

    def step(self, pieces: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> StepReport:
        """Train on a batch given in pieces; see `clip_core.training.step.Trainer.step`."""
        keys = jax.random.split(jax.random.fold_in(jax.random.key(self.settings.seed), self._steps()), len(pieces))
        batches = [jax.device_put(dict(piece), self._spread) for piece in pieces]
        if len(batches) == 1:
            loss, gradients = self._value_and_gradients(self.trained, self.frozen, batches[0], keys[0])
        else:
            loss, gradients = self._in_pieces(batches, keys)
        norm = self._norm(gradients)
        if jnp.isfinite(norm):  # otherwise the weights are unchanged, and the loop stops
            self.trained, self.state = self._apply(self.trained, self.state, gradients, norm, learning_rate)
            self.model.assign(self.trained.items())
        scale = flatten(self.model.params)[("logit_scale",)]
        return StepReport(float(loss), float(norm), float(jnp.exp(scale)))

    def _whole(self, trained: Leaves, frozen: Leaves, batch: dict[str, Any], key: Array) -> Array:
        images, texts = self._embeds(trained, frozen, batch, key)
        return self._loss(images, texts, _temperature(trained, frozen))

    def _in_pieces(self, batches: list[dict[str, Any]], keys: Array) -> tuple[Array, Leaves]:
        """Compute the gradients of the whole batch, one piece in the towers at a time (GradCache, Gao et al. 2021).

        First embed all pieces without keeping intermediate results; then compute the gradients of their embeddings from
        the loss; then run each piece again, to pass its gradients on to the weights.
        """
        embeds = [self._encode(self.trained, self.frozen, *piece) for piece in zip(batches, keys, strict=True)]
        images, texts = (jnp.concatenate(parts) for parts in zip(*embeds, strict=True))
        loss, (of_images, of_texts, of_scale) = self._head(images, texts, _temperature(self.trained, self.frozen))
        total: Leaves = jax.tree.map(jnp.zeros_like, self.trained)
        if ("logit_scale",) in total:
            total[("logit_scale",)] = of_scale
        start = 0
        for batch, key in zip(batches, keys, strict=True):
            part = slice(start, start := start + len(batch["input_ids"]))
            handed = self._hand_on(self.trained, self.frozen, batch, key, (of_images[part], of_texts[part]))
            total = jax.tree.map(jnp.add, total, handed)
        return loss, total

    def _piece_gradients(
        self, trained: Leaves, frozen: Leaves, batch: dict[str, Any], key: Array, of_embeds: tuple[Array, Array]
    ) -> Leaves:
        _, backward = jax.vjp(partial(self._embeds, frozen=frozen, batch=batch, key=key), trained)
        return backward(of_embeds)[0]

    def _embeds(self, trained: Leaves, frozen: Leaves, batch: dict[str, Any], key: Array) -> tuple[Array, Array]:
        """Embed images and texts in the joint space, with unit norm, in float32."""
        options: dict[str, Any] = {"params": unflatten({**trained, **frozen}), "dropout_rng": key, "train": True}
        images = self.model.get_image_features(batch["pixel_values"], **options)
        texts = self.model.get_text_features(batch["input_ids"], batch.get("attention_mask"), **options)
        return unit_norm(images), unit_norm(texts)

    def _loss(self, images: Array, texts: Array, logit_scale: Array) -> Array:
        scale, chunk = jnp.exp(logit_scale), self.settings.loss_chunk
        if chunk is not None:
            return chunked_clip_loss(texts, images, scale, chunk)
        return clip_loss(jnp.matmul(texts, images.T, precision=None) * scale)

    def _update(
        self, trained: Leaves, state: Any, gradients: Leaves, norm: Array, learning_rate: Array
    ) -> tuple[Leaves, Any]:
        limit = self.settings.max_grad_norm
        scale = 1.0 if limit is None else jnp.minimum(limit / norm, 1.0)
        updates, state = self.optimizer.update(jax.tree.map(lambda g: g * scale, gradients), state, trained)
        trained = jax.tree.map(lambda leaf, update: leaf - learning_rate * update, trained, updates)
        if ("logit_scale",) in trained:
            trained[("logit_scale",)] = jnp.clip(trained[("logit_scale",)], 0.0, LARGEST_LOGIT_SCALE)
        return trained, state

    def _steps(self) -> int:
        return int(self.state[0].count)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the model in Hugging Face's layout, and the moments beside it."""
        self.model.save_pretrained(folder)
        write_moments(folder, self.optimizer_state())

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes; here there is only one."""
        return [value]

    def restore(self, folder: str | os.PathLike[str], steps: int) -> None:
        """Resume with the moments that `save` wrote after `steps` steps; the model was loaded from the same folder."""
        self.load_optimizer_state(read_moments(folder), steps)

    # The moments of AdamW by canonical name, so that a run can resume in any framework.

    def optimizer_state(self) -> dict[str, TensorEntry]:
        """Return the moments as `exp_avg.<canonical name>` and `exp_avg_sq.<canonical name>`, in canonical layout."""
        adam = self.state[0]
        return {
            f"{kind}.{name}": entry
            for kind, leaves in (("exp_avg", adam.mu), ("exp_avg_sq", adam.nu))
            for name, entry in canonical_entries(unflatten(leaves)).items()
        }

    def load_optimizer_state(self, moments: Mapping[str, np.ndarray], steps: int) -> None:
        """Set the moments and the number of steps."""
        adam, *rest = self.state
        kinds = {"mu": "exp_avg", "nu": "exp_avg_sq"}
        loaded = {}
        for field, kind in kinds.items():
            named = {n.removeprefix(f"{kind}."): to_entry(a) for n, a in moments.items() if n.startswith(f"{kind}.")}
            found = {path: to_jax(entry.load()) for path, entry in flax_entries(named).items()}
            loaded[field] = {path: found.get(path, leaf) for path, leaf in getattr(adam, field).items()}
        self.state = (adam._replace(count=jnp.asarray(steps, jnp.int32), **loaded), *rest)


def _temperature(trained: Leaves, frozen: Leaves) -> Array:
    return {**frozen, **trained}[("logit_scale",)]


def _global_norm(gradients: Leaves) -> Array:
    return jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradients)))
