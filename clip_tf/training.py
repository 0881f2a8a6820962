"""Training in TensorFlow: AdamW steps with the gradients of the whole batch, however it is split into pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from clip_core.configuration import CLIPConfig
from clip_core.modeling.parameters import parameter_table
from clip_core.training.settings import LARGEST_LOGIT_SCALE, decays, is_trained
from clip_core.training.step import StepReport
from clip_tf.distributed import Replicas, gathered_loss
from clip_tf.loss import chunked_clip_loss, clip_loss
from clip_tf.model import CLIPModel, unit_norm
from clip_tf.tensors import on_device, parameters
from converters.moments import read_moments, write_moments

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import numpy as np

    from clip_core.training.settings import TrainSettings
    from converters.tensors import TensorEntry


def check_options(device: str | None, parallel: str | None) -> None:
    """Check a device and a way of sharing a model; see `clip_core.backends.Backend`.

    Raises:
        ValueError: there is no such device; or `parallel` is given, but there is no choice here.
    """
    if parallel is not None:
        raise ValueError(
            f"parallel={parallel!r} exists only in torch; omit it: TensorFlow splits a batch over all GPUs by itself "
            "(tf.distribute.MirroredStrategy)"
        )
    if device is not None:
        on_device(device)


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
    keras.utils.set_random_seed(settings.seed)
    policy = keras.dtype_policies.get("mixed_bfloat16" if settings.precision == "bf16" else "float32")
    several = device is None and len(tf.config.list_logical_devices("GPU")) > 1
    strategy = tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()
    with strategy.scope(), on_device(device):
        if str(source).endswith(".json"):
            model = CLIPModel(CLIPConfig.from_pretrained(source, **options), dtype=policy)
        else:
            model = CLIPModel.from_pretrained(source, dtype=policy, **options)
        return Trainer(model, settings)


class Trainer:
    """A model in training; see `clip_core.training.step.Trainer`.

    If it is created in the scope of a `tf.distribute` strategy, it trains on that strategy's replicas: a batch is split
    over them, and the loss is that of the whole batch.

    Args:
        model: the model, whose dtype policy has the settings' precision.
        settings: the hyperparameters.

    Raises:
        ValueError: the batch size is not a multiple of the number of replicas and pieces.
    """

    def __init__(self, model: CLIPModel, settings: TrainSettings) -> None:
        self.model, self.settings = model, settings
        self.process_index, self.process_count = 0, 1
        self.strategy = tf.distribute.get_strategy()
        self.replicas = Replicas(self.strategy)
        if settings.batch_size % (settings.accum * self.replicas.count):
            raise ValueError(
                f"batch_size={settings.batch_size} cannot be split into {settings.accum} pieces on each of "
                f"{self.replicas.count} devices"
            )
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        towers = (model.text_model, model.vision_model)
        self._seeds = [tower.encoder.seeds for tower in towers if tower.encoder.seeds is not None]
        named = parameters(model, parameter_table(model.config, "CLIPModel"))
        self.trained = {name: found for name, found in named.items() if is_trained(name, settings.freeze)}
        self.variables = [found.variable for found in self.trained.values()]
        self.optimizer = keras.optimizers.AdamW(
            learning_rate=settings.lr,
            beta_1=settings.beta_1,
            beta_2=settings.beta_2,
            weight_decay=settings.weight_decay,
        )
        self.optimizer.exclude_from_weight_decay(
            [found.variable for name, found in self.trained.items() if not decays(name)]
        )
        self.optimizer.build(self.variables)
        # Keras adds epsilon before the bias correction of the second moment; other frameworks add it after. So it
        # varies by step.
        self.optimizer.epsilon = tf.Variable(settings.epsilon, trainable=False)
        everywhere = self.replicas.everywhere
        self._value_and_gradients = everywhere(self._whole)
        self._encode = everywhere(self._embeds)
        self._head = everywhere(self._head_gradients)
        self._hand_on = everywhere(self._piece_gradients)
        self._total = everywhere(self.replicas.summed)
        self._apply = tf.function(self._update_everywhere)

    def step(self, pieces: Sequence[Mapping[str, np.ndarray]], learning_rate: float) -> StepReport:
        """Train on a batch given in pieces; see `clip_core.training.step.Trainer.step`."""
        batches = [self.replicas.spread(piece) for piece in pieces]
        found = self._value_and_gradients(batches[0]) if len(batches) == 1 else self._in_pieces(batches)
        loss, gradients = self.replicas.one(found)
        norm = tf.linalg.global_norm(gradients)
        if tf.math.is_finite(norm):  # otherwise the weights are unchanged, and the loop stops
            limit = self.settings.max_grad_norm
            scale = 1.0 if limit is None else tf.minimum(limit / norm, 1.0)
            done = int(self.optimizer.iterations.numpy())
            self.optimizer.epsilon.assign(self.settings.epsilon * (1 - self.settings.beta_2 ** (done + 1)) ** 0.5)
            self.optimizer.learning_rate.assign(learning_rate)
            self._apply(gradients, scale)
        temperature = self.model.logit_scale
        temperature.assign(tf.clip_by_value(temperature.value, 0.0, LARGEST_LOGIT_SCALE))
        return StepReport(float(loss), float(norm), float(tf.exp(temperature.value)))

    def _whole(self, batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = self._loss(*self._embeds(batch))
        return self.replicas.summed((loss, self._dense(tape.gradient(loss, self._watched()))))

    def _in_pieces(self, batches: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
        """Compute the gradients of the whole batch, one piece in the towers at a time (GradCache, Gao et al. 2021).

        First embed all pieces without keeping intermediate results; then compute the gradients of their embeddings from
        the loss; then run each piece again, to pass its gradients on to the weights.
        """
        states, embeds = [], []
        for batch in batches:
            states.append(self._random_state())
            embeds.append(self._encode(batch))
        loss, gradients, total = self._head(embeds)
        for batch, state, of_embeds in zip(batches, states, gradients, strict=True):
            self._set_random_state(state)  # repeats the dropout
            total = self._hand_on(batch, of_embeds, total)
        return self._total((loss, total))

    def _head_gradients(self, embeds: list[list[tf.Tensor]]) -> tuple[tf.Tensor, list[Any], list[tf.Tensor]]:
        """Return the loss, and its gradients with respect to the embeddings of each piece and the weights it uses."""
        sizes = [tf.shape(images)[0] for images, _ in embeds]
        images, texts = (tf.concat(parts, axis=0) for parts in zip(*embeds, strict=True))
        with tf.GradientTape() as tape:
            tape.watch((images, texts))
            loss = self._loss(images, texts)
        of_embeds, direct = tape.gradient(loss, ((images, texts), self._watched()))
        of_pieces = zip(*(tf.split(gradient, sizes) for gradient in of_embeds), strict=True)
        return loss, [list(gradients) for gradients in of_pieces], self._dense(direct)

    def _piece_gradients(
        self, batch: Mapping[str, tf.Tensor], of_embeds: list[tf.Tensor], total: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Add the gradients of a piece to the total."""
        with tf.GradientTape() as tape:
            embeds = self._embeds(batch)
        gradients = self._dense(tape.gradient(embeds, self._watched(), output_gradients=of_embeds))
        return [tf.add(*pair) for pair in zip(total, gradients, strict=True)]

    def _embeds(self, batch: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Embed images and texts in the joint space, with unit norm, in float32."""
        images = self.model.get_image_features(batch["pixel_values"], training=True)
        texts = self.model.get_text_features(batch["input_ids"], batch.get("attention_mask"), training=True)
        return [unit_norm(images), unit_norm(texts)]

    def _loss(self, images: tf.Tensor, texts: tf.Tensor) -> tf.Tensor:
        scale, chunk = tf.exp(self.model.logit_scale.value), self.settings.loss_chunk
        if self.replicas.count > 1:
            return gathered_loss(images, texts, scale, chunk)
        if chunk is not None:
            return chunked_clip_loss(texts, images, scale, chunk)
        return clip_loss(tf.matmul(texts, images, transpose_b=True) * scale)

    def _update_everywhere(self, gradients: list[tf.Tensor], scale: tf.Tensor) -> None:
        if self.replicas.count == 1:
            self._update(gradients, scale)
        else:  # Keras sums over the replicas, whose values are equal
            self.strategy.run(self._update, args=(gradients, scale / self.replicas.count))

    def _update(self, gradients: list[tf.Tensor], scale: tf.Tensor) -> None:
        self.optimizer.apply([gradient * scale for gradient in gradients], self.variables)

    def _random_state(self) -> list[np.ndarray]:
        return [seeds.state.value.numpy() for seeds in self._seeds]

    def _set_random_state(self, states: list[np.ndarray]) -> None:
        for seeds, state in zip(self._seeds, states, strict=True):
            seeds.state.assign(state)

    def _watched(self) -> list[tf.Variable]:
        return [variable.value for variable in self.variables]

    def _dense(self, gradients: list[Any]) -> list[tf.Tensor]:
        """Return gradients as tensors. Those of embedding tables are IndexedSlices, and missing ones become zero."""
        return [
            tf.zeros_like(variable.value) if gradient is None else tf.convert_to_tensor(gradient)
            for variable, gradient in zip(self.variables, gradients, strict=True)
        ]

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
        return {name: found.entry() for name, found in self._moments().items()}

    def load_optimizer_state(self, moments: Mapping[str, np.ndarray], steps: int) -> None:
        """Set the moments and the number of steps."""
        for name, found in self._moments().items():
            if name in moments:
                found.assign(moments[name])
        self.optimizer.iterations.assign(steps)

    def _moments(self) -> dict[str, Any]:
        kinds = {"exp_avg": self.optimizer._momentums, "exp_avg_sq": self.optimizer._velocities}  # noqa: SLF001
        return {
            f"{kind}.{name}": found._replace(variable=variable)
            for kind, variables in kinds.items()
            for (name, found), variable in zip(self.trained.items(), variables, strict=True)
        }
