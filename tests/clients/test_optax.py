"""optax and orbax: a train step, and its state saved and restored, on one device and sharded over two."""

from __future__ import annotations

import numpy as np
import pytest
from clients.inputs import inputs

from support.tolerances import FLOAT32

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
orbax = pytest.importorskip("orbax.checkpoint")

pytestmark = pytest.mark.filterwarnings("ignore")


def batch():
    return {name: tensor.numpy() for name, tensor in inputs().items()}


def make_step(model, optimizer):
    """Return a compiled train step: state and batch to new state and loss."""

    def loss(params, batch):
        output = model(**batch, params=params, train=True, dropout_rng=jax.random.key(0))
        targets = np.arange(len(batch["input_ids"]))
        losses = optax.softmax_cross_entropy_with_integer_labels
        return (losses(output.logits_per_text, targets) + losses(output.logits_per_image, targets)).mean() / 2

    @jax.jit
    def step(state, batch):
        value, gradients = jax.value_and_grad(loss)(state["params"], batch)
        updates, optimizer_state = optimizer.update(gradients, state["optimizer"], state["params"])
        return {"params": optax.apply_updates(state["params"], updates), "optimizer": optimizer_state}, value

    return step


def train(step, state, batch, steps=3):
    losses = []
    for _ in range(steps):
        state, loss = step(state, batch)
        losses.append(np.asarray(loss))
    return state, losses


@pytest.fixture(scope="module")
def weights(folder, tmp_path_factory):
    """The checkpoint as flax_model.msgpack, which transformers reads without initializing a model."""
    import clip_flax

    path = tmp_path_factory.mktemp("weights")
    clip_flax.CLIPModel.from_pretrained(folder).save_pretrained(path, safe_serialization=False)
    return path


def place(leaf, cut, whole):
    """Cut matrices over the devices where their rows divide, and copy all else to each device."""
    return jax.device_put(leaf, cut if np.ndim(leaf) == 2 and np.shape(leaf)[0] % 2 == 0 else whole)


def restored(path, state):
    """Save a state, and return what is read from the files: the same arrays on the same devices."""
    with orbax.StandardCheckpointer() as files:
        files.save(path, state)
    with orbax.StandardCheckpointer() as files:
        again = files.restore(path, jax.tree.map(orbax.utils.to_shape_dtype_struct, state))
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.sharding == other.sharding
    return again


def test_a_state_is_trained_saved_and_restored_on_one_device_and_on_two(agree, weights):
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    assert jax.device_count() == 2, "set XLA_FLAGS=--xla_force_host_platform_device_count=2, as make test-clients does"
    mesh = Mesh(np.array(jax.devices()), ("data",))
    cut, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())

    def client(library, folder, out):
        model, params = library.FlaxCLIPModel.from_pretrained(weights, _do_init=False)
        optimizer = optax.sgd(1e-2, momentum=0.9)
        step = make_step(model, optimizer)
        start = {"params": jax.tree.map(jax.numpy.asarray, params), "optimizer": optimizer.init(params)}
        alone, losses = train(step, start, batch())
        alone, more = train(step, restored(out / "alone", alone), batch())
        placed = jax.tree.map(lambda leaf: place(leaf, cut, whole), start)
        shared, together = train(step, placed, jax.device_put(batch(), cut))
        np.testing.assert_allclose(together, losses, **FLOAT32)
        again = restored(out / "shared", shared)
        assert not all(leaf.is_fully_replicated for leaf in jax.tree.leaves(again["params"]))
        logits = jax.jit(lambda params, batch: model(**batch, params=params).logits_per_image)
        return {"losses": losses, "more": more, "logits": np.asarray(logits(alone["params"], batch()))}

    agree(client, "clip_flax", **FLOAT32)
