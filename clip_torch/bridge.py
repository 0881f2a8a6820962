"""Conversion to and from transformers' own classes, for libraries that check for them with `isinstance`.

A model and its counterpart share their parameters. Configurations, tokenizers and processors have no tensors; they are
copied through files that both libraries can read.
"""

from __future__ import annotations

import json
import re
import warnings
from contextlib import nullcontext
from itertools import takewhile
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch

import clip_core
from clip_core.hub.files import scratch_folder
from clip_torch.model import CLIPModel
from clip_torch.text import CLIPTextModel, CLIPTextModelWithProjection
from clip_torch.vision import CLIPForImageClassification, CLIPVisionModel, CLIPVisionModelWithProjection

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

_MODELS = {
    model_class.__name__: model_class
    for model_class in (
        CLIPModel,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPVisionModel,
        CLIPVisionModelWithProjection,
        CLIPForImageClassification,
    )
}
_CONFIGS = ("CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig")
_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
# transformers 5 has one image processor on Pillow, with the same values as ours, and one on torchvision.
_IMAGE_PROCESSORS = ("CLIPImageProcessor", "CLIPImageProcessorPil", "CLIPImageProcessorFast")
_KNOWN = (*_MODELS, *_CONFIGS, *_TOKENIZERS, *_IMAGE_PROCESSORS, "CLIPProcessor")

_METHODS = (FunctionType, classmethod, staticmethod, property)
_OURS = ("clip_core", "clip_torch")
_OLDEST, _TOO_NEW = (4, 57), (6, 0)
_TOWERS = ("text_model", "vision_model")


def to_transformers(thing: Any) -> Any:
    """Return the counterpart in transformers of a model, configuration, tokenizer, image processor or processor.

    A model and its counterpart share their parameters, so training one trains the other. The counterpart also has the
    same training modes, attention implementation and gradient checkpointing. Hooks are not copied, nor are methods that
    a subclass overrides; a warning names them.

    Args:
        thing: an object of one of our classes.

    Returns:
        An object of transformers' class of the same name; for an image processor, of `CLIPImageProcessorPil` if
        transformers has it.

    Raises:
        ImportError: transformers is not installed, or is an unsupported release.
        TypeError: transformers has no such class.
        ValueError: the counterpart does not support a feature of the object.
    """
    library = _transformers()
    name = _known_class(thing, _OURS)
    _warn_of_overrides(thing, _OURS, f"transformers' {name}")
    if name in _MODELS:
        _check_plain(thing)
        with _undrawn(library):
            return _sharing(thing, lambda: getattr(library, name)(_config_to(library, thing.config)))
    if name in _CONFIGS:
        return _config_to(library, thing)
    if name == "CLIPProcessor":
        return library.CLIPProcessor(to_transformers(thing.image_processor), to_transformers(thing.tokenizer))
    if name in _IMAGE_PROCESSORS:
        return _through_files(thing, getattr(library, "CLIPImageProcessorPil", library.CLIPImageProcessor))
    tokenizer = _through_files(thing, getattr(library, name))
    if (thing.clean == "openai") and not _cleans_as_openai(tokenizer):
        raise ValueError(
            f"clean='openai' is not available in transformers' {name}; transformers 4.57's CLIPTokenizer cleans texts "
            "in this way if ftfy is installed"
        )
    return tokenizer


