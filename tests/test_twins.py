"""The three backends are twins: the same files, classes, functions and parameters, by the same names.

Permitted differences are listed below, each with its reason.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BACKENDS = ("clip_torch", "clip_tf", "clip_flax")
TWINS = (
    "plan",
    "attention",
    "layers",
    "text",
    "vision",
    "model",
    "loss",
    "base",
    "pretrained",
    "trace",
    "training",
    "explain",
    "backend",
)

# The method behind `model(...)`.
CALLS = {"clip_torch": "forward", "clip_tf": "call", "clip_flax": "__call__"}
# Arguments specific to a framework: a mode in Keras; in Flax a mode, parameters and keys.
OWN_PARAMETERS = {
    "clip_torch": set(),
    "clip_tf": {"training", "dropout_seed"},
    "clip_flax": {"train", "params", "dropout_rng"},
}

# Definitions that not every backend has, by file and reason.
ONLY_SOMEWHERE = {
    "plan": {
        "PyTorch prepares a model for inference, which runs a batch in parts": {"AttentionPlan.of_rows"},
        "PyTorch leaves out a mask that hides nothing": {"_causal_plan"},
        "only PyTorch has FlashAttention 2": {"_unpadded_plan"},
    },
    "attention": {
        "only PyTorch has FlashAttention 2": {"flash_attention"},
        "JAX does not choose cuDNN's kernel by itself": {"_fits_cudnn"},
        "PyTorch passes a rate to the kernels that drop weights": {"CLIPAttention._dropout"},
    },
    "layers": {
        "tf.nn.gelu rounds its constants to float32": {"gelu", "gelu_tanh"},
        "hooks of PyTorch attach to modules": {"Activation", "Activation.call", "Activation.extra_repr"},
        "TensorFlow recomputes a layer with a seed drawn outside": {"CLIPEncoder._dropout_seed"},
    },
    "text": {
        "only PyTorch packs the tokens of a part": {"CLIPTextTransformer._packed"},
        "PyTorch's embedding refuses unknown ids by itself": {"CLIPTextEmbeddings.check_ids"},
        "Flax reads values before a call is compiled, and trims the batch there": {
            *("CLIPTextTransformer.check_ids", "CLIPTextTransformer.trimmed", "CLIPTextTransformer.pooled"),
        },
        "Flax compiles a separate method, not the one that is called": {"_TextModel.forward"},
        "tf.argmax does not guarantee the first": {"_first"},
    },
    "vision": {
        "Keras creates a layer's own weights in `build`": {"CLIPVisionEmbeddings.build"},
        "Keras fits a model with its own loss": {"CLIPForImageClassification.own_loss"},
        "Flax compiles a separate method, not the one that is called": {
            *("_VisionModel.forward", "CLIPForImageClassification.forward"),
        },
    },
    "model": {
        "Keras fits a model with its own loss": {"CLIPModel.own_loss"},
        "Flax compiles other methods than those that are called": {
            *("CLIPModel.text_features", "CLIPModel.image_features", "CLIPModel.forward"),
        },
    },
    "loss": {
        "each framework defines gradients in its own way": {
            *("_ChunkedClipLoss", "_ChunkedClipLoss.call", "_ChunkedClipLoss.backward"),
            *("_chunked_forward", "_chunked_backward", "_split"),
        },
        "PyTorch has one that ignores labels": {"cross_entropy"},
    },
    "base": {
        "a PyTorch model has a dtype, a device and a mode": {
            *("CLIPBaseModel.dtype", "CLIPBaseModel.device", "CLIPBaseModel.train", "CLIPBaseModel._apply"),
        },
        "PyTorch alone prepares a model for inference": {"CLIPBaseModel.prepare_for_inference"},
        "adapters are PyTorch's": {
            *("CLIPBaseModel.enable_input_require_grads", "CLIPBaseModel.disable_input_require_grads"),
        },
        "torch.utils.checkpoint has keywords": {"CLIPBaseModel.gradient_checkpointing_enable"},
        "methods that Keras calls": {
            *("CLIPBaseModel.build", "CLIPBaseModel.__call__", "CLIPBaseModel.own_loss", "CLIPBaseModel.export"),
            *("CLIPBaseModel.compute_loss", "CLIPBaseModel.compute_metrics", "CLIPBaseModel._main_output"),
            *("CLIPBaseModel.get_config", "CLIPBaseModel.from_config", "CLIPBaseModel.__dir__"),
        },
        "Keras locks a layer, whose sublayers are exchanged": {"CLIPBaseModel.set_input_embeddings"},
        "subclasses in PyTorch draw and tie weights by methods of these names": {
            *("CLIPBaseModel.post_init", "CLIPBaseModel.init_weights", "CLIPBaseModel._init_weights"),
            *("CLIPBaseModel._initialize", "CLIPBaseModel.tie_weights"),
        },
        "PyTorch creates a model in a dtype": {"CLIPBaseModel._from_config"},
        "transformers' TensorFlow models hold a main layer": {"ItsOwn", "ItsOwn.__get__"},
        "Flax's variables include random keys": {"CLIPBaseModel._held"},
    },
    "trace": {"Flax nests parameters": {"_canonical"}},
    "explain": {
        "JAX differentiates functions of probes, and compiles them": {
            *("ProbedLayers.probes", "_logit_gradients", "_layer_gradients"),
        },
        "PyTorch and TensorFlow record probes in a run": {"ProbedLayers.attention"},
        "in JAX a run returns them": {"_attention"},
    },
    "backend": {
        "PyTorch moves arrays to a device; TensorFlow runs graphs": {
            *("ModelEncoder._on_device", "ModelEncoder._image_embeds", "ModelEncoder._text_embeds"),
        },
        "PyTorch prepares a copy of a model for inference": {"_copied"},
    },
}
# Only the public definitions of these are the same: the rest depends on how a framework trains.
PUBLIC_ALONE = ("training",)
# Constructors: Keras and Flax create the parts in `setup`, and the weights after or before it.
CONSTRUCTORS = ("__init__", "setup")

# Parameters that differ beside those of a framework's own, by definition.
OTHER_PARAMETERS = {
    "causal_bias": "PyTorch takes the device from a tensor, beside the dtype",
    "ProbedLayers.run": "a tape of TensorFlow watches the probes, and JAX takes them",
    "_resized": "a table in PyTorch and Flax, a layer in Keras",
    "CLIPModel.get_text_features": "transformers' choice, which a call has to take",
    "CLIPModel.get_image_features": "likewise",
    "CLIPBaseModel.get_memory_footprint": "buffers are PyTorch's",
    "CLIPPreTrainedModel.from_pretrained": "transformers' own keywords",
    "CLIPPreTrainedModel.save_pretrained": "likewise",
}


def definitions(backend: str, file: str) -> dict[str, set[str]]:
    """Return each class, function and method of a file with the names of its parameters."""
    found: dict[str, set[str]] = {}
    for node in ast.parse((ROOT / backend / f"{file}.py").read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = parameters(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = set()
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            named = {"call" if part.name == CALLS[backend] else part.name: part for part in methods}
            found |= {f"{node.name}.{name}": parameters(part) for name, part in named.items()}
    return {name: names - OWN_PARAMETERS[backend] for name, names in found.items() if not is_constructor(name)}


def parameters(function: ast.FunctionDef) -> set[str]:
    arguments = function.args
    named = {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    starred = {
        f"{stars}{argument.arg}" for stars, argument in (("*", arguments.vararg), ("**", arguments.kwarg)) if argument
    }
    return (named | starred) - {"self"}


def is_constructor(name: str) -> bool:
    return name.rpartition(".")[2] in CONSTRUCTORS


def counted(name: str, file: str) -> bool:
    return file not in PUBLIC_ALONE or not any(part.startswith("_") for part in name.split("."))


def differing(file: str) -> set[str]:
    """Return the shared definitions of a file whose parameters differ."""
    torch, tf, flax = (definitions(backend, file) for backend in BACKENDS)
    shared = [name for name in torch if name in tf and name in flax and counted(name, file)]
    return {name for name in shared if not torch[name] == tf[name] == flax[name]}


@pytest.mark.parametrize("file", TWINS)
def test_twins_define_the_same(file):
    twins = [set(definitions(backend, file)) for backend in BACKENDS]
    somewhere = {name for name in set.union(*twins) - set.intersection(*twins) if counted(name, file)}
    assert somewhere == set().union(*ONLY_SOMEWHERE.get(file, {}).values())


def test_twins_name_their_parameters_alike():
    assert set().union(*map(differing, TWINS)) == OTHER_PARAMETERS.keys()


# Names that a package declares for its users beside those of the others, by reason.
PUBLIC_SOMEWHERE = {
    "libraries that demand transformers' own classes are PyTorch's, and so is transformers 5; variables of its Keras 2 "
    "and arrays of its Linen models cannot be shared with ours": {"to_transformers", "from_transformers"},
    "transformers has these bases in Flax alone": {"CLIPTextPreTrainedModel", "CLIPVisionPreTrainedModel"},
    "Flax has two interfaces: each model is a module of NNX, and has one of Linen": {
        *("CLIPModule", "CLIPTextModule", "CLIPTextModelWithProjectionModule", "CLIPVisionModule"),
        *("CLIPVisionModelWithProjectionModule", "CLIPForImageClassificationModule"),
    },
}


def declared(backend: str) -> set[str]:
    """Return the names in a package's `__all__`, without the prefixes of transformers' classes."""
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / backend / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return {name.removeprefix("TF").removeprefix("Flax") for name in names}


def test_twins_declare_the_same_names():
    torch, tf, flax = map(declared, BACKENDS)
    assert (torch | tf | flax) - (torch & tf & flax) == set().union(*PUBLIC_SOMEWHERE.values())


def models_of(backend: str) -> dict[str, ast.ClassDef]:
    """Return the model classes of a backend, and the classes between them and their base."""
    files = [ROOT / backend / f"{file}.py" for file in ("text", "vision", "model")]
    classes = [node for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)]
    found: dict[str, ast.ClassDef] = {}
    for node in classes:  # a base comes before the classes that derive from it
        if {ast.unparse(base) for base in node.bases} & {"CLIPPreTrainedModel", *found}:
            found[node.name] = node
    return found


def test_flax_models_are_created_and_run_in_one_place():
    models = models_of("clip_flax")
    assert len([name for name in models if not name.startswith("_")]) == 6
    for node in models.values():
        assert not {part.name for part in node.body if isinstance(part, ast.FunctionDef)} & {"__init__", "_run"}
    nodes = [
        (file.stem, node)
        for file in (ROOT / "clip_flax").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
    ]
    assert [stem for stem, node in nodes if isinstance(node, ast.FunctionDef) and node.name == "_run"] == ["functional"]


@pytest.mark.parametrize("package", BACKENDS)
def test_queries_that_see_no_key_are_zeroed_for_a_reason_in_one_place(package):
    attention = ast.parse((ROOT / package / "attention.py").read_text())
    using = [
        node for node in ast.walk(attention) if isinstance(node, ast.Assign) and "keyless" in ast.unparse(node.value)
    ]
    assert [ast.unparse(node.targets[0]) for node in using] == ["query"]
    for file in ("plan", "attention"):
        told = ast.get_docstring(ast.parse((ROOT / package / f"{file}.py").read_text()))
        assert "`clip_core.modeling.attention`" in told
