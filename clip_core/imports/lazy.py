"""Package attributes loaded on first use. Internal."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from clip_core.backends import backend_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def names_on_demand(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package whose names are loaded on first use.

    Args:
        package: the package's `__name__`.
        modules: maps each name to the module that defines it, relative to the package; a module maps to itself.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{modules[name]}")
        return module if modules[name] == name else getattr(module, name)

    return get, lambda: sorted(modules)


_OUTPUT = "read the fields of what a model returns; type(output) is its class"
# Names that CLIP users import from transformers and that the backends lack -> what to use instead.
_ELSEWHERE = {
    "AutoConfig": "use CLIPConfig, CLIPTextConfig or CLIPVisionConfig",
    "AutoFeatureExtractor": "use CLIPImageProcessor",
    "AutoImageProcessor": "use CLIPImageProcessor",
    "AutoModel": "use CLIPModel",
    "AutoModelForImageClassification": "use CLIPForImageClassification",
    "AutoModelForZeroShotImageClassification": "use CLIPModel, or clip_core.ZeroShotClassifier",
    "AutoProcessor": "use CLIPProcessor",
    "AutoTokenizer": "use CLIPTokenizerFast or CLIPTokenizer",
    "BaseImageProcessor": "use CLIPImageProcessor",
    "BaseModelOutput": _OUTPUT,
    "BaseModelOutputWithPooling": _OUTPUT,
    "CLIPOnnxConfig": "export the model with the exporter of its framework",
    "CLIPOutput": _OUTPUT,
    "CLIPTextModelOutput": _OUTPUT,
    "CLIPVisionModelOutput": _OUTPUT,
    "ImageClassifierOutput": _OUTPUT,
    "ModelOutput": _OUTPUT,
    "PreTrainedModel": "use CLIPPreTrainedModel",
    "PreTrainedTokenizer": "use CLIPTokenizer",
    "PreTrainedTokenizerBase": "use CLIPTokenizerFast or CLIPTokenizer",
    "PreTrainedTokenizerFast": "use CLIPTokenizerFast",
    "PretrainedConfig": "use CLIPConfig, CLIPTextConfig or CLIPVisionConfig",
    "ProcessorMixin": "use CLIPProcessor",
    "TensorType": 'use the name of the framework as text, such as return_tensors="pt"',
    "Trainer": "import it from transformers, which trains these models, or use clip-zoo train",
    "TrainingArguments": "import it from transformers, or use clip-zoo train",
    "pipeline": "use clip_core.ZeroShotClassifier, or pass model and processor to transformers' pipeline",
}


def missing_name(package: str, name: str) -> Exception:
    """Return the error for a name that a backend lacks; for a name from transformers, it says what to use instead.

    It is an ImportError because Python replaces the message of an AttributeError in `from package import name`.

    Args:
        package: the backend.
        name: the name.
    """
    # TFCLIPModel, FlaxAutoModel and TFPreTrainedModel begin with the name of the backend that has them.
    kind = re.match(r"(\w+?)(?=CLIP|Auto|PreTrained|BaseModel)", name)
    other = backend_packages().get(kind[0].lower()) if kind else None
    instead = _ELSEWHERE.get(name.removeprefix(kind[0]) if kind else name)
    if instead is None and other not in {None, package}:
        instead = f"import it from {other}"
    if instead is None:
        return AttributeError(f"module {package!r} has no attribute {name!r}")
    return ImportError(f"{package} has no {name}; {instead}", name=package)