def from_transformers(thing: Any) -> Any:
    """Return our counterpart of transformers' model, configuration, tokenizer, image processor or processor.

    A model and its counterpart share their parameters, so training one trains the other. The counterpart also has the
    same training modes, attention implementation and gradient checkpointing. Hooks are not copied, nor are methods that
    a subclass overrides; a warning names them.

    Args:
        thing: an object of one of transformers' CLIP classes.

    Returns:
        An object of our class of the same name; for any tokenizer on the `tokenizers` library, of `CLIPTokenizerFast`.

    Raises:
        ImportError: transformers is not installed, or is an unsupported release.
        TypeError: we have no such class.
        ValueError: the counterpart does not support a feature of the object.
    """
    _transformers()
    name = _known_class(thing, ("transformers.models.clip",))
    _warn_of_overrides(thing, ("transformers",), f"clip_torch's {name}")
    if name in _MODELS:
        return _sharing(thing, lambda: _MODELS[name](_config_from(thing.config, _MODELS[name].config_class)))
    if name in _CONFIGS:
        return _config_from(thing, getattr(clip_core, name))
    if name == "CLIPProcessor":
        return clip_core.CLIPProcessor(from_transformers(thing.image_processor), from_transformers(thing.tokenizer))
    if name in _IMAGE_PROCESSORS:
        return _through_files(thing, clip_core.CLIPImageProcessor)
    if thing.is_fast:
        return _through_files(thing, clip_core.CLIPTokenizerFast)
    return _through_files(thing, clip_core.CLIPTokenizer, clean="openai" if _cleans_as_openai(thing) else "hf")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "the bridge needs transformers, which cannot be imported: pip install transformers"
        ) from error
    release = tuple(int(number) for number in re.findall(r"\d+", transformers.__version__)[:2])
    if not _OLDEST <= release < _TOO_NEW:
        raise ImportError(
            f"transformers {transformers.__version__} is installed; the bridge works with 4.57 and newer, before 6"
        )
    return transformers


def _known_class(thing: Any, packages: tuple[str, ...]) -> str:
    """Return the name of the first class of an object that the bridge knows; the object may be of a user's subclass."""
    for one in type(thing).__mro__:
        if one.__name__ in _KNOWN and one.__module__.startswith(packages):
            return one.__name__
    found = f"{type(thing).__module__}.{type(thing).__qualname__}"
    raise TypeError(
        f"{found} is not a CLIP model, configuration, tokenizer or processor of {packages[-1].partition('.')[0]}; "
        f"the bridge takes {', '.join(_KNOWN)}. Unwrap a wrapped model, and merge or unload adapters, first"
    )


def _warn_of_overrides(thing: Any, packages: tuple[str, ...], target: str) -> None:
    """Warn of methods that classes outside of the libraries override in an object or a module of it."""
    lost: dict[str, None] = {}
    for part in thing.modules() if isinstance(thing, torch.nn.Module) else [thing]:
        mro = type(part).__mro__
        own = list(takewhile(lambda one: one.__module__.partition(".")[0] not in {*packages, "torch"}, mro))
        for one in own:
            names = [name for name, value in vars(one).items() if isinstance(value, _METHODS)]
            lost |= {f"{one.__name__}.{name}": None for name in names if _overrides(name, mro[len(own)])}
    if lost:
        warnings.warn(f"{target} does not take over the overridden methods {', '.join(lost)}", stacklevel=3)


def _overrides(name: str, base: type[Any]) -> bool:
    return hasattr(base, name) and (not name.startswith("__") or name == "__call__")


# Models


def _check_plain(model: Any) -> None:
    """Check that a model has no changes that transformers' CLIP does not support."""
    if model._is_prepared:  # noqa: SLF001  our own
        raise ValueError("the model was prepared for inference; load it again and pass the new one")
    config = model.config
    if any(part.pruned_heads for part in (config, *(getattr(config, key) for key in config.sub_configs))):
        raise ValueError("heads of the model were pruned; transformers' CLIP does not support pruned heads")


def _undrawn(library: Any) -> Any:
    """Return a context in which transformers does not draw weights; this takes time and imports PyTorch's compiler."""
    for place in ("initialization", "modeling_utils"):  # in transformers 5 and 4
        module: Any = getattr(library, place, None)
        if hasattr(module, "no_init_weights"):
            return module.no_init_weights()
    return nullcontext()


