"""Public members of classes of either library, with their values or results; see `support.oracle`."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# Prefix of a framework's model classes -> the classes that transformers has.
MODELS = {
    "": [
        *("CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel"),
        *("CLIPVisionModelWithProjection", "CLIPForImageClassification"),
    ],
    "TF": ["CLIPModel", "CLIPTextModel", "CLIPVisionModel"],
    "Flax": ["CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel"],
}
FLAGS = [
    *("_no_split_modules", "_tp_plan", "_pp_plan", "_ep_plan", "_tp_size", "_keep_in_fp32_modules", "_auto_class"),
    *("_keep_in_fp32_modules_strict", "_skip_keys_device_placement", "_tied_weights_keys", "_is_stateful"),
    *("_supports_sdpa", "_supports_flash_attn", "_supports_flex_attn", "_supports_attention_backend"),
    *("_can_compile_fullgraph", "_can_record_outputs", "_checkpoint_conversion_mapping", "_keys_to_ignore_on_save"),
    *("_hf_peft_config_loaded", "_processor_class", "_commit_hash", "_attn_implementation"),
]
MASK = [[1, 1, 0], [1, 0, 0]]
ROWS = {"input_ids": [[1], [2, 3]]}
# Methods -> the arguments of their calls; "tensor" stands for a tensor of PyTorch.
CALLS: dict[str, list[dict[str, Any]]] = {
    "can_generate": [{}],
    "create_extended_attention_mask_for_decoder": [{"input_shape": (2, 3), "attention_mask": "tensor"}],
    "estimate_tokens": [{"input_dict": {"input_ids": "tensor"}}],
    "floating_point_ops": [{"input_dict": {"input_ids": "tensor"}}],
    "get_extended_attention_mask": [{"attention_mask": "tensor", "input_shape": (2, 3)}],
    "get_head_mask": [{"head_mask": None, "num_hidden_layers": 2}],
    "get_memory_footprint": [{}, {"return_buffers": False}],
    "get_output_embeddings": [{}],
    "invert_attention_mask": [{"encoder_attention_mask": "tensor"}],
    "num_parameters": [{}, {"only_trainable": True}],
    "tie_weights": [{}],
    # Configurations
    "get_text_config": [{}, {"decoder": True}],
    # Tokenizers
    "build_inputs_with_special_tokens": [{"token_ids_0": [5, 6]}, {"token_ids_0": [5], "token_ids_1": [6]}],
    "clean_up_tokenization": [{"out_string": "I 'm here , do n't ."}],
    "convert_ids_to_tokens": [{"ids": [1, 2]}, {"ids": 3}],
    "convert_tokens_to_ids": [{"tokens": ["a</w>", "none"]}],
    "create_token_type_ids_from_sequences": [{"token_ids_0": [5, 6], "token_ids_1": [7]}],
    "decode": [{"token_ids": [1, 2, 3]}],
    "encode": [{"text": "the cat"}, {"text": "a", "text_pair": "cat"}],
    "encode_plus": [{"text": "the cat", "return_special_tokens_mask": True}],
    "batch_encode_plus": [{"batch_text_or_text_pairs": ["the", "a cat"], "padding": True}],
    "get_added_vocab": [{}],
    "get_vocab": [{}],
    "num_special_tokens_to_add": [{}, {"pair": True}],
    "pad": [{"encoded_inputs": ROWS}, {"encoded_inputs": ROWS, "padding": "max_length", "max_length": 3}],
    "prepare_for_model": [{"ids": [5, 6, 7], "max_length": 4, "truncation": True}],
    "prepare_for_tokenization": [{"text": "the cat"}],
    "tokenize": [{"text": "the cat"}],
    # Processors
    "post_process_image_text_to_text": [{"generated_outputs": [[1, 2]]}],
    "to_dict": [{}],
}


def members(prefix: str, folder: str) -> dict[str, dict[str, Any]]:
    """Return the members of the reference's classes."""
    import torch  # noqa: F401  before TensorFlow, which crashes otherwise
    import transformers
    from transformers import CLIPModel  # noqa: F401

    things = instances(transformers, prefix, folder)
    return {name: {one: fact(thing, one) for one in names(thing)} for name, thing in things.items()}


