"""Eight devices train like one: the same losses, and the same final weights."""

from __future__ import annotations

import numpy as np
import pytest

import clip_flax
from converters.checkpoint import open_checkpoint
from support.configs import SHALLOW
from support.flax_models import build
from support.messages import naming
from support.tolerances import FLOAT32_GRADIENTS, LOSS_AFTER_STEPS
from support.training import assert_trained_alike, save_batches

PROGRAM = """
import os, sys
start, out, count, accum = sys.argv[1:]
os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={count}"
# XLA's threads: with as many as devices, they may all wait for one another, until XLA ends the process.
os.environ["NPROC"] = str(4 * int(count))
import jax
import numpy as np
from clip_core.training.loop import cut
from clip_core.training.settings import TrainSettings
from clip_flax.training import make_trainer

assert len(jax.devices()) == int(count)
settings = TrainSettings(batch_size=16, accum=int(accum))
trainer = make_trainer(start, settings)
batches = [dict(np.load(f"{start}/{step}.npz")) for step in range(4)]
print(*(tuple(trainer.step(list(cut(batch, int(accum))), 1e-3)) for batch in batches), sep=chr(10))
assert all(len(leaf.sharding.device_set) == int(count) for leaf in trainer.trained.values())
trainer.save(out)
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    build(**SHALLOW).save_pretrained(folder)
    save_batches(folder, pairs=16, steps=4)
    return folder


def train(run_program, start, out, devices, accum):
    lines = run_program(PROGRAM, start, out, devices, accum).splitlines()
    return [[float(number) for number in line.strip("()").split(",")] for line in lines], open_checkpoint(out)


def test_eight_devices_train_as_one(run_program, start, tmp_path):
    expected, alone = train(run_program, start, tmp_path / "one", 1, 1)
    before, after = (weights["text_projection.weight"] for weights in (open_checkpoint(start), alone))
    assert not np.allclose(after, before, **FLOAT32_GRADIENTS)
    for accum in (1, 2):
        reports, together = train(run_program, start, tmp_path / f"eight{accum}", 8, accum)
        np.testing.assert_allclose(reports, expected, rtol=LOSS_AFTER_STEPS)
        assert_trained_alike(together, alone)


def test_a_batch_that_does_not_divide_is_refused(start):
    import jax

    from clip_core.training.settings import TrainSettings
    from clip_flax.tensors import devices_named
    from clip_flax.training import Trainer

    model = clip_flax.CLIPModel.from_pretrained(start)
    with pytest.raises(ValueError, match=naming("batch_size=9", 1, 2)):
        Trainer(model, TrainSettings(batch_size=9), jax.devices()[:1] * 2)
    with pytest.raises(ValueError, match=naming("device='tpu:3'", "cpu:0")):
        devices_named("tpu:3")
