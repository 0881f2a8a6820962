"""Members of transformers' classes, live: ours have the same names, values, arguments and results."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from support.oracle_members import fact, instances, write_folder

PAGE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text()
PACKAGES = {"": "clip_torch", "TF": "clip_tf", "Flax": "clip_flax", "others": "clip_core"}
OF_ALL = {"register_for_auto_class"}
OF_GENERATION = {"generate", "prepare_inputs_for_generation"}
OF_TOKENIZERS = OF_ALL | {
    *("as_target_tokenizer", "convert_added_tokens", "encode_message_with_chat_template", "prepare_seq2seq_batch"),
    *("pretrained_vocab_files_map", "sanitize_special_tokens", "save_chat_templates", "slow_tokenizer_class"),
    "truncate_sequences",
}
OF_CONFIGURATIONS = OF_ALL | {"dict_dtype_to_str", "from_text_audio_configs"}
# The prefix of a framework, or a class -> the members that ours lacks, which docs/migration.md explains.
MISSING = {
    "": OF_ALL
    | {
        *("active_adapters", "add_adapter", "delete_adapter", "disable_adapters", "enable_adapters", "load_adapter"),
        *("get_adapter_state_dict", "set_adapter", "add_model_tags", "get_position_embeddings", "get_init_context"),
        *("resize_position_embeddings", "kernelize", "dequantize", "to_bettertransformer", "reverse_bettertransformer"),
        *("get_compiled_call", "get_decoder", "set_decoder", "loss_function"),
        *("set_output_embeddings", "tie_embeddings_and_encoder_decoder", "add_memory_hooks", "initialize_weights"),
        *("reset_memory_hooks_state", "retrieve_modules_from_names", "is_backend_compatible"),
        *("get_correct_attn_implementation", "warn_if_padding_and_no_attention_mask"),
    },
    "TF": OF_ALL
    | OF_GENERATION
    | {
        *("beam_search", "compute_transition_scores", "contrastive_search", "greedy_search", "sample", "get_head_mask"),
        *("create_model_card", "get_label_to_output_name_mapping", "seed_generator", "supports_xla_generation"),
    },
    "Flax": OF_ALL | OF_GENERATION | {"load_flax_sharded_weights", "load_flax_weights"},
    "CLIPConfig": OF_CONFIGURATIONS,
    "CLIPTextConfig": OF_CONFIGURATIONS | {"from_text_vision_configs"},
    "CLIPVisionConfig": OF_CONFIGURATIONS | {"from_text_vision_configs"},
    "CLIPImageProcessor": OF_ALL,
    "CLIPProcessor": OF_ALL | {"apply_chat_template", "check_argument_for_proper_class", "get_possibly_dynamic_module"},
    "CLIPTokenizer": OF_TOKENIZERS | {"cache", "fix_text", "tokens_trie", "total_vocab_size"},
    "CLIPTokenizerFast": OF_TOKENIZERS | {"can_save_slow_tokenizer", "set_truncation_and_padding"},
    "BatchEncoding": set(),
}
# The same -> members with other values on purpose.
DIFFERENT = {
    "": {
        *("dummy_inputs", "_supports_flash_attn", "_supports_flex_attn", "_supports_attention_backend"),
        "warnings_issued",  # names the warnings that the calls here have logged
    },
    "Flax": {"base_model_prefix"},
    "CLIPProcessor": {"valid_processor_kwargs"},
    "CLIPTokenizer": {"init_kwargs"},
    "CLIPTokenizerFast": {"init_kwargs"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("members")
    write_folder(folder)
    return folder


def takes(thing, name, arguments):
    """Return the arguments, without those that a method of ours does not take."""
    parameters = inspect.signature(getattr(thing, name)).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return [one for one in arguments if takes_all or one in parameters]


@pytest.mark.filterwarnings("ignore:feature_extractor:FutureWarning")  # reads deprecated members, too
@pytest.mark.parametrize("prefix", PACKAGES)
def test_members_are_those_of_the_reference(oracle, folder, prefix):
    expected = oracle("oracle_members.members", prefix=prefix, folder=str(folder))
    things = instances(importlib.import_module(PACKAGES[prefix]), prefix, str(folder))
    assert things.keys() == expected.keys()
    for class_name, members in expected.items():
        group = class_name if prefix == "others" else prefix
        thing, missing = things[class_name], MISSING[group]
        assert {name for name in members if not hasattr(thing, name)} == missing, class_name
        for name, theirs in members.items():
            if name in missing | DIFFERENT.get(group, set()):
                continue
            ours = fact(thing, name)
            if isinstance(theirs, dict) and "arguments" in theirs:
                assert ours["results"] == theirs["results"], (class_name, name)
                assert takes(thing, name, theirs["arguments"]) == theirs["arguments"], (class_name, name)
            else:
                assert ours == theirs, (class_name, name)


@pytest.mark.parametrize("group", MISSING)
def test_the_page_explains_what_is_missing(group):
    assert {name for name in MISSING[group] if f"`{name}`" not in PAGE} == set()
