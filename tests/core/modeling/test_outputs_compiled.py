"""Outputs pass through the compilers and the trees of all three frameworks."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.modeling.outputs import (
    OUTPUT_CLASSES,
    BaseModelOutput,
    CLIPOutput,
    CLIPTextModelOutput,
)


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
