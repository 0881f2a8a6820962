"""Two processes under torchrun train like one: the same losses, and the same final weights, resumed or not."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

import clip_torch
from clip_core.commands.train import train
from clip_core.training.loop import cut
from clip_core.training.settings import TrainSettings
from clip_torch.training import make_trainer
from converters.checkpoint import open_checkpoint
from converters.moments import read_moments
from support.configs import SHALLOW
from support.messages import naming
from support.programs import environment
from support.tolerances import LOSS_AFTER_STEPS
from support.torch_models import build
from support.training import assert_trained_alike, batch, losses_of, save_batches, write_fresh_model, write_pairs
from support.training_data import picture

PAIRS, STEPS, STOPPED = 8, 3, 2

# Name to the strategy and the settings.
CASES = {
    "ddp": ("ddp", {}),
    "ddp-pieces": (None, {"accum": 2}),
    "ddp-chunks": ("ddp", {"accum": 2, "loss_chunk": 3}),
    "ddp-frozen": ("ddp", {"freeze": "text"}),
    "fsdp": ("fsdp", {"gradient_checkpointing": True}),
    "fsdp-pieces": ("fsdp", {"accum": 2, "max_grad_norm": 0.5}),
    "fsdp-chunks": ("fsdp", {"loss_chunk": 3, "max_grad_norm": None}),
    "fsdp-both": ("fsdp", {"accum": 2, "loss_chunk": 1}),
    "fsdp-frozen": ("fsdp", {"accum": 2, "freeze": "text"}),
    "fsdp-bf16": ("fsdp", {"precision": "bf16"}),
}

# The program of each of the two processes.
PROGRAM = """
import json, shutil, sys
from pathlib import Path
import numpy as np
from torch import distributed
from clip_core.commands.train import train
from clip_core.training.loop import cut
from clip_core.training.settings import TrainSettings
from clip_torch.training import make_trainer

folder = Path(sys.argv[1])
told = json.loads((folder / "told.json").read_text())
for name, (parallel, settings) in told["cases"].items():
    settings = TrainSettings(batch_size=8, **settings)
    trainer = make_trainer(folder / "start", settings, device="cpu", parallel=parallel)
    assert trainer.process_count == 2
    whole = [dict(np.load(folder / "start" / f"{step}.npz")) for step in range(3)]
    own = [list(cut(batch, 2))[trainer.process_index] for batch in whole]
    reports = [trainer.step(list(cut(batch, settings.accum)), 1e-3) for batch in own]
    kept = sum(trainer.spread.own_part(tensor).numel() for tensor in trainer.model.parameters())
    assert (kept < 0.6 * trainer.model.num_parameters()) is (parallel == "fsdp"), kept
    trainer.save(folder / name)
    if trainer.process_index == 0:
        np.save(folder / name / "reports.npy", np.array(reports))

run = {**told["run"], "checkpoint_dir": folder / "two"}
train(**run, parallel="fsdp")
distributed.barrier()
if distributed.get_rank() == 0:
    shutil.copytree(folder / "two", folder / "two-whole")
    for step in (4, 6):
        shutil.rmtree(folder / "two" / f"step-{step:08d}")
distributed.barrier()
train(**run, parallel="ddp", resume=True)
train(**run | {"checkpoint_dir": folder / "one"}, parallel="fsdp", resume=True)
"""


def write_data(folder):
    """Twelve images with captions, a config and a processor; returns the options of a run of six steps over them."""
    data, model = folder / "data", folder / "model"
    data.mkdir()
    model.mkdir()
    write_pairs(data, ((picture(20 * number), f"low {number} lower") for number in range(12)))
    write_fresh_model(model)
    options = {"batch_size": 4, "epochs": 2, "workers": 0, "save_every": 2, "keep": 9, "device": "cpu"}
    return {"data": [str(data)], "model": f"{model}/config.json", **options}


def stop_early(run):
    """Make a run look as if it had been interrupted after its first checkpoint."""
    for step in (4, 6):
        shutil.rmtree(run / f"step-{step:08d}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder of the runs of two processes, and their options."""
    folder = tmp_path_factory.mktemp("together")
    build(**SHALLOW).save_pretrained(folder / "start")
    save_batches(folder / "start", PAIRS, STEPS)
    options = write_data(folder)
    train(**options, checkpoint_dir=folder / "whole")
    shutil.copytree(folder / "whole", folder / "one")
    stop_early(folder / "one")
    (folder / "told.json").write_text(json.dumps({"cases": CASES, "run": options}))
    (folder / "program.py").write_text(PROGRAM)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={free_port()}"]
    command = [sys.executable, *launch, str(folder / "program.py"), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(OMP_NUM_THREADS="1"))
    assert run.returncode == 0, run.stderr[-3000:]
    return folder, options


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(together, tmp_path, name):
    folder, _ = together
    settings = CASES[name][1]
    # bfloat16 rounds the gradients of each process's half by itself, and so those of two pieces.
    alone_settings = settings | {"accum": 2 if "precision" in settings else 1, "loss_chunk": None}
    alone = make_trainer(folder / "start", TrainSettings(batch_size=PAIRS, **alone_settings), device="cpu")
    reports = [alone.step(list(cut(batch(PAIRS, step), alone_settings["accum"])), 1e-3) for step in range(STEPS)]
    np.testing.assert_allclose(np.load(folder / name / "reports.npy"), np.array(reports), rtol=LOSS_AFTER_STEPS)
    alone.save(tmp_path)
    for read in (open_checkpoint, read_moments):
        assert_trained_alike(read(folder / name), read(tmp_path))


def test_a_run_goes_on_with_the_same_losses_on_one_process_or_two(together):
    folder, options = together
    expected = losses_of(folder / "whole")
    assert len(expected) == 6
    for name in ("two-whole", "two", "one"):  # on two; on two and resumed there; on one and resumed on two
        np.testing.assert_allclose(losses_of(folder / name), expected, rtol=LOSS_AFTER_STEPS, err_msg=name)
    stop_early(folder / "two-whole")
    train(**options, checkpoint_dir=folder / "two-whole", resume=True)
    np.testing.assert_allclose(losses_of(folder / "two-whole"), expected, rtol=LOSS_AFTER_STEPS)
    assert isinstance(json.loads((folder / "two/step-00000006/trainer_state.json").read_text())["loader"], list)
    assert clip_torch.CLIPModel.from_pretrained(folder / "two" / "step-00000006").config.architectures == ["CLIPModel"]


@pytest.mark.parametrize(
    ("parallel", "named"),
    [
        ("fsdp", ["parallel='fsdp'", "torchrun"]),
        ("pipeline", ["parallel='pipeline'", "ddp", "fsdp"]),
    ],
)
def test_a_way_that_does_not_fit_is_refused(together, parallel, named):
    with pytest.raises(ValueError, match=naming(*named)):
        make_trainer(together[0] / "start", TrainSettings(), device="cpu", parallel=parallel)