def _sharing(source: Any, make: Callable[[], Any]) -> Any:
    """Create a model with another model's parameters and training modes."""
    with torch.device("meta"):
        target = make()
    rename = _renaming(source, target)
    parameters = {rename(name): parameter for name, parameter in source.named_parameters()}
    _check_fit(parameters, dict(target.named_parameters()), type(target).__name__)
    for name, parameter in parameters.items():
        module, _, own_name = name.rpartition(".")
        setattr(target.get_submodule(module), own_name, parameter)
    _place_positions(target)
    modes = {rename(name): module.training for name, module in source.named_modules()}
    for name, module in target.named_modules():
        module.training = modes.get(name, source.training)
    if any(getattr(module, "gradient_checkpointing", False) for module in source.modules()):
        target.gradient_checkpointing_enable({"use_reentrant": False})
    target.config.dtype = source.dtype
    return target


def _renaming(source: nn.Module, target: nn.Module) -> Callable[[str], str]:
    """Return a function that maps the names of one model to those of the other.

    Since transformers 5.17, the names in a tower without a head have no prefix.
    """
    given, wanted = ({name for name, _ in model.named_children()} & {*_TOWERS} for model in (source, target))
    for tower in given - wanted:
        return lambda name: name.removeprefix(tower).removeprefix(".")
    for tower in wanted - given:
        return lambda name: f"{tower}.{name}".removesuffix(".")
    return lambda name: name


def _check_fit(given: dict[str, nn.Parameter], wanted: dict[str, nn.Parameter], class_name: str) -> None:
    shapes, expected = ({name: tuple(one.shape) for name, one in names.items()} for names in (given, wanted))
    faults = [
        f"{name} is {shapes.get(name, 'missing')} instead of {expected.get(name, 'nothing')}"
        for name in sorted(shapes.keys() | expected.keys())
        if shapes.get(name) != expected.get(name)
    ]
    added = ", ".join(sorted(shapes.keys() - expected))
    if added and len(faults) == len(shapes) - len(expected):
        raise ValueError(
            f"the other library's {class_name} has no parameters {added}, which this model adds; remove them, or merge "
            "the adapters, first"
        )
    if faults:
        raise ValueError(
            f"the parameters do not fit the other library's {class_name}, which takes no adapters and "
            "no quantized weights: " + "; ".join(faults)
        )


def _place_positions(model: nn.Module) -> None:
    """Create the position ids of the embeddings. They are not parameters, so they were not shared."""
    for module in model.modules():
        positions = dict(module.named_buffers(recurse=False)).get("position_ids")
        if positions is not None:
            device = next(module.parameters()).device
            numbers = torch.arange(positions.shape[-1], device=device)[None]
            module.register_buffer("position_ids", numbers, persistent=False)


# Configurations


def _config_to(library: Any, config: Any) -> Any:
    """Return transformers' copy of one of our configurations."""
    name = _known_class(config, ("clip_core",))
    return _with_handles(getattr(library, name).from_dict(json.loads(config.to_json_string())), config)


def _config_from(config: Any, config_class: type[Any]) -> Any:
    """Return our copy of one of transformers' configurations."""
    return _with_handles(config_class.from_dict(json.loads(config.to_json_string())), config)


def _with_handles(target: Any, source: Any) -> Any:
    """Copy settings that files do not store from one configuration to another."""
    target.name_or_path = source.name_or_path
    target._attn_implementation = source._attn_implementation  # noqa: SLF001  the name in both libraries
    for key in source.sub_configs:
        tower = getattr(source, key)._attn_implementation  # noqa: SLF001
        getattr(target, key)._attn_implementation = tower  # noqa: SLF001
    return target


# Tokenizers and processors


def _through_files(thing: Any, target_class: Any, **settings: Any) -> Any:
    """Return an object of another class, read from the files that this object writes."""
    with scratch_folder("clip-zoo-bridge-") as folder:
        thing.save_pretrained(folder)
        copy = target_class.from_pretrained(folder, **settings)
    if hasattr(thing, "name_or_path"):
        copy.name_or_path = thing.name_or_path
    return copy


def _cleans_as_openai(tokenizer: Any) -> bool:
    """Return True for transformers' only tokenizer that cleans texts like OpenAI's: the one in Python, with ftfy."""
    return getattr(tokenizer, "fix_text", None) is not None
