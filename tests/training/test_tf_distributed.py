"""Two devices under MirroredStrategy train like one: the same losses, and the same final weights."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from clip_core.training.loop import cut
from clip_core.training.settings import TrainSettings
from clip_tf.training import Trainer
from converters.checkpoint import open_checkpoint
from support.configs import SHALLOW
from support.tf_models import build
from support.tolerances import FLOAT32_GRADIENTS, LOSS, LOSS_AFTER_STEPS
from support.training import assert_trained_alike, batch, save_batches

PROGRAM = """
import sys
import tensorflow as tf
start, out = sys.argv[1:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from clip_core.training.loop import cut
from clip_core.training.settings import TrainSettings
from clip_tf.training import make_trainer

batches = [dict(np.load(f"{start}/{step}.npz")) for step in range(3)]
one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
cases = {
    "one": (one, {}),
    "two": (two, {}),
    "pieces": (two, {"accum": 2, "loss_chunk": 3}),
}
for name, (strategy, settings) in cases.items():
    settings = TrainSettings(batch_size=8, **settings)
    with strategy.scope():
        trainer = make_trainer(start, settings)
    assert trainer.replicas.count == (1 if name == "one" else 2)
    for batch in batches:
        print(",".join(map(str, trainer.step(list(cut(batch, settings.accum)), 1e-3))))
    trainer.save(f"{out}/{name}")
with two.scope():
    try:
        make_trainer(start, TrainSettings(batch_size=6, accum=2))
    except ValueError as error:
        assert "batch_size=6" in str(error) and str(error).count(" 2 ") == 2
    else:
        raise AssertionError
"""


@pytest.fixture
def start(tmp_path):
    build(**SHALLOW).save_pretrained(tmp_path / "start")
    save_batches(tmp_path / "start", pairs=8, steps=3)
    return tmp_path / "start"


def test_two_devices_train_as_one(run_program, start, tmp_path):
    lines = run_program(PROGRAM, start, tmp_path).split()
    reports = np.array([[float(number) for number in line.split(",")] for line in lines])
    expected, *others = reports.reshape(3, 3, 3)
    alone = open_checkpoint(tmp_path / "one")
    before, after = (weights["text_projection.weight"] for weights in (open_checkpoint(start), alone))
    assert not np.allclose(after, before, **FLOAT32_GRADIENTS)
    for name, found in zip(("two", "pieces"), others, strict=True):
        np.testing.assert_allclose(found, expected, rtol=LOSS_AFTER_STEPS, err_msg=name)
        assert_trained_alike(open_checkpoint(tmp_path / name), alone, name)


def test_a_piece_is_run_again_with_the_same_dropout():
    dropped = {"attention_dropout": 0.5, "num_hidden_layers": 1}
    trainer = Trainer(build(text=dropped, vision=dropped), TrainSettings(batch_size=8, accum=2))
    pieces = [trainer.replicas.spread(piece) for piece in cut(batch(8), 2)]
    seeds = trainer._random_state()
    loss, gradients = trainer._in_pieces(pieces)
    trainer._set_random_state(seeds)
    with tf.GradientTape() as tape:
        images, texts = zip(*map(trainer._embeds, pieces), strict=True)
        expected = trainer._loss(tf.concat(images, axis=0), tf.concat(texts, axis=0))
    np.testing.assert_allclose(loss, expected, rtol=LOSS)
    for one, other in zip(gradients, trainer._dense(tape.gradient(expected, trainer._watched())), strict=True):
        np.testing.assert_allclose(one, other, **FLOAT32_GRADIENTS)
