"""The files that a library expects beside the weights, and those of transformers.

A format names its libraries' `Companions` in its row of `converters.formats.FORMATS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import ml_dtypes
import numpy as np

from clip_core.configuration import CLIPConfig
from clip_core.configuration.files import CONFIG_NAME
from clip_core.images.files import PREPROCESSOR_NAME, PROCESSOR_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clip_core.images.processor import CLIPImageProcessor
    from clip_core.modeling.parameters import AnyConfig
    from converters.tensors import TensorEntry

# The dtypes of weights that a configuration can name.
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in ("float32", "float16", "bfloat16", "float64")}


@dataclass
class Description:
    """The description of a checkpoint's model.

    Attributes:
        config: the configuration.
        class_name: the model class.
        origin: the name of the file that the configuration was read from, or FROM_SHAPES of `description.py`.
        preprocessing: the image processor; None if no file states the preprocessing.
    """

    config: AnyConfig
    class_name: str
    origin: str
    preprocessing: CLIPImageProcessor | None


@dataclass(frozen=True)
class Companions:
    """The files that a format's libraries expect beside the weights.

    Attributes:
        texts: returns configuration and preprocessing by file name, given the description, the tensors and the names of
            the libraries.
        tokenizer: "needed" if the libraries read a tokenizer's files, "optional" if they work without them, "none" if
            they have their own tokenizer.
        config_name: the file that states the configuration; None if the libraries derive it from the shapes of the
            weights.
        others: further files that `texts` may return, or that the libraries read in their place.
        config: returns the configuration, given the content of `config_name`; None if the configuration classes read
            that file themselves.
        preprocessing: returns the preprocessing, given that content (None without a file) and the size of the images;
            None if files of transformers state it.
    """

    texts: Callable[[Description, Mapping[str, TensorEntry], str], dict[str, str]]
    tokenizer: Literal["needed", "optional", "none"]
    config_name: str | None
    others: tuple[str, ...] = ()
    config: Callable[[Any], CLIPConfig] | None = None
    preprocessing: Callable[[Any, int], CLIPImageProcessor] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files that describe the model."""
        return self.others if self.config_name is None else (self.config_name, *self.others)


def whole_model(description: Description, libraries: str) -> CLIPConfig:
    """Return the configuration of a CLIPModel.

    Raises:
        ValueError: the description is of another class, which the libraries cannot load.
    """
    if not isinstance(description.config, CLIPConfig) or description.class_name != "CLIPModel":
        raise ValueError(f"{libraries} loads full models only, but the source is a {description.class_name}")
    return description.config


def _texts(description: Description, tensors: Mapping[str, TensorEntry], _: str) -> dict[str, str]:
    config = description.config
    config.architectures = [description.class_name]
    dtypes = {tensor.dtype.name for tensor in tensors.values()}
    config.dtype = dtypes.pop() if len(dtypes) == 1 and dtypes <= DTYPES.keys() else None
    texts = {CONFIG_NAME: config.to_json_string()}
    if description.preprocessing is not None:
        texts[PREPROCESSOR_NAME] = description.preprocessing.to_json_string()
    return texts


TRANSFORMERS_FILES = Companions(
    _texts, tokenizer="needed", config_name=CONFIG_NAME, others=(PREPROCESSOR_NAME, PROCESSOR_NAME)
)
