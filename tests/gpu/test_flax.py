"""On a CUDA device: Flax in half precision, by XLA's attention and by cuDNN's."""

from __future__ import annotations

import numpy as np
import pytest

from support.gpu import REHEARSAL, arrays, assert_gradients, config, relative
from support.tolerances import HALF_PRECISION

jax = pytest.importorskip("jax")
clip_flax = pytest.importorskip("clip_flax")
jnp = jax.numpy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not REHEARSAL and jax.default_backend() != "gpu", reason="needs JAX for a CUDA device"),
]
DTYPES = ["float16", "bfloat16"]


def build(class_name, implementation="eager", dtype="float32"):
    kind = jnp.dtype(dtype)
    model = getattr(clip_flax, class_name)(config(attn_implementation=implementation), seed=0, dtype=kind)
    return model, jax.tree.map(lambda leaf: leaf.astype(kind), model.params)


def inputs(class_name, *, padded=True):
    given = arrays(class_name)
    if not padded:
        given.pop("attention_mask", None)  # cuDNN's kernel is given no padding
    return given


@pytest.fixture(autouse=True)
def exact_single_precision():
    """A GPU multiplies float32 in TF32 by default."""
    with jax.default_matmul_precision("highest"):
        yield


def first(class_name, *how, padded=True):
    model, params = build(class_name, *how)
    return np.asarray(model(**inputs(class_name, padded=padded), params=params)[0], np.float32)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModelWithProjection"])
def test_half_precision_is_close_to_single(class_name, implementation, dtype, padded):
    ours, expected = first(class_name, implementation, dtype, padded=padded), first(class_name, padded=padded)
    assert relative(ours, expected) < HALF_PRECISION[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_gradients_in_half_precision_are_close_to_single(implementation, dtype):
    def gradients(*how):
        model, params = build("CLIPModel", *how)
        given = inputs("CLIPModel", padded=False)
        found = jax.grad(lambda params: model(**given, params=params, return_loss=True).loss)(params)
        leaves = jax.tree.leaves_with_path(found)
        return {jax.tree_util.keystr(path): np.asarray(leaf, np.float32) for path, leaf in leaves}

    assert_gradients(gradients(implementation, dtype), gradients(), dtype)
