"""Training in every framework: the same losses step by step, however the batch is split, interrupted or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core import CLIPConfig, CLIPProcessor
from clip_core.backends import load_backend
from clip_core.training.checkpoints import RunFolder
from clip_core.training.settings import TrainSettings
from converters.checkpoint import open_checkpoint
from support.configs import SHALLOW
from support.limits import largest_file
from support.messages import mentions, naming
from support.tolerances import LOSS_ACROSS_FRAMEWORKS, LOSS_AFTER_STEPS
from support.torch_models import build
from support.training import batch, losses_of, write_fresh_model, write_pairs

FRAMEWORKS = ("torch", "tf", "flax")
PAIRS = 8
SETTINGS = {"batch_size": PAIRS, "lr": 1e-3}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint that every trainer starts from."""
    folder = tmp_path_factory.mktemp("start")
    build(**SHALLOW).save_pretrained(folder)
    return folder


def pieces(whole, count):
    size = PAIRS // count
    return [{name: array[i : i + size] for name, array in whole.items()} for i in range(0, PAIRS, size)]


def train(framework, start, steps, count=1, **settings):
    trainer = load_backend(framework).train(start, TrainSettings(**SETTINGS | settings, accum=count), device=None)
    return trainer, [trainer.step(pieces(batch(PAIRS, step % 3), count), 1e-3) for step in range(steps)]


@pytest.fixture(scope="module")
def torch_losses(start):
    return [report.loss for report in train("torch", start, 20)[1]]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_twenty_steps_give_the_same_losses_in_every_framework(framework, start, torch_losses):
    losses = [report.loss for report in train(framework, start, 20)[1]]
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_allclose(losses, torch_losses, rtol=LOSS_ACROSS_FRAMEWORKS)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_gradients_are_those_of_the_whole_batch_however_it_is_cut(framework, start, torch_losses, count):
    reports = train(framework, start, 5, count)[1]
    np.testing.assert_allclose([report.loss for report in reports], torch_losses[:5], rtol=LOSS_AFTER_STEPS)


def weights(trainer, folder):
    trainer.save(folder)
    return dict(open_checkpoint(folder))


