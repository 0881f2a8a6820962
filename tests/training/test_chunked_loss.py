"""The chunked loss is the loss: the same value and gradients, in less memory."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from support.tolerances import CHUNKED

PAIRS, WIDTH = 11, 5


def embeds(seed):
    values = np.random.default_rng(seed).standard_normal((PAIRS, WIDTH)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def by_torch(texts, images, scale, chunk):
    import torch

    from clip_torch.loss import chunked_clip_loss, clip_loss

    given = [torch.tensor(array, requires_grad=True) for array in (texts, images, scale)]
    one, other, temperature = given
    loss = clip_loss(one @ other.t() * temperature) if chunk is None else chunked_clip_loss(*given, chunk)
    (3.0 * loss).backward()
    return [loss.detach().numpy(), *(tensor.grad.numpy() for tensor in given)]


def by_tf(texts, images, scale, chunk):
    import tensorflow as tf

    from clip_tf.loss import chunked_clip_loss, clip_loss

    given = [tf.constant(array) for array in (texts, images, scale)]
    with tf.GradientTape() as tape:
        tape.watch(given)
        one, other, temperature = given
        logits = tf.matmul(one, other, transpose_b=True) * temperature
        loss = clip_loss(logits) if chunk is None else tf.function(chunked_clip_loss)(*given, chunk)
        tripled = 3.0 * loss
    return [loss.numpy(), *(gradient.numpy() for gradient in tape.gradient(tripled, given))]


def by_flax(texts, images, scale, chunk):
    import jax

    from clip_flax.loss import chunked_clip_loss, clip_loss

    def loss(texts, images, scale):
        return clip_loss(texts @ images.T * scale) if chunk is None else chunked_clip_loss(texts, images, scale, chunk)

    value = jax.jit(loss)(texts, images, scale)
    gradients = jax.jit(jax.grad(lambda *given: 3.0 * loss(*given), argnums=(0, 1, 2)))(texts, images, scale)
    return [np.asarray(value), *map(np.asarray, gradients)]


@pytest.mark.parametrize("chunk", [1, 4, 11, 64])
@pytest.mark.parametrize("framework", [by_torch, by_tf, by_flax], ids=["torch", "tf", "flax"])
def test_value_and_gradients_are_those_of_the_whole(framework, chunk):
    given = embeds(0), embeds(1), np.float32(20.0)
    for one, other in zip(framework(*given, chunk), framework(*given, None), strict=True):
        np.testing.assert_allclose(one, other, **CHUNKED)


MEMORY = """
import torch
from clip_torch.loss import chunked_clip_loss
from support.memory import peak

def used(pairs):
    before = peak()
    texts, images = (torch.nn.functional.normalize(torch.randn(pairs, 8)).requires_grad_() for _ in range(2))
    chunked_clip_loss(texts, images, torch.tensor(10.0, requires_grad=True), 64).backward()
    return peak() - before

used(256)
print(used(16384))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of memory")
def test_its_memory_does_not_grow_with_the_square_of_the_batch(run_program):
    assert int(run_program(MEMORY)) < 2e8  # the matrix alone would be 1 GB
