"""The models as modules of Linen, Flax's older interface, with transformers' names, arguments and parameters."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen

from clip_flax.initialization import Held
from clip_flax.model import CLIPModel
from clip_flax.text import CLIPTextModel, CLIPTextModelWithProjection
from clip_flax.vision import CLIPForImageClassification, CLIPVisionModel, CLIPVisionModelWithProjection

if TYPE_CHECKING:
    from jax import Array


class _LinenModule(linen.Module):
    """A module that runs a model on the module's own parameters, nested as in `model.params`."""

    config: Any
    dtype: Any = jnp.float32

    model_class: ClassVar[Any]

    def _call_model(self, inputs: dict[str, Any], deterministic: bool, **options: Any) -> Any:
        model = _without_weights(type(self).model_class, Held(self.config), jnp.dtype(self.dtype))
        if self.is_initializing() and "params" not in self.variables:
            for name, value in model.init_weights(self.make_rng("params")).items():
                self.param(name, lambda _key, value=value: value)
        rng = None if deterministic or not self.has_rng("dropout") else self.make_rng("dropout")
        params = self.variables["params"]
        return model(**inputs, params=params, dropout_rng=rng, train=not deterministic, **options)


@lru_cache(maxsize=16)
def _without_weights(model_class: Any, config: Held, dtype: Any) -> Any:
    with jax.ensure_compile_time_eval():  # the model may outlive the transformation that creates it
        return model_class(config.value, dtype=dtype, _do_init=False)


class _TextModule(_LinenModule):
    @linen.compact  # type: ignore[untyped-decorator]
    def __call__(
        self,
        input_ids: Array,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Encode texts. Arguments and results are those of the model class; `deterministic` disables dropout."""
        return self._call_model(
            {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids},
            deterministic,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )


class FlaxCLIPTextModule(_TextModule):
    """The module of FlaxCLIPTextModel.

    Attributes:
        config: a CLIPTextConfig.
        dtype: dtype of the computation.
    """

    model_class = CLIPTextModel


class FlaxCLIPTextModelWithProjectionModule(_TextModule):
    """The module of FlaxCLIPTextModelWithProjection.

    Attributes:
        config: a CLIPTextConfig.
        dtype: dtype of the computation.
    """

    model_class = CLIPTextModelWithProjection


class _VisionModule(_LinenModule):
    @linen.compact  # type: ignore[untyped-decorator]
    def __call__(
        self,
        pixel_values: Array,
        deterministic: bool = True,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> Any:
        """Encode images. Arguments and results are those of the model class; `deterministic` disables dropout."""
        return self._call_model(
            {"pixel_values": pixel_values},
            deterministic,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )


class FlaxCLIPVisionModule(_VisionModule):
    """The module of FlaxCLIPVisionModel.

    Attributes:
        config: a CLIPVisionConfig.
        dtype: dtype of the computation.
    """

    model_class = CLIPVisionModel


class FlaxCLIPVisionModelWithProjectionModule(_VisionModule):
    """The module of FlaxCLIPVisionModelWithProjection.

    Attributes:
        config: a CLIPVisionConfig.
        dtype: dtype of the computation.
    """

    model_class = CLIPVisionModelWithProjection


class FlaxCLIPForImageClassificationModule(_VisionModule):
    """The module of FlaxCLIPForImageClassification, without labels.

    Attributes:
        config: a CLIPConfig.
        dtype: dtype of the computation.
    """

    model_class = CLIPForImageClassification


class FlaxCLIPModule(_LinenModule):
    """The module of FlaxCLIPModel.

    Attributes:
        config: a CLIPConfig.
        dtype: dtype of the computation.
    """

    model_class = CLIPModel

    @linen.compact  # type: ignore[untyped-decorator]
    def __call__(
        self,
        input_ids: Array | None = None,
        pixel_values: Array | None = None,
        attention_mask: Array | None = None,
        position_ids: Array | None = None,
        deterministic: bool = True,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        """Compare images with texts. Takes the arguments of the model class; `deterministic` disables dropout."""
        return self._call_model(
            {
                "input_ids": input_ids,
                "pixel_values": pixel_values,
                "attention_mask": attention_mask,
                "position_ids": position_ids,
            },
            deterministic,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )


MODULE_CLASSES = (
    FlaxCLIPForImageClassificationModule,
    FlaxCLIPModule,
    FlaxCLIPTextModelWithProjectionModule,
    FlaxCLIPTextModule,
    FlaxCLIPVisionModelWithProjectionModule,
    FlaxCLIPVisionModule,
)

# Model classes are defined before their modules, so the reference back is set here.
for _module_class in MODULE_CLASSES:
    _module_class.model_class.module_class = _module_class