def instances(library: Any, prefix: str, folder: str) -> dict[str, Any]:
    """Return an object of each class of a library, by the name of the class: the models of a framework, or others."""
    config = library.CLIPConfig.from_pretrained(folder)
    if prefix != "others":
        whole = ("CLIPModel", "CLIPForImageClassification")
        made = {}
        for name in MODELS[prefix]:
            part = config if name in whole else config.text_config if "Text" in name else config.vision_config
            shape: Any = (1, part.image_size, part.image_size, 3) if hasattr(part, "image_size") else (1, 1)
            shape = ((1, 1), (1, *[config.vision_config.image_size] * 2, 3)) if name in whole else shape
            made[name] = getattr(library, prefix + name)(part, **{"input_shape": shape} if prefix == "Flax" else {})
            if prefix == "TF":
                made[name].build_in_name_scope()
        return made
    tokenizers = {
        name: getattr(library, name).from_pretrained(folder) for name in ("CLIPTokenizer", "CLIPTokenizerFast")
    }
    images = library.CLIPImageProcessor()
    processor = library.CLIPProcessor(images, tokenizers["CLIPTokenizerFast"])
    configs = [config, config.text_config, config.vision_config]
    others = [*configs, images, processor, tokenizers["CLIPTokenizerFast"]("the cat")]
    return {type(one).__name__: one for one in others} | tokenizers


def names(thing: Any) -> list[str]:
    """Return the public names that the reference's classes define, and the flags that other libraries read."""
    modules = {one: one.__module__.partition(".")[0] for one in type(thing).__mro__}
    found = {name for one, module in modules.items() if module == "transformers" for name in vars(one)}
    keras = {name for one, module in modules.items() if module == "tf_keras" for name in vars(one)}
    found = found - keras if keras else found | vars(thing).keys()  # Keras 3 has other methods of the same names
    public = sorted(name for name in found if not name.startswith("_") and hasattr(thing, name))
    return [*public, *(name for name in FLAGS if "torch" in modules.values() and hasattr(thing, name))]


def fact(thing: Any, name: str) -> Any:
    """Return a plain value; the arguments of a method and its results; or the type of anything else."""
    value = getattr(thing, name)
    if not callable(value) or isinstance(value, type):
        return (plain(value) or None) if name in FLAGS else plain(value)  # an empty plan is no plan
    parameters = inspect.signature(value).parameters.values() if inspect.isroutine(value) else ()
    arguments = [one.name for one in parameters if one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}]
    calls = [] if hasattr(thing, "to_diff_dict") and name == "to_dict" else CALLS.get(name, [])
    return {"arguments": arguments, "results": [plain(value(**made(arguments))) for arguments in calls]}


def made(arguments: Any) -> Any:
    """Return arguments with tensors in place of their names."""
    import torch

    if isinstance(arguments, dict):
        return {name: made(value) for name, value in arguments.items()}
    return torch.tensor(MASK) if isinstance(arguments, str) and arguments == "tensor" else arguments


def plain(value: Any) -> Any:
    """Return a value that either library can have: numbers, texts and their collections; else a description."""
    value = value.value if isinstance(value, Enum) else value
    found: Any = f"<{type(value).__name__}>"
    if isinstance(value, type):
        found = value.__name__
    elif value is None or isinstance(value, (bool, int, float, str)):
        found = value
    elif hasattr(value, "items") and not hasattr(value, "to_diff_dict"):  # a configuration is described
        found = {str(key): plain(one) for key, one in value.items()}
    elif isinstance(value, (list, tuple, set)):
        items = [plain(one) for one in value]
        found = sorted(items, key=str) if isinstance(value, set) else items
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        found = f"{tuple(value.shape)} {value.dtype}"
    elif hasattr(value, "itemsize") or type(value).__name__ == "AddedToken":
        found = str(value)
    return found


def write_folder(folder: Path) -> None:
    """Write the configuration and the tokenizer from which both libraries make their objects."""
    from clip_core.tokenization import CLIPTokenizerFast
    from support.configs import tiny_config
    from support.vocabulary import write_vocabulary

    config = tiny_config({}, {"num_channels": 3})
    config.save_pretrained(folder)
    CLIPTokenizerFast(**write_vocabulary(folder), model_max_length=19).save_pretrained(folder)