@pytest.mark.parametrize("tower", ["text", "vision"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_frozen_tower_stays_as_it_is(framework, start, tmp_path, tower):
    before, after = dict(open_checkpoint(start)), weights(train(framework, start, 2, freeze=tower)[0], tmp_path)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert not any(name.startswith(f"{tower}_model.") for name in changed)
    assert {"logit_scale", "text_projection.weight", "visual_projection.weight"} <= changed


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_temperature_is_held_below_that_of_a_hundred(framework, tmp_path, start):
    import clip_torch

    model = clip_torch.CLIPModel.from_pretrained(start)
    model.logit_scale.data.fill_(4.604)
    model.save_pretrained(tmp_path)
    trainer = load_backend(framework).train(tmp_path, TrainSettings(**SETTINGS), device=None)
    reports = [trainer.step([batch(PAIRS)], 0.5) for _ in range(3)]
    assert max(report.logit_scale for report in reports) <= 100.001


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_bf16_trains_with_weights_in_float32(framework, start, tmp_path):
    trainer, reports = train(framework, start, 12, precision="bf16")
    assert reports[-1].loss < 0.8 * reports[0].loss
    assert {array.dtype for array in weights(trainer, tmp_path).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gradients_that_are_not_finite_change_nothing(framework, start, tmp_path):
    trainer = load_backend(framework).train(start, TrainSettings(**SETTINGS), device=None)
    broken = batch(PAIRS) | {"pixel_values": np.full((PAIRS, 2, 30, 30), np.nan, np.float32)}
    assert not np.isfinite(trainer.step([broken], 1e-3).loss)
    before, after = dict(open_checkpoint(start)), weights(trainer, tmp_path)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("first", "second"), [("torch", "tf"), ("tf", "flax"), ("flax", "torch"), ("flax", "flax")])
def test_a_run_goes_on_in_any_framework(first, second, start, torch_losses, tmp_path):
    trainer, _ = train(first, start, 4)
    trainer.save(tmp_path)
    other = load_backend(second).train(tmp_path, TrainSettings(**SETTINGS), device=None)
    other.restore(tmp_path, 4)
    losses = [other.step([batch(PAIRS, step % 3)], 1e-3).loss for step in range(4, 10)]
    np.testing.assert_allclose(losses, torch_losses[4:10], rtol=LOSS_ACROSS_FRAMEWORKS)


# The command, on images.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twenty-four images of plain colours with captions, and a model's folder to start from."""
    folder, model = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("model")
    colours = np.random.default_rng(0).integers(0, 255, (24, 3), dtype=np.uint8)
    images = (Image.new("RGB", (50, 40), tuple(colour.tolist())) for colour in colours)
    write_pairs(folder, ((image, f"low {number % 5} lower") for number, image in enumerate(images)))
    write_fresh_model(model)
    return folder, model


def command(data, run, *more):
    pictures, model = data
    settings = {"--batch-size": 6, "--epochs": 3, "--workers": 0, "--save-every": 2, "--checkpoint-dir": run}
    settings |= {"--data": pictures, "--model": f"{model}/config.json"}
    return [
        str(Path(sys.executable).parent / "clip-zoo"),
        "train",
        *(str(word) for setting in settings.items() for word in setting),
        *more,
    ]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The losses of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(command(data, folder), check=True, capture_output=True)
    assert len(losses_of(folder)) == 12
    return losses_of(folder)


def test_a_run_that_was_killed_goes_on_with_the_losses_of_one_that_was_not(data, whole, tmp_path, run):
    killed = tmp_path / "killed"
    process = subprocess.Popen(command(data, killed), stderr=subprocess.DEVNULL)
    log = killed / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or len(log.read_text().splitlines()) < 5:
        assert process.poll() is None or len(losses_of(killed)) >= 5
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    code, _, told = run(*command(data, killed)[1:])
    assert code == 2
    assert mentions(told, killed, "--resume")
    logged = log.read_bytes()
    code, _, told = run(*command(data, killed, "--resume", "--lr", "1")[1:])
    assert code == 2
    assert mentions(told, killed, "lr", 0.0005, 1.0)
    assert log.read_bytes() == logged  # a refusal loses nothing
    subprocess.run(command(data, killed, "--resume"), check=True, capture_output=True)
    assert losses_of(killed) == whole
    last = max(path for path in killed.iterdir() if path.name.startswith("step-"))
    assert CLIPConfig.from_pretrained(last).architectures == ["CLIPModel"]
    CLIPProcessor.from_pretrained(last)


def test_a_disk_that_is_full_in_the_middle_of_a_save_costs_what_came_after_the_last(
    data, whole, tmp_path, run, monkeypatch
):
    stopped, write = tmp_path / "stopped", RunFolder.write

    def full_at_the_third(folder, step, *rest):
        with largest_file(100_000) if step == 6 else nullcontext():
            return write(folder, step, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write", full_at_the_third)
        code, _, told = run(*command(data, stopped)[1:])
    assert code == 2
    assert mentions(told, "step-00000006", "File too large", "step 4")
    assert sorted(path.name for path in stopped.iterdir()) == ["log.jsonl", "step-00000002", "step-00000004"]
    assert run(*command(data, stopped, "--resume")[1:])[0] == 0
    assert losses_of(stopped) == whole


@pytest.mark.parametrize(("framework", "name"), [("tf", "TensorFlow"), ("flax", "Flax")])
def test_a_way_of_torchs_processes_is_refused_elsewhere(framework, name, start):
    with pytest.raises(ValueError, match=naming("parallel='fsdp'", "torch", name)):
        load_backend(framework).train(start, TrainSettings(**SETTINGS), parallel="fsdp")


def test_a_learning_rate_that_breaks_the_model_ends_the_run_with_the_samples_named(data, tmp_path, run):
    options = ("--lr", "1e30", "--warmup", "0", "--max-grad-norm", "0")
    code, _, told = run(*command(data, tmp_path / "run", *options)[1:])
    assert code == 2
    assert mentions(told, "loss", "nan", "checkpoint", "batch")
    assert ".png" in told
    listed = json.loads((tmp_path / "run" / "stopped-0.json").read_text())
    assert mentions(told, f"step {listed['step']}")
    assert len(listed["samples"]) == 6
