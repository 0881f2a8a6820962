"""Outputs read like attributes, mappings and tuples, and pass through the compilers of all three frameworks."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig
from clip_core.modeling.outputs import (
    OUTPUT_CLASSES,
    BaseModelOutput,
    BaseModelOutputWithPooling,
    CLIPOutput,
    CLIPTextModelOutput,
    as_asked,
)
from support.messages import naming


@pytest.fixture
def output():
    tower = BaseModelOutputWithPooling(last_hidden_state="states", pooler_output="pooled")
    return CLIPOutput(logits_per_text="texts", image_embeds="images", text_model_output=tower)


def test_a_field_is_read_by_attribute_key_index_and_slice(output):
    assert output.logits_per_text == output["logits_per_text"] == output[0] == "texts"
    assert output[1] == output[:2][1] == "images"
    assert output[-1] == ("states", "pooled")
    assert output[:2] == ("texts", "images")


def test_none_fields_are_skipped_by_every_view_but_the_attribute(output):
    names = ["logits_per_text", "image_embeds", "text_model_output"]
    assert output.loss is None
    assert list(output) == list(output.keys()) == [name for name, _ in output.items()] == names
    assert len(output) == len(output.values()) == len(output.to_tuple()) == 3
    assert "loss" not in output
    assert output.get("loss", 5) == 5
    with pytest.raises(KeyError):
        output["loss"]


def test_an_output_around_another_has_its_fields_and_its_own():
    tower = BaseModelOutputWithPooling(
        last_hidden_state="states", pooler_output="pooled", hidden_states=("embeddings",)
    )
    assert CLIPTextModelOutput.of(tower, text_embeds="texts") == {
        "text_embeds": "texts",
        "last_hidden_state": "states",
        "hidden_states": ("embeddings",),
    }
    assert CLIPTextModelOutput.of(tower, last_hidden_state="other")[0] == "other"
    with pytest.raises(TypeError, match=naming("CLIPTextModelOutput", "'pooled'")):
        CLIPTextModelOutput.of(tower, pooled="pooled")


def test_to_tuple_unfolds_inner_outputs(output):
    assert output.to_tuple() == ("texts", "images", ("states", "pooled"))


def test_it_unpacks_as_keywords_and_into_a_dict(output):
    assert dict(**output) == dict(output) == dict(output.items())


def test_fields_can_be_set_by_key_and_unknown_ones_cannot(output):
    output["loss"] = 1.0
    assert output[0] == output.loss == 1.0
    with pytest.raises(KeyError, match=naming("CLIPOutput", "'los'")):
        output["los"] = 2.0


def test_it_is_an_ordered_dictionary_and_a_dataclass(output):
    assert isinstance(output, OrderedDict)
    assert isinstance(output.text_model_output, dict)
    assert [field.name for field in dataclasses.fields(output)][:2] == ["loss", "logits_per_image"]
    assert dataclasses.asdict(output)["text_model_output"]["pooler_output"] == "pooled"
    assert "loss=None" in repr(output)


def test_a_new_item_takes_its_fields_place_and_none_removes_it(output):
    output.text_embeds = "texts"
    assert list(output) == ["logits_per_text", "text_embeds", "image_embeds", "text_model_output"]
    assert output["text_embeds"] == output[1] == "texts"
    output.text_embeds = None
    assert list(output) == ["logits_per_text", "image_embeds", "text_model_output"]
    assert output.text_embeds is None


def test_attributes_and_items_stay_in_step(output):
    output.image_embeds = 1
    assert output["image_embeds"] == dict(output)["image_embeds"] == 1
    output["image_embeds"] = 2
    assert output.image_embeds == 2
    output.note = "not a field"
    assert "note" not in output


@pytest.mark.parametrize("change", ["pop", "update", "setdefault", "popitem", "clear", "__delitem__"])
def test_items_cannot_be_removed_or_updated_together(output, change):
    with pytest.raises(TypeError, match=naming("CLIPOutput")):
        getattr(output, change)(*[] if change in ("popitem", "clear") else [{"loss": 1}])
    with pytest.raises(TypeError, match=naming("CLIPOutput")):
        del output.image_embeds
    assert list(output) == ["logits_per_text", "image_embeds", "text_model_output"]


@pytest.mark.parametrize("given", [dict, lambda fields: iter(fields.items()), lambda fields: list(fields.items())])
def test_it_is_made_of_a_mapping_or_of_pairs(output, given):
    twin = type(output)(given(output))
    assert twin == output
    assert twin.loss is None
    assert twin.text_model_output is output.text_model_output


def test_other_single_values_are_the_first_field():
    for value in ("states", ("a", "b"), np.ones((3, 2)), [["a", 1, 2]], 5):
        assert BaseModelOutput(value).last_hidden_state is value
    assert BaseModelOutput(last_hidden_state={"a": 1})[0] == {"a": 1}
    assert list(BaseModelOutput({})) == list(BaseModelOutput()) == []


def test_what_fits_no_field_is_an_error():
    with pytest.raises(TypeError, match=naming("BaseModelOutput", "'pooled'")):
        BaseModelOutput(pooled=1)
    with pytest.raises(TypeError, match=naming("BaseModelOutput", "'pooled'")):
        BaseModelOutput({"pooled": 1})
    with pytest.raises(TypeError, match=naming("last_hidden_state")):
        BaseModelOutput(1, 2, last_hidden_state=1)
    with pytest.raises(TypeError, match=naming("3", "4")):
        BaseModelOutput(1, 2, 3, 4)
    with pytest.raises(ValueError, match=naming("(3, 4)")):
        BaseModelOutput([("attentions", 1), (3, 4)])


def test_a_subclass_with_fields_of_its_own_is_an_output():
    @dataclasses.dataclass
    class Scored(BaseModelOutput):
        score: float | None = None

    output = Scored(last_hidden_state="states", score=0.5)
    assert output.to_tuple() == ("states", 0.5)
    assert Scored("states", None, None, 0.5)["score"] == 0.5


def test_copies_are_outputs_with_the_same_fields(output):
    twins = [
        pickle.loads(pickle.dumps(output)),  # noqa: S301
        copy.copy(output),
        copy.deepcopy(output),
        output.copy(),
        output | {},
        dataclasses.replace(output),
    ]
    for twin in twins:
        assert type(twin) is CLIPOutput
        assert twin is not output
        assert twin == output
        assert twin.to_tuple() == output.to_tuple()
        assert twin.image_embeds == twin["image_embeds"] == "images"
        assert twin.loss is None
    output.note = "kept"
    assert copy.deepcopy(output).note == "kept"


def test_replace_returns_a_copy_with_other_values(output):
    changed = output.replace(loss=1.0, image_embeds=None)
    assert list(changed) == ["loss", "logits_per_text", "text_model_output"]
    assert list(output) == ["logits_per_text", "image_embeds", "text_model_output"]


@pytest.mark.parametrize(
    ("return_dict", "configured", "is_tuple"),
    [(None, True, False), (None, False, True), (True, False, False), (False, True, True)],
)
def test_the_call_decides_on_a_tuple_and_else_the_config(output, return_dict, configured, is_tuple):
    answer = as_asked(output, CLIPConfig(return_dict=configured), return_dict)
    assert isinstance(answer, tuple) is is_tuple


def nested(array):
    tower = BaseModelOutput(last_hidden_state=array + 1, hidden_states=(array, array * 2))
    return CLIPOutput(text_embeds=array * 3, vision_model_output=tower)


def assert_nested(found, array):
    assert type(found) is CLIPOutput
    assert list(found) == ["text_embeds", "vision_model_output"]
    assert list(found.vision_model_output) == ["last_hidden_state", "hidden_states"]
    assert np.array_equal(np.asarray(found.vision_model_output.hidden_states[1]), array * 2)


def test_torch_compile_returns_outputs():
    import torch

    compiled = torch.compile(nested, fullgraph=True, backend="eager")
    assert_nested(compiled(torch.ones(3)), np.ones(3))


def test_torch_compile_reads_changes_and_makes_outputs():
    import torch

    def changed(output):
        output.loss = output[0].sum() + output["text_embeds"].mean()
        again = type(output)({name: value for name, value in output.items() if name in output})
        return again.replace(image_embeds=output.text_embeds), output[:1], len(output), "loss" in output

    compiled = torch.compile(changed, fullgraph=True, backend="eager")(nested(torch.ones(3)))
    eager = changed(nested(torch.ones(3)))
    assert list(compiled[0]) == list(eager[0]) == ["loss", "text_embeds", "image_embeds", "vision_model_output"]
    assert compiled[0].loss == eager[0].loss
    assert compiled[2:] == eager[2:] == (3, True)


def test_torchs_trees_and_vmap_take_outputs_apart():
    import torch
    from torch.utils import _pytree

    import clip_torch  # noqa: F401  registers the outputs

    leaves, structure = _pytree.tree_flatten(nested(torch.ones(3)))
    assert len(leaves) == 4
    assert_nested(_pytree.tree_unflatten(leaves, _pytree.treespec_loads(_pytree.treespec_dumps(structure))), np.ones(3))
    assert_nested(torch.func.vmap(nested)(torch.ones(2, 3)), np.ones((2, 3)))


def test_data_parallel_gathers_outputs(monkeypatch):
    import torch
    from torch.nn.parallel import scatter_gather

    # The gathering of single tensors needs a GPU; the walk through the output does not.
    monkeypatch.setattr(scatter_gather.Gather, "apply", lambda device, dim, *parts: torch.cat(parts, dim))
    replicas = [nested(torch.ones(2, 3)), nested(torch.ones(1, 3))]
    assert_nested(scatter_gather.gather(replicas, "cpu"), np.ones((3, 3)))


def test_accelerate_casts_outputs_to_float32_and_finds_their_batch_size():
    import torch

    operations = pytest.importorskip("accelerate.utils.operations", reason="accelerate is not installed")
    output = nested(torch.ones(2, 3, dtype=torch.bfloat16))
    cast = operations.convert_to_fp32(output)
    assert_nested(cast, np.ones((2, 3)))
    assert {leaf.dtype for leaf in (cast[0], *cast.vision_model_output.hidden_states)} == {torch.float32}
    assert operations.find_batch_size(output) == 2


@pytest.mark.parametrize("jit_compile", [False, True])
def test_tf_function_returns_outputs(jit_compile):
    import tensorflow as tf

    assert_nested(tf.function(nested, jit_compile=jit_compile)(tf.ones(3)), np.ones(3))


def test_tensorflow_takes_outputs_apart():
    import tensorflow as tf

    output = nested(tf.ones((2, 3)))
    assert len(tf.nest.flatten(output)) == 4
    assert_nested(tf.nest.map_structure(lambda leaf: leaf, output), np.ones((2, 3)))
    assert_nested(tf.vectorized_map(nested, tf.ones((2, 3))), np.ones((2, 3)))
    dataset = tf.data.Dataset.from_tensor_slices(tf.ones((4, 3))).map(nested).batch(2)
    assert_nested(next(iter(dataset)), np.ones((2, 3)))


def test_tf_function_loops_over_and_takes_outputs():
    import tensorflow as tf

    def looped(array):
        output = nested(array * 0.0)
        for _ in tf.range(tf.size(array)):
            output = nested(array)
        return output

    looped = tf.function(looped)
    same = tf.function(lambda output: output)
    for _ in range(2):
        assert_nested(same(looped(tf.ones(3))), np.ones(3))
    assert same.experimental_get_tracing_count() == 1


def test_a_saved_tensorflow_program_returns_dictionaries(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    module.nested = tf.function(nested, input_signature=[tf.TensorSpec((None, 3))])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).nested(tf.ones((2, 3)))
    assert np.array_equal(loaded["vision_model_output"]["last_hidden_state"], np.full((2, 3), 2.0))


def test_keras_takes_outputs_apart():
    import keras
    import tensorflow as tf

    import clip_tf  # noqa: F401  registers the outputs

    output = nested(tf.ones((2, 3)))
    assert len(keras.tree.flatten(output)) == 4
    assert_nested(keras.tree.map_structure(lambda leaf: leaf, output), np.ones((2, 3)))


def test_jax_jit_returns_outputs():
    import jax
    import jax.numpy as jnp

    import clip_flax  # noqa: F401  registers the outputs as pytrees

    assert_nested(jax.jit(nested)(jnp.ones(3)), np.ones(3))


def test_jax_transformations_take_outputs_apart():
    import jax
    import jax.numpy as jnp

    import clip_flax  # noqa: F401  registers the outputs as pytrees

    array = jnp.ones((2, 3))
    assert_nested(jax.vmap(nested)(array), np.ones((2, 3)))
    assert_nested(jax.jit(lambda output: output)(nested(array)), np.ones((2, 3)))
    assert_nested(jax.device_get(nested(array)), np.ones((2, 3)))
    gradient = jax.grad(lambda output: output[0].sum() * 3 + output["vision_model_output"][1][1].sum())(nested(array))
    assert np.array_equal(gradient.text_embeds, np.full((2, 3), 3.0))
    assert np.array_equal(gradient.vision_model_output.hidden_states[1], np.ones((2, 3)))
    # Leaves may become anything, also what looks like fields.
    for leaf in ({"last_hidden_state": 1}, [("attentions", 1)], "text"):
        assert jax.tree.map(lambda _, leaf=leaf: leaf, BaseModelOutput(array)).last_hidden_state is leaf


@pytest.mark.parametrize("output_class", OUTPUT_CLASSES)
def test_the_fields_and_their_order_are_the_references(output_class, oracle):
    names = oracle("output_fields", class_name=output_class.__name__)
    assert list(output_class.__dataclass_fields__) == names
    assert output_class is not CLIPTextModelOutput or names[0] == "text_embeds"
